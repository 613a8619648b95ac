"""The daemon: a configuration made to serve, from the first check to the last goodbye.

It prepares every plugin, opens every port, gives up its rights, says "ready", and serves until it is told to stop
(`responder.daemon.orders`); then it says goodbye within the grace period and ends.  A configuration that is wrong, or
a port that can't be had, stops everything at the start, and nothing half-started stays.  A plugin that fails, then or
later, stops nothing else, and shows in the exit status; one that can't be ended does not hold up the end.

Where the configuration asks for several processes, `responder.daemon.workers` serves instead.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .. import net
from ..config.daemon_options import DaemonOptions
from ..config.instance import Prepared, prepare_all
from ..config.reading import Config, Reading, embedded_default, prepare_reading, read
from ..datagram import Interface
from ..dispatch.observers import Observation, Observers
from ..errors import ConfigError, ConfigErrors, ThreadUnavailable, leaves
from ..log import get_logger
from ..net.inherited import inherited_sockets
from ..net.privileges import become
from ..net.session import session_end
from ..server.server import ServerCore, open_server
from ..threads import in_thread
from .collector import look_seldom
from .logs import configure_logging, set_level
from .member import LocalMember
from .orders import RELOAD_SIGNALS, STOP_SIGNALS, Orders, note_signals
from .progress import progress_told
from .reload import Member, Reloader
from .service_manager import ManagerLine, Notifier
from .state import instance_folder, known_state_root, prepare_state
from .status import About, take
from .words import Words

if TYPE_CHECKING:
    from ..net.windows.service import ServiceLine
    from ..server.lasting_listener import LastingListener

_log = get_logger(__name__)

LAST_MOMENT = 0.1
"""Seconds to wait for tasks that ignore their cancellation before the process exits."""


def run(file: Path | None, service: ServiceLine | None = None, *, log_handlers: Sequence[logging.Handler] = ()) -> int:
    """Serve what the file says, or the embedded default, until told to stop.

    `service` is the line to Windows' service manager, where that has started this; logs go to `log_handlers`, or to
    standard error.
    Returns the exit status: 1 where something failed for good while serving.  Raises an ExceptionGroup: of ConfigErrors
    for what is wrong with the configuration, of BindError for ports that can't be had.
    """
    configure_logging(log_handlers)
    look_seldom()
    return trio.run(_main, file, service, note_signals())


async def _main(file: Path | None, service: ServiceLine | None, noted: list[int]) -> int:
    status = 0
    # Before anything else: from here on a signal is an order to the daemon, not the end of the process.
    with trio.open_signal_receiver(*STOP_SIGNALS, *RELOAD_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            orders = Orders(nursery.cancel_scope.cancel)
            for number in noted:
                orders.take(number)
            nursery.start_soon(orders.follow, signals)
            receiver = orders.from_another_thread()
            with session_end(receiver.stop) if service is None else service.orders(receiver):
                manager = service or Notifier.from_environment()
                with progress_told(manager):
                    status = await _serve(file, orders, manager)
            nursery.cancel_scope.cancel()
    return status


async def _serve(file: Path | None, orders: Orders, notifier: ManagerLine) -> int:
    about = About(file)
    logging.getLogger().addHandler(about.errors)  # the root: plugins log by names of their own
    if file is None:
        config = embedded_default()
        prepared = await prepare_all(config.instances)
    else:
        reading = await in_thread(read, file, abandon_on_cancel=True)
        status = 0
        try:
            status = await _serve_reading(reading, orders, about, notifier)
        except* (ConfigError, ConfigErrors) as group:
            errors = [
                one for each in leaves(group) for one in (each.errors if isinstance(each, ConfigErrors) else [each])
            ]
            raise ConfigErrors(map(reading.located, errors)) from None
        return status
    return await _serve_prepared(config, prepared, orders, about, notifier)


async def _serve_reading(reading: Reading, orders: Orders, about: About, notifier: ManagerLine) -> int:
    if reading.daemon.workers > 1:
        from .workers.serve import serve_with_workers  # noqa: PLC0415 - only who wants workers pays for them

        return await serve_with_workers(reading, orders, about, notifier)
    config, prepared = await prepare_reading(reading, may_fail=lambda _name: True, state_root=known_state_root)
    return await _serve_prepared(config, prepared, orders, about, notifier)


async def _serve_prepared(
    config: Config, prepared: Sequence[Prepared], orders: Orders, about: About, notifier: ManagerLine
) -> int:
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
                state_folder=partial(instance_folder, options),
                timing=options.metrics is not None,
            )
        )
        daemon = Daemon(LocalMember(config, server, about), notifier)
        orders.stop = daemon.stop
        exporter: LastingListener | None = None
        if options.metrics is not None:
            from .exporter import open_exporter  # noqa: PLC0415 - only who wants metrics pays for prometheus-client

            exporter = open_exporter(platform, options.metrics)
            stack.callback(exporter.close)
        for name in inherited.unclaimed():
            _log.warning("a socket from the service manager is not in the config", socket=name)
        async with trio.open_nursery() as nursery:
            if options.control is not None:
                from .control import serve_control  # noqa: PLC0415 - as above

                await nursery.start(serve_control, options.control, daemon)
            prepare_state(options)
            if options.user is not None:
                become(options.user)
            if exporter is not None:
                from .exporter import serve_exporter  # noqa: PLC0415 - as above
                from .page import Page  # noqa: PLC0415 - as above

                page = Page(daemon.recent) if options.shows_page else None
                nursery.start_soon(serve_exporter, exporter, lambda: take(server, about), options.metrics_names, page)
            nursery.start_soon(end_if_stuck, server, nursery.cancel_scope)
            nursery.start_soon(daemon.announce, orders)
            nursery.start_soon(daemon.notifier.watchdog)
            await server.run()
            nursery.cancel_scope.cancel()
    _log.info("stopped", counters=server.counters.snapshot())
    return daemon.member.exit_status()


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
    """A daemon whose own process serves: one member.

    Implements `responder.daemon.control.Commands` and `responder.daemon.reload.Host` and `Change`.
    """

    member: LocalMember
    notifier: ManagerLine
    _reloader: Reloader = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reloader = Reloader(self, self.notifier, self.member.about.reloads, self.member.config.file)

    @property
    def server(self) -> ServerCore:
        return self.member.server

    async def announce(self, orders: Orders) -> None:
        """Announce that the daemon is ready, then carry out orders to reload."""
        await self.server.ready.wait()
        config = self.member.config
        await self._reloader.announce("ready", config, ports=self.server.numbers())
        self.notifier.ready()
        if config.file is None:
            # In a thread: standard output may be a pipe that nobody reads, which is no reason not to serve.
            text = invitation(self.server.table, self.server.port())
            with suppress(ThreadUnavailable):
                await in_thread(_say, text, abandon_on_cancel=True)
        await self._reloader.follow(orders)

    def stop(self) -> None:
        """Say goodbye and end; called again, at once."""
        self.notifier.stopping(self.server.grace)
        self.server.stop()

    # Commands

    @property
    def observers(self) -> Observers:
        return self.member.observers

    def words(self, seen: Observation) -> Words:
        return self.member.words(seen)

    def status(self) -> dict[str, Any]:
        return self.member.status()

    def recent(self) -> list[dict[str, Any]]:
        return self.member.recent()

    async def reload(self) -> list[str]:
        await self.server.ready.wait()
        return await self._reloader.reload()

    def waiting_for_restart(self) -> list[str]:
        return self._reloader.waiting_for_restart

    # Host and Change

    @property
    def options(self) -> DaemonOptions:
        return self.member.config.daemon

    @asynccontextmanager
    async def change(self, _reading: Reading) -> AsyncIterator[Daemon]:
        yield self

    def members(self) -> Iterable[Member]:
        return (self.member,)

    def put_in_force(self, _config: Config) -> None:
        """The one member does, when it commits."""

    async def interface_names(self) -> Sequence[str]:
        return [interface.name for interface in self.server.table]

    def in_words(self) -> str:
        failed = [each.name for each in self.server.instances if each.prepared.failure is not None]
        serving = [each.name for each in self.server.instances if each.name not in failed]
        also = f"; failed: {', '.join(failed)}" if failed else ""
        return f"serving {', '.join(serving)}{also}"


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


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
