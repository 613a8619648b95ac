"""Logging for the framework: standard `logging` underneath, so that an embedding program keeps its own set-up.

A logger's methods take an event and fields: `log.warning("port is shared", port=1900)`.  The fields travel in the
record as `record.fields`; `responder.daemon.logs` renders them through structlog, and the message alone says them too.
Who logs by `logging` itself, as plugins do, gives fields as `extra={"zone": "example."}`.

What peers or a failing network can repeat at will goes through `Repeated`: once, then at most every `interval` seconds
with the number held back.  What is shown to people on a terminal goes through `printable`: a message may hold what a
peer sent.  `responder.daemon.logs` configures logging; this file does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from .bounded import BoundedTable


class Logger:
    """A named logger whose calls take an event and fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def log(self, level: int, event: str, exc_info: BaseException | None = None, **fields: Any) -> None:
        if self._logger.isEnabledFor(level):
            if fields.get("held_back") == 0:  # see `Repeated`: it says nothing
                del fields["held_back"]
            self._logger.log(level, EventMessage(event, fields), exc_info=exc_info, extra={"fields": fields})

    def info(self, event: str, **fields: Any) -> None:
        self.log(logging.INFO, event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.log(logging.WARNING, event, **fields)

    def error(self, event: str, exc_info: BaseException | None = None, **fields: Any) -> None:
        self.log(logging.ERROR, event, exc_info=exc_info, **fields)


class EventMessage:
    """Renders only where the record is emitted."""

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={value}" for name, value in self.fields.items())])


def get_logger(name: str) -> Logger:
    """The logger of that name, by convention the module's: `get_logger(__name__)`."""
    return Logger(name)


_BLANK = frozenset(vars(logging.makeLogRecord({}))) | {"fields", "message", "asctime", "taskName"}
"""The attributes that every record has."""


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record: those of a `Logger`'s call, or the `extra` of a standard one's."""
    fields: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in _BLANK}
    return {**fields, **(getattr(record, "fields", None) or {})}


@attrs.define
class _Entry:
    next_at: float
    held_back: int = 0


@attrs.define
class Repeated:
    """Decides which of the repetitions of a message are logged.

    `interval` in seconds; `limit` bounds how many kinds are remembered, the oldest being forgotten first.
    """

    interval: float = 60.0
    limit: int = 256
    clock: Callable[[], float] = time.monotonic
    _entries: BoundedTable[Hashable, _Entry] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._entries = BoundedTable(self.limit)

    def due(self, kind: Hashable) -> int | None:
        """Whether to log one more of that kind.  None: don't.  Otherwise how many were not logged since the last."""
        now = self.clock()
        entry = self._entries.get(kind)
        if entry is None:
            self._entries[kind] = _Entry(now + self.interval)
            return 0
        if now < entry.next_at:
            entry.held_back += 1
            return None
        held_back, entry.held_back, entry.next_at = entry.held_back, 0, now + self.interval
        return held_back


def printable(text: str) -> str:
    """Without what a terminal would act on, or show as something else: that is escaped, as Python writes it."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
