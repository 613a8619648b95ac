"""Turn a handler's answer into datagrams: address them, check them against the bounds, count them, tell observers.

An answer goes back to the peer from the address that was asked, unless a `Reply` says otherwise.  Asking handlers is
the work of `responder.dispatch.port`, sending that of `responder.dispatch.sender`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Final, Literal

import attrs
import trio

from ..datagram import Interface, Peer, Reply, Via
from ..errors import PeerError, PluginError
from ..log import Repeated, get_logger
from ..net.types import Message, Received, Transmit
from . import outcomes
from .addressing import needs_interface, route_to
from .binding import Binding, SendingPort
from .failures import described
from .flow import Candidate, Decision, Environment
from .observers import Observation
from .sender import Outgoing

SENT: Final = object()
"""In place of the answers of an async iterator, which are sent already."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Answers:
    """The answers of one port."""

    port: SendingPort
    environment: Environment
    repeated: Repeated = attrs.field(factory=Repeated, init=False)

    def settle(self, decision: Decision, received: Received, candidate: Candidate, answer: object) -> list[Outgoing]:
        """Turn a finished answer into datagrams for this port.  Raises PluginError or ValueError for a bad answer."""
        if type(answer) is bytes and len(answer) <= candidate.plain_limit and not self.environment.observers.present:
            candidate.counts[outcomes.ANSWERED] += 1
            return [Outgoing((answer, candidate.route, received.peer_port), candidate.counts)]
        if answer is None:
            answer = ()
        elif isinstance(answer, bytes | Reply):
            answer = (answer,)
        elif isinstance(answer, str) or not isinstance(answer, Iterable):
            raise PluginError(f"{candidate.binding}: respond returned {type(answer).__name__}, which is no answer")
        elif not isinstance(answer, tuple | list):
            answer = _drawn(candidate, answer)
        mine: list[Outgoing] = []
        others: list[Outgoing] = []
        # Validate every item before sending any: one bad item discards the answer.
        messages = [self._addressed(decision, received, candidate, one) for one in answer]
        for port, message in messages:
            outcome = _bound_broken(decision, candidate, message) or outcomes.ANSWERED
            candidate.counts[outcome] += 1
            if self.environment.observers:
                told = partial(self._tell_not_sent, decision, received, candidate, message.message)
                message = attrs.evolve(message, on_lost=told)  # noqa: PLW2901 - the same, and what becomes of it
            if outcome != outcomes.ANSWERED:
                if message.on_lost is not None:
                    message.on_lost(outcome)
            elif port is self.port:
                mine.append(message)
            else:
                others.append(message)
                port.sender.nursery.start_soon(port.sender.flush, [message])
        if not messages:
            candidate.counts[outcomes.SILENT] += 1
        if self.environment.observers and (mine or others or not messages):
            outcome = outcomes.ANSWERED if messages else outcomes.SILENT
            answers = tuple(Transmit(*each.message) for each in (*mine, *others))
            self.tell(decision, received, str(candidate.binding), outcome, answers=answers)
        return mine

    async def settle_each(
        self,
        decision: Decision,
        received: Received,
        candidate: Candidate,
        answers: AsyncIterator[object],
        flush: Callable[[list[Outgoing]], Awaitable[None]],
    ) -> object:
        """Send each item of an async iterator as it comes, and return SENT."""
        following: Awaitable[object] = answers.__anext__()
        try:
            while True:
                one = await following
                try:
                    await flush(self.settle(decision, received, candidate, (one,)))
                    await trio.lowlevel.checkpoint()  # one that never waits itself must not hold everything up
                    following = answers.__anext__()
                except trio.Cancelled as cancelled:
                    # A scope around the generator's yield was cancelled, and the generator must close it.  Where our
                    # own scope was cancelled, the generator raises Cancelled again.
                    if not isinstance(answers, AsyncGenerator):
                        raise
                    following = answers.athrow(cancelled)
        except StopAsyncIteration:
            return SENT
        finally:
            if hasattr(answers, "aclose"):
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                    await answers.aclose()

    def _addressed(
        self, decision: Decision, received: Received, candidate: Candidate, one: object
    ) -> tuple[SendingPort, Outgoing]:
        """The port to send one item by, and the datagram."""
        if isinstance(one, bytes):
            return self.port, Outgoing((one, candidate.route, received.peer_port), candidate.counts)
        if not isinstance(one, Reply):
            raise PluginError(f"{candidate.binding}: an answer holds {type(one).__name__}, expected bytes or Reply")
        to = Peer(decision.flow.peer, received.peer_port, decision.flow.scope_id) if one.to is None else one.to
        address, port_number = (to.address, to.port) if isinstance(to, Peer) else (to, received.peer_port)
        if not 0 < port_number <= 0xFFFF:
            raise PluginError(f"{candidate.binding}: a Reply goes to port {port_number}")
        port = self.port
        if one.service is not None:
            other = candidate.binding.runtime.port_of(one.service, address)
            if other is None:
                raise PluginError(
                    f"{candidate.binding}: a Reply names the service {one.service!r}, which it does not have"
                )
            port = other
        hop_limit = candidate.route.hop_limit if one.hop_limit is None else one.hop_limit
        interface = None if one.interface is None else self.usable_interface(candidate.binding, one.interface)
        if one.to is None and interface is None:
            route = attrs.evolve(candidate.route, hop_limit=hop_limit)
            return port, Outgoing((one.payload, route, port_number), candidate.counts)
        if interface is None and needs_interface(address) and not (isinstance(to, Peer) and to.scope_id):
            interface = decision.interface
        # Only the peer is known to reach the address that was asked; on another interface it may be unreachable.
        asked = decision.flow.destination if decision.via is Via.UNICAST else None
        source = asked if interface is None or address == decision.flow.peer else None
        route = route_to(to, interface, source=source, hop_limit=hop_limit)
        return port, Outgoing((one.payload, route, port_number), candidate.counts)

    def usable_interface(self, binding: Binding, which: Interface | int | str) -> Interface:
        """An interface by index or name, as it is now.  Raises ValueError where the instance may not use it."""
        index = which.index if isinstance(which, Interface) else which
        interface = self.environment.table.get(index) if isinstance(index, int) else self.environment.table.named(index)
        if interface is None:
            raise ValueError(f"{binding}: there is no interface {index!r}")
        if not binding.access.serves(interface):
            raise ValueError(f"{binding}: may not use the interface {interface.name}")
        return interface

    def _tell_not_sent(
        self, decision: Decision, received: Received, candidate: Candidate, message: Message, outcome: str
    ) -> None:
        self.tell(decision, received, str(candidate.binding), outcome, answers=(Transmit(*message),))

    def refuse(self, decision: Decision, received: Received, outcome: str) -> None:
        """Count a datagram that no candidate takes, by the rule that the outcome names."""
        decision.counts[outcome] += 1
        if self.environment.observers:
            self.tell(decision, received, decision.owner, outcome)

    def lose(self, decision: Decision, received: Received, candidate: Candidate, outcome: str) -> None:
        """Count a datagram that its candidate does not answer, by the rule that the outcome names."""
        candidate.counts[outcome] += 1
        if self.environment.observers:
            self.tell(decision, received, str(candidate.binding), outcome)

    def fail(self, decision: Decision, received: Received, candidate: Candidate, error: BaseException) -> None:
        """Count a datagram whose handler raised or gave a bad answer.  Only this datagram is lost."""
        outcome = outcomes.MALFORMED if isinstance(error, PeerError) else outcomes.CRASHED
        candidate.counts[outcome] += 1
        if self.environment.observers:
            self.tell(decision, received, str(candidate.binding), outcome, described(error))
        if outcome == outcomes.MALFORMED:
            return
        held_back = self.repeated.due((str(candidate.binding), type(error), _where(error)))
        if held_back is not None:
            _log.error("respond failed", exc_info=error, plugin=str(candidate.binding), held_back=held_back)

    def tell(
        self,
        decision: Decision,
        received: Received,
        instance: str,
        outcome: str,
        reason: str = "",
        answers: tuple[Transmit, ...] = (),
    ) -> None:
        self.environment.observers.tell(
            observation(
                decision,
                received.peer_port,
                transport="udp",
                port=self.port.number,
                instance=instance,
                outcome=outcome,
                reason=reason,
                request=received.payload,
                answers=answers,
            )
        )


def observation(
    decision: Decision,
    peer_port: int,
    *,
    transport: Literal["udp", "tcp"],
    port: int,
    instance: str,
    outcome: str,
    reason: str = "",
    request: bytes = b"",
    answers: tuple[Transmit, ...] = (),
) -> Observation:
    """Make what observers are told of a datagram or a connection of that flow."""
    flow = decision.flow
    return Observation(
        time=time.time(),
        transport=transport,
        port=port,
        peer=Peer(flow.peer, peer_port, flow.scope_id),
        destination=flow.destination,
        interface=decision.interface.name,
        via=decision.via,
        instance=instance,
        outcome=outcome,
        reason=reason or outcomes.REASONS.get(outcome, ""),
        request=request,
        answers=answers,
    )


def _drawn(candidate: Candidate, answer: Iterable[object]) -> tuple[object, ...]:
    """Collect a generator's items.  Its code runs here, so its time counts as `respond`'s does."""
    began = perf_counter()
    try:
        return tuple(answer)
    finally:
        candidate.binding.note_step(perf_counter() - began)


def _bound_broken(decision: Decision, candidate: Candidate, message: Outgoing) -> str | None:
    """The outcome to count where the answer is more than its bounds allow."""
    binding, size = candidate.binding, len(message.message[0])
    if size > binding.service.max_answer:
        return outcomes.TOO_LONG
    if binding.budget is None:
        return None
    return binding.budget.may_answer(decision.prefix, size, trio.current_time())


def _where(error: BaseException) -> tuple[str, int]:
    """The innermost place of a traceback: what makes two crashes the same kind."""
    place = error.__traceback__
    if place is None:
        return ("", 0)
    while place.tb_next is not None:
        place = place.tb_next
    return (place.tb_frame.f_code.co_filename, place.tb_lineno)
