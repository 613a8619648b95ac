"""Who is told how far the `prepare` of an instance is; `Context.progress` tells."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

ProgressWatcher: TypeAlias = Callable[[str, float], None]
"""Is told of an instance, by its name, how much of its `prepare` is done; called in the thread that does it."""

progress_watcher: ContextVar[ProgressWatcher | None] = ContextVar("progress_watcher", default=None)
