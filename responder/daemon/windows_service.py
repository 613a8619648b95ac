"""The daemon as a Windows service: it has no console, so it logs to a file and to the event log.

`responderd service install` has the service manager start `responderd service serve-as NAME CONFIG`, which comes here.
What is wrong with the configuration, or a port that can't be had, goes to both logs, and ends the service with the
status that `responderd run` would have.  Where one of the logs can't be had, the other says so.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
from functools import partial
from pathlib import Path

from ..errors import ConfigErrors, ResponderError, leaves
from ..log import get_logger
from ..net.folders import windows_folder
from ..net.windows.event_log import EventLogHandler
from ..net.windows.service import ServiceLine
from . import daemon
from .logs import configure_logging

LOG_SIZE, LOGS_KEPT = 10_000_000, 5
"""Bytes of a log file, and how many older ones are kept."""

_log = get_logger(__name__)


def serve(name: str, config: Path, line: ServiceLine) -> int:
    """Serve as the service of this name, on the line to its manager; the exit status."""
    folder = windows_folder(for_all_users=True)
    os.environ.setdefault("STATE_DIRECTORY", str(folder / "state"))
    status = 0
    try:
        status = daemon.run(config, line, log_handlers=log_handlers(name, folder))
    except* ResponderError as group:
        errors = list(leaves(group))
        for error in errors:
            _log.error("the service can't start", reason=str(error))
        status = 2 if any(isinstance(error, ConfigErrors) for error in errors) else 1
    except* Exception as group:
        _log.error("the service failed", exc_info=group)
        status = 1
    return status


def log_handlers(name: str, folder: Path) -> list[logging.Handler]:
    """The event log for warnings and above, and the service's log file, as JSON like a daemon's standard error."""
    handlers: list[logging.Handler] = []
    refusals: list[OSError] = []
    for open_log in (EventLogHandler, partial(_log_file, folder)):
        try:
            handlers.append(open_log(name))
        except OSError as error:
            refusals.append(error)
    configure_logging(handlers)
    for refusal in refusals:
        _log.error("the service goes without one of its logs", reason=str(refusal))
    return handlers


def _log_file(folder: Path, name: str) -> logging.Handler:
    """Raises OSError."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logging.handlers.RotatingFileHandler(
        logs / f"{name}.log", maxBytes=LOG_SIZE, backupCount=LOGS_KEPT, encoding="utf-8"
    )
