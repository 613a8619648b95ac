"""Logs as the daemon writes them: to standard error through structlog, for people on a terminal, as JSON otherwise.

This file refuses to log anything itself.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure_logging() -> None:
    """Render the framework's records, and everybody else's, to standard error."""
    on_terminal = sys.stderr.isatty()
    shared: list[Any] = [
        _fields_of_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
    ]
    renderers: list[Any] = (
        # Plain: the rich form prints every local variable, the whole server and peers' payloads among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Who asks for the query log wants it, whatever else is not to be logged.
    logging.getLogger("responder.queries").setLevel(logging.INFO)


def _fields_of_record(_logger: Any, _method: str, event: Any) -> Any:
    """A record of `responder.log` carries its event and fields apart."""
    record = event.get("_record")
    message = getattr(record, "msg", None)
    fields = getattr(record, "fields", None)
    if fields is not None:
        event["event"] = getattr(message, "event", event["event"])
        event.update({name: _plain(value) for name, value in fields.items()})
    return event


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict | list | tuple | None) else str(value)
