"""The zones by when they are due: one heap of times, however many zones there are."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import count

import trio

from .kept import Kept


class Schedule:
    """Of `zones`, by their origins, which may come and go."""

    def __init__(self, zones: Mapping[bytes, Kept]) -> None:
        self._zones = zones
        self._heap: list[tuple[float, int, Kept]] = []
        self._number = count()
        self._woken = trio.Event()

    def plan(self, kept: Kept, due: float) -> None:
        """By trio's clock, instead of what was planned."""
        kept.due = due
        heapq.heappush(self._heap, (due, next(self._number), kept))
        self._woken.set()

    async def next(self) -> Kept:
        """The first zone that is due, once one is; it is busy then, and not due until that is over."""
        while True:
            kept = self._due()
            if kept is not None:
                kept.is_busy = True
                return kept
            self._woken = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else float("inf")):
                await self._woken.wait()

    def _due(self) -> Kept | None:
        """What was planned otherwise since, or is no longer there, is forgotten."""
        while self._heap:
            due, _, kept = self._heap[0]
            is_outdated = kept.due != due or kept.is_busy or self._zones.get(kept.origin) is not kept
            if not is_outdated and due > trio.current_time():
                break
            heapq.heappop(self._heap)
            if not is_outdated:
                return kept
        return None
