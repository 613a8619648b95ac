"""`responderd run [CONFIG]`: serve until told to end."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

from pathlib import Path

import click

from ..errors import ResponderError
from .output import exit_with


@click.command(short_help="Serve what CONFIG says.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
def run(config: Path | None) -> None:
    """Serve what CONFIG says; without one, whoami (DNS) on port 5300, with no rights needed and no file written."""
    errors: list[ResponderError] = []
    status = 0
    try:
        from ..daemon import daemon

        status = daemon.run(config)
    except* ResponderError as group:
        errors = _flat(group)
    exit_with(errors, status)


def _flat(group: BaseExceptionGroup[ResponderError]) -> list[ResponderError]:
    errors: list[ResponderError] = []
    for error in group.exceptions:
        errors += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return errors
