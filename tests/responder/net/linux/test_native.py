"""The edges of the compiled module: what its callers never do, what callbacks and other threads may do meanwhile."""

from __future__ import annotations

import errno
import gc
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

try:
    from responder.net.linux import compiled
except ImportError:
    pytest.skip("the compiled modules were not built", allow_module_level=True)

from responder.net.linux._native import Native
from responder.net.linux.compiled import NativeReceived
from responder.net.linux.constants import IP_PKTINFO
from responder.net.linux.platform import LinuxPlatform
from responder.net.linux.udp import decode_sender, pktinfo_of
from responder.net.types import Flow, Received, Route

from ..support import PATIENCE

HERE = Route(ip_address("::1"))


def encode(route: Route) -> bytes:
    return compiled._encode(route)


def decode(raw: bytes) -> Flow:
    return decode_sender(raw[:20], raw[20:])


def native(decode: Callable[[bytes], Flow] = decode, /, **sizes: int) -> Native:
    return Native(NativeReceived, decode, **sizes)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A dual-stack socket as the platform sets it up."""
    with closing(LinuxPlatform().open_udp(0)) as opened:
        yield opened._socket


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        yield sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def received(memory: Native, sock: socket.socket, limit: int = 64) -> list[Received]:
    got = memory.receive(sock.fileno(), limit)
    assert isinstance(got, list)
    return got


@pytest.mark.parametrize(
    "sizes", [{"payload_size": -1}, {"payload_size": 65537}, {"control_size": 257}, {"control_size": -1}]
)
def test_sizes_that_there_is_no_room_for(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="payload_size: 0-65536, control_size: 0-256"):
        native(**sizes)


def test_there_is_none_without_its_memory() -> None:
    with pytest.raises(TypeError):
        Native.__new__(Native)


def test_only_slots_of_the_class_itself_are_written_to() -> None:
    class Lent:
        payload, flow, peer_port, truncated, control = (
            vars(Received).get(name) or vars(NativeReceived).get(name) or Received.payload
            for name in ("payload", "flow", "peer_port", "truncated", "control")
        )

    made: Any = Native
    for kind in (Received, Lent, int):
        with pytest.raises((TypeError, AttributeError)):
            made(kind, decode)


def test_limits(server: socket.socket, client: socket.socket) -> None:
    memory = native()
    for number in range(70):
        client.sendto(bytes([number]), ("::1", port_of(server)))
    with pytest.raises(ValueError, match="negative"):
        memory.receive(server.fileno(), -1)
    assert received(memory, server, 0) == []
    # However many are asked for, and whatever the number's size: as many as there are places for.
    assert [one.payload[0] for one in received(memory, server, 1 << 80)] == list(range(64))
    assert [one.payload[0] for one in received(memory, server, 65)] == list(range(64, 70))
    assert memory.receive(server.fileno(), 64) == errno.EAGAIN


def test_what_is_no_descriptor() -> None:
    memory = native()
    assert memory.receive(-1, 64) == errno.EBADF
    assert memory.send(-1, [(b"x", HERE, 9)], 0, {}, encode) == -errno.EBADF
    for number in (1 << 32, -(1 << 40), 1 << 80):  # the first would be standard input
        with pytest.raises(OverflowError):
            memory.receive(number, 64)
        with pytest.raises(OverflowError):
            memory.send(number, [(b"x", HERE, 9)], 0, {}, encode)


def test_calls_that_are_none() -> None:
    memory: Any = native()
    arguments: tuple[Any, ...]
    for arguments in ((), (0,), ("0", 1), (0, "1"), (0, 1, 2)):
        with pytest.raises(TypeError):
            memory.receive(*arguments)
    for arguments in ((), (0, [], 0, {}), (0, [], 0, [], encode), (0, [], "0", {}, encode), (0, 7, 0, {}, encode)):
        with pytest.raises(TypeError):
            memory.send(*arguments)


def test_places_to_start_at(server: socket.socket, client: socket.socket) -> None:
    memory, messages = native(), [(bytes([number]), HERE, port_of(server)) for number in range(70)]
    for start in (-1, -(1 << 62), sys.maxsize):
        with pytest.raises(ValueError, match="start"):
            memory.send(client.fileno(), messages, start, {}, encode)
    assert memory.send(client.fileno(), messages, 70, {}, encode) == 0
    assert memory.send(client.fileno(), messages, 7000, {}, encode) == 0
    assert memory.send(client.fileno(), tuple(messages), 69, {}, encode) == 1
    assert memory.send(client.fileno(), messages, 0, {}, encode) == 64
    assert [one.payload[0] for one in received(memory, server)] == [69, *range(63)]


@pytest.mark.parametrize(
    "message",
    [
        (b"x", HERE),
        [b"x", HERE, 9],
        ("x", HERE, 9),
        (bytearray(b"x"), HERE, 9),
        (b"x", HERE, -1),
        (b"x", HERE, 65536),
        (b"x", HERE, 1 << 80),
        (b"x", HERE, None),
        (b"x", [], 9),
    ],
    ids=str,
)
def test_messages_that_are_none(server: socket.socket, client: socket.socket, message: Any) -> None:
    memory, good = native(), (b"good", HERE, port_of(server))
    with pytest.raises((TypeError, ValueError, OverflowError)):
        memory.send(client.fileno(), [message], 0, {}, encode)
    # Those before it go.
    assert memory.send(client.fileno(), [good, message, good], 0, {}, encode) == 1
    assert [one.payload for one in received(memory, server)] == [b"good"]


@pytest.mark.parametrize("encoded", [b"", bytes(23), bytes(24 + 65), None, bytearray(24)], ids=repr)
def test_routes_that_are_none(client: socket.socket, encoded: Any) -> None:
    with pytest.raises(TypeError, match="route"):
        native().send(client.fileno(), [(b"x", HERE, 9)], 0, {HERE: encoded}, encode)


@pytest.mark.parametrize("peer", ["::1", "127.0.0.1"])
def test_control_messages_cut_at_every_length(server: socket.socket, peer: str) -> None:
    sizes = {IP_PKTINFO: 12, socket.IPV6_PKTINFO: 20}
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.bind((peer, 0))
        for size in range(257):
            for _ in range(2):
                client.sendto(b"x", (peer, port_of(server)))
            payload, control, _, name = server.recvmsg(10, size)
            (one,) = received(native(control_size=size), server)
            assert isinstance(one, NativeReceived)
            assert (one.payload, one.peer_port, one.truncated) == (payload, name[1], False)
            # The kernel cuts the last message where there is no room for it: what it is about is then not known.
            whole = [message for message in control if len(message[2]) == sizes.get(message[1], len(message[2]))]
            expected = decode_sender(socket.inet_pton(socket.AF_INET6, name[0]) + bytes(4), pktinfo_of(whole))
            for field in ("peer", "scope_id", "destination", "interface", "local", "via"):
                assert getattr(one.flow, field) == getattr(expected, field)
        assert one.flow.destination == ip_address(peer)


def test_a_datagram_without_a_sender_is_not_the_last_ones(server: socket.socket, client: socket.socket) -> None:
    memory = native()
    client.sendto(b"x", ("::1", port_of(server)))
    (before,) = received(memory, server)
    assert before.peer_port != 0
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        other.setblocking(False)
        one.send(b"y")
        (got,) = received(memory, other)
    assert (got.payload, got.peer_port, str(got.flow.peer)) == (b"y", 0, "::")


def test_what_decode_raises_loses_the_batch_and_nothing_else(server: socket.socket, client: socket.socket) -> None:
    fails = [True]

    def decode_or_fail(raw: bytes) -> Flow:
        if fails:
            fails.pop()
            raise LookupError("a mistake")
        return decode(raw)

    memory = native(decode_or_fail)
    for _ in range(3):
        client.sendto(b"lost", ("::1", port_of(server)))
    with pytest.raises(LookupError):
        memory.receive(server.fileno(), 64)
    client.sendto(b"x", ("::1", port_of(server)))
    (one,) = received(memory, server)
    # With all its control messages: their room is told to the kernel anew.
    assert (one.payload, str(one.flow.destination), one.read_hop_limit() is not None) == (b"x", "::1", True)


def test_decode_may_not_receive(server: socket.socket, client: socket.socket) -> None:
    """It would write over the datagrams that its caller has still to take out."""

    def receiving(raw: bytes) -> Flow:
        with pytest.raises(RuntimeError, match="another call"):
            memory.receive(server.fileno(), 64)
        assert memory.send(client.fileno(), [(b"sent", HERE, port_of(server))], 0, {}, encode) == 1
        return decode(raw)

    memory = native(receiving)
    for number in range(3):
        client.sendto(bytes([number]), ("::1", port_of(server)))
    assert [one.payload for one in received(memory, server)] == [b"\0", b"\1", b"\2"]
    assert [one.payload for one in received(memory, server)] == [b"sent"]


def test_encode_may_not_send_and_may_change_the_list(server: socket.socket, client: socket.socket) -> None:
    messages = [(bytes([number]) * 1000, Route(ip_address("::1")), port_of(server)) for number in range(5)]

    def sending(route: Route) -> bytes:
        with pytest.raises(RuntimeError, match="another call"):
            memory.send(client.fileno(), [(b"wrong", HERE, port_of(server))], 0, {}, encode)
        messages.clear()
        gc.collect()
        return encode(route)

    memory = native()
    assert memory.send(client.fileno(), messages, 0, {}, sending) == 5
    assert [one.payload for one in received(memory, server)] == [bytes([number]) * 1000 for number in range(5)]


def test_what_encode_raises(server: socket.socket, client: socket.socket) -> None:
    memory, good = native(), (b"x", HERE, port_of(server))
    error: BaseException

    def failing(route: Route) -> bytes:
        if route is not HERE:
            raise error
        return encode(route)

    bad = (b"y", Route(ip_address("::1")), port_of(server))
    for error in (ValueError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            memory.send(client.fileno(), [bad], 0, {}, failing)
    error = ValueError()
    assert memory.send(client.fileno(), [good, bad], 0, {}, failing) == 1
    # An order to end is given once, so it must not be lost with what can be met again.
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        memory.send(client.fileno(), [good, bad], 0, {}, failing)
    assert memory.send(client.fileno(), [good], 0, {}, failing) == 1


def test_another_thread_is_refused_meanwhile(server: socket.socket, client: socket.socket) -> None:
    inside, done = threading.Event(), threading.Event()

    def waiting(route: Route) -> bytes:
        inside.set()
        assert done.wait(PATIENCE)
        return encode(route)

    memory, messages, counts = native(), [(b"first", HERE, port_of(server))], list[int]()
    thread = threading.Thread(target=lambda: counts.append(memory.send(client.fileno(), messages, 0, {}, waiting)))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        with pytest.raises(RuntimeError, match="one thread"):
            memory.send(client.fileno(), [(b"second", HERE, port_of(server))], 0, {}, encode)
    finally:
        done.set()
        thread.join(PATIENCE)
    assert counts == [1]
    assert [one.payload for one in received(memory, server)] == [b"first"]


def test_a_cycle_through_decode_is_collected(server: socket.socket, client: socket.socket) -> None:
    def made() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        def decode_here(raw: bytes) -> Flow:
            assert memory is not None
            return decode(raw)

        memory = native(decode_here)
        client.sendto(b"x", ("::1", port_of(server)))
        (one,) = received(memory, server)
        return weakref.ref(one.flow), weakref.ref(decode_here)

    way, function = made()
    gc.collect()
    assert (way(), function()) == (None, None)


def test_nothing_is_left_behind(server: socket.socket, client: socket.socket) -> None:
    def decode_or_fail(raw: bytes) -> Flow:
        if raw[15] == 1:
            return decode(raw)
        raise LookupError

    def one_round() -> int:
        for _ in range(50):
            memory = native(decode_or_fail)
            good, bad = (bytes(100), HERE, port_of(server)), (b"", HERE, -1)
            assert memory.send(client.fileno(), [good] * 10, 0, {}, encode) == 10
            assert len(received(memory, server)) == 10
            assert memory.send(client.fileno(), [good, bad], 0, {}, encode) == 1
            with pytest.raises(ValueError, match="port"):
                memory.send(client.fileno(), [good, bad], 1, {}, encode)
            v4 = (b"", Route(ip_address("127.0.0.2"), source=ip_address("127.0.0.2")), port_of(server))
            assert memory.send(client.fileno(), [v4], 0, {}, encode) == 1
            with pytest.raises(LookupError):
                memory.receive(server.fileno(), 64)
        gc.collect()
        return sys.getallocatedblocks()

    for _ in range(3):
        before = one_round()
    for _ in range(3):
        after = one_round()
    assert after - before < 50
