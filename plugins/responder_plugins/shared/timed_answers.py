"""Answers that leave at moments of their own, for ssdp and wsd: spread over a window, or repeated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Self, TypeAlias

import trio

from .admission import Place

Make: TypeAlias = Callable[[], bytes | None]
"""Writes an answer when it is due; None ends them all."""


class TimedAnswers:
    """The answers to one search, as an async iterator that holds the search's place until it ends.

    due       for each answer its moment (seconds of trio's clock) and what writes it
    silenced  is set when nothing is to be answered any more; answers that wait are then written at once, or not at all
    """

    def __init__(self, due: Iterable[tuple[float, Make]], place: Place, silenced: trio.Event) -> None:
        self._due = deque(sorted(due, key=itemgetter(0)))
        self._place = place
        self._silenced = silenced

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._due:
            raise StopAsyncIteration
        moment, make = self._due.popleft()
        with trio.move_on_at(moment):
            await self._silenced.wait()
        answer = make()
        if answer is None:
            raise StopAsyncIteration
        return answer

    def close(self) -> None:
        """The framework had no room for these answers."""
        self._place.release()

    async def aclose(self) -> None:
        self._place.release()
        await trio.lowlevel.checkpoint()
