"""`responderd unit`: units for systemd, with the paths of this installation, and limits of the kernel."""

from __future__ import annotations

import string
import sys
from importlib.resources import files
from pathlib import Path

import click

CONFIG = Path("/etc/responderd.toml")

# ProtectHome=yes: the daemon sees none of these.
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"))


@click.command(short_help="Print a unit for systemd.")
@click.option("--config", type=click.Path(path_type=Path), default=CONFIG, show_default=True, help="What it serves.")
@click.option(
    "--socket",
    "template",
    flag_value="responderd.socket",
    help="The unit of the ports, which then stay open over restarts and have their buffers.",
)
@click.option(
    "--sysctl",
    "template",
    flag_value="responderd.conf",
    help="A file for sysctl.d, which gives the ports their buffers where they are not systemd's.",
)
def unit(config: Path, template: str | None) -> None:
    """Print a unit for systemd, which names this installation: an unprivileged service, shut in as far as can be.

    \b
        responderd unit > /etc/systemd/system/responderd.service
    """
    name = template or "responderd.service"
    program = Path(sys.executable).with_name("responderd")
    source = files(__package__) / "templates" / "systemd" / f"{name}.template"
    text = string.Template(source.read_text(encoding="utf-8"))
    click.echo(text.substitute(program=_quoted(program), config=_quoted(config.absolute())), nl=False)
    if any(program.is_relative_to(folder) for folder in HIDDEN):
        click.echo(f"warning: {program} is where the unit's ProtectHome=yes hides it: install it elsewhere", err=True)


def _quoted(path: Path) -> str:
    """As a word of a command line of systemd.service(5)."""
    text = str(path).replace("%", "%%").replace("$", "$$")
    if text.isprintable() and not set(text) & set(" \"'\\;"):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
