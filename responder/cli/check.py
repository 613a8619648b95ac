"""`responderd check CONFIG`: everything that is wrong with a configuration."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..errors import ConfigError, ResponderError, name_of
from ..log import printable
from .config_argument import config_argument
from .output import exit_with
from .progress import progress_shown


@click.command()
@config_argument(required=True)
def check(config: Path) -> None:
    """Say everything that is wrong with CONFIG (-: standard input).  Nothing is bound, and nothing changed."""
    import trio

    from ..config.divisible import WORKERS_KEY
    from ..config.hints import unmatched_patterns, unreachable
    from ..config.reading import load_prepared
    from ..daemon.state import known_state_root
    from ..net import platform, privileges
    from ..net.firewall import opening_commands
    from ..net.handover import why_not_shared

    errors: list[ResponderError] = []
    try:
        with progress_shown():
            loaded, prepared = trio.run(partial(load_prepared, state_root=known_state_root), config)
        errors += [complaint for each in prepared for complaint in each.complaints]
        if loaded.daemon.workers > 1 and (reason := why_not_shared()):
            errors.append(ConfigError(reason, path=WORKERS_KEY))
        if loaded.daemon.user is not None:
            privileges.check(loaded.daemon.user)
        names = [interface.name for interface in trio.run(platform().interfaces)]
    except ResponderError as error:
        errors.append(error)
    if errors:
        exit_with(errors)
    for each in prepared:
        for warning in each.warnings:
            click.echo(f"warning: {printable(str(warning))}", err=True)
    for path, reason in unreachable(loaded):
        click.echo(f"warning: {printable(f'{path}: {reason}')}", err=True)
    for path, pattern in unmatched_patterns(loaded, names):
        click.echo(f"warning: {path}: {pattern!r} matches no interface now", err=True)
    count = len(loaded.instances)
    instances = ", ".join(instance.name for instance in loaded.instances)
    click.echo(f"{name_of(config)}: ok: {count} plugin{'s' if count != 1 else ''} ({instances})")
    services = [service for instance in loaded.instances for service in instance.services]
    commands = opening_commands(
        (service.port for service in services if service.udp), (service.port for service in services if service.tcp)
    )
    if commands:
        click.echo("hint: an administrator's PowerShell opens these ports in the firewall:", err=True)
    for command in commands:
        click.echo(f"  {command}", err=True)
