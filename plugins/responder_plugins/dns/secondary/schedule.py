"""The zones by when they are due, and by when they are too old: a heap of times each, however many zones there are."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import count

import trio

from .kept import NEVER, Kept


class _Moments:
    """Of `zones`, by their origins, which may come and go."""

    def __init__(self, zones: Mapping[bytes, Kept]) -> None:
        self._zones = zones
        self._heap: list[tuple[float, int, Kept]] = []
        self._number = count()
        self._woken = trio.Event()

    def _add(self, moment: float, kept: Kept) -> None:
        heapq.heappush(self._heap, (moment, next(self._number), kept))
        self._woken.set()

    async def _next(self) -> Kept:
        """The first zone whose moment has come, once one has."""
        while True:
            kept = self._come()
            if kept is not None:
                return kept
            self._woken = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else float("inf")):
                await self._woken.wait()

    def _come(self) -> Kept | None:
        """What was planned otherwise since, or is no longer there, is forgotten."""
        while self._heap:
            moment, _, kept = self._heap[0]
            is_outdated = not self._is_meant(kept, moment) or self._zones.get(kept.origin) is not kept
            if not is_outdated and moment > trio.current_time():
                break
            heapq.heappop(self._heap)
            if not is_outdated:
                return kept
        return None

    def _is_meant(self, kept: Kept, moment: float) -> bool:
        raise NotImplementedError


class Schedule(_Moments):
    """When each is checked next."""

    def plan(self, kept: Kept, due: float) -> None:
        """By trio's clock, instead of what was planned."""
        kept.due = due
        self._add(due, kept)

    async def next(self) -> Kept:
        """The first zone that is due, once one is; it is busy then, and not due until that is over."""
        kept = await self._next()
        kept.is_busy = True
        return kept

    def _is_meant(self, kept: Kept, moment: float) -> bool:
        return kept.due == moment and not kept.is_busy


class Expiries(_Moments):
    """When each is too old, unless it is checked before."""

    def note(self, kept: Kept) -> None:
        """It is there, or has another time to live: looked at again then, if not sooner."""
        moment = trio.current_time() + kept.left
        if kept.zone is not None and not NEVER < kept.looked_at <= moment:
            kept.looked_at = moment
            self._add(moment, kept)

    async def next(self) -> Kept:
        """The first zone that is too old, once one is."""
        while True:
            kept = await self._next()
            kept.looked_at = NEVER
            if kept.zone is not None and kept.left <= 0:
                return kept
            self.note(kept)  # it was checked meanwhile

    def _is_meant(self, kept: Kept, moment: float) -> bool:
        return kept.looked_at == moment
