"""The daemon: a configuration made to serve, from the first check to the last goodbye.

It prepares every plugin, opens every port, says "ready", serves until it is told to stop (SIGTERM, SIGINT,
Ctrl-Break), says goodbye within the grace period, and ends.  What is wrong at the start stops everything, and nothing
half-started stays.

Logs go to standard error through structlog: for people on a terminal, one JSON object a line otherwise.  This file
refuses to know protocols and sockets.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import structlog
import trio

from . import net
from .config import Config, unmatched_patterns
from .datagram import Interface
from .instance import prepare_all
from .log import get_logger
from .server import Server, open_server

_log = get_logger(__name__)

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))


def run(config: Config) -> int:
    """Serve until told to stop; the exit status.

    Raises ConfigErrors for what the plugins find wrong, and an ExceptionGroup of BindError for ports that can't be had.
    """
    configure_logging(config.daemon.log)
    return trio.run(_main, config)


async def _main(config: Config) -> int:
    handlers = await prepare_all(config.instances)
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        async with (
            open_server(handlers, platform=net.platform(), grace=config.daemon.grace, state_root=state_root) as server,
            trio.open_nursery() as nursery,
        ):
            for path, pattern in unmatched_patterns(config, [interface.name for interface in server.table]):
                _log.warning("no interface has such a name now", key=path, pattern=pattern)
            nursery.start_soon(_stop_on_signal, signals, server)
            nursery.start_soon(_announce, config, server)
            await server.run()
            nursery.cancel_scope.cancel()
        _log.info("stopped", counters=server.counters.snapshot())
    return 1 if server.failed else 0


async def _announce(config: Config, server: Server) -> None:
    await server.ready.wait()
    _log.info("ready", ports=sorted({opened.socket.port for opened in server.ports}))
    if config.file is None:
        sys.stdout.write(invitation(server.table, server.port()))
        sys.stdout.flush()


async def _stop_on_signal(signals: AsyncIterator[int], server: Server) -> None:
    async for number in signals:
        _log.info("stopping", signal=signal.Signals(number).name)
        server.stop()


def state_root() -> Path:
    """Where state outlives a restart: the service manager's folder, or the user's (XDG Base Directory)."""
    given = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME")
    if "STATE_DIRECTORY" in os.environ and given:
        return Path(given.split(":")[0])
    return (Path(given) if given else Path.home() / ".local" / "state") / "responderd"


MAX_EXAMPLES = 8
"""Addresses that the invitation names: a host may have a thousand."""


def invitation(interfaces: Iterable[Interface], port: int) -> str:
    """What to type to see the embedded default at work, with this host's own addresses, those for others first."""
    own = [
        (entry.address.is_loopback, entry.address.is_link_local, interface.name, entry.address)
        for interface in interfaces
        if "up" in interface.flags
        for entry in interface.addresses
    ]
    own.sort(key=lambda entry: entry[:2])
    lines = [
        f"  dig @{address}{f'%{name}' if link_local and address.version == 6 else ''} -p {port} whoami.test TXT"
        for _, link_local, name, address in own[:MAX_EXAMPLES]
    ]
    if len(own) > MAX_EXAMPLES:
        lines.append(f"  ... and {len(own) - MAX_EXAMPLES} more addresses: see `responderd interfaces`")
    return "\n".join([f"whoami answers DNS on port {port} of every address of this host.  Try:", *lines, ""])


def configure_logging(level: str) -> None:
    """Render the framework's records, and everybody else's, to standard error."""
    on_terminal = sys.stderr.isatty()
    shared: list[Any] = [
        _fields_of_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
    ]
    renderers: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _fields_of_record(_logger: Any, _method: str, event: Any) -> Any:
    """A record of `responder.log` carries its event and fields apart."""
    record = event.get("_record")
    message = getattr(record, "msg", None)
    fields = getattr(record, "fields", None)
    if fields is not None:
        event["event"] = getattr(message, "event", event["event"])
        event.update({name: _plain(value) for name, value in fields.items()})
    return event


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict | list | tuple | None) else str(value)
