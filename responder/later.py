"""Answers that take their time: a task each, bounded in number and in time, and sent many in one go.

This file refuses to know what an answer means: see `responder.answers`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from . import metrics
from .answers import Answers
from .blame import plugin_failure
from .cohorts import Cohorts
from .flows import Flow, Taker
from .net.types import Received
from .plugin import PASS
from .sending import Outgoing, Sender
from .timing import timed

FEW = 8
"""Answers of an instance in flight up to which each is cancelled exactly at its time, and sent by itself."""


@attrs.define(eq=False)
class Later:
    """The answers in flight of one port.  `ask_others` asks the takers after one that passes."""

    answers: Answers
    sender: Sender
    ask_others: Callable[[Flow, Received, Sequence[Taker]], list[Outgoing]]
    _cohorts: dict[float, Cohorts] = attrs.field(factory=dict, init=False)
    """By `answer_timeout`."""

    def start(self, flow: Flow, received: Received, takers: Sequence[Taker], answer: Any) -> None:
        """See that an awaitable, or an async iterator, is awaited and its answers sent."""
        binding = takers[0].binding
        if binding.pending >= binding.runtime.max_pending:
            self.answers.lose(flow, received, takers[0], metrics.BUSY)
            close = getattr(answer, "close", None)  # a coroutine that never runs would warn
            if close is not None:
                close()
            return
        binding.pending += 1
        if binding.pending <= FEW:
            self.sender.nursery.start_soon(self._answer_alone, flow, received, takers, answer)
            return
        timeout = binding.runtime.answer_timeout
        cohorts = self._cohorts.get(timeout)
        if cohorts is None:
            cohorts = self._cohorts[timeout] = Cohorts(self.sender.nursery, timeout)
        cohorts.start_soon(self._answer, flow, received, takers, answer)

    async def _answer_alone(self, flow: Flow, received: Received, takers: Sequence[Taker], answer: Any) -> None:
        with trio.move_on_after(takers[0].binding.runtime.answer_timeout) as scope:
            await self._answer(flow, received, takers, answer, scope)

    async def _answer(
        self, flow: Flow, received: Received, takers: Sequence[Taker], answer: Any, scope: trio.CancelScope
    ) -> None:
        taker = takers[0]
        passed = False
        try:
            passed = await self._collect(flow, received, taker, answer)
        except BaseException as error:
            try:
                failure = plugin_failure(error)
            except BaseException:
                if scope.cancel_called:
                    self.answers.lose(flow, received, taker, metrics.TIMEOUT)
                raise
            self.answers.fail(flow, received, taker, failure)
        finally:
            taker.binding.pending -= 1
        if passed:
            await self.sender.flush(self.ask_others(flow, received, takers[1:]))

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
        outgoing = self.answers.settle(flow, received, taker, result)
        if taker.binding.pending <= FEW or not self.sender.post(outgoing):
            await self.sender.flush(outgoing)
        return False

    async def _iterate(
        self, flow: Flow, received: Received, taker: Taker, answers: AsyncIterator[Any], note: Callable[[float], None]
    ) -> None:
        try:
            following = answers.__anext__()
            while True:
                one = await timed(following, note)
                try:
                    await self.sender.flush(self.answers.settle(flow, received, taker, (one,)))
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
