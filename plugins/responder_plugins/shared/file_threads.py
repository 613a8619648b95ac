"""Threads for what may block, such as reading a file on a network drive: for tftp and coap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

T = TypeVar("T")

THREADS: Final = 8
"""At a time: a disk that hangs holds up no more, and nothing but what waits for it."""


class FileThreads:
    """So many threads at most for one instance."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """What the function returns, called in a thread, which is left behind where this is cancelled."""
        if self._limiter is None:  # it can't be made before trio runs
            self._limiter = trio.CapacityLimiter(THREADS)
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._limiter)
