"""The last warnings and errors of the log, for who asks how the daemon is."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

import attrs

from ..bounded import BoundedTable
from ..dispatch.failures import described
from ..log import fields_of

MAX_ERRORS = 20
MAX_MESSAGE = 400
"""Characters."""


@attrs.frozen
class ErrorStatus:
    """A warning or an error of the log.  `time` in seconds of the real-time clock; `plugin` "" where it names none."""

    time: float
    level: str
    plugin: str
    message: str


class RecentErrors(logging.Handler):
    """Keeps the last warnings and errors, and the last of each plugin.  Add it to the root logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._latest: deque[ErrorStatus] = deque(maxlen=MAX_ERRORS)
        self._by_plugin: BoundedTable[str, ErrorStatus] = BoundedTable(256)

    def emit(self, record: logging.LogRecord) -> None:
        fields = fields_of(record)
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            message = f"{message}: {type(error).__name__}: {described(error)}"
        plugin = str(fields.get("plugin", ""))
        seen = ErrorStatus(record.created, record.levelname.lower(), plugin, " ".join(message[:MAX_MESSAGE].split()))
        self._latest.append(seen)
        if plugin:
            self._by_plugin[plugin] = seen

    def latest(self) -> tuple[ErrorStatus, ...]:
        """The oldest first."""
        with self._held():
            return tuple(self._latest)

    def of(self, plugin: str) -> ErrorStatus | None:
        with self._held():
            return self._by_plugin.get(plugin)

    def _held(self) -> Any:
        # logging calls `emit` under it, from whatever thread.
        assert self.lock is not None  # noqa: S101 - every handler's __init__ makes it
        return self.lock
