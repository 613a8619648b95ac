"""Answers that are awaited: in tasks that are used again, bounded in number and in time, and sent many in one go.

A worker (a task) takes answers off a queue.  One that never waits costs no task: its worker goes on with the next.  At
the first step that waits, the answer's time begins to run, and workers are called for the rest of the queue.

A cancel scope around each answer ends one that takes too long, and finds what it left open, a scope or a nursery:
closing the outer scope then raises RuntimeError.  A scope costs as much as all the rest, so with many answers in flight
a worker keeps its scope while nothing open can touch the next answer: no nursery, no deadline of another scope, no
cancellation.  (It is shielded, since asking for the deadline goes up to the next shield.)  A worker with something open
is not used again; trio raises RuntimeError as its task ends, so each worker has a nursery of its own.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any, TypeAlias

import attrs
import trio

from ..errors import PluginError
from ..net.types import Received
from . import outcomes
from .answers import SENT, Answers
from .binding import Binding
from .failures import plugin_failure
from .flow import Candidate, Decision
from .sender import Outgoing, Sender

FEW = 4
"""Answers of an instance in flight up to which each has a scope of its own and is sent at once."""

SLACK = 1 / 64
"""The share of its time that an answer may take longer, so that a scope need not be told each one's time."""

TURN = 0.001
"""Seconds after which other tasks have their turn, however many answers don't wait."""

_Job: TypeAlias = tuple[Decision, Received, Sequence[Candidate], Any, Context]
"""An answer, with who gave it (the first candidate) and who is asked if it is PASS (the others)."""


@attrs.define(eq=False)
class _Worker:
    """waits: its answer has waited.  sound: nothing is open in its task.  lives: seconds that it stays without work."""

    scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    waits: bool = False
    sound: bool = True
    lives: float = 5.0


@attrs.define(eq=False)
class Tasks:
    """The awaited answers of one port.  `take` turns what one gives in the end into datagrams to send."""

    answers: Answers
    sender: Sender
    take: Callable[[Decision, Received, Sequence[Candidate], object], list[Outgoing]]
    _queue: deque[_Job] = attrs.field(factory=deque, init=False)
    _ready: list[tuple[Binding, Sequence[Outgoing]]] = attrs.field(factory=list, init=False)
    """To be sent by the next worker that finds the queue empty; pending until then, which bounds their number."""
    _idle: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _coming: int = attrs.field(default=0, init=False)
    """Workers that were called and have not looked at the queue yet."""
    _closing: bool = attrs.field(default=False, init=False)

    def start(self, decision: Decision, received: Received, candidates: Sequence[Candidate], answer: Any) -> None:
        """Have an awaitable, or an async iterator, awaited and its answers sent."""
        binding = candidates[0].binding
        if binding.pending >= binding.service.max_pending:
            self.answers.lose(decision, received, candidates[0], outcomes.BUSY)
            getattr(answer, "close", lambda: None)()  # a coroutine that never runs would warn
            return
        binding.pending += 1
        if type(answer) is not types.CoroutineType and isinstance(answer, AsyncIterator):
            answer = self.answers.settle_each(decision, received, candidates[0], answer, self.sender.flush)
        self._queue.append((decision, received, candidates, answer, copy_context()))
        self._call(1)

    def close(self) -> None:
        """End each worker that has nothing to do, so that the nursery ends with the last answer."""
        self._closing = True
        self._call(self._coming + len(self._idle))

    def reopen(self) -> None:
        """Keep workers again after `close`."""
        self._closing = False

    def _call(self, count: int) -> None:
        """See that so many workers look at the queue soon."""
        missing = count - self._coming
        if missing > 0:
            self._coming = count
            for _ in range(missing - len(self._idle.unpark(count=missing))):
                self.sender.nursery.start_soon(self._contain)

    async def _contain(self) -> None:
        """A worker's life.  An order to end comes here, and takes the worker's shield away."""
        worker = _Worker()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._work, worker, nursery.cancel_scope)
                try:
                    await trio.sleep_forever()
                finally:
                    worker.scope.shield = False
        except* RuntimeError:
            if worker.sound:
                raise

    async def _work(self, worker: _Worker, life: trio.CancelScope) -> None:
        self._coming -= 1
        while await self._use_scope(worker):
            if self._ready and not self._coming and not self._queue:
                await self._send()
        self._call(bool(self._queue or self._ready))
        life.cancel()

    async def _use_scope(self, worker: _Worker) -> bool:
        """Await answers in one scope.  False: the worker has to end, or may."""
        job, result, failure, kept, clear, turn_ends = None, None, None, False, True, 0.0
        deadline = trio.current_time() + worker.lives
        worker.scope = scope = trio.CancelScope(deadline=deadline, shield=worker.scope.shield)
        try:
            with scope:
                while job := await self._next(scope):
                    result, failure, clear, worker.waits = None, None, False, False
                    try:
                        result = await self._timed(worker, job)
                    except BaseException as error:
                        failure = plugin_failure(error)
                    nurseries = trio.lowlevel.current_task().child_nurseries
                    clear = trio.current_effective_deadline() == scope.deadline and not nurseries
                    if not clear or job[2][0].binding.pending <= FEW:
                        break
                    self._conclude(job, result, failure)
                    job, kept = None, True
                    if worker.waits:
                        self._call(1)  # it sends this answer together with those that end meanwhile
                    elif perf_counter() > turn_ends:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                        turn_ends = perf_counter() + TURN
        except RuntimeError:  # of the scope: what an answer raises is caught within
            worker.sound = False
            if job and not (kept and clear):  # else it was an earlier answer, and touched nothing
                left = PluginError(f"{job[2][0].binding}: respond left a cancel scope or a nursery open")
                failure = plugin_failure(left)
        if job:
            self._conclude(job, result, failure, timed_out=scope.cancelled_caught)
        # Where others were called, one of them sends what is ready: to go on without a wait would keep them from it.
        return worker.sound and bool(job or (self._ready and not self._coming))

    async def _next(self, scope: trio.CancelScope) -> _Job | None:
        """The next answer.  None: it is time to send, or there is nothing to wait for."""
        while not self._queue:
            if self._closing or (self._ready and not self._coming):
                return None
            await self._idle.park()
            self._coming -= 1
            if scope.cancel_called:
                return None
        return self._queue.popleft()

    async def _send(self) -> None:
        ready, self._ready = self._ready, []
        await self.sender.flush([each for _, outgoing in ready for each in outgoing])
        for binding, _ in ready:
            binding.pending -= 1

    def _conclude(self, job: _Job, result: object, failure: BaseException | None, timed_out: bool = False) -> None:
        """Make ready what is to be sent for what an answer gave in the end, or raised."""
        decision, received, candidates, _, context = job
        outgoing: Sequence[Outgoing] = ()
        if timed_out:
            self.answers.lose(decision, received, candidates[0], outcomes.TIMEOUT)
        elif failure is not None:
            self.answers.fail(decision, received, candidates[0], failure)
        elif result is not SENT:
            outgoing = context.run(self.take, decision, received, candidates, result)
        if outgoing:
            self._ready.append((candidates[0].binding, outgoing))
        else:
            candidates[0].binding.pending -= 1

    @types.coroutine
    def _timed(self, worker: _Worker, job: _Job) -> Generator[Any, Any, Any]:
        """Await it in its context; its binding is told how long each step held the loop up."""
        run, binding = job[4].run, job[2][0].binding
        steps: Any = run(job[3].__await__)
        step: Any = next
        given: Any = steps  # an iterator need not have `send`
        while True:
            began = perf_counter()
            try:
                waits_for = run(step, given)
            except StopIteration as done:
                return done.value
            finally:
                took = perf_counter() - began
                if took > binding.slowest:
                    binding.note_step(took)
            if not worker.waits:
                self._wait(worker, binding)
            try:
                given, step = (yield waits_for), steps.send
            except BaseException as raised:
                given, step = raised, steps.throw

    def _wait(self, worker: _Worker, binding: Binding) -> None:
        """A worker's answer waits: its time begins to run, and others take what is queued and send what is ready."""
        worker.waits = True
        timeout = binding.service.answer_timeout
        until, worker.lives = trio.current_time() + timeout, timeout * (1 + SLACK)
        if not until <= worker.scope.deadline <= until + timeout * SLACK:
            worker.scope.deadline = until + timeout * SLACK
        self._call(len(self._queue) or bool(self._ready))
