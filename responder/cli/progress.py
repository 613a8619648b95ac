"""A bar on the terminal while configurations are read, where that takes longer than a moment."""

# ruff: noqa: PLC0415 - rich within functions: what is read at once needs no bar

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from ..log import printable
from ..progress import progress_watcher

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 1.0
"""Seconds of reading before there is a bar."""


@contextmanager
def progress_shown() -> Iterator[None]:
    """Show what is read meanwhile, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    bar = Bar()
    token = progress_watcher.set(bar.watch)
    try:
        yield
    finally:
        progress_watcher.reset(token)
        bar.close()


@attrs.define(eq=False)
class Bar:
    """One line for each instance that is being read; it goes away when all are done.

    `clock` gives seconds.  `watch` is called in the threads that read, one at a time.
    """

    clock: Callable[[], float] = time.monotonic
    _began: float | None = None
    _progress: Progress | None = None
    _tasks: dict[str, TaskID] = attrs.field(factory=dict)

    def watch(self, name: str, share: float) -> None:
        if share >= 1:
            self.close()
            return
        if self._began is None:
            self._began = self.clock()
        if self.clock() - self._began < PATIENCE:
            return
        progress = self._progress = self._progress or self._started()
        if name not in self._tasks:
            self._tasks[name] = progress.add_task(printable(name), total=1.0)
        progress.update(self._tasks[name], completed=share, refresh=True)

    def close(self) -> None:
        """Take the bar away; the next reading has its own."""
        progress, self._progress = self._progress, None
        self._began = None
        self._tasks.clear()
        if progress is not None:
            progress.stop()

    @staticmethod
    def _started() -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
        console = Console(stderr=True)
        progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, auto_refresh=False)
        progress.start()
        return progress
