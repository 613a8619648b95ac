"""One port's loop: socket -> decision -> handler -> socket.

One task a socket waits until datagrams are there, takes a bounded burst of them, asks the handlers, and sends what they
answered at once in one batch.  What can't be done at once becomes a task of its own: an answer that waits, and a send
that the system refused for the moment.

Almost every datagram is *usual*: its flow is known, one instance may take it, and the answer is bytes within the
bounds.  Where the platform has compiled code it does just that case, by calling the same methods for all else
(`responder.net.types.AnswerUsual`); the rules stand here.

This file opens no sockets, knows no platform, and restarts nothing.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from math import inf
from time import perf_counter
from types import CoroutineType
from typing import Any, ClassVar

import attrs
import trio

from ..bounded import BoundedTable, Memory
from ..datagram import Datagram, Peer
from ..log import Repeated, get_logger
from ..net.marks import mark_of_flow
from ..net.types import AnswerUsual, DatagramSocket, Flow, Message, Received
from ..plugin import PASS
from . import outcomes
from .answers import Answers
from .binding import Binding
from .budget import source_prefix
from .failures import plugin_failure
from .flow import Arrival, Candidate, Decision, Environment, arrive, decide, refusal_of
from .outcomes import Counts, Traffic
from .request import Request, arrival_of, request_of
from .sender import Outgoing, Sender
from .tasks import Tasks

BURST = 64
"""Datagrams taken in one go: enough to share the cost of waiting, few enough to let other ports have their turn."""

LONG_BURST = 8
"""Datagrams of a burst after which the next are looked for at once."""

TURN = 0.001
"""Seconds after which other tasks have their turn, however much there is to answer."""

MAX_ARRIVALS = 1024
"""Destinations remembered by a port, each with its interface: with AnyIP a host may have as many as peers name."""

MAX_FLOWS = 16384
"""Flows remembered by a port, some 0.5 KiB each, so that spoofed sources cost time, not memory.

The compiled form remembers as many, of all ports together."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Port:
    """One bound UDP socket and the bindings that answer on it, in config order."""

    socket: DatagramSocket
    bindings: tuple[Binding, ...]
    environment: Environment
    sender: Sender
    repeated: Repeated = attrs.field(factory=Repeated)
    number: int = attrs.field(init=False)
    traffic: Traffic = attrs.field(init=False)
    decisions: Memory[Flow, Decision] = attrs.field(init=False)
    _arrivals: BoundedTable[tuple[int | None, ...], Arrival] = attrs.field(
        factory=lambda: BoundedTable(MAX_ARRIVALS), init=False
    )
    answers: Answers = attrs.field(init=False)
    tasks: Tasks = attrs.field(init=False)
    _drops_told: int = attrs.field(default=0, init=False)
    _answer: Callable[[], int] = attrs.field(init=False)
    """Answer what is there, up to BURST, and say how much that was.  What could not be sent is in `_left`."""
    _left: list[Outgoing] = attrs.field(factory=list, init=False)
    _now: float = attrs.field(default=0.0, init=False)
    _wall: float = attrs.field(default=0.0, init=False)
    """When the present burst was taken: seconds on trio's clock, and on the real-time clock."""

    def __attrs_post_init__(self) -> None:
        self.answers = Answers(self.sender, self.environment)
        self.tasks = Tasks(self.answers, self.sender, self._sorted)
        self.decisions = Memory(self.decide, MAX_FLOWS, mark_of_flow)
        self.number, self.traffic = self.socket.port, self.sender.traffic
        compiled = self.socket.answer
        self._answer = self._answer_plainly if compiled is None else partial(self._answer_compiled, compiled)

    async def serve(self) -> None:
        """Answer until cancelled.  Raises NetworkError where the socket can no longer receive."""
        socket, sender, observers = self.socket, self.sender, self.environment.observers
        while True:
            try:
                await socket.wait_readable()
            except OSError as error:
                await sender.failed_waits.wait_out(error)
                continue
            turn_ends = inf
            while True:
                count = self._answer_watched() if observers.present else self._answer()
                if self._left:
                    left, self._left = self._left, []
                    await sender.flush(left)
                    del left  # what it refers to may be taken away by a reload
                # After a long burst there are more by now, most likely: asking costs less than waiting.
                if count < LONG_BURST:
                    break
                now = perf_counter()
                if now > turn_ends:
                    break
                turn_ends = min(turn_ends, now + TURN)
            if socket.kernel_drops != self._drops_told:
                self._tell_drops()

    def _answer_watched(self) -> int:
        """Each datagram the long way, on which observers are told of it."""
        self._look_at_clocks()
        burst = self._receive()
        for received in burst:
            self._left += self._take(self.decisions.find(received.flow), received)
        return len(burst)

    def _answer_compiled(self, answer: AnswerUsual) -> int:
        self._look_at_clocks()
        return answer(BURST, self, self._now, self._wall)

    def _look_at_clocks(self) -> None:
        self._now, self._wall = trio.current_time(), time.time()

    def _receive(self) -> Sequence[Received]:
        burst = self.socket.receive(BURST)
        self.traffic["received"] += sum(len(received.payload) for received in burst)
        return burst

    def _answer_plainly(self) -> int:
        burst = self._receive()
        self._look_at_clocks()
        known, missed, now, wall = self.decisions.known, self.decisions.missed, self._now, self._wall
        messages: list[Message] = []
        counted: list[Counts] = []
        # A run: datagrams one after the other that are counted in one place.
        run: Candidate | None = None
        asked, answered, spent = 0, 0, 0.0
        began = perf_counter()
        for received in burst:
            decision = known.get(received.flow) or missed(received.flow)
            candidate = decision.usual
            if candidate is None or received.truncated or received.peer_port in decision.suspects:
                self.unusual(decision, received)
                began = perf_counter()
                continue
            # What `_ask` does, for the usual case, without a call more than the handler's own.
            answer: object = None
            error: BaseException | None = None
            try:
                answer = candidate.respond(request_of(received, candidate, now, wall))
            except BaseException as raised:
                error = raised
            ended = perf_counter()
            took, began = ended - began, ended
            binding = candidate.binding
            if candidate is not run and (
                run is None or candidate.counts is not run.counts or binding is not run.binding
            ):
                if run is not None:
                    run.count(asked, answered, spent)
                run, asked, answered, spent = candidate, 0, 0, 0.0
            if took > binding.notable:
                binding.note(took)
            else:
                asked += 1
                spent += took
            if type(answer) is bytes and len(answer) <= candidate.plain_limit:
                answered += 1
                messages.append((answer, candidate.route_to(received.flow), received.peer_port))
                counted.append(candidate.counts)
                continue
            if error is not None:
                self.failed(decision, received, error)
            elif self.other(decision, received, answer) and type(answer) is bytes:
                messages.append((answer, candidate.route_to(received.flow), received.peer_port))
                counted.append(candidate.counts)
            began = perf_counter()
        if run is not None:
            run.count(asked, answered, spent)
        if messages:
            self._left += self.sender.send_now(messages, counted)
        return len(burst)

    # Called by the loop, plain or compiled (`responder.net.types.AnswerUsual`).

    shapes: ClassVar = (Request, Peer, Decision, Candidate, Binding)

    def decide(self, flow: Flow) -> Decision:
        """The decision about a flow."""
        to, local = flow.destination, flow.local
        # Numbers, since an address's own hash is slow.
        key = flow.interface, None if to is None else int(to), flow.peer.version, None if local is None else int(local)
        arrival = self._arrivals.get(key)
        if arrival is None:
            arrival = arrive(flow, self.number, [each for each in self.bindings if each.service.udp], self.environment)
            # Of one that the table lacks the next datagram shows again that it is old.
            if not flow.interface or self.environment.table.get(flow.interface) is not None:
                self._arrivals[key] = arrival
        return decide(flow, arrival, self.environment)

    def unusual(self, decision: Decision, received: Received) -> None:
        """A datagram that must be looked at, or whose candidates take more than a call."""
        self._left += self._take(decision, received)

    def other(self, decision: Decision, received: Received, answer: object) -> bool:
        """An answer of the usual candidate that is not plain bytes within its limit.

        True for bytes that the budget allows: they are counted then, and the loop sends them with the others.
        """
        candidate = decision.candidates[0]
        binding = candidate.binding
        if type(answer) is not bytes or len(answer) > binding.service.max_answer or binding.budget is None:
            self._credit(received, binding)
        else:
            prefix, asked = source_prefix(received.flow.peer), len(received.payload)
            if binding.budget.may_answer(prefix, len(answer), self._now, asked=asked) is None:
                candidate.counts[outcomes.ANSWERED] += 1
                return True
        self._left += self._sorted(decision, received, decision.candidates, answer)
        return False

    def failed(self, decision: Decision, received: Received, error: BaseException) -> None:
        """The usual candidate's handler raised."""
        self._credit(received, decision.candidates[0].binding)
        self.answers.fail(decision, received, decision.candidates[0], plugin_failure(error))

    def unsent(self, answer: bytes, candidate: Candidate, flow: Flow, peer_port: int) -> None:
        """A plain answer, counted as answered, that is still to be sent."""
        self._left.append(Outgoing((answer, candidate.route_to(flow), peer_port), candidate.counts))

    def _tell_drops(self) -> None:
        held_back = self.repeated.due("drops")
        if held_back is not None:
            more, self._drops_told = self.socket.kernel_drops - self._drops_told, self.socket.kernel_drops
            _log.warning("the kernel dropped datagrams: the receive buffer was full", port=self.number, dropped=more)

    def forget_decisions(self) -> None:
        """Decide anew: the interface table, the bindings or our own ports changed."""
        self.decisions.clear()
        self._arrivals.clear()
        if self.socket.answer is not None:
            self.socket.answer.forget()

    def _take(self, decision: Decision, received: Received) -> list[Outgoing]:
        """Ask the candidates, or count the datagram as dropped."""
        arrival = arrival_of(received.timestamp, self._now, self._wall)
        refusal = refusal_of(decision, received, self.environment, arrival)
        if refusal is None:
            return self._ask(decision, received, decision.candidates)
        self.answers.refuse(decision, received, refusal)
        return []

    def _credit(self, received: Received, binding: Binding) -> None:
        """What `amplification` allows to be answered grows with each request, answered or not."""
        if binding.budget is not None:
            binding.budget.asked(source_prefix(received.flow.peer), len(received.payload), self._now)

    def _ask(self, decision: Decision, received: Received, candidates: Sequence[Candidate]) -> list[Outgoing]:
        """Ask one candidate after the other until one does not PASS; return the datagrams that are ready to be sent."""
        for position, candidate in enumerate(candidates):
            binding = candidate.binding
            # Each has a request of its own: one that passes may have kept it.
            request = request_of(received, candidate, self._now, self._wall)
            self._credit(received, binding)
            answer: Any
            try:
                if binding.service.blocking:
                    answer = _in_thread(candidate, request)
                else:
                    began = perf_counter()
                    try:
                        answer = candidate.respond(request)
                    finally:
                        binding.note(perf_counter() - began)
            except BaseException as error:
                self.answers.fail(decision, received, candidate, plugin_failure(error))
                return []
            if answer is not PASS:
                return self._sorted(decision, received, candidates[position:], answer)
        self.answers.refuse(decision, received, outcomes.PASSED)
        return []

    def _sorted(
        self, decision: Decision, received: Received, candidates: Sequence[Candidate], answer: Any
    ) -> list[Outgoing]:
        """Settle the answer of the first of `candidates` at once, or start a task for it; PASS asks the next one."""
        if answer is PASS:
            return self._ask(decision, received, candidates[1:])
        try:
            # Bytes first, which most answers are: the other questions take long.
            if type(answer) is not bytes and (
                type(answer) is CoroutineType or inspect.isawaitable(answer) or isinstance(answer, AsyncIterator)
            ):
                self.tasks.start(decision, received, candidates, answer)
                return []
            return self.answers.settle(decision, received, candidates[0], answer)
        except BaseException as error:
            self.answers.fail(decision, received, candidates[0], plugin_failure(error))
            return []


async def _in_thread(candidate: Candidate, request: Datagram) -> object:
    binding = candidate.binding

    def respond(request: Datagram) -> tuple[object]:
        began = perf_counter()
        try:
            answer = candidate.respond(request)
            # A generator's code runs when it is asked for answers: that has to be here too.
            answer = tuple(answer) if isinstance(answer, Iterator) else answer
            return (answer,)  # in a tuple, since trio takes no coroutine out of a thread
        finally:
            took = perf_counter() - began
            binding.slowest = max(binding.slowest, took)
            if binding.latency is not None:
                binding.latency.observe(took)

    # Abandoned where `answer_timeout` runs out: the thread keeps its place in the limit until it ends.
    (answer,) = await trio.to_thread.run_sync(respond, request, abandon_on_cancel=True, limiter=binding.threads)
    return answer
