"""Who may write the files of an instance's state: one task at a time, among all processes that serve the instance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from responder import FileLock

PAUSES: Final = 0.001, 0.05
"""Seconds between two looks whether another process has ended its turn: the first and the longest."""


@attrs.define(eq=False)
class Turn:
    """`path` is the file that is locked; it and its folder are made where they are missing."""

    path: Path
    _within: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Raises OSError where the file can't be made."""
        async with self._within:
            lock = FileLock(self.path)
            pause, longest = PAUSES
            while not lock.acquire(wait=False):  # not in a thread: nothing could end its waiting
                await trio.sleep(pause)
                pause = min(pause * 2, longest)
            try:
                yield
            finally:
                lock.release()
