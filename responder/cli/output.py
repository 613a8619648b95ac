"""What the commands share for a terminal: tables, JSON, and how they end.

What they show may be others' words (a peer's, a plugin's, an interface's name), so nothing of it reaches the terminal
raw.
"""

# ruff: noqa: PLC0415 - rich within functions: `--help` and JSON have no tables

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..errors import ConfigErrors, NetworkError, ResponderError
from ..log import printable

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

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


def escape_tracebacks() -> None:
    """Have nothing raw in what Python itself writes to standard error: tracebacks, and logs that nobody configured.

    An exception's text may be a peer's.  What somebody else has set already, such as a test runner, stays.
    """

    def write(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
        for line in "".join(traceback.format_exception(kind, error, where)).rstrip("\n").split("\n"):
            click.echo(printable(line), err=True)

    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = write
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda args: write(args.exc_type, args.exc_value, args.exc_traceback)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda args: write(args.exc_type, args.exc_value, args.exc_traceback)
    if logging.lastResort is not None and logging.lastResort.formatter is None:
        logging.lastResort.setFormatter(_Printable())


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def print_json(value: Any) -> None:
    # In ASCII: some terminals act on the control characters beyond it too.
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table as wide as the terminal, or as its content where standard output is none; cells may have lines."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    console().print(table)


def console() -> Console:
    """Standard output, with the width of the terminal that it is."""
    from rich.console import Console

    # Names are the system's and others': neither markup nor emoji codes.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)
