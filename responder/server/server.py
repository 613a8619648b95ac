"""Instances on ports, running: what `responderd`, `responder.serve` and `responder.testing` serve with.

`open_server` opens the ports that the instances need, all or none, and yields a `ServerCore`.  Its `run` serves until
`stop`.  Its attributes without an underscore are for the daemon and for tests; programs that embed the framework see
`responder.server.embedding.Server`.

Other instances take the place of these while it serves, in two steps: `prepare` opens the sockets that are missing,
which can fail, and `commit` puts the new instances in force, which can't; `abandon` takes the first step back.
`replace` does both.  A replacement touches nothing that stays: an instance that is the same goes on with its state, and
a socket that is still needed keeps its queue.  The new handlers answer from the commit on.  The old handlers' `run`
says its goodbyes, within the grace period, before the new handlers' `run` begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from ..config.instance import Prepared
from ..dispatch.observers import Observers
from ..dispatch.outcomes import Counters
from ..log import get_logger
from ..net.interface_table import InterfaceTable
from ..net.types import Platform
from ..plugin import StopReason
from .interfaces import SETTLE, Following, open_following
from .live_ports import LivePorts, PortChange
from .supervisor import PluginNetwork, Supervised

_log = get_logger(__name__)


REMEMBERED = 3600.0
"""Seconds that an interface which is gone keeps counts of its own."""

LOOK = 60.0
"""Seconds between two looks for such interfaces."""

LINGER = 1.0
"""Seconds that what was cancelled has to end: a task that shields itself for longer is named, and not waited for."""


@attrs.frozen(eq=False)
class Replacement:
    """Instances that `ServerCore.prepare` has made ready to serve, and the change of the ports that they need."""

    instances: tuple[Supervised, ...]
    ports: PortChange


@attrs.define(eq=False)
class ServerCore:
    """Opened ports and the instances on them.  Made by `open_server`."""

    following: Following
    platform: Platform
    grace: float
    state_folder: Callable[[str], Path]
    timing: bool = False
    counters: Counters = attrs.field(factory=Counters, init=False)
    observers: Observers = attrs.field(factory=Observers, init=False)
    instances: tuple[Supervised, ...] = attrs.field(default=(), init=False)
    ports: LivePorts = attrs.field(init=False)
    ready: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set once every port answers and every group that can be joined is."""
    stuck: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set where something does not end though it was stopped and then cancelled: `run` will not return either."""
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _hurried: trio.Event = attrs.field(factory=trio.Event, init=False)
    _hurry: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _lingering: list[Supervised] = attrs.field(factory=list, init=False)
    _work: trio.Nursery = attrs.field(init=False)
    """Async answers, connections and plugins' `run`, which have the grace period.  Exists while `run` does."""

    def __attrs_post_init__(self) -> None:
        self.ports = LivePorts(
            self.following, self.platform, self.counters, self.observers, lambda: self.grace, self.timing
        )

    @property
    def table(self) -> InterfaceTable:
        return self.following.table

    @property
    def failed(self) -> bool:
        """A port ended by itself: the others went on, and the exit status tells."""
        return self.ports.failed

    def port(self, instance: str | None = None, service: str = "default") -> int:
        """The number of a service's port, also where 0 was asked for; of the first instance unless one is named.

        Raises ValueError where there is none.
        """
        for runtime in self.instances:
            if instance in (None, runtime.name) and runtime.has(service):
                return self.ports.number(runtime.name, service, runtime.service(service).port)
        raise ValueError(f"no instance {instance!r} has a service {service!r}")

    def numbers(self) -> dict[str, int]:
        """The port of each service: of the instance, or "instance.service" where it has several."""
        return {
            runtime.name if len(runtime.instance.services) == 1 else f"{runtime.name}.{service.name}": self.port(
                runtime.name, service.name
            )
            for runtime in self.instances
            for service in runtime.instance.services
        }

    def stop(self) -> None:
        """End `run`, with the grace period for goodbyes; called again, without what is left of it."""
        if self._stopping.is_set():
            self._hurry.cancel()
            self._hurried.set()
        self._stopping.set()

    def lingering(self) -> list[str]:
        """The instances that were replaced or removed, but whose `run` goes on: it shields itself from the end."""
        self._lingering = [runtime for runtime in self._lingering if not runtime.finished.is_set()]
        return [runtime.name for runtime in self._lingering]

    async def run(self) -> None:
        """Serve until `stop`.  What shields itself from being cancelled is waited for: see `stuck`."""
        async with trio.open_nursery() as background:
            with self._hurry:
                async with trio.open_nursery() as self._work:
                    self.ports.background, self.ports.work = background, self._work
                    self.ports.serve(self.instances)
                    background.start_soon(self.following.run)
                    background.start_soon(self._watch_end)
                    background.start_soon(self._forget_interfaces)
                    for runtime in self.instances:
                        self._work.start_soon(self._live, runtime, None)
                    self._work.start_soon(self._say_goodbye)
                    self.ready.set()
            background.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        """Once stopped, give what runs the grace period to end by itself."""
        await self._stopping.wait()
        # No request is taken any more: a device that has said goodbye does not answer.
        self.ports.stop_receiving()
        for runtime in self.instances:
            runtime.stop("stop")
        self._hurry.deadline = trio.current_time() + self.grace

    async def _forget_interfaces(self) -> None:
        """Count no longer for interfaces that have been gone for long: hosts of containers have ever new ones."""
        gone: dict[str, float] = {}
        while True:
            await trio.sleep(LOOK)
            now = trio.current_time()
            absent = self.counters.interfaces() - {interface.name for interface in self.table}
            gone = {name: gone.get(name, now) for name in absent}
            for name, since in gone.items():
                if now - since >= REMEMBERED:
                    self.counters.forget(name)

    async def _watch_end(self) -> None:
        """Once stopped, name what has not ended when it should have.  `run` cancels this where everything has."""
        await self._stopping.wait()
        with trio.move_on_after(self.grace):
            await self._hurried.wait()
        await trio.sleep(LINGER)
        names = [runtime.name for runtime in self.instances if not runtime.finished.is_set()] + self.lingering()
        bindings = (binding for live in self.ports.serving.values() for binding in live.port.bindings)
        names += [str(binding) for binding in bindings if binding.pending or binding.connections]
        _log.error("a plugin does not end though its time is over", plugin=", ".join(dict.fromkeys(names)))
        self.stuck.set()

    # Replacing

    async def replace(self, prepared: Sequence[Prepared]) -> None:
        """Serve these instances from now on.  Instances that are the same object as before go on untouched.

        Raises an ExceptionGroup of BindError where a new port can't be had; then nothing has changed.
        """
        self.commit(self.prepare(prepared))
        await trio.lowlevel.checkpoint()

    def prepare(self, prepared: Sequence[Prepared]) -> Replacement:
        """Open what these instances need, for `commit` or `abandon`: one replacement at a time.

        Raises as `replace`.
        """
        known = {runtime.prepared: runtime for runtime in self.instances}
        instances = tuple(known.get(each) or Supervised(each) for each in prepared)
        return Replacement(instances, self.ports.prepare(self.instances, instances))

    def commit(self, replacement: Replacement) -> None:
        """Serve what was prepared, from one datagram to the next: nothing here waits or fails."""
        before = self.instances
        self.instances = replacement.instances
        self.ports.commit(replacement.ports, self.instances)
        leaving = {runtime.name: runtime for runtime in before if runtime not in self.instances}
        for runtime in self.instances:
            if runtime not in before:
                predecessor = leaving.pop(runtime.name, None)
                if predecessor is not None:
                    runtime.succeed(predecessor)
                self._work.start_soon(self._live, runtime, predecessor)
        for removed in leaving.values():
            self._work.start_soon(self._end, removed, "replaced")

    def abandon(self, replacement: Replacement) -> None:
        """Close what was opened for a replacement that is not wanted."""
        self.ports.abandon(replacement.ports, self.instances)

    # Running

    async def _live(self, runtime: Supervised, predecessor: Supervised | None) -> None:
        """An instance's background work, once its predecessor's has ended.  Logs what it is served without, or but."""
        for complaint in runtime.prepared.complaints:
            _log.error("served without", plugin=runtime.name, reason=str(complaint))
        for warning in runtime.prepared.warnings:
            _log.warning("served, but", plugin=runtime.name, reason=str(warning))
        try:
            if predecessor is not None:
                await self._end(predecessor, "replaced")
            await runtime.live(PluginNetwork(runtime, self.following, self.counters, self.observers, self.state_folder))
        finally:
            runtime.finished.set()

    async def _end(self, runtime: Supervised, reason: StopReason) -> None:
        runtime.stop(reason)
        with trio.move_on_after(self.grace):
            await runtime.finished.wait()
        runtime.scope.cancel()
        with trio.move_on_after(LINGER):
            await runtime.finished.wait()
        if not runtime.finished.is_set():
            # The successor starts all the same: doing work twice is better than not at all.
            _log.error("a plugin does not end though its time is over", plugin=runtime.name)
            self._lingering.append(runtime)


@asynccontextmanager
async def open_server(
    prepared: Sequence[Prepared],
    *,
    platform: Platform,
    grace: float = 2.0,
    settle: float = SETTLE,
    state_folder: Callable[[str], Path] = Path,
    timing: bool = False,
) -> AsyncIterator[ServerCore]:
    """Open every port that the instances need, or none; leaving the context closes all.

    `grace` in seconds is what goodbyes may take at the end, `settle` how long an interface must have been quiet before
    plugins are told of its changes; `state_folder` gives the folder of an instance's name, when one
    asks; with `timing` each instance has a histogram of its `respond`'s time.  Raises an ExceptionGroup of BindError,
    one for each port that can't be had.
    """
    async with open_following(platform, settle=settle) as following:
        server = ServerCore(following, platform, grace, state_folder, timing)
        following.on_change.append(server.ports.forget_decisions)
        server.instances = tuple(map(Supervised, prepared))
        server.ports.open(server.instances)
        try:
            yield server
        finally:
            server.ports.close()
