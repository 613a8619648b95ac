"""What somebody asks for over and over, without a flood of questions costing more than a part of the daemon's time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

Value = TypeVar("Value")


class Paced(Generic[Value]):
    """Takes what somebody asks for over and over at most every `pause` seconds, and for a tenth of the time at most.

    Each caller gets a value of its own time, never an older one; those that wait are served in turn.
    """

    def __init__(self, get: Callable[[], Value | Awaitable[Value]], pause: float) -> None:
        """Time that an async `get` spends waiting does not lengthen the pause."""
        self._get = get
        self._pause = pause
        self._next_at = -float("inf")
        self._lock = trio.Lock()

    async def __call__(self) -> Value:
        async with self._lock:
            await trio.sleep_until(max(self._next_at, trio.current_time()))
            began = time.perf_counter()
            try:
                value = self._get()
            finally:
                took = time.perf_counter() - began
                self._next_at = trio.current_time() + max(self._pause, 9 * took)
            return await value if isinstance(value, Awaitable) else value
