"""Tasks that are used again: starting one costs more than most answers do.

A task of the pool takes work off a queue and does it, one piece after the other, for as long as none waits.  A piece
that waits has its task to itself until it ends, and at most `timeout` seconds; others take over what is queued.  A task
with nothing to do is parked; one that was not needed for some seconds ends.

A task is used again only where it is as it was before.  One that was cancelled is not, and neither is one in which the
work left a cancel scope or a nursery open.  trio then raises RuntimeError when the task ends; each task has a nursery
of its own around it, since nothing else keeps that error from the others.

This file refuses to know what the work is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any, Generic, TypeAlias, TypeVar

import attrs
import trio

IDLE = 5.0
"""Seconds after which a task ends that nobody needed meanwhile."""

MAX_REACH = 1024
"""Tasks called at a time at most; more are, where those find work that waits."""

Work = TypeVar("Work")


@attrs.define(eq=False)
class Worker:
    """One task.  `scope` is around all its work, and cancelled where a piece takes too long."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    dismissed: bool = attrs.field(default=False, init=False)
    spoilt: bool = attrs.field(default=False, init=False)
    """It ends with cancel scopes or nurseries open that are not ours."""
    task: trio.lowlevel.Task = attrs.field(init=False)
    _status: object = attrs.field(init=False)

    def enter(self) -> None:
        """It is in its scope now."""
        self.task = trio.lowlevel.current_task()
        self._status = _status(self.task)

    def is_sound(self) -> bool:
        """Whether all cancel scopes and nurseries that the work opened in the task are closed again."""
        return _status(self.task) is self._status


def _status(task: trio.lowlevel.Task) -> object:
    """What changes with each cancel scope, also with a nursery's.

    trio tells nobody but who closes a scope around it, and that costs more than all else that a task is used again for.
    """
    return getattr(task, "_cancel_status", None)


Begin: TypeAlias = Callable[[deque[Work], Worker], Coroutine[Any, Any, None] | None]


@attrs.define(eq=False)
class Pool(Generic[Work]):
    """Does work in tasks of `nursery`.

    begin  takes pieces off the queue and does them, until it is empty, others have to have their turn, the task is no
           longer sound, or one waits; of that it gives back what remains to be awaited.  Raises what ends the nursery.
    """

    nursery: trio.Nursery
    timeout: float
    begin: Begin[Work]
    _queue: deque[Work] = attrs.field(factory=deque, init=False)
    _workers: int = attrs.field(default=0, init=False)
    _parked: list[Worker] = attrs.field(factory=list, init=False)
    _spare: int = attrs.field(default=0, init=False)
    """The fewest that were parked at a time since the keeper looked last."""
    _coming: int = attrs.field(default=0, init=False)
    """Workers that will look at the queue in a moment."""
    _reach: int = attrs.field(default=1, init=False)
    """How many to call for what is queued: one while no piece waits, twice as many after each that does."""
    _waiting: dict[Worker, float] = attrs.field(factory=dict, init=False)
    """Those whose piece waits, with the time that it has until; the earliest first."""
    _kept: bool = attrs.field(default=False, init=False)
    _nap: trio.CancelScope | None = attrs.field(default=None, init=False)
    _nap_ends: float = attrs.field(default=-inf, init=False)
    _closing: bool = attrs.field(default=False, init=False)

    def start(self, work: Work) -> None:
        """Have it done soon."""
        self._queue.append(work)
        if self._coming < self._reach:
            self._call()

    def close(self) -> None:
        """Let tasks end as soon as they have nothing to do, so that the nursery can.  Work is still done."""
        self._closing = True
        self._dismiss(len(self._parked))

    def reopen(self) -> None:
        """Park tasks again."""
        self._closing = False

    def _call(self) -> None:
        if self._parked:
            worker = self._parked.pop()
            self._spare = min(self._spare, len(self._parked))
            trio.lowlevel.reschedule(worker.task)
        else:
            self.nursery.start_soon(self._contain)
            self._workers += 1
            if not self._kept:
                self._kept = True
                self.nursery.start_soon(self._keep)
        self._coming += 1

    async def _contain(self) -> None:
        """A worker's life, and what is wrong with its task in the end."""
        worker = Worker()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live, worker)
        except* RuntimeError:
            if not worker.spoilt:
                raise

    async def _live(self, worker: Worker) -> None:
        try:
            with worker.scope:
                worker.enter()
                try:
                    await self._serve(worker)
                finally:
                    worker.spoilt = not worker.is_sound()
        finally:
            self._workers -= 1
            if self._queue and not self._coming:
                self._call()
            if not self._workers and self._nap is not None:
                self._nap.cancel()

    async def _serve(self, worker: Worker) -> None:
        """Until it is dismissed, or can't be used again.  One function: each on the way to the work costs each step."""
        while not worker.dismissed:
            self._coming -= 1
            while self._queue:
                rest = self.begin(self._queue, worker)
                if rest is not None:
                    self._wait(worker)
                    try:
                        await rest
                    finally:
                        self._waiting.pop(worker, None)
                if not worker.is_sound() or worker.scope.cancel_called:
                    return
                if rest is None:
                    self._reach = 1
                    if self._queue:
                        await trio.lowlevel.cancel_shielded_checkpoint()
            if self._closing:
                return
            self._parked.append(worker)
            await trio.lowlevel.wait_task_rescheduled(partial(self._leave, worker))

    def _leave(self, worker: Worker, _: object) -> trio.lowlevel.Abort:
        self._parked.remove(worker)
        return trio.lowlevel.Abort.SUCCEEDED

    def _wait(self, worker: Worker) -> None:
        """Its piece begins to: others take over, and it is watched."""
        if self._reach < MAX_REACH:
            self._reach *= 2
        for _ in range(min(len(self._queue), self._reach) - self._coming):
            self._call()
        self._waiting[worker] = until = trio.current_time() + self.timeout
        if until < self._nap_ends and self._nap is not None:
            self._nap.deadline = self._nap_ends = until

    async def _keep(self) -> None:
        """While there are workers: cancel those whose piece takes too long, and let those end that nobody needs."""
        looks_next = trio.current_time() + IDLE
        try:
            while self._workers:
                now = trio.current_time()
                if now >= looks_next:
                    looks_next = now + IDLE
                    self._dismiss(self._spare)
                    self._spare = len(self._parked)
                self._nap_ends = min(self._cancel_late(now), looks_next)
                with trio.CancelScope(deadline=self._nap_ends) as self._nap:
                    await trio.sleep_forever()
                self._nap, self._nap_ends = None, -inf
        finally:
            self._kept, self._nap, self._nap_ends = False, None, -inf

    def _cancel_late(self, now: float) -> float:
        """Returns when the next one will be late."""
        while self._waiting:
            worker, until = next(iter(self._waiting.items()))
            if until > now:
                return until
            del self._waiting[worker]
            worker.scope.cancel()
        return inf

    def _dismiss(self, count: int) -> None:
        """Those that are parked the longest."""
        for worker in self._parked[:count]:
            worker.dismissed = True
            trio.lowlevel.reschedule(worker.task)
        del self._parked[:count]
