"""The compiled module does what the Python form does, and keeps its memory whatever a handler or a callback does."""

from __future__ import annotations

import errno
import gc
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

try:
    from responder.net.linux import compiled
except ImportError:
    pytest.skip("the compiled module was not built", allow_module_level=True)

from responder import PASS, Answer, Datagram, Peer, Reply
from responder.config.instance import Instance, Prepared
from responder.datagram import Interface, Via
from responder.dispatch.binding import Binding
from responder.dispatch.flow import NO_PORT, Candidate, Decision
from responder.dispatch.outcomes import Histogram
from responder.dispatch.request import Request
from responder.errors import PeerError
from responder.net.linux._native import Memory
from responder.net.linux.constants import IP_PKTINFO
from responder.net.linux.platform import LinuxPlatform
from responder.net.linux.udp import decode_sender, told_by
from responder.net.types import Flow, Received, Route
from responder.server.server import open_server
from tests.responder.dispatch.bench import Probe

from ..support import PATIENCE

LOOPBACK = Interface(1, "lo", {"up", "running", "loopback"})
pytestmark = pytest.mark.ipv6

HERE = Route(ip_address("::1"))
SHAPES = (Request, Peer, Decision, Candidate, Binding)


class Unbound:
    """As much of a binding as is looked at; the rest of it has slots of the same class."""

    @staticmethod
    def made() -> Binding:
        binding = object.__new__(Binding)
        binding.notable = 1e9
        binding.slowest = 0.0
        binding.latency = None
        return binding


@attrs.define(eq=False)
class AskingPort:
    """Decides that everything is usual, and notes what it is called for."""

    respond: Callable[[Datagram], Any]
    to: Route = HERE
    plain_limit: int = 65507
    suspects: frozenset[int] = NO_PORT
    is_usual: bool = True
    decisions: dict[Flow, Any] = attrs.field(factory=dict)
    calls: list[tuple[Any, ...]] = attrs.field(factory=list)
    counts: dict[str, int] = attrs.field(factory=lambda: {"answered": 0})
    binding: Binding = attrs.field(factory=Unbound.made)
    memory: Memory = attrs.field(factory=lambda: memory(decode))

    shapes: ClassVar = SHAPES

    def missed(self, flow: Flow) -> Decision:
        candidate = Candidate(
            self.binding, flow, flow.destination or ip_address("::"), LOOPBACK, "default", 7007, Via.UNICAST,
            None, 0, self.to, self.counts, self.plain_limit, self.respond,
        )  # fmt: skip
        usual = candidate if self.is_usual else None
        decision = Decision(
            flow, LOOPBACK, Via.UNICAST, (candidate,), "", "probe", self.counts, self.suspects, 0, usual
        )
        self.decisions[flow] = decision
        return decision

    def unusual(self, decision: Decision, received: Received) -> None:
        self.calls.append(("unusual", received))

    def other(self, decision: Decision, received: Received, answer: object) -> None:
        self.calls.append(("other", received, answer))

    def failed(self, decision: Decision, received: Received, error: BaseException) -> None:
        self.calls.append(("failed", received, error))

    def unsent(self, answer: bytes, candidate: Candidate, peer_port: int) -> None:
        self.calls.append(("unsent", answer, peer_port))

    def answer(self, sock: socket.socket, limit: int = 64, encode: Callable[[Route], bytes] = compiled._encode) -> int:
        now, wall = 1000.0, time.time()
        return self.memory.answer(sock.fileno(), limit, self, self.decisions, now, wall, encode)[0]


def decode(raw: bytes) -> Flow:
    return decode_sender(raw[:20], raw[20:])


def memory(decode: Callable[[bytes], Flow], payload_size: int = 65536, control_size: int = 256) -> Memory:
    return Memory((Received, Flow, *SHAPES), decode, payload_size, control_size)


def reply(request: Datagram) -> bytes:
    return b"re: " + request.payload


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A dual-stack socket as the platform sets it up."""
    with closing(LinuxPlatform().open_udp(0)) as opened:
        yield opened._socket


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(PATIENCE)
        yield sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def ask(client: socket.socket, server: socket.socket, *payloads: bytes) -> None:
    for payload in payloads:
        client.sendto(payload, ("::1", port_of(server)))


# The same as the Python form


def respond(request: Datagram) -> Answer:
    """What the payload says: each kind of answer there is."""
    match request.payload:
        case b"none":
            return None
        case b"pass":
            return PASS
        case b"reply":
            return Reply(b"by a Reply")
        case b"several":
            return [b"one", b"two"]
        case b"long":
            return bytes(2000)
        case b"malformed":
            raise PeerError("nonsense")
        case b"crash":
            raise LookupError("a mistake")
        case b"exit":
            raise SystemExit(3)
        case b"nonsense":
            return 7  # type: ignore[return-value] # what is tested
    told = request.destination, request.interface.name, request.service, request.via, request.hop_limit
    return request.payload + f" {told} {request.arrival <= trio.current_time()}".encode()


PAYLOADS = (
    *(b"x", b"y", b"", b"none", b"pass", b"reply", b"several", b"long", b"malformed", b"crash", b"exit", b"nonsense"),
    bytes(3000),
)
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")


async def serve(use_compiled: bool, burst: Sequence[tuple[bytes, str]]) -> tuple[object, ...]:
    """What is answered to a burst, and all that is counted."""
    first = Instance.of(Probe(respond), "first", port=0, groups=[], max_answer=1000, deny=["127.0.0.3/32"])
    with trio.fail_after(PATIENCE), ExitStack() as stack:
        clients = {source: stack.enter_context(bound(source)) for source in SOURCES}
        async with open_server(
            [Prepared(first, first.plugin)], platform=LinuxPlatform(use_compiled=use_compiled)
        ) as running:
            for payload, source in burst:
                target = "::1" if ":" in source else "127.0.0.1"
                clients[source].sendto(payload, (target, running.port()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.run)
                await wait_all_tasks_blocked(0.01)
                running.stop()
            counts = running.counters.snapshot()
        return {source: sorted(drained(sock)) for source, sock in clients.items()}, counts


def bound(source: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((source, 0))
    sock.setblocking(False)
    return sock


def drained(sock: socket.socket) -> Iterator[bytes]:
    with suppress(BlockingIOError):
        while True:
            yield sock.recv(70000)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(PAYLOADS), st.sampled_from(SOURCES)), max_size=40))
def test_both_forms_do_the_same(burst: list[tuple[bytes, str]]) -> None:
    assert trio.run(serve, True, burst) == trio.run(serve, False, burst)


async def test_times_are_counted(server: socket.socket, client: socket.socket) -> None:
    asking = AskingPort(reply)
    ask(client, server, *[b"x"] * 10)
    asking.binding.latency = Histogram()
    assert asking.answer(server) == 10
    assert sum(asking.binding.latency.counts) == 10
    assert 0 < asking.binding.latency.total < PATIENCE
    assert asking.counts == {"answered": 10}
    # One that takes longer than any before is told apart.
    asking.binding.notable = 0.0
    ask(client, server, b"x")
    assert asking.answer(server) == 1
    assert sum(asking.binding.latency.counts) == 11
    assert asking.binding.slowest > 0


# What it does with a datagram


def test_a_request_has_its_fields(server: socket.socket, client: socket.socket) -> None:
    seen: list[Datagram] = []
    asking = AskingPort(seen.append)
    before = time.time()
    ask(client, server, b"x")
    asking.answer(server)
    (request,) = seen
    assert type(request) is Request
    assert request.peer == Peer("::1", port_of(client))
    assert (request.destination, request.interface, request.via) == (ip_address("::1"), LOOPBACK, Via.UNICAST)
    assert (request.service, request.port, request.hop_limit) == ("default", 7007, 64)
    assert 1000 - (time.time() - before) <= request.arrival <= 1000
    assert [call[0] for call in asking.calls] == ["other"]  # None is no plain answer


def test_a_request_that_somebody_keeps_stays_as_it_is(server: socket.socket, client: socket.socket) -> None:
    kept: list[Any] = []

    def respond(request: Datagram) -> bytes:
        kept.append(request if request.payload == b"kept" else weakref.ref(request))
        return b""

    ask(client, server, b"kept", b"weakly", b"later")
    AskingPort(respond).answer(server)
    strong, weak, _ = kept
    assert strong.payload == b"kept"
    assert weak() is None  # not another datagram's by now


def test_a_request_that_nobody_keeps_is_used_again(server: socket.socket, client: socket.socket) -> None:
    numbers: list[int] = []
    asking = AskingPort(lambda request: numbers.append(id(request)) or request.payload)
    ask(client, server, b"1", b"22", b"333")
    assert asking.answer(server) == 3
    assert len(set(numbers)) == 1
    assert [client.recv(10) for _ in range(3)] == [b"1", b"22", b"333"]


def test_suspects_and_truncated_ones_are_looked_at(server: socket.socket, client: socket.socket) -> None:
    for asking in (
        AskingPort(reply, suspects=frozenset({0, port_of(client)})),
        AskingPort(reply, is_usual=False),
        AskingPort(reply, memory=memory(decode, payload_size=2)),
    ):
        ask(client, server, b"xyz")
        asking.answer(server)
        ((kind, received),) = asking.calls
        assert kind == "unusual"
        assert (received.peer_port, received.truncated) == (port_of(client), len(received.payload) < 3)
        assert asking.counts == {"answered": 0}


def test_an_answer_over_the_limit_is_not_plain(server: socket.socket, client: socket.socket) -> None:
    asking = AskingPort(lambda request: request.payload, plain_limit=2)
    ask(client, server, b"xyz", b"xy")
    asking.answer(server)
    ((kind, received, answer),) = asking.calls
    assert (kind, received.payload, answer) == ("other", b"xyz", b"xyz")
    assert client.recv(10) == b"xy"


def test_what_a_handler_raises(server: socket.socket, client: socket.socket) -> None:
    error = KeyboardInterrupt()

    def respond(request: Datagram) -> bytes:
        if request.payload == b"bad":
            raise error
        return request.payload

    asking = AskingPort(respond)
    ask(client, server, b"bad", b"good")
    asking.answer(server)
    assert asking.calls[0][0] == "failed"
    assert asking.calls[0][2] is error
    assert client.recv(10) == b"good"


def test_a_port_that_raises_ends_the_burst(server: socket.socket, client: socket.socket) -> None:
    class Failing(AskingPort):
        def other(self, decision: Decision, received: Received, answer: object) -> None:
            raise LookupError("a mistake")

    asking = Failing(lambda _: None)
    ask(client, server, b"1", b"2")
    with pytest.raises(LookupError):
        asking.answer(server)
    assert asking.answer(server) == -errno.EAGAIN


def test_what_does_not_go_is_the_ports(server: socket.socket, client: socket.socket) -> None:
    def failing(route: Route) -> bytes:
        raise error

    error: BaseException = ValueError("no such route")
    asking = AskingPort(reply)
    ask(client, server, b"1", b"2")
    asking.answer(server, encode=failing)
    assert asking.calls == [("unsent", b"re: 1", port_of(client)), ("unsent", b"re: 2", port_of(client))]
    # An order to end is given once, so it must not be lost with what can be met again.
    error = KeyboardInterrupt()
    ask(client, server, b"3")
    with pytest.raises(KeyboardInterrupt):
        asking.answer(server, encode=failing)
    # Refused by the kernel: a source that this host does not have.
    asking = AskingPort(reply, to=Route(ip_address("::1"), source=ip_address("2001:db8::77")))
    ask(client, server, b"4")
    asking.answer(server)
    assert asking.calls == [("unsent", b"re: 4", port_of(client))]


@pytest.mark.parametrize("encoded", [b"", bytes(23), bytes(24 + 65), None, bytearray(24)], ids=repr)
def test_routes_that_are_none(server: socket.socket, client: socket.socket, encoded: Any) -> None:
    asking = AskingPort(reply)
    ask(client, server, b"x")
    asking.answer(server, encode=lambda _: encoded)
    assert [call[0] for call in asking.calls] == ["unsent"]


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
    assert memory.answer(-1, 64, None, {}, 0.0, 0.0, None) == (-errno.EBADF, -1, 0, 0)
    for number in (1 << 32, -(1 << 40), 1 << 80):  # the first would be standard input
        with pytest.raises(OverflowError):
            memory.answer(number, 64, None, {}, 0.0, 0.0, None)
    for wrong in (
        (),
        (0, 64, None, [], 0.0, 0.0, None),
        (0, 64, None, {}, "7", 0.0, None),
        ("0", 64, 0, {}, 0.0, 0.0, 0),
    ):
        with pytest.raises(TypeError):
            memory.answer(*wrong)


# What others do meanwhile


def test_a_handler_may_ask_again_and_forget(server: socket.socket, client: socket.socket) -> None:
    def respond(request: Datagram) -> bytes:
        if request.payload == b"first":
            asking.decisions.clear()
            gc.collect()
            ask(client, server, b"inner")
            assert asking.answer(server, 1) == 1
        return request.payload

    asking = AskingPort(respond)
    ask(client, server, b"first", b"second")
    assert asking.answer(server) == 2
    assert sorted(client.recv(10) for _ in range(3)) == [b"first", b"inner", b"second"]
    assert asking.counts == {"answered": 3}


@pytest.mark.parametrize("name", ["binding", "respond", "counts", "route", "interface"])
def test_a_handler_may_delete_slots(server: socket.socket, client: socket.socket, name: str) -> None:
    def respond(request: Datagram) -> bytes:
        for decision in asking.decisions.values():
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
            expected = decode_sender(socket.inet_pton(socket.AF_INET6, name[0]) + bytes(4), told_by(whole)[0])
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
            asking.decisions.clear()
            ask(client, server, b"x", b"y")
            asking.answer(server, encode=failing)
            assert len(list(drained(client))) == 2
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


def test_a_module_that_is_older_than_its_source_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "_native.c"
    assert not compiled.is_stale()
    assert not compiled.is_stale(source)  # a wheel need not have it
    source.write_text("/* changed since */")
    assert compiled.is_stale(source)
    assert "older than its source" in caplog.text
