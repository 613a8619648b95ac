"""Answers to one peer leave as segments of one datagram (udp(7), UDP_SEGMENT), and arrive as if each was sent alone.

A peer that asks for it (UDP_GRO) gets such segments as they left, together: so it is seen that they did.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from ipaddress import ip_address
from typing import Any, TypeAlias

import pytest

from tests.requirements import lacks_compiled

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder import Datagram
from responder.net.linux import udp
from responder.net.linux.platform import LinuxPlatform
from responder.net.linux.udp import LinuxSocket
from responder.net.types import Message, Route

from ..support import PATIENCE

pytestmark = pytest.mark.ipv6

UDP_GRO = 104
SO_NO_CHECK, UDP_NO_CHECK6_TX = 11, 101
"""Answers without a checksum, by IPv4 and by IPv6: the kernel makes no segments of those (EINVAL)."""


@pytest.fixture(params=["::1", "127.0.0.1"])
def client(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with receiver(request.param) as sock:
        yield sock


def receiver(address: str) -> socket.socket:
    """Gets segments together; how many datagrams there were is told by their size."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.settimeout(PATIENCE)
    sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    return sock


def taken(sock: socket.socket, count: int) -> tuple[list[bytes], int]:
    """The next `count` datagrams, and how many times something had to be received for them."""
    found: list[bytes] = []
    times = 0
    while len(found) < count:
        payload, control, _, _ = sock.recvmsg(70000, 64)
        times += 1
        sizes = [int.from_bytes(data[:4], sys.byteorder) for _, kind, data in control if kind == UDP_GRO]
        size = sizes[0] if sizes else len(payload)
        found += [payload[at : at + size] for at in range(0, len(payload) or 1, size or 1)]
    return found, times


def payloads(*sizes: int) -> list[bytes]:
    return [number.to_bytes(2, "big").ljust(size, b".")[:size] for number, size in enumerate(sizes)]


Send: TypeAlias = Callable[[Sequence[bytes]], None]
"""Send these payloads to the client."""


def plainly(sock: LinuxSocket, client: socket.socket) -> Send:
    route, port = Route(ip_address(client.getsockname()[0])), client.getsockname()[1]

    def send(sent: Sequence[bytes]) -> None:
        assert sock.send([(payload, route, port) for payload in sent]) == len(sent)

    return send


def compiled(sock: LinuxSocket, client: socket.socket) -> Send:
    from .native_support import AskingPort  # noqa: PLC0415 - where there is the compiled module

    host = client.getsockname()[0]
    left: list[bytes] = []

    def respond(request: Datagram) -> bytes:
        return left.pop(0)

    asking = AskingPort(respond, to=Route(ip_address(host)))

    def send(sent: Sequence[bytes]) -> None:
        left[:] = sent
        for _ in sent:
            client.sendto(b"?", (host, sock.port))
        assert asking.answer(sock._socket) == len(sent)
        # What is refused together is the port's, which sends each alone.
        plainly(sock, client)([call[1] for call in asking.calls])
        asking.calls.clear()

    return send


@pytest.fixture(params=["compiled", "plain"])
def form(request: pytest.FixtureRequest) -> Callable[[LinuxSocket, socket.socket], Send]:
    if request.param == "compiled" and (missing := lacks_compiled()):
        pytest.skip(missing)
    return compiled if request.param == "compiled" else plainly


@pytest.fixture
def server() -> Iterator[LinuxSocket]:
    with closing(LinuxPlatform().open_udp(0)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("sizes", "times"),
    [
        ([100] * 20, 1),
        ([1472] * 44, 1),
        ([1472] * 50, 2),  # more than an IP packet holds
        ([1473] * 3, 3),  # more than an Ethernet frame carries
        ([0] * 3, 3),
        ([100, 100, 0, 0, 200, 200], 4),
        ([1] * 64, 1),
    ],
    ids=str,
)
def test_what_goes_to_one_peer(
    server: LinuxSocket, client: socket.socket, form: Any, sizes: list[int], times: int
) -> None:
    sent = payloads(*sizes)
    form(server, client)(sent)
    assert taken(client, len(sent)) == (sent, times)


def test_what_the_kernel_refuses_as_segments_is_sent_alone(
    server: LinuxSocket, client: socket.socket, form: Any
) -> None:
    if client.family == socket.AF_INET6:
        server._socket.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_TX, 1)
    else:
        server._socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    # A receiver drops IPv6 datagrams without one (RFC 8200 section 8.1), but for who says that it takes them.
    client.setsockopt(socket.IPPROTO_UDP, 102, 1)
    send = form(server, client)
    for _ in range(2):
        sent = payloads(*[100] * 10)
        send(sent)
        assert taken(client, 10) == (sent, 10)


def test_several_peers_between_one_another(server: LinuxSocket) -> None:
    if missing := lacks_compiled():
        pytest.skip(missing)
    from .native_support import AskingPort, reply  # noqa: PLC0415 - the same

    clients = [receiver("::1") for _ in range(3)]
    try:
        asking = AskingPort(reply)
        asked = payloads(*[30, 40] * 8)
        for payload in asked:
            for sock in clients:
                sock.sendto(payload, ("::1", server.port))
        assert asking.answer(server._socket) == 48
        assert asking.calls == []
        for sock in clients:
            got, times = taken(sock, 16)
            # Each size in the order of the requests.
            assert got == [b"re: " + each for size in (30, 40) for each in asked if len(each) == size]
            assert times == 2
    finally:
        for sock in clients:
            sock.close()


class Refusing(socket.socket):
    """A socket that refuses segments, and says why."""

    code = 0
    batches: list[int]

    def sendmsg(self, buffers: Any, *others: Any) -> int:
        self.batches.append(len(buffers))
        if len(buffers) > 1 and self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().sendmsg(buffers, *others)


def refusing(code: int) -> tuple[LinuxSocket, Refusing]:
    opened = LinuxPlatform().open_udp(0)
    sock = Refusing(fileno=opened._socket.detach())
    sock.code, sock.batches = code, []
    return LinuxSocket(sock, None), sock


@pytest.mark.parametrize("code", sorted(udp._NO_SEGMENTS), ids=errno.errorcode.get)
def test_segments_that_are_refused_are_not_tried_again(client: socket.socket, code: int) -> None:
    server, sock = refusing(code)
    with closing(server):
        send = plainly(server, client)
        send(payloads(*[10] * 4))
        send(payloads(*[10] * 2))
    assert sock.batches == [4, 1, 1, 1, 1, 1, 1]
    assert taken(client, 6) == ([*payloads(*[10] * 4), *payloads(*[10] * 2)], 6)


def test_another_refusal_is_no_word_on_segments(client: socket.socket) -> None:
    server, sock = refusing(errno.EPERM)
    with closing(server):
        route, port = Route(ip_address(client.getsockname()[0])), client.getsockname()[1]
        batch: list[Message] = [(payload, route, port) for payload in payloads(10, 10, 10)]
        with pytest.raises(udp.refusal(OSError(errno.EPERM, ""), batch[0]).__class__):
            server.send(batch)
        sock.code = 0
        assert server.send(batch) == 3
    assert sock.batches == [3, 3]
