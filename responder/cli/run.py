"""`responderd run [CONFIG]`: serve until told to end."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import ResponderError, leaves
from .config_argument import config_argument
from .output import exit_with
from .progress import progress_shown


@click.command(short_help="Serve what CONFIG says.")
@config_argument(required=False)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    envvar="RESPONDERD_LOG_LEVEL",
    show_envvar=True,
    help="From which level on messages are logged, whatever CONFIG says.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json", "journal"]),
    envvar="RESPONDERD_LOG_FORMAT",
    show_envvar=True,
    help="journal: for people, with priorities.  [default: text on a terminal, json otherwise]",
)
def run(config: Path | None, log_level: str | None, log_format: str | None) -> None:
    """Serve what CONFIG says (-: standard input).

    Without one, it serves whoami (DNS) on port 5300, needs no rights and writes no file.
    """
    # Where workers find them too.
    for variable, value in (("RESPONDERD_LOG_LEVEL", log_level), ("RESPONDERD_LOG_FORMAT", log_format)):
        if value is not None:
            os.environ[variable] = value
    errors: list[ResponderError] = []
    status = 0
    try:
        from ..daemon import daemon

        with progress_shown():
            status = daemon.run(config)
    except* ResponderError as group:
        errors = list(leaves(group))
    exit_with(errors, status)
