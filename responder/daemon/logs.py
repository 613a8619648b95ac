"""Logs as the daemon writes them: to standard error through structlog, for people on a terminal, as JSON otherwise.

Two variables, which workers inherit, say otherwise: RESPONDERD_LOG_FORMAT (text, json, or journal: for people, each
line with its priority, as sd-daemon(3) has it) and RESPONDERD_LOG_LEVEL, which goes before the configuration's `log`.

What peers sent may stand in a field or in a traceback.  JSON escapes it; on a terminal nothing of it is acted on, and
none of it can pass for a line of the log: those begin at the margin, a traceback's are indented.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, TextIO

import structlog

from ..log import fields_of, printable
from .log_writer import LogWriter

QUERIES = "responder.queries"

FORMAT_VARIABLE = "RESPONDERD_LOG_FORMAT"
LEVEL_VARIABLE = "RESPONDERD_LOG_LEVEL"

PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""syslog(3)'s."""


class _Threshold(logging.Filter):
    """The level of our handler.  Set on the logger it would hide records from other handlers too."""

    level = logging.INFO

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self.level or record.name == QUERIES


_threshold = _Threshold()


def configure_logging(handlers: Sequence[logging.Handler] = ()) -> None:
    """Render the framework's records, and everybody else's; `set_level` says which.

    They go to the `handlers` that are given, as JSON, or to standard error.
    """
    on_terminal = not handlers and sys.stderr.isatty()
    form = "json" if handlers else os.environ.get(FORMAT_VARIABLE) or ("text" if on_terminal else "json")
    shared: list[Any] = [
        _fields_of_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
    ]
    renderers: dict[str, list[Any]] = {
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)],
        # Not the rich form, which prints every local variable, the whole server and peers' payloads among them.
        "text": [
            _printable_fields,
            structlog.dev.ConsoleRenderer(
                colors=on_terminal and not os.environ.get("NO_COLOR"), exception_formatter=_indented_traceback
            ),
        ],
        "journal": [structlog.processors.format_exc_info, _journal_lines],
    }
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers[form]],
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
    number = logging.getLevelNamesMapping()[(os.environ.get(LEVEL_VARIABLE) or level).upper()]
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


def _journal_lines(_logger: Any, _method: str, event: Any) -> str:
    """For people, without a time, which the journal has; a traceback is more lines of the same priority."""
    priority = PRIORITIES.get(event.pop("level", "info"), 6)
    first = [str(event.pop("event", ""))]
    traceback_lines = event.pop("exception", "").splitlines()
    for name in ("timestamp", "logger"):
        event.pop(name, None)
    first += [f"{name}={value}" for name, value in event.items()]
    lines = [" ".join(first), *(f"    {line}" for line in traceback_lines)]
    return "\n".join(f"<{priority}>{printable(line)}" for line in lines)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict | list | tuple | None) else str(value)


def _printable_fields(_logger: Any, _method: str, event: Any) -> Any:
    return {printable(name): printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _indented_traceback(out: TextIO, exc_info: Any) -> None:
    lines = "".join(traceback.format_exception(*exc_info)).splitlines()
    out.write("".join(f"\n    {printable(line)}" for line in lines))
