"""The commands that talk to a running daemon: `status`, `trace` and `reload`.

Exit status: 1 where there is no daemon to talk to, 2 for a mistake in the command line or, from `reload`, in the
config.
This file refuses to know how a daemon is reached (`responder.daemon.control`) and where it keeps what it says.
"""

# ruff: noqa: PLC0415 - imports within functions, as in `responder.cli.commands`: `--help` is to be quick

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from ..errors import ConfigError, NetworkError, ResponderError
from ..log import printable
from .output import CONFIG_MISTAKE, SYSTEM_REFUSES, exit_with, json_option, print_json, print_table

if TYPE_CHECKING:
    from ..datagram import IPAddress

DEFAULT_CONTROL = Path("/run/responderd.sock")
CONTROL_VARIABLE = "RESPONDERD_CONTROL"

STATUS_TIMEOUT = 10.0
"""Seconds after which a daemon that says nothing is taken for hung."""

control_option = click.option(
    "--control",
    type=click.Path(path_type=Path),
    help=f"The daemon's `control` path.  [default: that of --config, ${CONTROL_VARIABLE}, {DEFAULT_CONTROL}]",
)
config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="A configuration, to take its `control` path from."
)


@click.command()
@control_option
@config_option
@json_option
def status(control: Path | None, config: Path | None, as_json: bool) -> None:
    """Show how a running daemon is: plugins, ports, groups, counters, last errors."""
    found = _ask_once(control, config, "status", timeout=STATUS_TIMEOUT)
    if as_json:
        print_json(found)
    else:
        _show_status(found)


@click.command()
@control_option
@config_option
def reload(control: Path | None, config: Path | None) -> None:
    """Have a running daemon read its configuration again."""
    mistakes = _ask_once(control, config, "reload", timeout=None)
    for mistake in mistakes:
        click.echo(f"error: {printable(mistake)}", err=True)
    if mistakes:
        raise SystemExit(CONFIG_MISTAKE)
    click.echo("reloaded")


def _prefixes(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> list[str]:
    from ipaddress import ip_network

    try:
        return [str(ip_network(value, strict=False)) for value in values]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@control_option
@config_option
@click.option("--peer", "peers", multiple=True, callback=_prefixes, metavar="PREFIX", help="Only these peers.")
@click.option("--plugin", "plugins", multiple=True, metavar="NAME", help="Only these plugin instances.")
@click.option("--write", type=click.File("wb"), metavar="FILE.pcap", help="Capture requests and answers as well.")
@json_option
def trace(
    control: Path | None,
    config: Path | None,
    peers: Sequence[str],
    plugins: Sequence[str],
    write: BinaryIO | None,
    as_json: bool,
) -> None:
    """Follow each datagram of a running daemon: who took it, or why nobody did.  Ctrl-C ends it."""
    from ..daemon.control import ask

    request = {"request": "trace", "peers": list(peers), "plugins": list(plugins), "payloads": write is not None}
    seen = _Seen()
    capture = None if write is None else _Capture(write)
    try:
        for answer in ask(_channel(control, config), request):
            seen.add(answer)
            if capture is not None and "datagram" in answer:
                capture.add(answer["datagram"])
            if as_json and "tracing" not in answer:
                click.echo(json.dumps(answer))
            elif "datagram" in answer:
                click.echo(trace_line(answer["datagram"]))
            elif "lost" in answer:
                click.echo(f"... {answer['lost']} lost: more than could be read")
    except KeyboardInterrupt:
        click.echo(seen.summary(), err=True)
        return
    except ResponderError as error:
        exit_with([error])
    click.echo(f"the daemon has ended; {seen.summary()}", err=True)
    raise SystemExit(SYSTEM_REFUSES)


COMMANDS: Final = (status, trace, reload)


def _channel(control: Path | None, config: Path | None) -> Path:
    """Where the daemon listens.  Raises ConfigError."""
    if control is not None:
        return control
    if config is not None:
        return _control_of(config)
    return Path(os.environ.get(CONTROL_VARIABLE) or DEFAULT_CONTROL)


def _control_of(config: Path) -> Path:
    """The key alone: a daemon can be asked even where its config has become wrong meanwhile.  Raises ConfigError."""
    import tomllib

    try:
        control = tomllib.loads(config.read_text(encoding="utf-8-sig")).get("daemon", {}).get("control")
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=config) from error
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"can't be read: {error}", file=config) from error
    if not isinstance(control, str):
        raise ConfigError("there is none, so its daemon can't be asked", path="daemon.control", file=config)
    return config.absolute().parent / control


def _ask_once(control: Path | None, config: Path | None, request: str, *, timeout: float | None) -> Any:
    from ..daemon.control import ask

    try:
        path = _channel(control, config)
        answer = next(ask(path, {"request": request}, timeout=timeout), None)
    except ResponderError as error:
        exit_with([error])
    if answer is None:
        exit_with([NetworkError(errno.ECONNRESET, f"the daemon at {path} ended before it answered")])
    return answer[request]


# Status


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
        ((each["name"], _counts(each["events"])) for each in found["instances"] if each.get("events")),
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
            (plugin, interface, str(counts.get("answered", 0)), _counts(counts, but="answered"))
            for plugin, interfaces in found["counters"].items()
            for interface, counts in interfaces.items()
        ),
        numbers=("answered",),
    )
    _section(
        ("at", "level", "last warnings and errors"),
        ((_clock(error["time"]), error["level"], " ".join(error["message"].split())) for error in found["errors"]),
    )


def _section(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table, or nothing where it would be empty."""
    rows = list(rows)
    if rows:
        print_table(columns, rows, numbers=numbers)


def _last_error(error: Mapping[str, Any] | None) -> str:
    return "" if error is None else f"{_clock(error['time'])} {' '.join(error['message'].split())}"


def _counts(counts: Mapping[str, int], but: str = "") -> str:
    """Counts in words, the highest first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{outcome} {count}" for outcome, count in ordered if outcome != but)


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


def _clock(timestamp: float, timespec: str = "seconds") -> str:
    """In the reader's own time zone, with the day where it is not today."""
    moment = datetime.fromtimestamp(timestamp).astimezone()
    day = "" if moment.date() == datetime.now().astimezone().date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment.time().isoformat(timespec)}"


# Trace


def trace_line(datagram: Mapping[str, Any]) -> str:
    """One line: when, who asked whom and where, what became of it and why, and the bytes in and out."""
    from ipaddress import ip_address

    from ..datagram import Peer

    peer = Peer(ip_address(datagram["peer"]), datagram["peer_port"], datagram["scope_id"])
    asked = f"port {datagram['port']}"
    if datagram["destination"] is not None:
        asked = str(Peer(ip_address(datagram["destination"]), datagram["port"]))
    outcome = datagram["outcome"] + (f" ({datagram['reason']})" if datagram["reason"] else "")
    sizes = f"{'again' if datagram['further'] else datagram['bytes']} in"
    for answer in datagram["answers"]:
        sizes += f", {answer['bytes']} out"
        to = Peer(ip_address(answer["to"]), answer["to_port"], datagram["scope_id"])
        if to != peer:
            sizes += f" to {to}"
    transport = "" if datagram["transport"] == "udp" else f" {datagram['transport']}"
    return printable(
        f"{_clock(datagram['time'], 'milliseconds')} {peer} > {asked}{transport} {datagram['interface']} "
        f"{datagram['via']} {datagram['plugin']}: {outcome}, {sizes}"
    )


class _Seen:
    """What a trace has shown so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._outcomes: dict[str, int] = {}
        self._lost = 0

    def add(self, answer: Mapping[str, Any]) -> None:
        self._lost += answer.get("lost", 0)
        if "datagram" in answer:
            outcome = answer["datagram"]["outcome"]
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1

    def summary(self) -> str:
        counts = _counts({**self._outcomes, **({"lost": self._lost} if self._lost else {})})
        return f"{duration(self._clock() - self._began)}: {counts or 'nothing seen'}"


class _Capture:
    """Writes what a trace with payloads tells as a pcap file; whole after each datagram."""

    def __init__(self, file: BinaryIO) -> None:
        from ..daemon.capture import FILE_HEADER

        self._file = file
        file.write(FILE_HEADER)
        file.flush()

    def add(self, datagram: Mapping[str, Any]) -> None:
        from ipaddress import ip_address

        if datagram["transport"] != "udp":
            return
        peer = ip_address(datagram["peer"])
        asked = type(peer)(0) if datagram["destination"] is None else ip_address(datagram["destination"])
        if not datagram["further"]:
            self._write(datagram, peer, datagram["peer_port"], asked, datagram["port"], datagram["payload"])
        for answer in datagram["answers"]:
            source = None if answer["source"] is None else ip_address(answer["source"])
            to = ip_address(answer["to"])
            self._write(datagram, source, datagram["port"], to, answer["to_port"], answer["payload"])
        self._file.flush()

    def _write(
        self,
        datagram: Mapping[str, Any],
        source: IPAddress | None,
        source_port: int,
        to: IPAddress,
        to_port: int,
        payload: str,
    ) -> None:
        import base64

        from ..daemon.capture import record

        data = base64.b64decode(payload)
        self._file.write(
            record(datagram["time"], source=source, source_port=source_port, to=to, to_port=to_port, payload=data)
        )
