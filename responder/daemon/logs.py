"""Logs as the daemon writes them: to standard error, by structlog for people on a terminal, as JSON otherwise.

Two variables, which workers inherit, say otherwise: RESPONDERD_LOG_FORMAT (text, json, or journal: for people, each
line with its priority, as sd-daemon(3) has it) and RESPONDERD_LOG_LEVEL, which goes before the configuration's `log`.

What peers sent may stand in a field or in a traceback.  JSON escapes it; on a terminal nothing of it is acted on, and
none of it can pass for a line of the log: those begin at the margin, a traceback's are indented.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ..log import fields_of, printable
from .log_writer import LogWriter

QUERIES = "responder.queries"

FORMAT_VARIABLE = "RESPONDERD_LOG_FORMAT"
LEVEL_VARIABLE = "RESPONDERD_LOG_LEVEL"

PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""syslog(3)'s."""

_Event: TypeAlias = dict[str, Any]
"""A record: its event, its fields, its level, its logger, when it was made, and a traceback as `exception`."""


class _Threshold(logging.Filter):
    """The level of our handler.  Set on the logger it would hide records from other handlers too."""

    level = logging.INFO

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self.level or record.name == QUERIES


_threshold = _Threshold()


class _Formatter(logging.Formatter):
    """Turns a record into an event, and that into text by `render`."""

    def __init__(self, render: Callable[[_Event], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        event: _Event = {"event": getattr(record.msg, "event", None) or record.getMessage()}
        event |= {name: _plain(value) for name, value in fields_of(record).items()}
        event |= {"level": record.levelname.lower(), "logger": record.name, "timestamp": record.created}
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        return self._render(event)


def configure_logging(handlers: Sequence[logging.Handler] = ()) -> None:
    """Render the framework's records, and everybody else's; `set_level` says which.

    They go to the `handlers` that are given, as JSON, or to standard error.
    """
    on_terminal = not handlers and sys.stderr.isatty()
    form = "json" if handlers else os.environ.get(FORMAT_VARIABLE) or ("text" if on_terminal else "json")
    formatter = _Formatter(
        _text_renderer(on_terminal) if form == "text" else {"json": _to_json, "journal": _to_journal}[form]
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


def _to_json(event: _Event) -> str:
    event["timestamp"] = datetime.fromtimestamp(event["timestamp"], UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(event, default=str)


def _to_journal(event: _Event) -> str:
    """For people, without a time, which the journal has; a traceback is more lines of the same priority."""
    priority = PRIORITIES.get(event.pop("level"), 6)
    lines = _indented(event.pop("exception", ""))
    first = [str(event.pop("event"))]
    del event["timestamp"], event["logger"]
    first += [f"{name}={value}" for name, value in event.items()]
    return "\n".join(f"<{priority}>{line}" for line in (printable(" ".join(first)), *lines))


def _text_renderer(on_terminal: bool) -> Callable[[_Event], str]:
    # Only who reads along pays for it: it brings rich.
    from structlog.dev import ConsoleRenderer  # noqa: PLC0415 - as the line above says

    renderer = ConsoleRenderer(colors=on_terminal and not os.environ.get("NO_COLOR"))

    def to_text(event: _Event) -> str:
        # Not its rich form, which prints every local variable, the whole server and peers' payloads among them.
        lines = _indented(event.pop("exception", ""))
        at = datetime.fromtimestamp(event["timestamp"], None if on_terminal else UTC)
        event["timestamp"] = at.strftime("%H:%M:%S") if on_terminal else at.isoformat().replace("+00:00", "Z")
        shown = _printable(event)
        return "\n".join([str(renderer(None, "", shown)), *lines])

    return to_text


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict | list | tuple | None) else str(value)


def _printable(value: Any) -> Any:
    """With nothing in it that a terminal acts on, at any depth: within a list or a table there may be anything."""
    if isinstance(value, dict):
        return {printable(str(name)): _printable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_printable, value)]
    return value if isinstance(value, int | float | None) else printable(str(value))


def _indented(text: str) -> Iterable[str]:
    return (f"    {printable(line)}" for line in text.splitlines())
