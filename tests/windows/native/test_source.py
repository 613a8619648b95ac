"""The source address of what is sent: rows 6 and 7 of WSASendMsg's page.  Fails where control data is ignored."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import pytest
import trio

from responder.errors import SendError, SourceUnavailable
from responder.net import platform as this_platform
from responder.net.types import Received, Route
from responder.net.windows.winsock_errors import error_code
from responder.net.windows.winsock_types import AF_INET6, pack_sockaddr
from tests.responder.net.windows.whole_winsock import send_message

from .support import AF_INET, Socket, from_v4, from_v6, only_on_wine

Open = Callable[..., Socket]


def test_an_ipv4_socket_takes_in_pktinfo(open_socket: Open) -> None:
    one, other = open_socket(AF_INET), open_socket(AF_INET)
    send_message(one.winsock, [b"x"], one.name_of(other, "127.0.0.1"), from_v4("127.0.0.7"))
    assert other.received() == (b"x", "127.0.0.7", "127.0.0.1")


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.7"])
@pytest.mark.parametrize("destination", ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"])
def test_an_ipv4_destination_takes_in_pktinfo(open_socket: Open, destination: str, source: str) -> None:
    one, other = open_socket(), open_socket()
    send_message(one.winsock, [b"x"], one.name_of(other, destination), from_v4(source))
    assert other.received() == (b"x", source, "127.0.0.1")


def test_a_mapped_destination_in_binary_form(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    mapped = IPv6Address(bytes(10) + b"\xff\xff\x7f\0\0\x01")
    send_message(one.winsock, [b"x"], pack_sockaddr(mapped, other.port, family=AF_INET6), from_v4("127.0.0.7"))
    assert other.received() == (b"x", "127.0.0.7", "127.0.0.1")


def test_an_ipv6_destination_takes_in6_pktinfo(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    send_message(one.winsock, [b"x"], one.name_of(other, "::1"), from_v6("::1"))
    assert other.received() == (b"x", "::1", "::1")


@pytest.mark.parametrize(
    ("destination", "control"),
    [("127.0.0.1", from_v6("::ffff:127.0.0.1")), ("127.0.0.1", from_v6("::1")), ("::1", from_v4("127.0.0.1"))],
)
def test_the_other_form_is_refused(open_socket: Open, destination: str, control: bytes) -> None:
    one, other = open_socket(), open_socket()
    with pytest.raises(SourceUnavailable):
        send_message(one.winsock, [b"x"], one.name_of(other, destination), control)
    assert other.has_nothing()


def test_an_ipv4_name_on_a_dual_stack_socket_is_refused(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    with pytest.raises(SendError, match="WSAEFAULT"):
        send_message(one.winsock, [b"x"], pack_sockaddr(ip_address("127.0.0.1"), other.port, family=AF_INET))


@pytest.mark.parametrize("control", [from_v4("192.0.2.1"), from_v4("0.0.0.0"), from_v4("127.0.0.1")[:-3], b"\1" * 24])
def test_a_source_that_is_not_ours(open_socket: Open, control: bytes) -> None:
    one, other = open_socket(), open_socket()
    with pytest.raises(SourceUnavailable) as caught:
        send_message(one.winsock, [b"x"], one.name_of(other, "127.0.0.1"), control)
    assert error_code(caught.value) in (10022, 10049, 10051)
    send_message(one.winsock, [b"works"], one.name_of(other, "127.0.0.1"), from_v4("127.0.0.7"))
    assert other.received()[0] == b"works"


@only_on_wine
def test_an_unbound_socket_is_refused_here(open_socket: Open) -> None:
    """The page says WSAEINVAL; a real Windows binds it instead."""
    one, other = open_socket(bind=None), open_socket()
    with pytest.raises(SendError, match="WSAEINVAL"):
        send_message(one.winsock, [b"x"], one.name_of(other, "127.0.0.1"))


@pytest.mark.parametrize(
    ("to", "source"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.9"), ("::1", "::1"), ("127.0.0.3", "127.0.0.4")],
)
async def test_the_platforms_socket_both_ways(to: str, source: str) -> None:
    platform = this_platform()
    one, other = platform.open_udp(0), platform.open_udp(0)
    message = (b"x", Route(ip_address(to), source=ip_address(source)), other.port)
    with trio.fail_after(10):
        assert one.send([message]) == 1
        await one.send_when_ready(message)
        seen: list[Received] = []
        while len(seen) < 2:
            await other.wait_readable()
            seen += other.receive(8)
    for received in seen:
        assert (received.flow.peer, received.flow.destination) == (ip_address(source), ip_address(to))
        assert received.flow.interface == 1
        assert received.peer_port == one.port
    one.close()
    other.close()
