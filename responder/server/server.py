"""Instances on ports, running: what `responderd` and embedding programs serve with.

`open_server` opens the ports that the instances need, all or none, and yields a `Server`.  `Server.run` serves until
`Server.stop`; `Server.replace` puts other instances in place of these while it serves.

A replacement touches nothing that stays: an instance that is the same goes on with its state, a socket that is still
needed keeps its queue.  From one moment to the next the new handlers answer; the old ones' `run` says its goodbyes,
with the grace period, before the new ones' begins.

This file refuses to know signals, configuration files and terminals: that is `responder.daemon.daemon`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from ..config.instance import Prepared
from ..dispatch.access import Access
from ..dispatch.flow import Binding
from ..dispatch.observers import Observers
from ..dispatch.outcomes import Counters, Histogram
from ..dispatch.port import Port
from ..dispatch.sender import Sender
from ..dispatch.tcp import StreamPort
from ..errors import NetworkError
from ..log import get_logger
from ..net.interface_table import InterfaceTable
from ..net.memberships import Memberships
from ..net.types import Platform
from ..plugin import StopReason
from .interfaces import SETTLE, Following, open_following
from .ports import Key, Opened, PlannedPort, open_ports, plan
from .supervisor import PluginNetwork, Supervised

_log = get_logger(__name__)


LINGER = 1.0
"""Seconds that what was cancelled has to end: a task that shields itself for longer is named, and not waited for."""


@attrs.define(eq=False)
class LivePort:
    """Opened sockets that serve.  `receiving` ends their tasks; the sockets stay open for goodbyes."""

    opened: Opened
    port: Port
    memberships: Memberships
    stream: StreamPort | None = None
    receiving: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define(eq=False)
class Server:
    """Opened ports and the instances on them.  Made by `open_server`."""

    following: Following
    platform: Platform
    grace: float
    state_root: Callable[[], Path]
    timing: bool = False
    counters: Counters = attrs.field(factory=Counters, init=False)
    observers: Observers = attrs.field(factory=Observers, init=False)
    instances: tuple[Supervised, ...] = attrs.field(default=(), init=False)
    ports: dict[Key, LivePort] = attrs.field(factory=dict, init=False)
    ready: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set once every port answers and every group that can be joined is."""
    failed: bool = attrs.field(default=False, init=False)
    """A port ended by itself: the others went on, and the exit status tells."""
    stuck: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set where something does not end though it was stopped and then cancelled: `run` will not return either."""
    _opened: dict[Key, Opened] = attrs.field(factory=dict, init=False)
    _numbers: set[int] = attrs.field(factory=set, init=False)
    _leaving: dict[Key, LivePort] = attrs.field(factory=dict, init=False)
    """Ports that nobody answers on any more, open until the goodbyes are said."""
    _replacing: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _hurried: trio.Event = attrs.field(factory=trio.Event, init=False)
    _hurry: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _lingering: list[Supervised] = attrs.field(factory=list, init=False)
    # Both exist while `run` does.
    _background: trio.Nursery = attrs.field(init=False)
    """Receivers: ended by `stop` at once."""
    _work: trio.Nursery = attrs.field(init=False)
    """Async answers, connections and plugins' `run`: they have the grace period."""

    def port(self, instance: str | None = None, service: str = "default") -> int:
        """The number of a service's port, also where 0 was asked for; of the first instance unless one is named.

        Raises ValueError where there is none.
        """
        for runtime in self.instances:
            if instance in (None, runtime.name) and runtime.has(service):
                return next(
                    opened.socket.port
                    for key, opened in self._opened.items()
                    if key[0] in (runtime.service(service).port, (runtime.name, service))
                )
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
        async with trio.open_nursery() as self._background:
            with self._hurry:
                async with trio.open_nursery() as self._work:
                    self._install(plan(runtime.instance for runtime in self.instances), self._opened, self.instances)
                    self._background.start_soon(self.following.run)
                    self._background.start_soon(self._watch_end)
                    for runtime in self.instances:
                        self._work.start_soon(self._live, runtime, None)
                    self._work.start_soon(self._say_goodbye)
                    self.ready.set()
            self._background.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        """Once stopped, give what runs the grace period to end by itself."""
        await self._stopping.wait()
        # No request is taken any more: a device that has said goodbye does not answer.
        for live in self.ports.values():
            live.receiving.cancel()
            live.accepting.cancel()
            live.port.later.close()
        for runtime in self.instances:
            runtime.stop("stop")
        self._hurry.deadline = trio.current_time() + self.grace

    async def _watch_end(self) -> None:
        """Once stopped, name what has not ended when it should have.  `run` cancels this where everything has."""
        await self._stopping.wait()
        with trio.move_on_after(self.grace):
            await self._hurried.wait()
        await trio.sleep(LINGER)
        names = [runtime.name for runtime in self.instances if not runtime.finished.is_set()] + self.lingering()
        bindings = (binding for live in self.ports.values() for binding in live.port.bindings)
        names += [str(binding) for binding in bindings if binding.pending or binding.connections]
        _log.error("a plugin does not end though its time is over", plugin=", ".join(dict.fromkeys(names)))
        self.stuck.set()

    def close(self) -> None:
        """Close every socket.  `open_server` does it at its end."""
        for opened in (*self._opened.values(), *(live.opened for live in self._leaving.values())):
            opened.close()

    # Replacing

    async def replace(self, prepared: Sequence[Prepared]) -> None:
        """Serve these instances from now on; those that are the same object as before go on untouched.

        Raises an ExceptionGroup of BindError where a new port can't be had; then nothing has changed.
        """
        async with self._replacing:
            known = {runtime.prepared: runtime for runtime in self.instances}
            instances = tuple(known.get(each) or Supervised(each) for each in prepared)
            planned = plan(runtime.instance for runtime in instances)
            opened = self._reopen(planned)
            before = {runtime.name: runtime for runtime in self.instances if runtime not in instances}
            self._opened, self.instances = opened, instances
            self._install(planned, opened, instances)
            for runtime in instances:
                if runtime.prepared not in known:
                    self._work.start_soon(self._live, runtime, before.pop(runtime.name, None))
            for removed in before.values():
                self._work.start_soon(self._end, removed, "replaced")
        await trio.lowlevel.checkpoint()

    def _reopen(self, planned: Mapping[Key, PlannedPort]) -> dict[Key, Opened]:
        """The plan's sockets, the present ones kept.

        A port that goes from the wildcard to addresses, or back, has to close the old sockets before the new ones can
        be bound; where that then fails, the old ones are bound again.
        """
        kept = {**{key: live.opened for key, live in self._leaving.items()}, **self._opened}
        new_numbers = {key[0] for key in planned if key not in kept}
        in_the_way = [key for key in kept if key not in planned and key[0] in new_numbers]
        for key in in_the_way:
            live = self._leaving.pop(key, None) or self.ports.pop(key)
            live.receiving.cancel()
            live.accepting.cancel()
            self.following.leave(live.memberships)
            kept.pop(key).close()
        try:
            return open_ports(planned, kept, self.platform, self.table)
        except ExceptionGroup:
            if in_the_way:
                old = plan(runtime.instance for runtime in self.instances)
                self._opened = open_ports(old, kept, self.platform, self.table)
                self._install(old, self._opened, self.instances)
            raise

    def _install(
        self, planned: Mapping[Key, PlannedPort], opened: Mapping[Key, Opened], instances: Iterable[Supervised]
    ) -> None:
        """Make the plan what is served, from one datagram to the next: nothing here waits."""
        by_name = {runtime.name: runtime for runtime in instances}
        old_bindings = {
            (binding.runtime, binding.service.name): binding
            for live in self.ports.values()
            for binding in live.port.bindings
        }
        bindings: dict[tuple[str, str], Binding] = {}
        for runtime in by_name.values():
            runtime.ports.clear()
            for service in runtime.instance.services:
                bindings[runtime.name, service.name] = old_bindings.get((runtime, service.name)) or Binding(
                    runtime,
                    service,
                    Access.of(runtime.instance, service),
                    latency=Histogram() if self.timing else None,
                )
        before, self.ports = self.ports, {}
        for key, port in planned.items():
            users = tuple(bindings[instance.name, service.name] for instance, service in port.users)
            live = before.pop(key, None) or self._revived(key) or self._start(opened[key])
            live.port.bindings = users
            live.port.forget_decisions()
            self._adjust_stream(live, tuple(binding for binding in users if binding.service.tcp))
            for binding in users:
                by_name[binding.runtime.name].ports.setdefault(binding.service.name, []).append(live.port)
            self.ports[key] = live
        self._numbers.clear()
        self._numbers.update(live.port.number for live in self.ports.values())
        for key, live in before.items():
            self._retire(key, live)
        self._claim_groups()

    def _start(self, opened: Opened) -> LivePort:
        sender = Sender(opened.socket, self._work, self.following.stale)
        port = Port(
            opened.socket,
            (),
            self.platform,
            self.table,
            self.counters,
            sender,
            self.following.stale,
            self.observers,
            self._numbers,
        )
        live = LivePort(opened, port, Memberships(opened.socket))
        self._receive_on(live)
        return live

    def _receive_on(self, live: LivePort) -> None:
        live.receiving = trio.CancelScope()
        live.port.later.reopen()
        self._background.start_soon(self._serve, live.port, live.receiving)

    def _adjust_stream(self, live: LivePort, users: tuple[Binding, ...]) -> None:
        listener = live.opened.listener
        if not users:
            if listener is not None:
                live.accepting.cancel()
                listener.close()
                live.opened.listener = live.stream = None
            return
        assert listener is not None  # noqa: S101 - the plan has TCP
        if live.stream is None:
            live.stream = StreamPort(listener, (), self.table, self.counters, self.following.stale, self.observers)
            live.accepting = trio.CancelScope()
            self._background.start_soon(self._accept, live.stream, live.accepting)
        live.stream.bindings = users

    def _retire(self, key: Key, live: LivePort) -> None:
        """Take nothing more from a port; close it when those who may still say goodbye by it are done."""
        live.receiving.cancel()
        live.accepting.cancel()
        live.port.later.close()
        live.port.bindings = ()
        self.following.leave(live.memberships)
        self._leaving[key] = live
        self._work.start_soon(self._close_later, key, live)

    async def _close_later(self, key: Key, live: LivePort) -> None:
        await trio.sleep(self.grace)
        if self._leaving.get(key) is live:
            del self._leaving[key]
            live.opened.close()

    def _revived(self, key: Key) -> LivePort | None:
        live = self._leaving.pop(key, None)
        if live is not None:
            live.stream = None
            self._receive_on(live)
        return live

    # Running

    async def _live(self, runtime: Supervised, predecessor: Supervised | None) -> None:
        """An instance's background work, once its predecessor's has ended."""
        try:
            if predecessor is not None:
                await self._end(predecessor, "replaced")
            await runtime.live(PluginNetwork(runtime, self.following, self.counters, self.state_root))
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
            # Its successor does not wait for ever: what it may do twice is less bad than what is not done at all.
            _log.error("a plugin does not end though its time is over", plugin=runtime.name)
            self._lingering.append(runtime)

    async def _serve(self, port: Port, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await port.serve()
            except trio.ClosedResourceError:
                pass  # it gave way to another socket of the same number
            except NetworkError as error:
                # The other ports go on; what runs on this one can't.
                _log.error("a port can no longer receive", exc_info=error, port=port.number)
                self.failed = True

    async def _accept(self, stream: StreamPort, scope: trio.CancelScope) -> None:
        # Closed: it gave way to another listener of the same number.
        with scope, suppress(trio.ClosedResourceError):
            await stream.serve(self._work)

    # Interfaces

    @property
    def table(self) -> InterfaceTable:
        return self.following.table

    def _claim_groups(self) -> None:
        """Join what those who answer on each port want, now and as the interfaces change."""
        for live in self.ports.values():
            claims = [(binding.service.groups, binding.access.serves) for binding in live.port.bindings]
            self.following.claim(live.memberships, claims)

    def _forget_decisions(self) -> None:
        for live in self.ports.values():
            live.port.forget_decisions()


@asynccontextmanager
async def open_server(
    prepared: Sequence[Prepared],
    *,
    platform: Platform,
    grace: float = 2.0,
    settle: float = SETTLE,
    state_root: Callable[[], Path] = Path.cwd,
    timing: bool = False,
) -> AsyncIterator[Server]:
    """Open every port that the instances need, or none; leaving the context closes all.

    `grace` in seconds is what goodbyes may take at the end, `settle` how long an interface must have been quiet before
    plugins are told of its changes; `state_root` gives the folder below which each instance may keep state, when one
    asks; with `timing` each instance has a histogram of its `respond`'s time.  Raises an ExceptionGroup of BindError,
    one for each port that can't be had.
    """
    async with open_following(platform, settle=settle) as following:
        server = Server(following, platform, grace, state_root, timing)
        following.on_change.append(server._forget_decisions)
        server.instances = tuple(map(Supervised, prepared))
        server._opened = open_ports(plan(each.instance for each in prepared), {}, platform, server.table)
        try:
            yield server
        finally:
            server.close()
