"""The hot path: socket -> policy -> plugin -> socket, for one port.

One task a socket waits until datagrams are there, takes a bounded burst of them, asks the handlers, and sends what they
answered at once in one batch.  Only what can't be done at once becomes a task of its own: an async answer, a retry of a
send that the system refused for the moment.

What is the same for all datagrams of a way (`Path`: peer address, destination, interface) is worked out once and kept
in a bounded table as a `Flow`: who may take them, or why nobody may, the source address and route of replies, and the
counters.  A change of the interface table empties it.  So a datagram costs a look-up, however many interfaces,
addresses and prefixes there are.

This file refuses to open sockets, to know platforms, and to restart anything.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence, Set
from time import perf_counter
from typing import Any, Final

import attrs
import trio

from . import metrics
from .addressing import needs_interface, route_to
from .arrival import Arrival
from .blame import described, plugin_failure
from .datagram import Datagram, Interface, Peer, Reply, Via
from .errors import PeerError, PluginError
from .flows import Binding, Flow, SendingPort, Taker, flow_of
from .log import Repeated, get_logger
from .metrics import Counters, Tally
from .net.interfaces import InterfaceTable
from .net.types import DatagramSocket, Message, Path, Platform, Received, Transmit
from .observing import Observation, Observers
from .plugin import PASS
from .sending import Outgoing, Sender
from .tables import Memory
from .timing import timed

BURST = 64
"""Datagrams taken in one go: enough to share the cost of waiting, few enough to let other ports have their turn."""

LONG_BURST = 8
"""Datagrams of a burst after which the next are looked for at once."""

TURN = 0.001
"""Seconds after which other tasks have their turn, however much there is to answer."""

MAX_FLOWS = 4096
"""Ways remembered by a port; the oldest is forgotten first, so that spoofed sources cost time, not memory."""

_log = get_logger(__name__)

_ANSWERED: Final = metrics.ANSWERED
_FAILED: Final = object()


@attrs.define(eq=False)
class Port:
    """One bound UDP socket and the bindings that answer on it, in config order."""

    socket: DatagramSocket
    bindings: tuple[Binding, ...]
    platform: Platform
    table: InterfaceTable
    counters: Counters
    sender: Sender
    on_stale: Callable[[], None]
    observers: Observers
    own_numbers: Set[int]
    """The numbers of all ports of this server: from one of them, at an address of this host, comes an answer."""
    repeated: Repeated = attrs.field(factory=Repeated)
    number: int = attrs.field(init=False)
    _drops_told: int = attrs.field(default=0, init=False)
    flows: Memory[Path, Flow] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.flows = Memory(self._flow, MAX_FLOWS)
        self.number = self.socket.port

    async def serve(self) -> None:
        """Answer until cancelled.  Raises NetworkError where the socket can no longer receive."""
        socket, sender = self.socket, self.sender
        while True:
            await socket.wait_readable()
            turn_ends = perf_counter() + TURN
            while True:
                burst = socket.receive(BURST)
                messages, tallies = self._answers(burst)
                if messages:
                    left = sender.send_now(messages, tallies)
                    if left:
                        await sender.flush(left)
                # After a long burst there are more by now, most likely: asking costs less than waiting.
                if len(burst) < LONG_BURST or perf_counter() > turn_ends:
                    break
            if socket.kernel_drops != self._drops_told:
                self._tell_drops()

    def _answers(self, burst: Sequence[Received]) -> tuple[list[Message], list[Tally]]:
        """What is answered at once, with the tallies that it is counted in; the rest has got tasks of its own."""
        messages: list[Message] = []
        tallies: list[Tally] = []
        known, watched, own_numbers = self.flows.known, bool(self.observers), self.own_numbers
        # Times too short to be told apart are counted for all of a run of datagrams together.
        run, asked, spent = None, 0, 0.0
        began = perf_counter()
        for received in burst:
            flow = known.get(received.path) or self.flows.missed(received.path)
            taker, port = flow.plain, received.peer_port
            if taker is None or watched or received.truncated or not port or (flow.from_own and port in own_numbers):
                for each in self._take(flow, received):
                    messages.append(each.message)
                    tallies.append(each.tally)
                began = perf_counter()
                continue
            # What `_ask` does, for the usual case, without a call more than the handler's own.
            received.origin = taker.origin
            try:
                answer = taker.respond(received)
            except BaseException as error:
                self._failed(flow, received, taker, plugin_failure(error))
                answer = _FAILED
            now, binding = perf_counter(), taker.binding
            took, began = now - began, now
            if took > binding.notable:
                binding.note(took)
            elif binding is run:
                asked += 1
                spent += took
            else:
                if run is not None:
                    run.note_short(asked, spent)
                run, asked, spent = binding, 1, took
            if type(answer) is bytes and len(answer) <= taker.plain:
                taker.tally[_ANSWERED] += 1
                messages.append((answer, taker.route, port))
                tallies.append(taker.tally)
            elif answer is not _FAILED:
                for each in self._sorted(flow, received, flow.takers, answer):
                    messages.append(each.message)
                    tallies.append(each.tally)
        if run is not None:
            run.note_short(asked, spent)
        return messages, tallies

    def _tell_drops(self) -> None:
        held_back = self.repeated.due("drops")
        if held_back is not None:
            more, self._drops_told = self.socket.kernel_drops - self._drops_told, self.socket.kernel_drops
            _log.warning("the kernel dropped datagrams: the receive buffer was full", port=self.number, dropped=more)

    def forget_flows(self) -> None:
        """The interface table or the bindings changed."""
        self.flows.clear()

    def _take(self, flow: Flow, received: Received) -> list[Outgoing]:
        if not received.peer_port:
            refusal = metrics.BAD_SOURCE
        elif flow.refusal:
            refusal = flow.refusal
        elif received.truncated:
            refusal = metrics.TRUNCATED
        elif flow.from_own and received.peer_port in self.own_numbers:
            refusal = metrics.OWN_SOURCE
        else:
            return self._ask(flow, received, flow.takers)
        self._not_taken(flow, received, refusal)
        return []

    def _flow(self, path: Path) -> Flow:
        flow = flow_of(path, self.table, self.bindings, self.counters, self.on_stale)
        for taker in flow.takers:
            taker.origin = Arrival(self, flow, taker)
        return flow

    def _not_taken(self, flow: Flow, received: Received, outcome: str) -> None:
        flow.tally[outcome] += 1
        if self.observers:
            self._tell(flow, received, flow.owner, outcome)

    def _ask(self, flow: Flow, received: Received, takers: Sequence[Taker]) -> list[Outgoing]:
        """Ask one taker after the other until one does not PASS; what is ready at once is given back to be sent."""
        for position, taker in enumerate(takers):
            binding = taker.binding
            # Each has a request of its own: one that passes may have kept it.
            request = received.again() if taker is not flow.takers[0] else received
            request.origin = taker.origin
            if binding.budget is not None:
                binding.budget.asked(flow.prefix, len(received.payload), trio.current_time())
            answer: Any
            try:
                if binding.service.blocking:
                    request.arrival  # noqa: B018 - decoded here: a thread has no trio clock
                    answer = _in_thread(taker, request)
                else:
                    began = perf_counter()
                    try:
                        answer = taker.respond(request)
                    finally:
                        binding.note(perf_counter() - began)
            except BaseException as error:
                self._failed(flow, received, taker, plugin_failure(error))
                return []
            if answer is not PASS:
                return self._sorted(flow, received, takers[position:], answer)
        self._not_taken(flow, received, metrics.PASSED)
        return []

    def _sorted(self, flow: Flow, received: Received, takers: Sequence[Taker], answer: Any) -> list[Outgoing]:
        """What the first of `takers` answered: sent at once, or by a task of its own; a late PASS asks the next."""
        if answer is PASS:
            self._not_taken(flow, received, metrics.PASSED)
            return []
        try:
            if inspect.isawaitable(answer) or isinstance(answer, AsyncIterator):
                self._start_async(flow, received, takers, answer)
                return []
            return self._settled(flow, received, takers[0], answer)
        except BaseException as error:
            self._failed(flow, received, takers[0], plugin_failure(error))
            return []

    def _settled(self, flow: Flow, received: Received, taker: Taker, answer: object) -> list[Outgoing]:
        """What an answer that is there sends by this port.  Raises PluginError or ValueError for what is none."""
        if answer is None:
            answer = ()
        elif isinstance(answer, bytes | Reply):
            answer = (answer,)
        elif isinstance(answer, str) or not isinstance(answer, Iterable):
            raise PluginError(f"{taker.binding}: respond returned {type(answer).__name__}, which is no answer")
        mine: list[Outgoing] = []
        others: list[Outgoing] = []
        # All are looked at before the first goes: one that is none loses the whole answer.
        messages = [self._addressed(flow, received, taker, one) for one in answer]
        for port, message in messages:
            outcome = _bound_broken(flow, taker, message) or metrics.ANSWERED
            taker.tally[outcome] += 1
            if outcome != metrics.ANSWERED:
                if self.observers:
                    self._tell(flow, received, str(taker.binding), outcome, answers=(Transmit(*message.message),))
            elif port is self:
                mine.append(message)
            else:
                others.append(message)
                port.sender.nursery.start_soon(port.sender.flush, [message])
        if not messages:
            taker.tally[metrics.SILENT] += 1
        if self.observers and (mine or others or not messages):
            outcome = metrics.ANSWERED if messages else metrics.SILENT
            answers = tuple(Transmit(*each.message) for each in (*mine, *others))
            self._tell(flow, received, str(taker.binding), outcome, answers=answers)
        return mine

    def _addressed(self, flow: Flow, received: Received, taker: Taker, one: object) -> tuple[SendingPort, Outgoing]:
        """One answer as the port to send it by and what to send."""
        if isinstance(one, bytes):
            return self, Outgoing((one, taker.route, received.peer_port), taker.tally)
        if not isinstance(one, Reply):
            raise PluginError(f"{taker.binding}: an answer holds {type(one).__name__}, expected bytes or Reply")
        to = Peer(flow.path.peer, received.peer_port, flow.path.scope_id) if one.to is None else one.to
        address, port_number = (to.address, to.port) if isinstance(to, Peer) else (to, received.peer_port)
        if not 0 < port_number <= 0xFFFF:
            raise PluginError(f"{taker.binding}: a Reply goes to port {port_number}")
        port: SendingPort = self
        if one.service is not None:
            other = taker.binding.runtime.port_of(one.service, address)
            if other is None:
                raise PluginError(f"{taker.binding}: a Reply names the service {one.service!r}, which it does not have")
            port = other
        hop_limit = taker.route.hop_limit if one.hop_limit is None else one.hop_limit
        interface = None if one.interface is None else self.usable_interface(taker.binding, one.interface)
        if one.to is None and interface is None:
            route = attrs.evolve(taker.route, hop_limit=hop_limit)
            return port, Outgoing((one.payload, route, port_number), taker.tally)
        if interface is None and needs_interface(address) and not (isinstance(to, Peer) and to.scope_id):
            interface = flow.interface
        # On another interface the address that was asked may be one that nobody can answer to: only the peer knows it.
        asked = flow.path.destination if flow.via is Via.UNICAST else None
        source = asked if interface is None or address == flow.path.peer else None
        route = route_to(to, interface, source=source, hop_limit=hop_limit)
        return port, Outgoing((one.payload, route, port_number), taker.tally)

    def usable_interface(self, binding: Binding, which: Interface | int | str) -> Interface:
        """An interface by index or name, as it is now.  Raises ValueError where the instance may not use it."""
        index = which.index if isinstance(which, Interface) else which
        interface = self.table.get(index) if isinstance(index, int) else self.table.named(index)
        if interface is None:
            raise ValueError(f"{binding}: there is no interface {index!r}")
        if not binding.access.serves(interface):
            raise ValueError(f"{binding}: may not use the interface {interface.name}")
        return interface

    # Async answers

    def _start_async(self, flow: Flow, received: Received, takers: Sequence[Taker], answer: Any) -> None:
        taker = takers[0]
        if taker.binding.pending >= taker.binding.runtime.max_pending:
            taker.tally[metrics.BUSY] += 1
            if self.observers:
                self._tell(flow, received, str(taker.binding), metrics.BUSY)
            close = getattr(answer, "close", None)  # a coroutine that never runs would warn
            if close is not None:
                close()
            return
        taker.binding.pending += 1
        self.sender.nursery.start_soon(self._answer_async, flow, received, takers, answer)

    async def _answer_async(self, flow: Flow, received: Received, takers: Sequence[Taker], answer: Any) -> None:
        taker = takers[0]
        passed = False
        try:
            with trio.move_on_after(taker.binding.runtime.answer_timeout) as scope:
                passed = await self._collect(flow, received, taker, answer)
            if scope.cancelled_caught:
                taker.tally[metrics.TIMEOUT] += 1
                if self.observers:
                    self._tell(flow, received, str(taker.binding), metrics.TIMEOUT)
        except BaseException as error:
            self._failed(flow, received, taker, plugin_failure(error))
        finally:
            taker.binding.pending -= 1
        if passed:
            await self.sender.flush(self._ask(flow, received, takers[1:]))

    async def _collect(
        self, flow: Flow, received: Received, taker: Taker, answer: Awaitable[Any] | AsyncIterator[Any]
    ) -> bool:
        """Send what the answer gives, as it gives it; True where it is PASS."""
        note = taker.binding.note_step
        if isinstance(answer, AsyncIterator):
            await self._iterate(flow, received, taker, answer, note)
            return False
        result = await timed(answer, note)
        if result is PASS:
            return True
        if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
            # The answer of a blocking service: `respond` gave, in its thread, something to await here.
            return await self._collect(flow, received, taker, result)
        await self.sender.flush(self._settled(flow, received, taker, result))
        return False

    async def _iterate(
        self, flow: Flow, received: Received, taker: Taker, answers: AsyncIterator[Any], note: Callable[[float], None]
    ) -> None:
        try:
            following = answers.__anext__()
            while True:
                one = await timed(following, note)
                try:
                    await self.sender.flush(self._settled(flow, received, taker, (one,)))
                    # One that never waits itself must not hold everything up.
                    await trio.lowlevel.checkpoint()
                    following = answers.__anext__()
                except trio.Cancelled as cancelled:
                    # By a scope that the generator opened around its yield, and is to close; or by one of ours, and
                    # then it comes out of the generator again.
                    if not isinstance(answers, AsyncGenerator):
                        raise
                    following = answers.athrow(cancelled)
        except StopAsyncIteration:
            pass
        finally:
            aclose = getattr(answers, "aclose", None)
            if aclose is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                    await aclose()

    def _failed(self, flow: Flow, received: Received, taker: Taker, error: BaseException) -> None:
        """A handler raised, or answered what is no answer: this datagram is lost, and nothing else."""
        outcome = metrics.MALFORMED if isinstance(error, PeerError) else metrics.CRASHED
        taker.tally[outcome] += 1
        if self.observers:
            self._tell(flow, received, str(taker.binding), outcome, described(error))
        if outcome == metrics.MALFORMED:
            return
        held_back = self.repeated.due((str(taker.binding), type(error), _where(error)))
        if held_back is not None:
            _log.error("respond failed", exc_info=error, plugin=str(taker.binding), held_back=held_back)

    def _tell(
        self,
        flow: Flow,
        received: Received,
        instance: str,
        outcome: str,
        reason: str = "",
        answers: tuple[Transmit, ...] = (),
    ) -> None:
        path = flow.path
        self.observers.tell(
            Observation(
                time=time.time(),
                transport="udp",
                port=self.number,
                peer=Peer(path.peer, received.peer_port, path.scope_id),
                destination=path.destination,
                interface=flow.interface.name,
                via=flow.via,
                instance=instance,
                outcome=outcome,
                reason=reason or metrics.REASONS.get(outcome, ""),
                request=received.payload,
                answers=answers,
            )
        )


def _bound_broken(flow: Flow, taker: Taker, message: Outgoing) -> str | None:
    """The outcome to count where the answer is more than its bounds allow."""
    binding, size = taker.binding, len(message.message[0])
    if size > binding.service.max_answer:
        return metrics.TOO_LONG
    if binding.budget is None:
        return None
    return binding.budget.may_answer(flow.prefix, size, trio.current_time())


def _where(error: BaseException) -> tuple[str, int]:
    """The innermost place of a traceback: what makes two crashes the same kind."""
    place = error.__traceback__
    if place is None:
        return ("", 0)
    while place.tb_next is not None:
        place = place.tb_next
    return (place.tb_frame.f_code.co_filename, place.tb_lineno)


async def _in_thread(taker: Taker, request: Datagram) -> object:
    binding = taker.binding

    def respond(request: Datagram) -> object:
        began = perf_counter()
        try:
            return taker.respond(request)
        finally:
            took = perf_counter() - began
            binding.slowest = max(binding.slowest, took)
            if binding.latency is not None:
                binding.latency.observe(took)

    # Abandoned where `answer_timeout` runs out: the thread keeps its place in the limit until it ends.
    return await trio.to_thread.run_sync(respond, request, abandon_on_cancel=True, limiter=binding.threads)
