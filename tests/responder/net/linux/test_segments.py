"""Answers to one peer leave as segments of one datagram (udp(7), UDP_SEGMENT), and arrive as if each was sent alone.

A peer that asks for it (UDP_GRO) gets such segments as they left, together: so it is seen that they did.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from ipaddress import ip_address
from typing import Any

import attrs
import pytest

from tests.requirements import lacks_compiled

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder import Datagram
from responder.errors import MessageTooLong, SendRefused
from responder.net.linux import udp
from responder.net.linux.platform import LinuxPlatform
from responder.net.linux.udp import SEGMENTS_SIZE, LinuxSocket
from responder.net.types import Message, Route

from ..support import PATIENCE

pytestmark = pytest.mark.ipv6

UDP_GRO = 104
SO_NO_CHECK, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX = 11, 101, 102
"""Answers without a checksum, by IPv4 and by IPv6: the kernel makes no segments of those (EINVAL)."""


def receiver(address: str, port: int = 0) -> socket.socket:
    """Gets segments together; how many datagrams there were is told by their size."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
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


@attrs.define
class Form:
    """The socket and what sends by it: Python's `send`, or the compiled module."""

    server: LinuxSocket
    compiled: bool
    segments: bool = True
    """The kernel knows them; that is told to the compiled module alone."""
    left: int = 0
    """Answers that the compiled module gave back to its port."""
    bytes_out: int = 0
    """What it says that it has sent."""

    def send(self, *sent: tuple[socket.socket, bytes]) -> None:
        """Answer each client with its payload, all in one go."""
        if self.compiled:
            self._answer(sent)
            return
        names = [client.getsockname() for client, _ in sent]
        routes = {host: Route(ip_address(host)) for host, *_ in names}  # as in a flow, whatever the ports
        batch = [(payload, routes[name[0]], name[1]) for name, (_, payload) in zip(names, sent, strict=True)]
        assert self.server.send(batch) == len(sent)

    def _answer(self, sent: Sequence[tuple[socket.socket, bytes]]) -> None:
        from .native_support import AskingPort  # noqa: PLC0415 - where there is the compiled module

        answers = iter([payload for _, payload in sent])

        def respond(request: Datagram) -> bytes:
            return next(answers)

        asking = AskingPort(respond, segments=self.segments)
        for client, _ in sent:
            client.sendto(b"?", (client.getsockname()[0], self.server.port))
        assert asking.answer(self.server._socket) == len(sent)
        self.left, self.bytes_out = len(asking.calls), asking.bytes_out
        for _, answer, peer, port in asking.calls:
            assert self.server.send([(answer, Route(peer), port)]) == 1


@pytest.fixture(params=["compiled", "plain"])
def form(request: pytest.FixtureRequest) -> Iterator[Form]:
    if request.param == "compiled" and (missing := lacks_compiled()):
        pytest.skip(missing)
    with closing(LinuxPlatform().open_udp(0)) as opened:
        yield Form(opened, request.param == "compiled")


@pytest.fixture(params=["::1", "127.0.0.1"])
def client(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with receiver(request.param) as sock:
        yield sock


@pytest.mark.parametrize(
    ("sizes", "times"),
    [
        ([100] * 20, 1),
        ([1] * 64, 1),
        ([1452] * 44, 1),
        ([1452] * 50, 2),  # more than an IP packet holds
        ([1473] * 3, 3),  # more than an Ethernet frame carries
        ([0] * 3, 3),
        ([100, 100, 0, 0, 200, 200], 4),
        ([100, 100, 60, 100, 100, 101], 3),  # the last one of segments may be smaller
    ],
    ids=str,
)
def test_what_goes_to_one_peer(form: Form, client: socket.socket, sizes: list[int], times: int) -> None:
    sent = payloads(*sizes)
    form.send(*((client, payload) for payload in sent))
    assert taken(client, len(sent)) == (sent, times)
    assert form.left == 0
    if form.compiled:
        assert form.bytes_out == sum(sizes)


@pytest.mark.parametrize(("address", "size"), [("127.0.0.1", 1472), ("::1", 1452)])
def test_a_segment_is_what_ethernet_carries(form: Form, address: str, size: int) -> None:
    with receiver(address) as client:
        for more, times in ((0, 1), (1, 3)):
            sent = payloads(*[size + more] * 3)
            form.send(*((client, payload) for payload in sent))
            assert taken(client, 3) == (sent, times)


@pytest.mark.parametrize("same_port", [True, False], ids=["one port", "one address"])
def test_several_peers_between_one_another(form: Form, same_port: bool) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(receiver("127.0.0.1"))]
        port = clients[0].getsockname()[1] if same_port else 0
        clients += [stack.enter_context(receiver(f"127.0.0.{2 if same_port else 1}", port))]
        sent = [(clients[number % 2], payload) for number, payload in enumerate(payloads(*[50] * 16))]
        form.send(*sent)
        for client in clients:
            wanted = [payload for to, payload in sent if to is client]
            assert taken(client, 8) == (wanted, 1 if form.compiled else 8)


def test_what_goes_to_one_peer_stays_in_order(form: Form, client: socket.socket) -> None:
    with receiver("127.0.0.3") as other:
        sent = payloads(*[100, 200] * 4)
        form.send(*((to, payload) for payload in sent for to in (client, other)))
        assert taken(client, 8)[0] == sent
        assert taken(other, 8)[0] == sent


def test_what_the_kernel_refuses_as_segments_is_sent_alone(form: Form, client: socket.socket) -> None:
    """And it is asked again: what one peer's way refuses, another's takes."""
    sock = form.server._socket
    level, option = (socket.SOL_SOCKET, SO_NO_CHECK)
    if client.family == socket.AF_INET6:
        level, option = (socket.IPPROTO_UDP, UDP_NO_CHECK6_TX)
    # A receiver drops IPv6 datagrams without one (RFC 8200 section 8.1), but for who says that it takes them.
    client.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)
    for without_checksum in (True, False):
        sock.setsockopt(level, option, without_checksum)
        sent = payloads(*[100] * 10)
        form.send(*((client, payload) for payload in sent))
        assert taken(client, 10) == (sent, 10 if without_checksum else 1)
        assert form.left == (10 if form.compiled and without_checksum else 0)


class Refusing(socket.socket):
    """A socket that refuses segments, and says why; `codes` are what it then refuses one by one with (0: not)."""

    code = errno.EIO
    codes: list[int]
    batches: list[int]

    def getsockopt(self, level: int, option: int, *size: int) -> Any:
        if (level, option) == (socket.IPPROTO_UDP, 103) and self.code == errno.ENOPROTOOPT:
            raise OSError(self.code, os.strerror(self.code))
        return super().getsockopt(level, option, *size)

    def sendmsg(self, buffers: Any, *others: Any) -> int:
        self.batches.append(len(buffers))
        code = self.code if len(buffers) > 1 else self.codes.pop(0) if self.codes else 0
        if code:
            raise OSError(code, os.strerror(code))
        return super().sendmsg(buffers, *others)


def refusing(code: int, *codes: int) -> tuple[LinuxSocket, Refusing]:
    opened = LinuxPlatform().open_udp(0)
    sock = Refusing(fileno=opened._socket.detach())
    sock.code, sock.codes, sock.batches = code, [*codes], []
    return LinuxSocket(sock, None), sock


def batch_to(client: socket.socket, *sizes: int) -> list[Message]:
    host, port = client.getsockname()[:2]
    route = Route(ip_address(host))
    return [(payload, route, port) for payload in payloads(*sizes)]


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EPERM], ids=errno.errorcode.get)
def test_each_of_what_was_refused_together_goes_alone(client: socket.socket, code: int) -> None:
    server, sock = refusing(code)
    with closing(server):
        assert server.send(batch_to(client, *[10] * 4)) == 4
        assert sock.batches == [4, 1, 1, 1, 1]
        assert taken(client, 4) == (payloads(*[10] * 4), 4)


def test_a_refusal_means_what_it_means_for_one(client: socket.socket) -> None:
    server, sock = refusing(errno.EINVAL, errno.EPERM, 0, errno.EMSGSIZE)
    with closing(server):
        batch = batch_to(client, 10, 10, 10)
        with pytest.raises(SendRefused):
            server.send(batch)
        assert sock.batches == [3, 1]
        assert server.send(batch) == 1
        sock.codes = [errno.EMSGSIZE]
        with pytest.raises(MessageTooLong):
            server.send(batch[1:])


def test_a_full_queue_ends_the_batch(client: socket.socket) -> None:
    server, sock = refusing(errno.EAGAIN)
    with closing(server):
        assert server.send(batch_to(client, 10, 10)) == 0
        assert sock.batches == [2]


def test_an_older_kernel_is_given_none(client: socket.socket) -> None:
    """It would pass over the control message, and send one datagram."""
    server, sock = refusing(errno.ENOPROTOOPT)
    with closing(server):
        assert server.send(batch_to(client, 10, 10)) == 2
        assert sock.batches == [1, 1]


def test_nor_is_it_by_the_compiled_module(client: socket.socket) -> None:
    if missing := lacks_compiled():
        pytest.skip(missing)
    with closing(LinuxPlatform().open_udp(0)) as opened:
        sent = payloads(100, 100)
        Form(opened, compiled=True, segments=False).send(*((client, payload) for payload in sent))
        assert taken(client, 2) == (sent, 2)


def test_there_is_room_for_headers() -> None:
    assert all(SEGMENTS_SIZE + header < 1 << 16 for header in (8 + 60, 8 + 40))
    assert udp.MAX_SEGMENTS == 64
