"""A daemon with workers, from the first check to the last goodbye; `responder.daemon.daemon` has it for one process."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from ...config.divisible import WORKERS_KEY
from ...config.reading import Reading
from ...errors import ConfigError, ConfigErrors
from ...log import get_logger
from ...net.handover import sharing_platform
from ...net.inherited import inherited_sockets
from ...net.privileges import become, give
from ..control import serve_at
from ..logs import set_level
from ..orders import Orders
from ..service_manager import ManagerLine
from ..state import prepare_state
from ..status import About
from .control import ParentControl
from .parent import Parent

_log = get_logger(__name__)


async def serve_with_workers(reading: Reading, orders: Orders, about: About, notifier: ManagerLine) -> int:
    """Serve with several workers until told to stop; the exit status.

    Raises ConfigErrors and NetworkError, or a group of them, for what can't be had at the start.
    """
    if reading.errors or not reading.instances:
        raise ConfigErrors(reading.errors or [each.error for each in reading.broken])
    options = reading.daemon
    set_level(options.log)
    platform = sharing_platform()
    _refuse_inherited()
    async with AsyncExitStack() as stack:
        parent = Parent(options.workers, reading, about, notifier, platform)
        stack.callback(parent.ports.close)
        await parent.open_ports()
        exporter = None
        if options.metrics is not None:
            from ..exporter import open_exporter, serve_exporter  # noqa: PLC0415 - only who wants metrics pays for them

            exporter = open_exporter(platform, options.metrics)
            stack.callback(exporter.close)
        async with trio.open_nursery() as nursery:
            if options.control is not None:
                await nursery.start(serve_at, options.control, ParentControl(parent))
            prepare_state(options)
            if options.user is not None:
                give(options.user, *parent.ports.sockets())
                become(options.user)
            orders.stop = parent.stop
            if exporter is not None:
                from ..page import Page  # noqa: PLC0415 - as above

                page = Page(parent.recent) if options.shows_page else None
                nursery.start_soon(serve_exporter, exporter, parent.status, options.metrics_names, page)
            await parent.run(orders)
            nursery.cancel_scope.cancel()
    if parent.failure is not None:
        raise parent.failure
    _log.info("stopped", counters=parent.last_status().counters)
    return 1 if any(worker.failed() for worker in parent.workers) else 0


def _refuse_inherited() -> None:
    """Raises ConfigErrors."""
    inherited = inherited_sockets()
    found = inherited.unclaimed()
    inherited.close()
    if found:
        message = f"not with sockets from the service manager ({', '.join(found)}): each worker needs one of its own"
        raise ConfigErrors([ConfigError(message, path=WORKERS_KEY)])
