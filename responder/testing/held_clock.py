"""Holds a fake clock while threads work.

A `MockClock` that jumps by itself does so when no task can go on: also while one waits for a thread that reads a file,
which then takes longer than anybody waits.  Here it stands still until no task waits for a thread, whoever started it:
a plugin by `trio.to_thread`, a `blocking` service, `prepare` at a reload.  So a thread that itself waits for time to
pass waits for ever.

A task that waits for its turn at a limiter waits for the threads that have the limiter's tokens, even if the tasks that
started them were cancelled and left them behind (`abandon_on_cancel`): trio does not count these threads as active any
more, but each keeps its token until it ends.  trio does not tell which limiters there are either, so that
`CapacityLimiter.acquire_on_behalf_of` is replaced meanwhile by one that notes where tasks wait.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio
import trio.testing

_acquire: Final = trio.CapacityLimiter.acquire_on_behalf_of
_lock: Final = threading.Lock()
_users: Final[list[object]] = []
_limiters: Final[trio.lowlevel.RunVar[Counter[trio.CapacityLimiter]]] = trio.lowlevel.RunVar("limiters waited at")


def _waited_at() -> Counter[trio.CapacityLimiter]:
    """The limiters at which tasks of this run wait for a token: how many do."""
    try:
        return _limiters.get()
    except LookupError:
        _limiters.set(Counter())
        return _limiters.get()


@trio.lowlevel.enable_ki_protection
async def _acquire_noted(self: trio.CapacityLimiter, borrower: object) -> None:
    limiters = _waited_at()
    limiters[self] += 1
    try:
        await _acquire(self, borrower)
    finally:
        limiters[self] -= 1
        if not limiters[self]:
            del limiters[self]


@contextmanager
def _waits_noted() -> Iterator[None]:
    user = object()
    with _lock:
        _users.append(user)
        trio.CapacityLimiter.acquire_on_behalf_of = _acquire_noted  # type: ignore[method-assign] # see above
    try:
        yield
    finally:
        with _lock:
            _users.remove(user)
            if not _users:
                trio.CapacityLimiter.acquire_on_behalf_of = _acquire  # type: ignore[method-assign] # as it was


def _is_thread(borrower: object) -> bool:
    """Is it what trio borrows a token for, beside tasks?"""
    return type(borrower).__module__.startswith("trio.") and not isinstance(borrower, trio.lowlevel.Task)


def is_thread_awaited() -> bool:
    """Does a task wait for a thread, or, within `clock_held_by_threads`, for a token that a thread has?"""
    return bool(trio.testing.active_thread_count()) or any(
        any(map(_is_thread, limiter.statistics().borrowers)) for limiter in _waited_at()
    )


class _EndWatch(trio.abc.Instrument):
    """Sets `ended` once no thread is awaited."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def before_io_wait(self, timeout: float) -> None:
        if not is_thread_awaited():
            self._token.run_sync_soon(self.ended.set, idempotent=True)  # it also ends the wait that begins now


async def wait_no_thread_awaited() -> None:
    """Return once no task waits for a thread, or for a token that a thread has."""
    watch = _EndWatch()
    trio.lowlevel.add_instrument(watch)
    try:
        await watch.ended.wait()
    finally:
        trio.lowlevel.remove_instrument(watch)


class _BeginWatch(trio.abc.Instrument):
    """Looks before each wait of trio's loop, since the jump comes after it."""

    def __init__(self) -> None:
        self._is_holding = False

    def before_io_wait(self, timeout: float) -> None:
        if not self._is_holding and is_thread_awaited():
            self._is_holding = True
            trio.lowlevel.spawn_system_task(self._hold)

    async def _hold(self) -> None:
        async with trio.open_nursery() as nursery:
            # A clock does not jump while a task waits for the others to be blocked; this one waits for ever.
            nursery.start_soon(trio.testing.wait_all_tasks_blocked, math.inf)
            await wait_no_thread_awaited()
            nursery.cancel_scope.cancel()
        self._is_holding = False


@contextmanager
def clock_held_by_threads() -> Iterator[None]:
    """Hold trio's clock, where it is a `MockClock`, while threads work."""
    with _waits_noted():
        if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
            yield
            return
        holder = _BeginWatch()
        trio.lowlevel.add_instrument(holder)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(holder)
