"""The daemon: a configuration made to serve, from the first check to the last goodbye.

It prepares every plugin, opens every port, gives up its rights, says "ready", and serves until it is told to stop
(SIGTERM, SIGINT, Ctrl-Break); then it says goodbye within the grace period and ends.  A configuration that is wrong, or
a port that can't be had, stops everything at the start, and nothing half-started stays.  A plugin that fails, then or
later, stops nothing else, and shows in the exit status; one that can't be ended does not hold up the end.

SIGHUP (or `responderd reload`) reads the configuration again.  It is checked whole first, and one that is wrong changes
nothing.  This file refuses to know protocols and sockets.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .. import net
from ..config.instance import prepare_all
from ..config.reading import (
    Config,
    DaemonOptions,
    embedded_default,
    load_prepared,
    prepare_reading,
    read,
    unmatched_patterns,
)
from ..datagram import Interface
from ..dispatch.observers import Observers
from ..errors import ConfigErrors, ResponderError
from ..log import get_logger
from ..net.inherited import inherited_sockets
from ..net.privileges import become
from ..server.server import ServerCore, open_server
from .logs import configure_logging, set_level
from .query_log import QueryLog
from .service_manager import Notifier
from .status import About, take

if TYPE_CHECKING:
    from ..net.types import StreamListener

_log = get_logger(__name__)

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
LAST_MOMENT = 0.1
"""Seconds between the end of all that can be ended and that of a process with something that can't."""

MAX_REASON = 200
"""Characters of a reason that the service manager is told: it shows a line."""

RELOAD_SIGNALS = tuple(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))


def run(file: Path | None) -> int:
    """Serve what the file says, or the embedded default, until told to stop.

    Returns the exit status: 1 where something failed for good while serving.  Raises an ExceptionGroup: of ConfigErrors
    for what is wrong with the configuration, of BindError for ports that can't be had.
    """
    configure_logging()
    return trio.run(_main, file)


@attrs.define(eq=False)
class Orders:
    """What signals order.  Until there is a server to stop, `stop` ends the start at once."""

    stop: Callable[[], None]
    reload: trio.Event = attrs.field(factory=trio.Event)

    async def follow(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number in RELOAD_SIGNALS:
                # Several that come while one reload is under way are one more reload.
                self.reload.set()
            else:
                _log.info("stopping", signal=signal.Signals(number).name)
                self.stop()


async def _main(file: Path | None) -> int:
    status = 0
    # Before anything else: from here on a signal is an order to the daemon, not the end of the process.
    with trio.open_signal_receiver(*STOP_SIGNALS, *RELOAD_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            orders = Orders(nursery.cancel_scope.cancel)
            nursery.start_soon(orders.follow, signals)
            status = await _serve(file, orders)
            nursery.cancel_scope.cancel()
    return status


async def _serve(file: Path | None, orders: Orders) -> int:
    about = About(file)
    logging.getLogger("responder").addHandler(about.errors)
    if file is None:
        config = embedded_default()
        prepared = await prepare_all(config.instances)
    else:
        reading = await trio.to_thread.run_sync(read, file, abandon_on_cancel=True)
        if reading.daemon.workers > 1:
            from .workers.parent import supervise  # noqa: PLC0415 - only who wants several processes pays for their parent

            return await supervise(reading, orders, about)
        config, prepared = await prepare_reading(reading, may_fail=lambda _name: True)
    options = config.daemon
    set_level(options.log)
    inherited = inherited_sockets()
    platform = net.platform(inherited)
    async with AsyncExitStack() as stack:
        stack.callback(inherited.close)
        server = await stack.enter_async_context(
            open_server(
                prepared,
                platform=platform,
                grace=options.grace,
                settle=options.settle,
                state_root=lambda: state_root(options),
                timing=options.metrics is not None,
            )
        )
        daemon = Daemon(config, server, about, Notifier.from_environment())
        orders.stop = daemon.stop
        exporter: StreamListener | None = None
        if options.metrics is not None:
            from .prometheus import open_exporter  # noqa: PLC0415 - only who wants metrics pays for prometheus-client

            exporter = open_exporter(platform, options.metrics)
            stack.callback(exporter.close)
        for name in inherited.unclaimed():
            _log.warning("a socket from the service manager is not in the config", socket=name)
        async with trio.open_nursery() as nursery:
            if options.control is not None:
                from .control import serve_control  # noqa: PLC0415 - as above

                await nursery.start(serve_control, options.control, daemon)
            if options.user is not None:
                become(options.user)
            if exporter is not None:
                from .prometheus import serve_exporter  # noqa: PLC0415 - as above

                nursery.start_soon(serve_exporter, exporter, lambda: take(server, about))
            nursery.start_soon(daemon.reload_when_asked, orders)
            nursery.start_soon(end_if_stuck, server, nursery.cancel_scope)
            nursery.start_soon(daemon.announce)
            nursery.start_soon(daemon.notifier.watchdog)
            await server.run()
            nursery.cancel_scope.cancel()
    _log.info("stopped", counters=server.counters.snapshot())
    return exit_status(server)


def exit_status(server: ServerCore) -> int:
    """1 where something failed for good while serving."""
    return 1 if server.failed or any(each.state in ("restarting", "failed") for each in server.instances) else 0


async def end_if_stuck(server: ServerCore, everything_else: trio.CancelScope) -> None:
    """End the process where a task of a plugin shields itself from the end, which trio would wait for for ever."""
    await server.stuck.wait()
    everything_else.cancel()
    with trio.CancelScope(shield=True):
        await trio.sleep(LAST_MOMENT)
    _log.info("stopped", counters=server.counters.snapshot())
    logging.shutdown()
    os._exit(1)


@attrs.define(eq=False)
class Daemon:
    """A server with the configuration it came from.  Implements `responder.daemon.control.Commands`."""

    config: Config
    server: ServerCore
    about: About
    notifier: Notifier
    _reloading: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _query_log: QueryLog = attrs.field(factory=QueryLog, init=False)

    @property
    def observers(self) -> Observers:
        return self.server.observers

    def status(self) -> dict[str, Any]:
        return take(self.server, self.about).as_json()

    async def announce(self) -> None:
        """Say that the daemon is ready, to whom it concerns."""
        self.apply(self.config.daemon)
        self._warn_of_unmatched(self.config)
        await self.server.ready.wait()
        _log.info("ready", ports=self.server.numbers())
        self.notifier.ready()
        self._tell_manager()
        if self.config.file is None:
            with suppress(OSError):  # nobody reads it: no reason not to serve
                sys.stdout.write(invitation(self.server.table, self.server.port()))
                sys.stdout.flush()

    def stop(self) -> None:
        """Say goodbye and end; called again, at once."""
        self.notifier.stopping()
        self.server.stop()

    async def reload_when_asked(self, orders: Orders) -> None:
        await self.server.ready.wait()
        while True:
            await orders.reload.wait()
            orders.reload = trio.Event()
            await self.reload()

    async def reload(self) -> list[str]:
        """Read the configuration again and serve by it.  What is wrong, a message each; then nothing has changed."""
        file = self.config.file
        if file is None:
            return ["there is no configuration file to read again"]
        await self.server.ready.wait()
        async with self._reloading:
            self.notifier.reloading()
            messages: list[str] = []
            try:
                present = [each.prepared for each in self.server.instances]
                # One that failed before holds up no change of the others; one that works is not lost by a reload.
                failed = {each.instance.name for each in present if each.failure is not None}
                config, prepared = await load_prepared(file, present, may_fail=failed.__contains__)
                await self.server.replace(prepared)
            except* ResponderError as group:
                messages = list(_messages(group))
            except* Exception as group:
                # A plugin's options or our own mistake: what runs must go on all the same.
                _log.error("reload failed", exc_info=group)
                messages = [f"{type(error).__name__}: {error}" for error in group.exceptions]
            if messages:
                for message in messages:
                    _log.error("the new configuration is refused", reason=message)
                more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
                self.notifier.status(f"reload refused: {shorten(messages[0], MAX_REASON)}{more}")
            else:
                self._take_over(config)
            self.notifier.ready()
            return messages

    def _take_over(self, config: Config) -> None:
        for key in self.config.daemon.needs_restart(config.daemon):
            _log.warning("this key is changed by a restart only", key=key)
        self.config = config
        self.apply(config.daemon)
        self._warn_of_unmatched(config)
        _log.info("reloaded", plugins=[instance.name for instance in config.instances])
        self._tell_manager()

    def apply(self, options: DaemonOptions) -> None:
        """Put those options into force that a reload may change."""
        set_level(options.log)
        self.server.grace = options.grace
        self.observers.remove(self._query_log)
        if options.queries:
            self.observers.add(self._query_log)

    def _warn_of_unmatched(self, config: Config) -> None:
        for path, pattern in unmatched_patterns(config, [interface.name for interface in self.server.table]):
            _log.warning("no interface has such a name now", key=path, pattern=pattern)

    def _tell_manager(self) -> None:
        failed = [each.name for each in self.server.instances if each.prepared.failure is not None]
        serving = [each.name for each in self.server.instances if each.name not in failed]
        also = f"; failed: {', '.join(failed)}" if failed else ""
        self.notifier.status(f"serving {', '.join(serving)}{also}")


def _messages(group: BaseExceptionGroup[ResponderError]) -> Iterable[str]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _messages(error)
        elif isinstance(error, ConfigErrors):
            yield from map(str, error.errors)
        else:
            yield str(error)


def state_root(options: DaemonOptions) -> Path:
    """Where state outlives a restart: `state`, the service manager's folder, or the user's (XDG Base Directory)."""
    if options.state is not None:
        return options.state
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if options.user is not None:
        # The environment is still that of the user who started it.
        return Path(f"~{options.user}").expanduser() / "responderd"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "responderd"


MAX_EXAMPLES = 8
"""Addresses that the invitation names: a host may have a thousand."""


def invitation(interfaces: Iterable[Interface], port: int) -> str:
    """What to type to see the embedded default at work: this host's addresses, one of loopback last.

    Link-local ones are left out: what to write after their % is another thing on each client.
    """
    own = [entry.address for interface in interfaces if "up" in interface.flags for entry in interface.addresses]
    others = [address for address in own if not address.is_loopback and not address.is_link_local]
    named = others[: MAX_EXAMPLES - 1] + [address for address in own if address.is_loopback][:1]
    lines = [f"  dig @{address} -p {port} whoami.test TXT" for address in named]
    if len(own) > len(named):
        lines.append(f"  ... or at any other address of {len(own) - len(named)} more: see `responderd interfaces`")
    if not own:
        lines.append("  no interface is up: see `responderd interfaces`")
    return "\n".join([f"whoami answers DNS on port {port} of every address of this host.  Try:", *lines, ""])
