"""Turn a handler's answer into datagrams: address them, check them against the bounds, count them, tell observers.

An answer goes back to the peer from the address that was asked, unless a `Reply` says otherwise.  Asking handlers is
the work of `responder.dispatch.port`, sending that of `responder.dispatch.sender`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from time import perf_counter
from typing import Final

import attrs
import trio

from ..datagram import Peer, Reply, Via
from ..errors import BindError, NetworkError, PeerError, PluginError, RateExceeded, SendError, ThreadUnavailable
from ..log import Repeated, get_logger
from ..net.types import Flow, Message, Received
from . import outcomes
from .access import find_usable
from .addressing import needs_interface, route_to
from .budget import source_prefix
from .failures import described
from .flow import Candidate, Decision, Environment
from .observers import Sent
from .request import request_of
from .sender import OnFate, Outgoing, Sender, outcome_of

SENT: Final = object()
"""In place of the answers of an async iterator, which are sent already."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Answers:
    """The answers of one port."""

    sender: Sender
    environment: Environment
    repeated: Repeated = attrs.field(factory=Repeated, init=False)

    def settle(self, decision: Decision, received: Received, candidate: Candidate, answer: object) -> list[Outgoing]:
        """Turn a finished answer into datagrams for this port.  Raises PluginError or ValueError for a bad answer."""
        if type(answer) is bytes and len(answer) <= candidate.plain_limit and not self.environment.observers.present:
            candidate.counts[outcomes.ANSWERED] += 1
            return [Outgoing((answer, candidate.route_to(received.flow), received.peer_port), candidate.counts)]
        if answer is None:
            answer = ()
        elif isinstance(answer, bytes | Reply):
            answer = (answer,)
        elif isinstance(answer, str) or not isinstance(answer, Iterable):
            raise PluginError(f"{candidate.binding}: respond returned {type(answer).__name__}, which is no answer")
        elif not isinstance(answer, tuple | list):
            answer = _drawn(candidate, answer)
        mine: list[Outgoing] = []
        over_rate = False
        # Validate every item before sending any: one bad item discards the answer.
        messages = [self._addressed(decision, received, candidate, one) for one in answer]
        if not messages:
            self.lose(decision, received, candidate, outcomes.SILENT)
        on_fate = self._watch(decision, received, candidate, len(messages))
        for sender, message in messages:
            outcome = _bound_broken(received.flow, candidate, len(message[0])) or outcomes.ANSWERED
            candidate.counts[outcome] += 1
            over_rate = over_rate or outcome == outcomes.RATE
            outgoing = Outgoing(message, candidate.counts, on_fate=on_fate)
            if outcome != outcomes.ANSWERED:
                if on_fate is not None:
                    on_fate(message, outcome)
            elif sender is self.sender:
                mine.append(outgoing)
            else:
                sender.nursery.start_soon(sender.flush, [outgoing])
        if over_rate:
            mine += self._over_rate(decision, received, candidate)
        return mine

    def _over_rate(self, decision: Decision, received: Received, candidate: Candidate) -> list[Outgoing]:
        """What the handler sends in place of an answer that `rate` refused."""
        binding = candidate.binding
        over_rate = getattr(binding.handler, "over_rate", None)  # not every handler is a `Handler`
        if binding.budget is None or not callable(over_rate):
            return []
        answer = over_rate(request_of(received, candidate, trio.current_time(), time.time()))
        if answer is None:
            return []
        if not isinstance(answer, bytes):
            raise PluginError(f"{binding}: over_rate returned {type(answer).__name__}, expected bytes or None")
        if len(answer) > binding.service.max_answer or not binding.budget.may_warn(
            source_prefix(received.flow.peer), len(answer), trio.current_time()
        ):
            return []
        candidate.counts[outcomes.ANSWERED] += 1
        message = (answer, candidate.route_to(received.flow), received.peer_port)
        return [Outgoing(message, candidate.counts, on_fate=self._watch(decision, received, candidate, 1))]

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
    ) -> tuple[Sender, Message]:
        """What one item is sent by, and the datagram."""
        flow, back = received.flow, candidate.route_to(received.flow)
        if isinstance(one, bytes):
            return self.sender, (one, back, received.peer_port)
        if not isinstance(one, Reply):
            raise PluginError(f"{candidate.binding}: an answer holds {type(one).__name__}, expected bytes or Reply")
        to = Peer(flow.peer, received.peer_port, flow.scope_id) if one.to is None else one.to
        address = to.address if isinstance(to, Peer) else to
        if one.source is not None and one.source.version != address.version:
            raise PluginError(f"{candidate.binding}: a Reply goes from {one.source} to {address}")
        sender = self.sender
        if one.service is not None or one.source is not None:
            service = one.service or candidate.binding.service.name
            other = candidate.binding.sender_of(service, address, one.source)
            if other is None:
                raise PluginError(f"{candidate.binding}: a Reply names the service {service!r}, which it does not have")
            sender = other
        # As `Network.send` has it: an address without a port means the service's own.
        port_number = to.port if isinstance(to, Peer) else sender.socket.port
        if not 0 < port_number <= 0xFFFF:
            raise PluginError(f"{candidate.binding}: a Reply goes to port {port_number}")
        hop_limit = back.hop_limit if one.hop_limit is None else one.hop_limit
        interface = None
        if one.interface is not None:
            interface = find_usable(self.environment.table, one.interface, candidate.binding.access.serves)
        if one.to is None and interface is None:
            route = attrs.evolve(back, hop_limit=hop_limit, source=one.source or back.source)
            return sender, (one.payload, route, port_number)
        if interface is None and needs_interface(address) and not (isinstance(to, Peer) and to.scope_id):
            interface = decision.interface
        # Only the peer is known to reach the address that was asked; on another interface it may be unreachable.
        asked = flow.destination if decision.via is Via.UNICAST else None
        source = asked if interface is None or address == flow.peer else None
        route = route_to(to, interface, source=one.source or source, hop_limit=hop_limit)
        return sender, (one.payload, route, port_number)

    def refuse(self, decision: Decision, received: Received, outcome: str) -> None:
        """Count a datagram that no candidate takes, by the rule that the outcome names."""
        decision.counts[outcome] += 1
        if self.environment.observers:
            self.tell(decision, received, decision.owner, outcome)

    def lose(self, decision: Decision, received: Received, candidate: Candidate, outcome: str) -> None:
        """Count a datagram that its candidate does not answer, for the reason that the outcome names."""
        candidate.counts[outcome] += 1
        if self.environment.observers:
            self.tell(decision, received, str(candidate.binding), outcome)

    def fail(self, decision: Decision, received: Received, candidate: Candidate, error: BaseException) -> None:
        """Count a datagram whose handler raised or gave a bad answer.  Only this datagram is lost.

        What is the peer's or the network's doing is counted as that, and is no failure of the handler.
        """
        match error:
            case RateExceeded():
                outcome = outcomes.RATE
            case PeerError():
                outcome = outcomes.MALFORMED
            case SendError():
                outcome = outcome_of(error)
            case BindError():  # of a conversation's socket: descriptors are short, which may pass
                outcome = outcomes.BUSY
            case ThreadUnavailable():
                outcome = outcomes.BUSY
            case NetworkError():  # of a conversation's socket, which can receive nothing any more
                outcome = outcomes.SEND_FAILED
            case _:
                outcome = outcomes.CRASHED
        candidate.counts[outcome] += 1
        if self.environment.observers:
            self.tell(decision, received, str(candidate.binding), outcome, described(error))
        if isinstance(error, PeerError | SendError):
            return
        held_back = self.repeated.due((str(candidate.binding), type(error), _where(error)))
        if held_back is None:
            return
        if isinstance(error, NetworkError):
            events = {BindError: "no socket can be had", ThreadUnavailable: "no thread can be had"}
            event = events.get(type(error), "the socket failed")
            _log.warning(event, plugin=str(candidate.binding), reason=str(error), held_back=held_back)
        else:
            _log.error("respond failed", exc_info=error, plugin=str(candidate.binding), held_back=held_back)

    def _watch(self, decision: Decision, received: Received, candidate: Candidate, awaited: int) -> OnFate | None:
        """What is called with the fate of each of an answer's datagrams, `awaited` of them; None while nobody watches.

        Those that the kernel has taken are told of together, each that is lost alone.
        """
        if not self.environment.observers:
            return None
        instance = str(candidate.binding)
        taken: list[Sent] = []

        def note(message: Message, outcome: str) -> None:
            nonlocal awaited
            awaited -= 1
            if outcome == outcomes.ANSWERED:
                taken.append((time.time(), message))
            else:
                self.tell(decision, received, instance, outcome)
            if taken and not awaited:
                self.tell(decision, received, instance, outcomes.ANSWERED, answers=tuple(taken))

        return note

    def tell(
        self,
        decision: Decision,
        received: Received,
        instance: str,
        outcome: str,
        error: str = "",
        answers: tuple[Sent, ...] = (),
    ) -> None:
        self.environment.observers.tell(
            decision.observation(
                received.flow,
                received.peer_port,
                time=received.timestamp,
                transport="udp",
                port=self.sender.socket.port,
                instance=instance,
                outcome=outcome,
                error=error,
                request=received.payload,
                answers=answers,
            )
        )


def _drawn(candidate: Candidate, answer: Iterable[object]) -> tuple[object, ...]:
    """Collect a generator's items.  Its code runs here, so its time counts as `respond`'s does."""
    began = perf_counter()
    try:
        return tuple(answer)
    finally:
        candidate.binding.note_step(perf_counter() - began)


def _bound_broken(flow: Flow, candidate: Candidate, size: int) -> str | None:
    """The outcome to count where an answer of so many bytes is more than its bounds allow."""
    binding = candidate.binding
    if size > binding.service.max_answer:
        return outcomes.TOO_LONG
    if binding.budget is None:
        return None
    return binding.budget.may_answer(source_prefix(flow.peer), size, trio.current_time())


def _where(error: BaseException) -> tuple[str, int]:
    """The innermost place of a traceback: what makes two crashes the same kind."""
    place = error.__traceback__
    if place is None:
        return ("", 0)
    while place.tb_next is not None:
        place = place.tb_next
    return (place.tb_frame.f_code.co_filename, place.tb_lineno)
