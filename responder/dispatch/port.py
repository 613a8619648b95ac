"""The hot flow: socket -> policy -> plugin -> socket, for one port.

One task a socket waits until datagrams are there, takes a bounded burst of them, asks the handlers, and sends what they
answered at once in one batch.  Only what can't be done at once becomes a task of its own: an async answer, a retry of a
send that the system refused for the moment.

What is the same for all datagrams of a flow (peer address, destination, interface) is worked out once and kept
in a bounded table as a `Decision`: who may take them, or why nobody may, the source address and route of replies, and
the counters.  A change of the interface table empties it.  So a datagram costs a look-up, however many interfaces,
addresses and prefixes there are.

This file refuses to open sockets, to know platforms, and to restart anything.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from math import inf
from time import perf_counter
from types import CoroutineType
from typing import Any, Final

import attrs
import trio

from ..bounded import Memory
from ..datagram import Datagram
from ..log import Repeated, get_logger
from ..net.interface_table import InterfaceTable
from ..net.types import DatagramSocket, Flow, Message, Platform, Received
from ..plugin import PASS
from . import outcomes
from .answers import Answers
from .failures import plugin_failure
from .flow import Binding, Candidate, Decision, decide
from .later import Later
from .observers import Observers
from .outcomes import Counters, Counts
from .request import Arrival
from .sender import Outgoing, Sender

BURST = 64
"""Datagrams taken in one go: enough to share the cost of waiting, few enough to let other ports have their turn."""

LONG_BURST = 8
"""Datagrams of a burst after which the next are looked for at once."""

TURN = 0.001
"""Seconds after which other tasks have their turn, however much there is to answer."""

MAX_FLOWS = 4096
"""Ways remembered by a port; the oldest is forgotten first, so that spoofed sources cost time, not memory."""

_log = get_logger(__name__)

_ANSWERED: Final = outcomes.ANSWERED
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
    decisions: Memory[Flow, Decision] = attrs.field(init=False)
    answers: Answers = attrs.field(init=False)
    later: Later = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.answers = Answers(self, self.table, self.observers)
        self.later = Later(self.answers, self.sender, self._ask)
        self.decisions = Memory(self._decide, MAX_FLOWS)
        self.number = self.socket.port

    async def serve(self) -> None:
        """Answer until cancelled.  Raises NetworkError where the socket can no longer receive."""
        socket, sender, observers = self.socket, self.sender, self.observers
        while True:
            await socket.wait_readable()
            turn_ends = inf
            while True:
                burst = socket.receive(BURST)
                if observers.present:
                    await sender.flush(
                        [each for one in burst for each in self._take(self.decisions.find(one.flow), one)]
                    )
                else:
                    messages, counted = self._answers(burst)
                    left = sender.send_now(messages, counted) if messages else ()
                    if left:
                        await sender.flush(left)
                # After a long burst there are more by now, most likely: asking costs less than waiting.
                if len(burst) < LONG_BURST:
                    break
                now = perf_counter()
                if now > turn_ends:
                    break
                turn_ends = min(turn_ends, now + TURN)
            if socket.kernel_drops != self._drops_told:
                self._tell_drops()

    def _answers(self, burst: Sequence[Received]) -> tuple[list[Message], list[Counts]]:
        """What is answered at once, with the counted that it is counted in; the rest has got tasks of its own."""
        known, own_numbers = self.decisions.known, self.own_numbers
        messages: list[Message] = []
        counted: list[Counts] = []
        # A run: datagrams one after the other, of one instance, each too quick to be told apart from the others.
        run: Binding | None = None
        asked, spent = 0, 0.0
        for received in burst:
            decision = known.get(received.flow) or self._missed(received.flow)
            candidate, port = decision.plain, received.peer_port
            if candidate is None or received.truncated or not port or (decision.from_own and port in own_numbers):
                self._unusual(decision, received, messages, counted)
                continue
            # What `_ask` does, for the usual case, without a call more than the handler's own.
            received.origin = candidate.origin
            binding = candidate.binding
            began = perf_counter()
            try:
                answer = candidate.respond(received)
                took = perf_counter() - began
            except BaseException as error:
                took = perf_counter() - began
                self._failed(decision, received, candidate, error)
                answer = _FAILED
            if took > binding.notable:
                binding.note(took)
            elif binding is run:
                asked += 1
                spent += took
            else:
                if run is not None:
                    run.note_short(asked, spent)
                run, asked, spent = binding, 1, took
            if type(answer) is bytes and len(answer) <= candidate.plain:
                candidate.counts[_ANSWERED] += 1
                messages.append((answer, candidate.route, port))
                counted.append(candidate.counts)
            elif answer is not _FAILED:
                self._other(decision, received, answer, messages, counted)
        if run is not None:
            run.note_short(asked, spent)
        return messages, counted

    def _missed(self, flow: Flow) -> Decision:
        return self.decisions.missed(flow)

    def _failed(self, decision: Decision, received: Received, candidate: Candidate, error: BaseException) -> None:
        self.answers.fail(decision, received, candidate, plugin_failure(error))

    def _unusual(self, decision: Decision, received: Received, messages: list[Message], counted: list[Counts]) -> None:
        for each in self._take(decision, received):
            messages.append(each.message)
            counted.append(each.counts)

    def _other(
        self, decision: Decision, received: Received, answer: object, messages: list[Message], counted: list[Counts]
    ) -> None:
        for each in self._sorted(decision, received, decision.candidates, answer):
            messages.append(each.message)
            counted.append(each.counts)

    def _tell_drops(self) -> None:
        held_back = self.repeated.due("drops")
        if held_back is not None:
            more, self._drops_told = self.socket.kernel_drops - self._drops_told, self.socket.kernel_drops
            _log.warning("the kernel dropped datagrams: the receive buffer was full", port=self.number, dropped=more)

    def forget_decisions(self) -> None:
        """The interface table or the bindings changed."""
        self.decisions.clear()

    def _take(self, decision: Decision, received: Received) -> list[Outgoing]:
        if not received.peer_port:
            refusal = outcomes.BAD_SOURCE
        elif decision.refusal:
            refusal = decision.refusal
        elif received.truncated:
            refusal = outcomes.TRUNCATED
        elif decision.from_own and received.peer_port in self.own_numbers:
            refusal = outcomes.OWN_SOURCE
        else:
            return self._ask(decision, received, decision.candidates)
        self.answers.refuse(decision, received, refusal)
        return []

    def _decide(self, flow: Flow) -> Decision:
        decision = decide(flow, self.table, self.bindings, self.counters, self.on_stale)
        for candidate in decision.candidates:
            candidate.origin = Arrival(
                self, flow, decision.interface, decision.via, candidate.binding, candidate.counts, decision.prefix
            )
        return decision

    def _ask(self, decision: Decision, received: Received, candidates: Sequence[Candidate]) -> list[Outgoing]:
        """Ask one candidate after the other until one does not PASS; what is ready at once is given back to be sent."""
        for position, candidate in enumerate(candidates):
            binding = candidate.binding
            # Each has a request of its own: one that passes may have kept it.
            request = received.again() if candidate is not decision.candidates[0] else received
            request.origin = candidate.origin
            if binding.budget is not None:
                binding.budget.asked(decision.prefix, len(received.payload), trio.current_time())
            answer: Any
            try:
                if binding.service.blocking:
                    request.arrival  # noqa: B018 - decoded here: a thread has no trio clock
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
        """What the first of `candidates` answered: sent at once, or by a task of its own; a late PASS asks the next."""
        if answer is PASS:
            self.answers.refuse(decision, received, outcomes.PASSED)
            return []
        try:
            if type(answer) is CoroutineType or inspect.isawaitable(answer) or isinstance(answer, AsyncIterator):
                self.later.start(decision, received, candidates, answer)
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
