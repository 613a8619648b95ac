"""A socket on a port of its own for one peer: `Datagram.conversation()`.

The answers of some protocols come from a new port (a transfer identifier, RFC 1350 section 4).  They still have to come
from the address that was asked, so the socket is one of ours, and every send carries that source.

Its bounds: opening it is what `rate` counts, and pays for the first datagram, as any request pays for its answer; where
`amplification` allows fewer bytes, a few conversations of each network may begin all the same (`budget.OPENINGS`).
Until the peer has said something at the new port, its address may be forged, so it gets `UNPROVED` bytes more at most,
each of which `amplification` counts.  What it says there proves where it is, for the port is known to nobody else; from
then on each datagram of the peer's allows `MAX_FLIGHT` bytes more.  `max_answer` holds for each datagram.  One that
would be more is dropped and counted, as a network may drop it.

Nothing is queued here: what is not received waits in the kernel's buffer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from ..datagram import Peer, Stranger, Via
from ..errors import RateExceeded, SendError
from ..net.sockets import FailedWaits
from ..net.types import DatagramSocket, ErrorTellingSocket, Message, Received, Route, SendFailure
from . import outcomes
from .budget import source_prefix
from .flow import Candidate, arrive, decide, refusal_of
from .observers import Observation
from .outcomes import Traffic
from .sender import outcome_of

BURST = 16
"""Datagrams of strangers passed over before others have their turn."""

UNPROVED = 4096
"""Bytes beside the first datagram that a peer may be sent before it has said something: TFTP sends a block again."""

MAX_FLIGHT = 1 << 20
"""Bytes that a conversation may send for one datagram of its peer: more than any window of a transfer (RFC 7440)."""


@attrs.define(eq=False)
class OpenConversation:
    """Implements `responder.datagram.Conversation`, for an opening that `rate` has allowed."""

    socket: DatagramSocket
    candidate: Candidate
    peer: Peer
    stranger: Stranger | None = None
    _route: Route = attrs.field(init=False)
    _prefix: int = attrs.field(init=False)
    _traffic: Traffic = attrs.field(init=False)
    """Of the service's port, which the conversation began at."""
    _allowed: int = attrs.field(default=UNPROVED, init=False)
    """Bytes that may be sent before the peer says something, beside the first datagram."""
    _has_begun: bool = attrs.field(default=False, init=False)
    """The first datagram is sent."""
    _is_proved: bool = attrs.field(default=False, init=False)
    """The peer is where its request said."""
    _take_errors: Callable[[], Sequence[SendFailure]] = attrs.field(default=tuple, init=False)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.socket, ErrorTellingSocket):
            self.socket.hear_errors()
            self._take_errors = self.socket.take_errors
        self._route = attrs.evolve(self.candidate.way, to=self.peer.address)
        self._prefix = source_prefix(self.peer.address)
        self._traffic = self.candidate.environment.counters.traffic(self.candidate.port, "udp")

    @property
    def port(self) -> int:
        return self.socket.port

    async def send(self, *payloads: bytes) -> None:
        self._raise_errors()
        messages = [message for payload in payloads if (message := self._allowed_message(payload)) is not None]
        await trio.lowlevel.checkpoint()
        while messages:
            sent = self.socket.send(messages)
            if not sent:
                await self.socket.send_when_ready(messages[0])
                sent = 1
            for message in messages[:sent]:
                self._tell(outcomes.ANSWERED, sent=message)
            del messages[:sent]

    def _allowed_message(self, payload: bytes) -> Message | None:
        refusal = self._bound_broken(len(payload))
        if refusal is None:
            return payload, self._route, self.peer.port
        self._tell(refusal)
        return None

    def _raise_errors(self) -> None:
        """Raise what ICMP said of the peer since the last time; what it said of strangers is nobody's matter."""
        for failure in self._take_errors():
            if (failure.to, failure.port) == (self.peer.address, self.peer.port):
                raise failure.error

    def _bound_broken(self, size: int) -> str | None:
        """The outcome to count where a datagram of so many bytes is more than the bounds allow."""
        service, budget = self.candidate.binding.service, self.candidate.binding.budget
        if size > service.max_answer:
            return outcomes.TOO_LONG
        if self._has_begun and size > self._allowed:
            return outcomes.AMPLIFICATION
        if not self._is_proved and budget is not None:
            may_send = budget.may_send if self._has_begun else budget.may_open
            if not may_send(self._prefix, size, trio.current_time()):
                return outcomes.AMPLIFICATION
        if self._has_begun:
            self._allowed -= size
        self._has_begun = True
        return None

    async def receive(self) -> bytes:
        while True:
            try:
                await self.socket.wait_readable()
            except OSError as error:
                await self._failed_waits().wait_out(error)
                continue
            self._raise_errors()
            for _ in range(BURST):
                received = self.socket.receive(1)
                if not received:
                    break
                self._traffic["received"] += len(received[0].payload)
                if self._is_ours(received[0]):
                    self._prove()
                    self._tell(outcomes.HEARD, received=received[0])
                    return received[0].payload
                self._meet_stranger(received[0])

    def _failed_waits(self) -> FailedWaits:
        """Those of the service's port; one of its own where that is gone, as after a reload."""
        candidate = self.candidate
        sender = candidate.binding.sender_of(candidate.service, self.peer.address, self._route.source)
        return FailedWaits(f"a conversation of UDP port {candidate.port}") if sender is None else sender.failed_waits

    def _prove(self) -> None:
        """The peer has said something, and so is where its request said."""
        budget = self.candidate.binding.budget
        if not self._is_proved and budget is not None:
            budget.proved(self._prefix, trio.current_time())
        self._is_proved, self._allowed = True, MAX_FLIGHT

    def _is_ours(self, received: Received) -> bool:
        flow = received.flow
        return Peer.of(flow.peer, received.peer_port, flow.scope_id) == self.peer and not received.truncated

    def _meet_stranger(self, received: Received) -> None:
        """Answer somebody else as the plugin says, by the rules that hold for any request."""
        flow, own, binding = received.flow, self.candidate.interface, self.candidate.binding
        environment = self.candidate.environment
        peer = Peer(flow.peer, received.peer_port, flow.scope_id)
        self._tell(outcomes.STRANGER, peer=peer, received=received)
        if self.stranger is None or (flow.destination, flow.interface) != (self._route.source, own.index):
            return
        decision = decide(flow, arrive(flow, self.port, (binding,), environment), environment)
        if refusal_of(decision, received, environment, trio.current_time()) is not None:
            return
        answer = self.stranger(received.payload, peer)
        if answer is None:
            return
        if binding.budget is not None:
            prefix, now = source_prefix(flow.peer), trio.current_time()
            binding.budget.asked(prefix, len(received.payload), now)
            refusal = binding.budget.may_answer(prefix, len(answer), now)
            if refusal is not None:
                self._tell(refusal, peer=peer)
                return
        message = (answer, decision.candidates[0].route_to(flow), received.peer_port)
        try:
            sent = self.socket.send([message])
        except SendError as error:
            self._tell(outcome_of(error), peer=peer)
        else:
            self._tell(outcomes.ANSWERED if sent else outcomes.NO_ROOM, peer=peer, sent=message if sent else None)

    def _tell(
        self, outcome: str, *, peer: Peer | None = None, received: Received | None = None, sent: Message | None = None
    ) -> None:
        """Count it, and tell those who watch; `peer` where it is somebody else than the conversation's."""
        candidate = self.candidate
        candidate.counts[outcome] += 1
        if sent is not None:
            self._traffic["sent"] += len(sent[0])
        if not candidate.environment.observers:
            return
        now = time.time()
        arrived = None if received is None else received.timestamp
        seen = Observation(
            time=now if arrived is None else arrived,
            transport="udp",
            port=self.port,
            peer=peer or self.peer,
            destination=self._route.source,
            interface=candidate.interface.name,
            via=Via.UNICAST,
            instance=str(candidate.binding),
            outcome=outcome,
            request=None if received is None else received.payload,
            answers=() if sent is None else ((now, sent),),
        )
        candidate.environment.observers.tell(seen)


@asynccontextmanager
async def open_conversation(
    candidate: Candidate, peer: Peer, stranger: Stranger | None
) -> AsyncIterator[OpenConversation]:
    """With the peer of a request of the candidate's.

    Raises RateExceeded where the peer's network may not open one now, BindError where no socket can be had.
    """
    budget = candidate.binding.budget
    if budget is not None and budget.may_answer(source_prefix(peer.address), 0, trio.current_time()) is not None:
        raise RateExceeded(outcomes.REASONS[outcomes.RATE])
    socket = candidate.environment.platform.open_udp(0)
    try:
        yield OpenConversation(socket, candidate, peer, stranger)
    finally:
        socket.close()
