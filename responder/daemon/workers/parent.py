"""Several processes that serve the same ports: `[daemon] workers = 4`.  The parent's side; a worker's is `worker`.

The parent answers no datagram.  It opens every port once for each worker (SO_REUSEPORT: the kernel chooses one by the
addresses and ports of peer and destination, so that a peer stays with a worker), starts the workers and hands each its
sockets.  It keeps them open itself: a worker that dies loses what it was working on, but not its queue, which the one
that is started in its place gets; and nobody needs the right to bind a port again, so the parent becomes `user` before
it starts them.  TCP listeners are shared: whoever has time accepts.

What is the whole daemon's is the parent's:

    control, metrics  answered by the parent: the workers' statuses summed (`combining`), their traces mixed.  What a
                      dead worker had counted stays counted, up to its last second
    ready             when every worker is.  A start that one worker can't make is nobody's, as without workers
    signals           SIGTERM and SIGHUP are for the parent, which passes them on; workers ignore them
    reload            all or none: the parent reads the file, opens what is new, and every worker prepares; only when
                      all could does each change over.  One that dies then is started with what is in force
    watchdog          told while every running worker answers
    a worker dies     the others notice nothing.  It is started again, after longer and longer pauses; meanwhile its
                      share of the peers waits in its queue, and that is lost which is more than the queue holds
    a worker hangs    one that says nothing for `HUNG` seconds is killed, and so started again
    the parent dies   the workers say their goodbyes and end; one that hangs is ended by a thread of its own

What is refused, and why, is `sharing`'s, with what each worker gets of a bound; a worker counts by itself what a plugin
counts by itself.  Also refused are platforms other than Linux, and sockets from the service manager, which passes on
one where each worker needs its own.  The query log has one line a write, as pipes and files keep whole (up to 4096
bytes on a pipe); captures are written by the command that asks for them.

This file refuses to serve, and to run with one worker: then there is no parent.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from ...config.divisible import WORKERS_KEY
from ...config.reading import Reading
from ...errors import ConfigError, ConfigErrors
from ...log import get_logger
from ...net.handover import sharing_platform
from ...net.inherited import inherited_sockets
from ...net.privileges import become
from ..control import serve_at
from ..logs import set_level
from ..service_manager import Notifier
from ..status import About
from .control import TeamControl
from .team import Orders, Team

_log = get_logger(__name__)


async def supervise(reading: Reading, orders: Orders, about: About) -> int:
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
        team = Team(reading, about, Notifier.from_environment(), platform)
        stack.callback(team.ports.close)
        await team.open_ports()
        exporter = None
        if options.metrics is not None:
            from ..prometheus import open_exporter, serve_exporter  # noqa: PLC0415 - only who wants metrics pays for them

            exporter = open_exporter(platform, options.metrics)
            stack.callback(exporter.close)
        async with trio.open_nursery() as nursery:
            if options.control is not None:
                await nursery.start(serve_at, options.control, TeamControl(team))
            if options.user is not None:
                become(options.user)
            orders.stop = team.stop
            if exporter is not None:
                nursery.start_soon(serve_exporter, exporter, team.status)
            await team.run(orders)
            nursery.cancel_scope.cancel()
    _log.info("stopped", counters=team.last().counters)
    return 1 if any(worker.exit_status for worker in team.workers) else 0


def _refuse_inherited() -> None:
    """Raises ConfigErrors."""
    inherited = inherited_sockets()
    found = inherited.unclaimed()
    inherited.close()
    if found:
        message = f"not with sockets from the service manager ({', '.join(found)}): each worker needs one of its own"
        raise ConfigErrors([ConfigError(message, path=WORKERS_KEY)])
