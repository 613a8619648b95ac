"""Which running daemon a command talks to: its options `--control` and `--config`, and one question to it."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError, ConfigErrors, NetworkError, ResponderError
from ..net.folders import CONTROL_IN_WORDS
from ..net.folders import control_path as default_control
from .output import exit_with

CONTROL_VARIABLE = "RESPONDERD_CONTROL"

control_option = click.option(
    "--control",
    type=click.Path(path_type=Path),
    help=f"The daemon's `control` path.  [default: that of --config, ${CONTROL_VARIABLE}, {CONTROL_IN_WORDS}]",
)
config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="A configuration, to take its `control` path from."
)


def control_path(control: Path | None, config: Path | None) -> Path:
    """Where the daemon listens.  Raises ConfigError."""
    if control is not None:
        return control
    if config is not None:
        return _control_of(config)
    return Path(os.environ.get(CONTROL_VARIABLE) or default_control())


def _control_of(config: Path) -> Path:
    """The key alone: a daemon can be asked even where its config has become wrong meanwhile.  Raises ConfigError."""
    from ..config.source import parse_toml

    try:
        table = parse_toml(config.read_text(encoding="utf-8"), config).get("daemon", {})
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=config) from error
    except UnicodeDecodeError as error:
        raise ConfigError("can't be read: it is not UTF-8", file=config) from error
    except ConfigErrors as several:
        raise several.errors[0] from several
    control = table.get("control") if isinstance(table, dict) else None
    if not isinstance(control, str):
        raise ConfigError("there is none, so its daemon can't be asked", path="daemon.control", file=config)
    return config.absolute().parent / control


def ask_once(control: Path | None, config: Path | None, request: str, *, timeout: float | None) -> Any:
    """The daemon's one answer; `timeout` in seconds.  Exits, saying why, where there is none."""
    try:
        return answer_of(control_path(control, config), request, timeout=timeout)
    except ResponderError as error:
        exit_with([error])


def answer_of(path: Path, request: str, *, timeout: float | None) -> Any:
    """The one answer of the daemon at `path`.  Raises ResponderError."""
    from ..daemon.control_client import ask

    answer = next(ask(path, {"request": request}, timeout=timeout), None)
    if answer is None:
        raise NetworkError(errno.ECONNRESET, f"the daemon at {path} ended before it answered")
    return answer
