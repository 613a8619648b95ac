"""Logs as the daemon writes them: to standard error through structlog, for people on a terminal, as JSON otherwise.

What peers sent may stand in a field or in a traceback.  JSON escapes it; on a terminal nothing of it is acted on, and
none of it can pass for a line of the log: those begin at the margin, a traceback's are indented.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Any, TextIO

import structlog

from ..log import fields_of, printable
from .log_writer import LogWriter

QUERIES = "responder.queries"


class _Threshold(logging.Filter):
    """Of our handler: a logger's level would keep records from every handler."""

    level = logging.INFO

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self.level or record.name == QUERIES


_threshold = _Threshold()


def configure_logging(handlers: Sequence[logging.Handler] = ()) -> None:
    """Render the framework's records, and everybody else's; `set_level` says which.

    They go to the `handlers` that are given, as JSON, or to standard error.
    """
    on_terminal = not handlers and sys.stderr.isatty()
    shared: list[Any] = [
        _fields_of_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
    ]
    renderers: list[Any] = (
        # Not the rich form, which prints every local variable, the whole server and peers' payloads among them.
        [_printable_fields, structlog.dev.ConsoleRenderer(exception_formatter=_indented_traceback)]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers]
    )
    root = logging.getLogger()
    root.handlers[:] = handlers or [LogWriter()]
    for handler in root.handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_threshold)
    set_level("info")


def set_level(level: str) -> None:
    """Log what is of this level ("debug", "info", "warning", "error") or above, and the query log where it is on.

    Warnings are recorded whatever the level: `responderd status` shows the last ones.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(min(number, logging.WARNING))
    # Who asks for the query log wants it, whatever else is not to be logged.
    logging.getLogger(QUERIES).setLevel(logging.INFO)
    _threshold.level = number


def _fields_of_record(_logger: Any, _method: str, event: Any) -> Any:
    """A record carries its fields apart from its event."""
    record = event.get("_record")
    if record is not None:
        event["event"] = getattr(record.msg, "event", event["event"])
        event.update({name: _plain(value) for name, value in fields_of(record).items()})
    return event


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict | list | tuple | None) else str(value)


def _printable_fields(_logger: Any, _method: str, event: Any) -> Any:
    return {printable(name): printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _indented_traceback(out: TextIO, exc_info: Any) -> None:
    lines = "".join(traceback.format_exception(*exc_info)).splitlines()
    out.write("".join(f"\n    {printable(line)}" for line in lines))
