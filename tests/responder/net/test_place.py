"""What is to be bound, as the kernel wants it and as messages say it."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address

import pytest

from responder.errors import BindError
from responder.net.place import Place

V4, V6, LINK_LOCAL = ip_address("192.0.2.1"), ip_address("2001:db8::1"), ip_address("fe80::1")


def test_names() -> None:
    assert Place("UDP", 53, None).name(socket.AF_INET6) == ("::", 53, 0, 0)
    assert Place("UDP", 53, None).name(socket.AF_INET) == ("", 53)
    assert Place("UDP", 53, V4).name(socket.AF_INET6) == ("::ffff:192.0.2.1", 53, 0, 0)
    assert Place("UDP", 53, V4).name(socket.AF_INET) == ("192.0.2.1", 53)
    assert Place("UDP", 53, ip_address("::ffff:192.0.2.1")).name(socket.AF_INET) == ("192.0.2.1", 53)
    assert Place("UDP", 53, LINK_LOCAL, 7).name(socket.AF_INET6) == ("fe80::1", 53, 0, 7)
    with pytest.raises(OSError, match="family"):
        Place("UDP", 53, V6).name(socket.AF_INET)


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        (Place("UDP", 53, None), errno.EADDRINUSE, "UDP port 53 is taken by another program"),
        (
            Place("TCP", 53, V4, holder_of=lambda place: f"named, on {place.port}"),
            errno.EADDRINUSE,
            "TCP port 53 on 192.0.2.1 is taken by named, on 53",
        ),
        (Place("UDP", 53, None), errno.EACCES, "UDP port 53: no right to bind a port below 1024: run as root"),
        (Place("UDP", 5353, None), errno.EACCES, f"UDP port 5353: {os.strerror(errno.EACCES)}"),
        (
            Place("UDP", 53, V4),
            errno.EADDRNOTAVAIL,
            f"UDP port 53 on {V4}: {V4} is not an address of this host",
        ),
        (Place("UDP", 53, V6), errno.EAFNOSUPPORT, "UDP port 53 on 2001:db8::1: this host has no IPv6"),
        (
            Place("UDP", 53, LINK_LOCAL),
            errno.EINVAL,
            "UDP port 53 on fe80::1: a link-local address needs its interface",
        ),
        (Place("UDP", 53, LINK_LOCAL, 7), errno.EINVAL, f"UDP port 53 on fe80::1%7: {os.strerror(errno.EINVAL)}"),
    ],
)
def test_refusals(place: Place, code: int, message: str) -> None:
    with pytest.raises(BindError) as caught, place.refusals_told():
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == message
    assert (caught.value.errno, caught.value.port) == (code, place.port)
