"""Tasks that may take only so long, many of them under one cancel scope.

A scope of its own costs a task as much as all the rest of it.  So tasks that begin within the same tenth of the time
they may take share one: each has at least its time, and at most a tenth more.

This file refuses to know what the tasks do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import trio

SHARE = 0.1
"""Of the time that a task may take: how long others join it under its scope."""


_Function: TypeAlias = Callable[..., Awaitable[None]]


@attrs.define(eq=False)
class _Cohort:
    """Until its nursery is open, those who join it wait in `early`."""

    scope: trio.CancelScope
    closes_at: float
    nursery: trio.Nursery | None = None
    early: list[tuple[_Function, tuple[Any, ...]]] = attrs.field(factory=list)

    def start(self, function: _Function, arguments: tuple[Any, ...]) -> None:
        if self.nursery is None:
            self.early.append((function, arguments))
        else:
            given: tuple[Any, ...] = (*arguments, self.scope)
            self.nursery.start_soon(function, *given)


@attrs.define(eq=False)
class Cohorts:
    """Starts tasks in `nursery` that are cancelled after `timeout` seconds."""

    nursery: trio.Nursery
    timeout: float
    _current: _Cohort | None = attrs.field(default=None, init=False)

    def start_soon(self, function: _Function, *arguments: Any) -> None:
        """Start `function(*arguments, scope)`, `scope` being the one that it is cancelled by."""
        now, cohort = trio.current_time(), self._current
        if cohort is None or now >= cohort.closes_at:
            cohort = self._current = _Cohort(trio.CancelScope(), now + self.timeout * SHARE)
            self.nursery.start_soon(self._run, cohort)
        cohort.start(function, arguments)

    async def _run(self, cohort: _Cohort) -> None:
        try:
            with cohort.scope:
                async with trio.open_nursery() as nursery:
                    cohort.nursery = nursery
                    for function, arguments in cohort.early:
                        cohort.start(function, arguments)
                    await trio.sleep_until(cohort.closes_at)
                    cohort.scope.deadline = cohort.closes_at + self.timeout
                    self._close(cohort)
        finally:
            self._close(cohort)

    def _close(self, cohort: _Cohort) -> None:
        """Nobody joins it any more."""
        if self._current is cohort:
            self._current = None
