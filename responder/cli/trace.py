"""`responderd trace`: each datagram of a running daemon, and what became of it."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..daemon.figures import clock, counts, duration
from ..errors import ResponderError
from ..log import printable
from .daemon_address import config_option, control_option, control_path
from .output import SYSTEM_REFUSES, exit_with, json_option

if TYPE_CHECKING:
    from ..daemon.capture import Place


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
    from ..daemon.control_client import ask

    request = {"request": "trace", "peers": list(peers), "plugins": list(plugins), "payloads": write is not None}
    seen = _Summary()
    capture = None if write is None else _Capture(write)
    try:
        for answer in ask(control_path(control, config), request):
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
        click.echo(str(seen), err=True)
        return
    except ResponderError as error:
        exit_with([error])
    click.echo(f"the daemon has ended; {seen}", err=True)
    raise SystemExit(SYSTEM_REFUSES)


def trace_line(datagram: Mapping[str, Any]) -> str:
    """One line: when, who asked whom and where, what became of it and why, the bytes in and out, what was said.

    `<` stands for what was sent without a request.
    """
    from ipaddress import ip_address

    from ..datagram import Peer

    peer = Peer(ip_address(datagram["peer"]), datagram["peer_port"], datagram["scope_id"])
    asked = f"port {datagram['port']}"
    if datagram["destination"] is not None:
        asked = str(Peer(ip_address(datagram["destination"]), datagram["port"]))
    outcome = datagram["outcome"] + (f" ({datagram['reason']})" if datagram["reason"] else "")
    sizes = [] if datagram["bytes"] is None else [f"{'again' if datagram['further'] else datagram['bytes']} in"]
    for answer in datagram["answers"]:
        to = Peer(ip_address(answer["to"]), answer["to_port"], datagram["scope_id"])
        sizes.append(f"{answer['bytes']} out" + (f" to {to}" if to != peer else ""))
    # An older daemon says nothing of them.
    words = " ".join(f"{name}={word}" for name, word in datagram.get("words", {}).items())
    way = "<" if datagram["bytes"] is None else ">"
    transport = "" if datagram["transport"] == "udp" else f" {datagram['transport']}"
    return printable(
        f"{clock(datagram['time'], 'milliseconds')} {peer} {way} {asked}{transport} {datagram['interface']} "
        f"{datagram['via']} {datagram['plugin']}: {', '.join([outcome, *sizes])}{words and f'; {words}'}"
    )


class _Summary:
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

    def __str__(self) -> str:
        seen = counts({**self._outcomes, **({"lost": self._lost} if self._lost else {})})
        return f"{duration(self._clock() - self._began)}: {seen or 'nothing seen'}"


class _Capture:
    """Writes what a trace with payloads tells as a pcap file; whole after each datagram."""

    def __init__(self, file: BinaryIO) -> None:
        from ..daemon.capture import FILE_HEADER, Segments

        self._file = file
        self._segments = Segments()
        file.write(FILE_HEADER)
        file.flush()

    def add(self, datagram: Mapping[str, Any]) -> None:
        from ipaddress import ip_address

        peer = ip_address(datagram["peer"])
        asked = type(peer)(0) if datagram["destination"] is None else ip_address(datagram["destination"])
        if "payload" in datagram and not datagram["further"]:
            requested = (peer, datagram["peer_port"]), (asked, datagram["port"])
            self._write(datagram["transport"], datagram["time"], *requested, datagram["payload"])
        for answer in datagram["answers"]:
            to = ip_address(answer["to"])
            source = type(to)(0) if answer["source"] is None else ip_address(answer["source"])
            answered = (source, datagram["port"]), (to, answer["to_port"])
            self._write(datagram["transport"], answer["time"], *answered, answer["payload"])
        self._file.flush()

    def _write(self, transport: str, when: float, source: Place, to: Place, payload: str) -> None:
        import base64

        from ..daemon.capture import record

        data = base64.b64decode(payload)
        if transport == "udp":
            packets = record(when, source=source[0], source_port=source[1], to=to[0], to_port=to[1], payload=data)
        else:
            packets = self._segments.record(when, source, to, data)
        self._file.write(packets)
