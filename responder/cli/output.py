"""What the commands share for a terminal: tables, JSON, times and counts in words, and how they end.

What they show may be others' words (a peer's, a plugin's, an interface's name), so nothing of it reaches the terminal
raw.
"""

# ruff: noqa: PLC0415 - rich within functions: `--help` and JSON have no tables

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import click

from ..errors import ConfigErrors, NetworkError, ResponderError
from ..log import printable

CONFIG_MISTAKE = 2
SYSTEM_REFUSES = 1

# A pipe has no width, and a cut-off cell is of no use to a program.
PIPE_WIDTH = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def exit_with(errors: Sequence[ResponderError], status: int = 0) -> NoReturn:
    """Print each mistake on a line of standard error and exit; a mistake in the config outweighs the system's."""
    for error in errors:
        for one in error.errors if isinstance(error, ConfigErrors) else [error]:
            # Of a NetworkError the words alone: they say more than the number before them.
            text = one.strerror if isinstance(one, NetworkError) and one.strerror else str(one)
            click.echo(f"error: {printable(' '.join(text.split()))}", err=True)
    if errors:
        status = SYSTEM_REFUSES if all(isinstance(error, NetworkError) for error in errors) else CONFIG_MISTAKE
    sys.exit(status)


def print_json(value: Any) -> None:
    # In ASCII: some terminals act on the control characters beyond it too.
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table as wide as the terminal, or as its content where standard output is none; cells may have lines."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    # Names are the system's and others': neither markup nor emoji codes.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)


def duration(seconds: float) -> str:
    """A time span in its two highest units, or a short one in milli- or microseconds."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    whole = int(seconds)
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(units) > 1 and not units[0][0]:
        units.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in units[:2])


def clock(timestamp: float, timespec: str = "seconds") -> str:
    """In the reader's own time zone, with the day where it is not today."""
    moment = datetime.fromtimestamp(timestamp).astimezone()
    day = "" if moment.date() == datetime.now().astimezone().date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment.time().isoformat(timespec)}"


def counts(by_outcome: Mapping[str, int], but: str = "") -> str:
    """Counts in words, the highest first."""
    ordered = sorted(by_outcome.items(), key=lambda item: -item[1])
    return ", ".join(f"{outcome} {count}" for outcome, count in ordered if outcome != but)
