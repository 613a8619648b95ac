"""`responderd top`: how a running daemon is at every moment."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from ..errors import ResponderError
from .daemon_address import answer_of, config_option, control_option, control_path
from .output import exit_with

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..daemon.rates import Looks, Rates
    from ..daemon.status import Status

PATIENCE = 5.0
"""Seconds after which a daemon that says nothing is taken for hung."""

LEAST_INTERVAL = 0.5

QUIT = ("q", "Q", "\x04", "\x1b")
PAUSE = " "


@click.command()
@control_option
@config_option
@click.option(
    "--interval",
    type=click.FloatRange(LEAST_INTERVAL, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between looks.",
)
@click.option(
    "--once", is_flag=True, help="Print one view, of so many seconds, and end.  [default: where no terminal reads it]"
)
def top(control: Path | None, config: Path | None, interval: float, once: bool) -> None:
    """Watch a running daemon: rates by plugin, interface and outcome, slow answers, groups, last errors.

    Space holds the view, q ends it.
    """
    from ..net.keyboard import keys_pressed

    try:
        watch = Watch(control_path(control, config))
        watch.look()
        with keys_pressed() as wait:
            if once or not sys.stdout.isatty():
                wait(interval)
                watch.look()
                _print(watch)
            else:
                _follow(watch, interval, wait)
    except ResponderError as error:
        exit_with([error])
    except KeyboardInterrupt:
        pass


@attrs.define(eq=False)
class Watch:
    """What is known of the daemon at `path`.  `trouble` says why it is not the present."""

    path: Path
    status: Status | None = attrs.field(default=None, init=False)
    rates: Rates = attrs.field(init=False)
    trouble: str = attrs.field(default="", init=False)
    _looks: Looks = attrs.field(init=False)

    def look(self) -> None:
        """Ask it.  Raises ResponderError."""
        import cattrs

        from ..daemon.rates import Looks
        from ..daemon.status import Status

        found = answer_of(self.path, "status", timeout=PATIENCE)["status"]
        try:
            status = cattrs.structure(found, Status)
        except cattrs.BaseValidationError as error:
            raise ResponderError(f"the daemon at {self.path} is of another version ({found.get('version')})") from error
        if self.status is None or status.pid != self.status.pid:  # the first, or another one by now
            self._looks = Looks()
        self.status, self.rates = status, self._looks.look(status)

    def try_to_look(self) -> None:
        """The same where the daemon may be away for a moment: while it is restarted, its last state is shown."""
        try:
            self.look()
            self.trouble = ""
        except ResponderError as error:
            self.trouble = str(error)


def _print(watch: Watch) -> None:
    from .output import console

    out = console()
    # A program that reads it has no height.
    out.print(_view(watch, "", out, out.height if sys.stdout.isatty() else None))


def _follow(watch: Watch, interval: float, wait: Callable[[float], str]) -> None:
    from rich.live import Live

    from .output import console

    out, held = console(), False
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            note = "held: space goes on" if held else watch.trouble
            live.update(_view(watch, note, out, out.height), refresh=True)
            key = wait(interval)
            if key in QUIT:
                return
            if key == PAUSE:
                held = not held
            if not held:
                watch.try_to_look()


def _view(watch: Watch, note: str, out: Console, height: int | None) -> RenderableType:
    from .top_view import view

    assert watch.status is not None  # noqa: S101 - it has been asked
    ascii_only = out.options.ascii_only
    return view(watch.status, watch.rates, note, width=out.width, height=height, ascii_only=ascii_only)
