"""`responderd reload`: have a running daemon read its configuration again."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..log import printable
from .daemon_address import ask_once, config_option, control_option
from .output import CONFIG_MISTAKE
from .status import STATUS_TIMEOUT


@click.command()
@control_option
@config_option
def reload(control: Path | None, config: Path | None) -> None:
    """Have a running daemon read its configuration again."""
    began = time.time()
    answer = ask_once(control, config, "reload", timeout=None)
    for mistake in answer["reload"]:
        click.echo(f"error: {printable(mistake)}", err=True)
    if answer["reload"]:
        raise SystemExit(CONFIG_MISTAKE)
    click.echo("reloaded")
    waiting = answer.get("restart", ())  # an older daemon says nothing of them
    for key in waiting:
        click.echo(f"warning: {printable(key)} is changed by a restart only", err=True)
    # What an instance is served without, or but: it stands in the daemon's log, and who reloads looks here.
    status = ask_once(control, config, "status", timeout=STATUS_TIMEOUT).get("status", {})
    told = {f"key={key}" for key in waiting}
    for error in status.get("errors", ()):
        if error["time"] >= began and told.isdisjoint(error["message"].split()):
            click.echo(f"{error['level']}: {printable(' '.join(error['message'].split()))}", err=True)
