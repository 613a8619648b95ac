"""`responderd check CONFIG`: everything that is wrong with a configuration."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, ResponderError, name_of
from ..log import printable
from .config_argument import config_argument
from .output import exit_with
from .progress import progress_shown

if TYPE_CHECKING:
    from ..config.reading import Config, DaemonOptions


@click.command()
@config_argument(required=True)
def check(config: Path) -> None:
    """Say everything that is wrong with CONFIG (-: standard input).  Nothing is bound, and nothing changed."""
    import trio

    from ..config.hints import unmatched_patterns, unreachable
    from ..config.reading import prepare_reading, read
    from ..daemon.state import check_state, known_state_root
    from ..net import platform
    from ..net.firewall import opening_commands

    errors: list[ResponderError] = []
    try:
        with progress_shown():
            reading = read(config)
            errors += map(reading.located, _of_this_host(reading.daemon))
            loaded, prepared = trio.run(partial(prepare_reading, reading, state_root=known_state_root))
        errors += [complaint for each in prepared for complaint in each.complaints]
        names = [interface.name for interface in trio.run(platform().interfaces)]
    except ResponderError as error:
        errors.append(error)
    if errors:
        exit_with(errors)
    for each in prepared:
        for warning in each.warnings:
            click.echo(f"warning: {printable(str(warning))}", err=True)
    # No mistake: who is to run it may have other rights.
    if (hindrance := check_state(reading.daemon)) is not None:
        click.echo(f"warning: {printable(str(reading.located(hindrance)))}", err=True)
    for path, reason in unreachable(loaded):
        click.echo(f"warning: {printable(f'{path}: {reason}')}", err=True)
    for path, pattern in unmatched_patterns(loaded, names):
        click.echo(f"warning: {path}: {pattern!r} matches no interface now", err=True)
    count = len(loaded.instances)
    instances = ", ".join(instance.name for instance in loaded.instances)
    click.echo(f"{name_of(config)}: ok: {count} plugin{'s' if count != 1 else ''} ({instances})")
    commands = opening_commands(*_reachable_ports(loaded))
    if commands:
        click.echo("hint: an administrator's PowerShell opens these ports in the firewall:", err=True)
    for command in commands:
        click.echo(f"  {command}", err=True)


def _reachable_ports(config: Config) -> tuple[list[int], list[int]]:
    """The UDP and the TCP ports that other hosts may ask: not those that listen on this host's loopback alone."""
    reachable = [
        each for each in config.instances if not each.listen or any(not one.is_loopback for one in each.listen)
    ]
    services = [service for instance in reachable for service in instance.services]
    udp = [service.port for service in services if service.udp]
    tcp = [service.port for service in services if service.tcp]
    metrics = config.daemon.metrics
    if metrics is not None and (metrics.address is None or not metrics.address.is_loopback):
        tcp.append(metrics.port)
    return udp, tcp


def _of_this_host(options: DaemonOptions) -> Iterator[ConfigError]:
    """What this host can't give."""
    from ..config.divisible import WORKERS_KEY
    from ..net import privileges
    from ..net.handover import why_not_shared

    if options.workers > 1 and (reason := why_not_shared()):
        yield ConfigError(reason, path=WORKERS_KEY)
    if options.user is not None:
        try:
            privileges.check(options.user)
        except ConfigError as error:
            yield error
