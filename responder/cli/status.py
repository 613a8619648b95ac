"""`responderd status`: how a running daemon is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..daemon.figures import clock, counts, duration
from ..log import printable
from .daemon_address import ask_once, config_option, control_option
from .output import json_option, print_json, print_table

STATUS_TIMEOUT = 10.0
"""Seconds after which a daemon that says nothing is taken for hung."""


@click.command()
@control_option
@config_option
@json_option
def status(control: Path | None, config: Path | None, as_json: bool) -> None:
    """Show how a running daemon is: plugins, ports, groups, counters, last errors."""
    found = ask_once(control, config, "status", timeout=STATUS_TIMEOUT)["status"]
    if as_json:
        print_json(found)
    else:
        _show_status(found)


def _show_status(found: Mapping[str, Any]) -> None:
    reasons = found["not_ready"]
    state = "ready" if not reasons else f"not ready: {'; '.join(reasons)}"
    config = found["config"] or "the embedded default"
    click.echo(printable(f"responderd {found['version']}, process {found['pid']}, {config}"))
    click.echo(printable(f"up {duration(found['uptime'])}, {state}"))
    if found["lingering"]:
        click.echo(printable(f"replaced, but still running: {', '.join(found['lingering'])}"))
    click.echo()
    _section(
        ("worker", "process", "state", "restarts"),
        (
            (str(each["number"]), str(each["pid"]), each["state"], str(each["restarts"]))
            for each in found.get("workers", ())  # an older daemon says nothing of them
        ),
        numbers=("worker", "process", "restarts"),
    )
    _section(
        ("plugin", "kind", "state", "restarts", "pending", "connections", "slowest", "last error"),
        (
            (
                *(each["name"], each["plugin"], each["state"], str(each["restarts"]), str(each["pending"])),
                *(str(each["connections"]), duration(each["slowest"]) if each["slowest"] else ""),
                _last_error(each["last_error"]),
            )
            for each in found["instances"]
        ),
        numbers=("restarts", "pending", "connections", "slowest"),
    )
    _section(
        ("plugin", "counts itself"),
        # An older daemon says nothing of it.
        ((each["name"], counts(each["events"])) for each in found["instances"] if each.get("events")),
    )
    _section(
        ("plugin", "says of itself"),
        # As above.
        ((each["name"], note) for each in found["instances"] for note in each.get("notes", ())),
    )
    _section(
        ("port", "address", "plugins", "receive buffer", "kernel drops"),
        (
            (
                f"{port['number']}/{'+'.join(port['transports'])}",
                port["address"] or "*",
                ", ".join(port["plugins"]),
                "" if port["receive_buffer"] is None else f"{port['receive_buffer'] // 1024} KiB",
                str(port["kernel_drops"]),
            )
            for port in found["ports"]
        ),
        numbers=("receive buffer", "kernel drops"),
    )
    _section(
        ("port", "address", "its socket counts"),
        (
            (str(port["number"]), port["address"] or "*", counts(events))
            for port in found["ports"]
            if (events := {kind: total for kind, total in port.get("events", {}).items() if total})
        ),
    )
    _section(
        ("interface", "port", "groups joined", "missing"),
        (
            (each["interface"], str(each["port"]), "\n".join(each["joined"]), "\n".join(each["missing"]))
            for each in found["groups"]
        ),
        numbers=("port",),
    )
    _section(
        ("plugin", "interface", "answered", "otherwise"),
        (
            (plugin, interface, str(outcomes.get("answered", 0)), counts(outcomes, but="answered"))
            for plugin, interfaces in found["counters"].items()
            for interface, outcomes in interfaces.items()
        ),
        numbers=("answered",),
    )
    _section(
        ("at", "level", "last warnings and errors"),
        ((clock(error["time"]), error["level"], " ".join(error["message"].split())) for error in found["errors"]),
    )


def _section(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table, or nothing where it would be empty."""
    rows = list(rows)
    if rows:
        print_table(columns, rows, numbers=numbers)


def _last_error(error: Mapping[str, Any] | None) -> str:
    return "" if error is None else f"{clock(error['time'])} {' '.join(error['message'].split())}"
