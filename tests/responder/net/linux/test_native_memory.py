"""The compiled module keeps its memory, whatever it is given and a handler or a callback does meanwhile."""

from __future__ import annotations

import errno
import gc
import socket
import sys
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder import Datagram
from responder.net.linux import compiled
from responder.net.linux._native import Memory
from responder.net.linux.constants import IP_PKTINFO
from responder.net.linux.udp import decode_raw_flow, told_by
from responder.net.types import Flow, Received, Route

from ..support import PATIENCE
from .native_support import SHAPES, AskingPort, ask, bound, decode, drained, memory, port_of, reply

pytestmark = pytest.mark.ipv6


# Arguments


@pytest.mark.parametrize(
    "sizes", [{"payload_size": -1}, {"payload_size": 65537}, {"control_size": 257}, {"control_size": -1}]
)
def test_sizes_that_there_is_no_room_for(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="payload_size"):
        memory(decode, **sizes)


def test_there_is_none_without_its_memory() -> None:
    with pytest.raises(TypeError):
        Memory.__new__(Memory)
    with pytest.raises(ValueError, match="classes"):
        Memory((), decode, 0, 0)


def test_only_slots_of_the_class_itself_are_written_to() -> None:
    class Lent:
        payload, flow, peer_port, truncated, hop_limit, timestamp = (
            vars(Received)[name] for name in ("payload", "flow", "peer_port", "truncated", "hop_limit", "timestamp")
        )

    for kind in (Lent, int, "no class"):
        with pytest.raises((TypeError, AttributeError)):
            Memory((kind, Flow, *SHAPES), decode, 0, 0)  # type: ignore[arg-type] # what is tested


def test_limits(server: socket.socket, client: socket.socket) -> None:
    asking = AskingPort(reply)
    ask(client, server, *[b"x"] * 70)
    assert [asking.answer(server, limit) for limit in (0, 1, 1 << 30, -1)] == [0, 1, 64, 5]
    assert asking.answer(server) == -errno.EAGAIN


def test_what_is_no_descriptor_or_no_argument() -> None:
    memory: Any = AskingPort(reply).memory
    assert memory.answer(-1, 64, 1, True, None, 0.0, 0.0, None) == (-errno.EBADF, -1, 0, 0)
    for number in (1 << 32, -(1 << 40), 1 << 80):  # the first would be standard input
        with pytest.raises(OverflowError):
            memory.answer(number, 64, 1, True, None, 0.0, 0.0, None)
    for wrong in (
        (),
        (0, 64, "1", True, None, 0.0, 0.0, None),
        (0, 64, 1, True, None, "7", 0.0, None),
        ("0", 64, 1, True, 0, 0.0, 0.0, 0),
    ):
        with pytest.raises(TypeError):
            memory.answer(*wrong)


# What others do meanwhile


def test_a_handler_may_ask_again_and_forget(server: socket.socket, client: socket.socket) -> None:
    def respond(request: Datagram) -> bytes:
        if request.payload == b"first":
            asking.memory.forget()
            gc.collect()
            ask(client, server, b"inner")
            assert asking.answer(server, 1) == 1
        return request.payload

    asking = AskingPort(respond)
    ask(client, server, b"first", b"second")
    assert asking.answer(server) == 2
    assert sorted(client.recv(10) for _ in range(3)) == [b"first", b"inner", b"second"]
    assert asking.counts == {"answered": 3}


@pytest.mark.parametrize("name", ["binding", "respond", "counts", "way", "interface"])
def test_a_handler_may_delete_slots(server: socket.socket, client: socket.socket, name: str) -> None:
    def respond(request: Datagram) -> bytes:
        for decision in asking.decisions:
            with suppress(AttributeError):
                delattr(decision.candidates[0], name)
        return b"x"

    asking = AskingPort(respond)
    ask(client, server, b"1", b"2")
    with suppress(AttributeError):
        asking.answer(server)


def test_what_decode_raises_loses_the_burst_and_nothing_else(server: socket.socket, client: socket.socket) -> None:
    fails = [True]

    def decode_or_fail(raw: bytes) -> Flow:
        if fails:
            fails.pop()
            raise LookupError("a mistake")
        return decode(raw)

    asking = AskingPort(reply, memory=memory(decode_or_fail))
    ask(client, server, b"lost", b"lost")
    with pytest.raises(LookupError):
        asking.answer(server)
    ask(client, server, b"x")
    assert asking.answer(server) == 1
    assert client.recv(10) == b"re: x"


def test_encode_may_not_answer(server: socket.socket, client: socket.socket) -> None:
    """It would write over the answers that its caller has still to send."""

    def encoding(route: Route) -> bytes:
        with pytest.raises(RuntimeError, match="another call"):
            asking.answer(server)
        return compiled._encode(route)

    asking = AskingPort(reply)
    ask(client, server, b"1", b"2")
    assert asking.answer(server, encode=encoding) == 2
    assert [client.recv(10) for _ in range(2)] == [b"re: 1", b"re: 2"]


def test_decode_may_answer(server: socket.socket, client: socket.socket) -> None:
    def answering(raw: bytes) -> Flow:
        if nested:
            assert asking.answer(server, nested.pop()) == 1
        return decode(raw)

    nested = [1]
    asking = AskingPort(reply, memory=memory(answering))
    ask(client, server, b"1", b"2", b"3")
    assert asking.answer(server, 2) == 2
    assert sorted(client.recv(10) for _ in range(3)) == [b"re: 1", b"re: 2", b"re: 3"]


def test_another_thread_is_refused_meanwhile(server: socket.socket, client: socket.socket) -> None:
    inside, ended = threading.Event(), threading.Event()

    def waiting(route: Route) -> bytes:
        inside.set()
        assert ended.wait(PATIENCE)
        return compiled._encode(route)

    asking, counts = AskingPort(reply), list[int]()
    ask(client, server, b"first")
    thread = threading.Thread(target=lambda: counts.append(asking.answer(server, encode=waiting)))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        with pytest.raises(RuntimeError, match="one thread"):
            asking.answer(server)
    finally:
        ended.set()
        thread.join(PATIENCE)
    assert counts == [1]
    assert client.recv(10) == b"re: first"


@pytest.mark.parametrize("peer", ["::1", "127.0.0.1"])
def test_control_messages_cut_at_every_length(server: socket.socket, peer: str) -> None:
    sizes = {IP_PKTINFO: 12, socket.IPV6_PKTINFO: 20}
    with bound(peer) as client:
        for size in range(257):
            asking = AskingPort(reply, is_usual=False, memory=memory(decode, control_size=size))
            for _ in range(2):
                client.sendto(b"x", (peer, port_of(server)))
            payload, control, _, name = server.recvmsg(10, size)
            assert asking.answer(server) == 1
            ((_, one),) = asking.calls
            assert (one.payload, one.peer_port, one.truncated) == (payload, name[1], False)
            # The kernel cuts the last message where there is no room for it: what it is about is then not known.
            whole = [message for message in control if len(message[2]) == sizes.get(message[1], len(message[2]))]
            expected = decode_raw_flow(socket.inet_pton(socket.AF_INET6, name[0]) + bytes(4) + told_by(whole)[0])
            for field in ("peer", "scope_id", "destination", "interface", "local", "via"):
                assert getattr(one.flow, field) == getattr(expected, field)
        assert one.flow.destination == ip_address(peer)
        assert one.hop_limit == 64
        assert abs(one.timestamp - time.time()) < PATIENCE


def test_a_datagram_without_a_sender_is_not_the_last_ones(server: socket.socket, client: socket.socket) -> None:
    asking = AskingPort(reply, is_usual=False)
    ask(client, server, b"x")
    asking.answer(server)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        other.setblocking(False)
        one.send(b"y")
        asking.answer(other)
    (_, before), (_, got) = asking.calls
    assert before.peer_port != 0
    assert (got.payload, got.peer_port, str(got.flow.peer)) == (b"y", 0, "::")


def test_nothing_is_left_behind(server: socket.socket, client: socket.socket) -> None:
    def respond(request: Datagram) -> object:
        if request.payload == b"crash":
            raise LookupError
        return None if request.payload == b"none" else request.payload

    def failing(route: Route) -> bytes:
        raise ValueError

    client.setblocking(False)
    asking = AskingPort(respond)

    def one_round() -> int:
        for _ in range(50):
            ask(client, server, b"x", bytes(100), b"none", b"crash")
            asking.answer(server)
            asking.memory.forget()
            asking.decisions.clear()
            ask(client, server, b"x", b"y")
            asking.answer(server, encode=failing)
            assert len(list(drained(client))) == 2
            asking.memory.forget()
            asking.decisions.clear()
            asking.calls.clear()
        gc.collect()
        return sys.getallocatedblocks()

    for _ in range(3):
        before = one_round()
    for _ in range(3):
        after = one_round()
    # An object for each datagram would be 900.
    assert after - before < 50
