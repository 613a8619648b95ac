"""Holds a fake clock while threads work.

A `MockClock` that jumps by itself does so when no task can go on: also while one waits for a thread that reads a file,
which then takes longer than anybody waits.  Here it stands still until no task waits for a thread, whoever started it:
a plugin by `trio.to_thread`, a `blocking` service, `prepare` at a reload.  So a thread that itself waits for time to
pass waits for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio
import trio.testing


class _ThreadWatch(trio.abc.Instrument):
    """Looks before each wait of trio's loop, since the jump comes after it."""

    def __init__(self) -> None:
        self._is_holding = False

    def before_io_wait(self, timeout: float) -> None:
        if not self._is_holding and trio.testing.active_thread_count():
            self._is_holding = True
            trio.lowlevel.spawn_system_task(self._hold)

    async def _hold(self) -> None:
        async with trio.open_nursery() as nursery:
            # A clock does not jump while a task waits for the others to be blocked; this one waits for ever.
            nursery.start_soon(trio.testing.wait_all_tasks_blocked, math.inf)
            await trio.testing.wait_all_threads_completed()
            nursery.cancel_scope.cancel()
        self._is_holding = False


@contextmanager
def clock_held_by_threads() -> Iterator[None]:
    """Hold trio's clock, where it is a `MockClock`, while threads work."""
    if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        yield
        return
    holder = _ThreadWatch()
    trio.lowlevel.add_instrument(holder)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(holder)
