"""Tells the service manager what is being read, as its one line for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from ..progress import ProgressWatcher, progress_watcher
from .service_manager import ManagerLine

PAUSE = 1.0
"""Seconds before the first message, and between two."""


@contextmanager
def progress_told(notifier: ManagerLine) -> Iterator[None]:
    """Tell of what is read meanwhile, beside whoever is told of it already."""
    token = progress_watcher.set(Teller(notifier, progress_watcher.get()).watch)
    try:
        yield
    finally:
        progress_watcher.reset(token)


@attrs.define(eq=False)
class Teller:
    """`clock` gives seconds; `beside` is told all of it."""

    notifier: ManagerLine
    beside: ProgressWatcher | None = None
    clock: Callable[[], float] = time.monotonic
    _last: float | None = None

    def watch(self, name: str, share: float) -> None:
        if self.beside is not None:
            self.beside(name, share)
        now = self.clock()
        if share >= 1:
            self._last = None
        elif self._last is None:
            self._last = now
        elif now - self._last >= PAUSE:
            self._last = now
            self.notifier.status(f"reading {name}: {share:.0%}")
