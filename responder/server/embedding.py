"""`serve`: plugins in a program of one's own, without the daemon.

    async with serve(Greeter(), port=0) as server:
        print(server.port())

It serves while the context is open.  Logging, signals and files are left to the program that embeds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from .. import net
from ..config.instance import Instance, Prepared, prepare_all
from ..net.types import Platform
from ..plugin import Plugin
from .interfaces import SETTLE
from .server import ServerCore, open_server
from .state import folder_below


@attrs.frozen(eq=False)
class Server:
    """Plugins that serve.  `serve` yields it; its methods are for the task that is in the context, and its children."""

    _core: ServerCore
    _state: Path

    @property
    def ready(self) -> trio.Event:
        """Set once every port answers and every group that can be joined is: from the start of the context on."""
        return self._core.ready

    def port(self, instance: str | None = None, service: str = "default") -> int:
        """The number of a service's port, also where 0 was asked for; of the first instance unless one is named.

        Raises ValueError where there is none.
        """
        return self._core.port(instance, service)

    def numbers(self) -> dict[str, int]:
        """The port of each service: of the instance, or "instance.service" where it has several."""
        return self._core.numbers()

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """What became of datagrams so far: instance -> interface -> outcome -> count, without zeros.

        Instance "-" has the datagrams that none of several instances on a port took.  `responder.dispatch.outcomes`
        names the outcomes.
        """
        return self._core.counters.snapshot()

    async def replace(self, *plugins: Plugin | Instance, **keys: Any) -> None:
        """Serve these from now on, given as to `serve`; an instance that is the same goes on untouched.

        Sockets that are still needed keep their queues, and what goes says its goodbyes.  Raises as `serve`; then
        nothing has changed.
        """
        present = [runtime.prepared for runtime in self._core.instances]
        await self._core.replace(await prepare_all(to_instances(plugins, keys), present, state=self._state))

    def stop(self) -> None:
        """Let the plugins say goodbye within the grace period, and end; called again, end at once.

        Leaving the context does it too, and waits.
        """
        self._core.stop()


@asynccontextmanager
async def serve(
    *plugins: Plugin | Instance,
    platform: Platform | None = None,
    grace: float = 2.0,
    settle: float = SETTLE,
    state: Path | None = None,
    **keys: Any,
) -> AsyncIterator[Server]:
    """Serve plugins while the context is open; the `Server` tells ports and counts (`server.port()`).

    `keys` are those of an instance (port, groups, interfaces, allow, rate, ...) and `name`, for a single plugin;
    several are given as instances: `serve(Instance.of(Echo(), port=7), Instance.of(Whoami()))`.  `grace` and `settle`
    are in seconds, as in `open_server`; `state` is the folder below which plugins may keep state; `platform` is this
    machine's unless another is given (`responder.testing` has some).

    Leaving the context lets the plugins say goodbye within `grace`, also where the body raised; a cancelled body leaves
    no time for that.  Raises ConfigErrors for what the plugins find wrong, and an ExceptionGroup of BindError for ports
    that can't be had.
    """
    prepared = await prepare_all(to_instances(plugins, keys), state=state or Path.cwd())
    host = platform or net.platform()
    async with serving(prepared, platform=host, grace=grace, settle=settle, state=state) as server:
        yield server


def to_instances(plugins: Iterable[Plugin | Instance], keys: Mapping[str, Any]) -> list[Instance]:
    """Raises ConfigErrors for the keys, TypeError for keys that could be of several plugins."""
    given = list(plugins)
    if keys and (len(given) != 1 or isinstance(given[0], Instance)):
        raise TypeError(f"{', '.join(sorted(keys))}: for one plugin only; otherwise give each as Instance.of(...)")
    return [each if isinstance(each, Instance) else Instance.of(each, **keys) for each in given]


@asynccontextmanager
async def serving(
    prepared: Sequence[Prepared], *, platform: Platform, grace: float, settle: float, state: Path | None
) -> AsyncIterator[Server]:
    """The second half of `serve`, for instances that are prepared."""
    root = state or Path.cwd()
    folders = partial(folder_below, root, "state")
    async with open_server(prepared, platform=platform, grace=grace, settle=settle, state_folder=folders) as core:
        raised: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            await core.ready.wait()
            try:
                yield Server(core, root)
            except Exception as error:
                # Kept out of the nursery, which would cancel the goodbyes and wrap it in a group.
                raised = error
            core.stop()
        if raised is not None:
            raise raised
