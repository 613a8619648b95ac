"""Answers that take their time: a task each while they wait, bounded in number and in time, and sent many in one go.

Each runs in a context (`contextvars`) of its own, however many have used its task before.  This file refuses to know
what an answer means: see `responder.dispatch.answers`.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from time import perf_counter
from types import CoroutineType, NoneType
from typing import Any, TypeAlias

import attrs
import trio

from ..datagram import Reply
from ..errors import PluginError
from ..net.types import Message, Received
from ..plugin import PASS
from . import outcomes
from .answers import Answers
from .binding import Binding
from .failures import plugin_failure
from .flow import Candidate, Decision
from .outcomes import Counts
from .pool import Pool, Worker
from .sender import Outgoing, Sender
from .timing import NOT_BEGUN, timed

FEW = 8
"""Answers of an instance in flight up to which one that has waited is sent by itself."""

TURN = 0.001
"""Seconds after which other tasks have their turn, however many answers don't wait."""

_AT_ONCE = frozenset({bytes, Reply, list, tuple, NoneType})
"""Types of answers that nobody has to await."""

_Job: TypeAlias = tuple[Decision, Received, Sequence[Candidate], Any, Context]
"""An answer, with who gave it (the first candidate) and who is asked if it is PASS (the others)."""


@attrs.define(eq=False)
class Later:
    """The answers in flight of one port.  `ask_others` asks the candidates after one that passes."""

    answers: Answers
    sender: Sender
    ask_others: Callable[[Decision, Received, Sequence[Candidate]], list[Outgoing]]
    _pools: dict[float, Pool[_Job]] = attrs.field(factory=dict, init=False)
    """By `answer_timeout`."""
    _closing: bool = attrs.field(default=False, init=False)

    def start(self, decision: Decision, received: Received, candidates: Sequence[Candidate], answer: Any) -> None:
        """See that an awaitable, or an async iterator, is awaited and its answers sent."""
        binding = candidates[0].binding
        runtime = binding.runtime
        if binding.pending >= runtime.max_pending:
            self.answers.lose(decision, received, candidates[0], outcomes.BUSY)
            close = getattr(answer, "close", None)  # a coroutine that never runs would warn
            if close is not None:
                close()
            return
        binding.pending += 1
        timeout = runtime.answer_timeout
        pool = self._pools.get(timeout)
        if pool is None:
            pool = self._pools[timeout] = Pool(self.sender.nursery, timeout, self._begin)
            if self._closing:
                pool.close()
        pool.start((decision, received, candidates, answer, copy_context()))

    def close(self) -> None:
        """Nothing more comes: the nursery is to end as soon as the last answer does."""
        self._closing = True
        for pool in self._pools.values():
            pool.close()

    def reopen(self) -> None:
        """Something comes after all."""
        self._closing = False
        for pool in self._pools.values():
            pool.reopen()

    def _begin(self, jobs: deque[_Job], worker: Worker) -> Coroutine[Any, Any, None] | None:
        """See `Pool`.  What is to be sent in the end goes in one batch."""
        messages: list[Message] = []
        counted: list[Counts] = []
        watched: list[Outgoing] = []
        ended: list[Binding] = []
        rest: Coroutine[Any, Any, None] | None = None
        observers = self.answers.environment.observers
        now = perf_counter()
        turn_ends = now + TURN
        while jobs and now < turn_ends:
            job = jobs.popleft()
            decision, received, candidates, answer, context = job
            if type(answer) is not CoroutineType:
                rest = self._answer(job, worker)
                break
            candidate = candidates[0]
            binding = candidate.binding
            result, failure = None, None
            began = perf_counter()
            try:
                waits_for = context.run(answer.send, None)
            except StopIteration as done:
                result = done.value
            except BaseException as error:
                failure = error
            else:
                rest = self._answer(job, worker, waits_for)
            now = perf_counter()
            if now - began > binding.slowest:
                binding.note_step(now - began)
            if rest is not None:
                break
            if (
                type(result) is bytes
                and len(result) <= candidate.plain_limit
                and not observers.present
                and worker.is_sound()
            ):
                # What `settle` does, for the usual case.
                candidate.counts[outcomes.ANSWERED] += 1
                messages.append((result, candidate.route, received.peer_port))
                counted.append(candidate.counts)
                ended.append(binding)
                continue
            if failure is None and _is_awaited(result):
                # The answer of a blocking service: `respond` gave, in its thread, something to await here.
                rest = self._answer((decision, received, candidates, result, context), worker)
                break
            ended.append(binding)
            for each in self._concluded(job, worker, result, failure):
                if each.on_lost is None:
                    messages.append(each.message)
                    counted.append(each.counts)
                else:
                    watched.append(each)
            if not worker.is_sound():
                break
        left = self.sender.send_now(messages, counted) if messages else []
        left += watched
        if left and not self.sender.post(left):
            return self._flush_first(left, ended, rest)
        for binding in ended:
            binding.pending -= 1
        return rest

    async def _flush_first(
        self, left: Sequence[Outgoing], ended: Sequence[Binding], rest: Coroutine[Any, Any, None] | None
    ) -> None:
        """Answers that wait for room are still pending: nothing else bounds their number."""
        try:
            await self.sender.flush(left)
        finally:
            for binding in ended:
                binding.pending -= 1
            if rest is not None:
                await rest

    def _concluded(
        self, job: _Job, worker: Worker, result: object, failure: BaseException | None
    ) -> Sequence[Outgoing]:
        """What is to be sent for what an answer gave, or raised, that did not wait."""
        decision, received, candidates, _, context = job
        try:
            if failure is None:
                self._look_at(candidates[0], worker)
                if result is not PASS:
                    return context.run(self.answers.settle, decision, received, candidates[0], result)
        except BaseException as error:
            failure = error
        if failure is None:
            return context.run(self.ask_others, decision, received, candidates[1:])
        self.answers.fail(decision, received, candidates[0], plugin_failure(failure))
        return ()

    def _look_at(self, candidate: Candidate, worker: Worker) -> None:
        if not worker.is_sound():
            raise PluginError(f"{candidate.binding}: respond left a cancel scope or a nursery open")

    async def _answer(self, job: _Job, worker: Worker, waits_for: Any = NOT_BEGUN) -> None:
        """Await it, from the first step on that waits for something, and send what it gives, as it gives it."""
        decision, received, candidates, answer, context = job
        candidate, binding = candidates[0], candidates[0].binding
        passed = False
        try:
            result = answer
            while _is_awaited(result):
                if type(result) is not CoroutineType and isinstance(result, AsyncIterator):
                    await self._iterate(job, worker, result)
                    return
                # What a blocking service answers may be something to await in its turn.
                result, waits_for = await timed(result, binding, context, waits_for), NOT_BEGUN
            self._look_at(candidate, worker)
            passed = result is PASS
            if not passed:
                outgoing = context.run(self.answers.settle, decision, received, candidate, result)
                if binding.pending <= FEW or not self.sender.post(outgoing):
                    await self.sender.flush(outgoing)
        except BaseException as error:
            try:
                failure = plugin_failure(error)
            except BaseException:
                if worker.scope.cancel_called:
                    self.answers.lose(decision, received, candidate, outcomes.TIMEOUT)
                raise
            self.answers.fail(decision, received, candidate, failure)
        finally:
            binding.pending -= 1
        if passed:
            await self.sender.flush(context.run(self.ask_others, decision, received, candidates[1:]))

    async def _iterate(self, job: _Job, worker: Worker, answers: AsyncIterator[Any]) -> None:
        decision, received, candidates, _, context = job
        candidate = candidates[0]
        try:
            following = context.run(answers.__anext__)
            while True:
                one = await timed(following, candidate.binding, context)
                try:
                    await self.sender.flush(self.answers.settle(decision, received, candidate, (one,)))
                    # One that never waits itself must not hold everything up.
                    await trio.lowlevel.checkpoint()
                    following = context.run(answers.__anext__)
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
                    await timed(context.run(aclose), candidate.binding, context)
        self._look_at(candidate, worker)


def _is_awaited(answer: object) -> bool:
    kind = type(answer)
    return kind is CoroutineType or (
        kind not in _AT_ONCE and (inspect.isawaitable(answer) or isinstance(answer, AsyncIterator))
    )
