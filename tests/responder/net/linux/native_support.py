"""What the tests of the compiled module share: a port that notes what it is called for, and how to ask it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, ClassVar

import attrs
import pytest

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder import Datagram, Peer
from responder.datagram import Interface, Via
from responder.dispatch.binding import Binding
from responder.dispatch.flow import NO_PORT, Candidate, Decision
from responder.dispatch.request import Request
from responder.net.linux import compiled
from responder.net.linux._native import Memory
from responder.net.linux.udp import decode_raw_flow as decode
from responder.net.types import Flow, Received, Route

LOOPBACK = Interface(1, "lo", {"up", "running", "loopback"})

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
    way: Route | None = None
    """Of replies, `to` aside; None: as routing has it."""
    plain_limit: int = 65507
    suspects: frozenset[int] = NO_PORT
    is_usual: bool = True
    decisions: list[Decision] = attrs.field(factory=list)
    """All that were made."""
    calls: list[tuple[Any, ...]] = attrs.field(factory=list)
    counts: dict[str, int] = attrs.field(factory=lambda: {"answered": 0})
    binding: Binding = attrs.field(factory=Unbound.made)
    memory: Memory = attrs.field(factory=lambda: memory(decode))
    number: int = 1
    """Of the socket."""
    segments: bool = True
    bytes_out: int = 0
    """What was sent by the last `answer`."""

    shapes: ClassVar = SHAPES

    def decide(self, flow: Flow) -> Decision:
        candidate = Candidate(
            self.binding, flow.destination or ip_address("::"), LOOPBACK, "default", 7007, Via.UNICAST,
            None, self.way or Route(flow.peer), self.counts, self.plain_limit, self.respond,
        )  # fmt: skip
        usual = candidate if self.is_usual else None
        decision = Decision(LOOPBACK, Via.UNICAST, (candidate,), "", "probe", self.counts, self.suspects, usual)
        self.decisions.append(decision)
        return decision

    def unusual(self, decision: Decision, received: Received) -> None:
        self.calls.append(("unusual", received))

    def other(self, decision: Decision, received: Received, answer: object) -> bool:
        self.calls.append(("other", received, answer))
        return False

    def failed(self, decision: Decision, received: Received, error: BaseException) -> None:
        self.calls.append(("failed", received, error))

    def unsent(self, answer: bytes, candidate: Candidate, flow: Flow, peer_port: int) -> None:
        self.calls.append(("unsent", answer, flow.peer, peer_port))

    def answer(
        self,
        sock: socket.socket,
        limit: int = 64,
        encode: Callable[[Route], bytes] = compiled._encode,
        *,
        since: float = 0.0,
    ) -> int:
        """`since`: seconds that the real-time clock is taken to have gone on since now."""
        now, wall = 1000.0, time.time() + since
        count, _, _, self.bytes_out = self.memory.answer(
            sock.fileno(), limit, self.number, self.segments, self, now, wall, encode
        )
        return count


def memory(decode: Callable[[bytes], Flow], payload_size: int = 65536, control_size: int = 256) -> Memory:
    return Memory((Received, Flow, *SHAPES), decode, payload_size, control_size)


def reply(request: Datagram) -> bytes:
    return b"re: " + request.payload


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def ask(client: socket.socket, server: socket.socket, *payloads: bytes) -> None:
    for payload in payloads:
        client.sendto(payload, ("::1", port_of(server)))


def bound(source: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((source, 0))
    sock.setblocking(False)
    return sock


def drained(sock: socket.socket) -> Iterator[bytes]:
    with suppress(BlockingIOError):
        while True:
            yield sock.recv(70000)
