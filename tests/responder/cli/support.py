"""What the tests of commands share: calling one, plugins to see, and a daemon that they talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from responder.cli import main

Write = Callable[[str], Path]
"""Puts a text into a config file."""

PLUGINS = """
    from __future__ import annotations
    import enum
    from ipaddress import IPv4Address
    from pathlib import Path
    from typing import ClassVar
    import attrs
    from responder import ConfigError, Plugin, Service

    class Colour(enum.Enum):
        RED = "red"

    @attrs.frozen
    class Sign(Plugin):
        '''Shows a [bold]sign[/bold] :smile:.

        More.

        zone  what it shows
        '''

        zone: Path
        colour: Colour = Colour.RED
        address: IPv4Address = IPv4Address("192.0.2.1")
        words: dict[str, tuple[int, ...]] = attrs.field(factory=dict)
        services: ClassVar = (Service(port=7007, groups=("ff02::7007",), tcp=True),)

        def prepare(self, context):
            context.read_text(self.zone)
            return self

    @attrs.frozen
    class Two(Plugin):
        '''Serves two ports.'''

        services: ClassVar = (Service(name="search", port=1900), Service(name="events", port=0))

        def prepare(self, context):
            raise KeyError("k")
"""

ERROR = {"time": 1700000000.0, "level": "error", "plugin": "dns", "message": "respond failed: \x1b[31mred"}
STATUS: dict[str, Any] = {
    "version": "1.2",
    "pid": 77,
    "uptime": 90061.0,
    "config": "/etc/a.toml",
    "ready": True,
    "failed": False,
    "lingering": ["old"],
    "not_ready": ["echo is restarting"],
    "instances": [
        {
            **{"name": "dns", "plugin": "Dns", "state": "ready", "restarts": 0, "pending": 3, "connections": 1},
            **{"slowest": 0.0021, "last_error": ERROR, "events": {"noerror": 9, "formerr": 20}},
            "notes": ["lan: lab-2", "wan: lab-3"],
        },
        {
            **{"name": "[red]echo", "plugin": "Echo", "state": "restarting", "restarts": 5, "pending": 0},
            **{"connections": 0, "slowest": 0.0, "last_error": None},
        },
    ],
    "ports": [
        {
            **{"number": 53, "address": None, "transports": ["udp", "tcp"], "plugins": ["dns", "[red]echo"]},
            **{"receive_buffer": 4194304, "kernel_drops": 9, "events": {"failed-receives": 4}},
        }
    ],
    "groups": [
        {"port": 53, "interface": "lan", "joined": ["224.0.0.251"], "missing": ["232.1.1.1 from 10.0.0.1"]},
    ],
    "group_failures": 1,
    "counters": {"dns": {"lan": {"answered": 100, "denied": 2, "off-link": 30}}},
    "latencies": [],
    "errors": [ERROR],
    "control": {"clients": 1, "refused": 0, "cut": 0},
}
DATAGRAM: dict[str, Any] = {
    "time": 1700000000.5,
    "transport": "udp",
    "port": 53,
    "peer": "fe80::9",
    "peer_port": 40000,
    "scope_id": 2,
    "destination": "fe80::1",
    "interface": "lan",
    "via": "unicast",
    "plugin": "dns",
    "outcome": "answered",
    "reason": "",
    "bytes": 3,
    "further": False,
    "answers": [
        {
            "source": "fe80::1",
            "to": "fe80::9",
            "to_port": 40000,
            "bytes": 4,
            "payload": "Zm91cg==",
            "time": 1700000000.75,
        }
    ],
    "payload": "b25l",
}
REFUSED = {**DATAGRAM, "peer": "10.71.0.9", "scope_id": 0, "destination": "10.71.0.2", "plugin": "-", "answers": []}
REFUSED = {**REFUSED, "outcome": "denied", "reason": "the peer may not ask (allow, deny)"}


class FakeDaemon:
    """In place of `control.ask`: gives `answers`, then raises `error` if there is one; notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.asked: list[tuple[Path, Mapping[str, Any]]] = []

    def __call__(
        self, path: Path, request: Mapping[str, Any], *, timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        del timeout
        self.asked.append((path, request))
        yield from self.answers
        if self.error is not None:
            raise self.error


def call(*arguments: str | Path, stdin: str | None = None) -> Result:
    """The command `responderd ARGUMENTS`; a bug in it raises."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
