"""The ports that serve: their sockets, the tasks that receive on them, and the groups that they have joined.

A port keeps its socket, with the datagrams that wait in it, through every change of who answers there.  A port that
nobody answers on any more stays open for as long as goodbyes may be said by it.  A port whose socket fails for good is
opened again, after a delay as for a plugin's `run` that crashes, or at once by a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import attrs
import trio

from ..datagram import Group, group_and_source
from ..dispatch.access import Access
from ..dispatch.binding import Binding
from ..dispatch.flow import Environment
from ..dispatch.observers import Observers
from ..dispatch.outcomes import Counters, Histogram, new_traffic
from ..dispatch.own import OwnDatagrams
from ..dispatch.port import Port
from ..dispatch.sender import Sender
from ..dispatch.tcp import StreamPort
from ..errors import BindError, NetworkError
from ..log import get_logger
from ..net.interface_table import InterfaceTable
from ..net.memberships import Memberships
from ..net.types import Platform
from .interfaces import Following
from .ports import Key, Opened, PlannedPort, open_ports, open_udp, plan
from .supervisor import FIRST_DELAY, LAST_DELAY, Supervised

_log = get_logger(__name__)


@attrs.define(eq=False)
class LivePort:
    """Opened sockets that serve.  `receiving` ends their tasks; the sockets stay open for goodbyes.

    failed  set for as long as the UDP socket can no longer receive; `reopen` ends the wait for the next attempt
    delay   seconds before it would be opened again; `began`: when it began to receive, of trio's clock
    """

    opened: Opened
    port: Port
    memberships: Memberships
    stream: StreamPort | None = None
    receiving: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    failed: bool = False
    reopen: trio.Event = attrs.field(factory=trio.Event)
    delay: float = FIRST_DELAY
    began: float = attrs.field(factory=trio.current_time)

    def stop_receiving(self) -> None:
        self.receiving.cancel()
        self.accepting.cancel()
        self.port.tasks.close()


@attrs.frozen(eq=False)
class PortChange:
    """The sockets that other instances need: opened by `LivePorts.prepare`, for `commit` or `abandon`.

    new        sockets that did not exist before
    listening  sockets that got a TCP listener, and had none
    revived    ports that nobody answered on any more, and that were still open for goodbyes
    gave_way   whether sockets were closed to bind these
    """

    planned: Mapping[Key, PlannedPort]
    opened: dict[Key, Opened]
    new: tuple[Opened, ...]
    listening: tuple[Opened, ...]
    revived: dict[Key, LivePort]
    gave_way: bool


@attrs.define(eq=False)
class LivePorts:
    """All ports of a server.  `background` has the receivers, `work` the answers; both are set before any port serves.

    grace  gives the seconds that a port stays open for goodbyes
    timing  whether each binding has a histogram of the time that its `respond` takes
    """

    following: Following
    platform: Platform
    counters: Counters
    observers: Observers
    grace: Callable[[], float]
    timing: bool
    serving: dict[Key, LivePort] = attrs.field(factory=dict, init=False)
    background: trio.Nursery = attrs.field(init=False)
    work: trio.Nursery = attrs.field(init=False)
    _opened: dict[Key, Opened] = attrs.field(factory=dict, init=False)
    _leaving: dict[Key, LivePort] = attrs.field(factory=dict, init=False)
    """Ports that nobody answers on any more, open until the goodbyes are said."""
    _environment: Environment = attrs.field(init=False)
    _stopped: bool = attrs.field(default=False, init=False)

    _instances: tuple[Supervised, ...] = attrs.field(default=(), init=False)

    def __attrs_post_init__(self) -> None:
        self._environment = Environment(
            self.platform,
            self.table,
            self.counters,
            self.observers,
            OwnDatagrams(self.table),
            self.following.stale,
        )

    @property
    def table(self) -> InterfaceTable:
        return self.following.table

    @property
    def failed(self) -> bool:
        """A port can not receive or accept connections now."""
        return any(live.failed or live.opened.listener_failed for live in self.serving.values())

    def number(self, instance: str, service: str, port: int) -> int:
        """The number of the port that the service of an instance has; `port` is what its configuration says."""
        return next(each.socket.port for key, each in self._opened.items() if key[0] in (port, (instance, service)))

    def stop_receiving(self) -> None:
        """Take no request any more."""
        self._stopped = True
        for live in self.serving.values():
            live.stop_receiving()

    def close(self) -> None:
        """Close every socket."""
        for opened in (*self._opened.values(), *(live.opened for live in self._leaving.values())):
            opened.close()

    # Changing who answers

    def prepare(self, old: Iterable[Supervised], new: Iterable[Supervised]) -> PortChange:
        """Open the sockets that the `new` instances need; one change at a time.

        A port that goes from the wildcard to addresses, or from TCP alone to both, or back, has to close the old
        sockets before the new ones can be bound; nobody answers there until the commit.  Raises an ExceptionGroup of
        BindError, one for each port that can't be had; then the `old` instances are served as before.
        """
        planned = plan(runtime.instance for runtime in new)
        kept = {**{key: live.opened for key, live in self._leaving.items()}, **self._opened}
        new_numbers = {key[0] for key in planned if key not in kept}
        in_the_way = [
            key
            for key, each in kept.items()
            if (planned[key].udp is not each.udp if key in planned else key[0] in new_numbers)
        ]
        for key in in_the_way:
            live = self._leaving.pop(key, None) or self.serving.pop(key)
            live.stop_receiving()
            self.following.leave(live.memberships)
            kept.pop(key).close()
        deaf = [each for each in kept.values() if each.listener is None]
        try:
            opened = open_ports(planned, kept, self.platform, self.table)
        except ExceptionGroup:
            if in_the_way:
                self._reopen(old, kept)
            raise
        return PortChange(
            planned,
            opened,
            new=tuple(each for key, each in opened.items() if key not in kept),
            listening=tuple(each for each in deaf if each.listener is not None),
            # Taken out of `_leaving`, so that they are not closed before the commit.
            revived={key: self._leaving.pop(key) for key in planned if key in self._leaving},
            gave_way=bool(in_the_way),
        )

    def open(self, instances: Iterable[Supervised]) -> None:
        """Open the ports of the first instances, which `serve` then serves.  Raises as `prepare`."""
        self._opened = open_ports(plan(runtime.instance for runtime in instances), {}, self.platform, self.table)

    def serve(self, instances: Iterable[Supervised]) -> None:
        """Begin to serve on what `open` has opened."""
        instances = tuple(instances)
        self._install(plan(runtime.instance for runtime in instances), instances, {})

    def commit(self, change: PortChange, instances: Iterable[Supervised]) -> None:
        """Let these instances answer, from one datagram to the next: nothing here waits."""
        self._opened = change.opened
        self._install(change.planned, instances, change.revived)

    def abandon(self, change: PortChange, old: Iterable[Supervised]) -> None:
        """Close what was opened for a change that is not wanted."""
        for opened in change.new:
            opened.close()
        for opened in change.listening:
            opened.close_listener()
        for key, live in change.revived.items():
            self._leave(key, live)
        if change.gave_way and not self._stopped:
            self._reopen(old, {key: each for key, each in self._opened.items() if key in self.serving})

    def _reopen(self, instances: Iterable[Supervised], kept: Mapping[Key, Opened]) -> None:
        """Bind again what gave way to sockets that are not wanted after all."""
        instances = tuple(instances)
        planned = plan(runtime.instance for runtime in instances)
        self._opened = open_ports(planned, kept, self.platform, self.table)
        self._install(planned, instances, {})

    def _install(
        self,
        planned: Mapping[Key, PlannedPort],
        instances: Iterable[Supervised],
        revived: Mapping[Key, LivePort],
    ) -> None:
        """Make the plan what is served, from one datagram to the next: nothing here waits."""
        self._instances = tuple(instances)
        by_name = {runtime.name: runtime for runtime in self._instances}
        old_bindings = {
            (binding.sender_of, binding.service.name): binding  # whose that is, and not whose handler it has
            for live in self.serving.values()
            for binding in live.port.bindings
        }
        bindings: dict[tuple[str, str], Binding] = {}
        for runtime in by_name.values():
            runtime.ports.clear()
            for service in runtime.instance.services:
                known = old_bindings.get((runtime.sender_of, service.name))
                bindings[runtime.name, service.name] = known or Binding(
                    runtime.name,
                    runtime.handler,
                    runtime.sender_of,
                    service,
                    Access.of(runtime.instance, service),
                    latency=Histogram() if self.timing else None,
                )
        before, self.serving = self.serving, {}
        for key, port in planned.items():
            users = tuple(bindings[instance.name, service.name] for instance, service in port.users)
            live = before.pop(key, None) or self._revive(revived.get(key)) or self._start(self._opened[key])
            live.reopen.set()
            if live.opened.listener is not None:
                live.opened.listener.open_now()
            live.port.bindings = users
            live.port.forget_decisions()
            self._adjust_stream(live, tuple(binding for binding in users if binding.service.tcp))
            for binding in users:
                by_name[binding.name].ports.setdefault(binding.service.name, []).append(live.port)
            self.serving[key] = live
        self._environment.own.set_ports(
            (live.port.number for live in self.serving.values()),
            (live.port.number for key, live in self.serving.items() if planned[key].shared),
        )
        for key, live in before.items():
            self._retire(key, live)
        self._claim_groups()

    def _start(self, opened: Opened, delay: float = FIRST_DELAY) -> LivePort:
        traffic = self.counters.traffic(opened.socket.port, "udp") if opened.udp else new_traffic()
        sender = Sender(opened.socket, self.work, self.following.stale, self._environment.own, traffic)
        port = Port(opened.socket, (), self._environment, sender)
        live = LivePort(opened, port, Memberships(opened.socket), delay=delay)
        self._receive_on(live)
        return live

    def _receive_on(self, live: LivePort) -> None:
        live.receiving = trio.CancelScope()
        live.port.tasks.reopen()
        self.background.start_soon(self._serve, live, live.receiving)

    def _adjust_stream(self, live: LivePort, users: tuple[Binding, ...]) -> None:
        listener = live.opened.listener
        if not users:
            live.accepting.cancel()
            live.opened.close_listener()
            live.stream = None
            return
        assert listener is not None  # noqa: S101 - the plan has TCP
        if live.stream is None:
            live.stream = StreamPort(listener, (), self._environment)
            live.accepting = trio.CancelScope()
            self.background.start_soon(self._accept, live.stream, live.accepting)
        live.stream.bindings = users

    def _retire(self, key: Key, live: LivePort) -> None:
        """Take nothing more from a port; close it when those who may still say goodbye by it are done."""
        live.stop_receiving()
        live.port.bindings = ()
        self.following.leave(live.memberships)
        self._leave(key, live)

    def _leave(self, key: Key, live: LivePort) -> None:
        """Close the port once goodbyes are said, unless it is wanted again before."""
        self._leaving[key] = live
        if not self._stopped:  # otherwise `close` closes it
            self.work.start_soon(self._close_later, key, live)

    async def _close_later(self, key: Key, live: LivePort) -> None:
        await trio.sleep(self.grace())
        if self._leaving.get(key) is live:
            del self._leaving[key]
            live.opened.close()

    def _revive(self, live: LivePort | None) -> LivePort | None:
        if live is not None:
            live.stream = None
            self._receive_on(live)
        return live

    async def _serve(self, live: LivePort, scope: trio.CancelScope) -> None:
        with scope:
            try:
                if not live.failed:
                    await live.port.serve()
            except trio.ClosedResourceError:
                return  # it gave way to another socket of the same number
            except NetworkError as error:
                # The other ports go on meanwhile.
                _log.error("a port can no longer receive", exc_info=error, port=live.port.number)
            await self._open_again(live)

    async def _open_again(self, dead: LivePort) -> None:
        """Put another port in the place of one whose socket is of no use any more; its TCP side goes on."""
        dead.failed = True
        self.following.leave(dead.memberships)
        dead.opened.socket.close()
        delay = FIRST_DELAY if trio.current_time() - dead.began >= LAST_DELAY else dead.delay
        while True:
            dead.reopen = trio.Event()
            with trio.move_on_after(delay):
                await dead.reopen.wait()
            delay = min(2 * delay, LAST_DELAY)
            key = next(key for key, live in self.serving.items() if live is dead)
            planned = plan(runtime.instance for runtime in self._instances)
            try:
                dead.opened.socket = open_udp(self.platform, self.table, planned[key], dead.port.number)
            except BindError as error:
                _log.error("a port can't be opened again", port=dead.port.number, reason=str(error), delay=delay)
            else:
                break
        # Nothing waits from here on.
        dead.receiving.cancel()
        dead.port.tasks.close()
        live = self._start(dead.opened, delay)
        live.stream, live.accepting = dead.stream, dead.accepting
        live.port.bindings, dead.port.bindings = dead.port.bindings, ()
        self.serving[key] = live
        self._install(planned, self._instances, {})
        _log.info("a port receives again", port=live.port.number)

    async def _accept(self, stream: StreamPort, scope: trio.CancelScope) -> None:
        # Closed: it gave way to another listener of the same number.
        with scope, suppress(trio.ClosedResourceError):
            await stream.serve(self.work)

    def _claim_groups(self) -> None:
        """Join what those who answer on each port want, now and as the interfaces change."""
        for live in self.serving.values():
            if live.failed:
                continue
            claims = [(groups_for(live, binding), binding.access.serves) for binding in live.port.bindings]
            self.following.claim(live.memberships, claims)

    def forget_decisions(self) -> None:
        for live in self.serving.values():
            live.port.forget_decisions()


def groups_for(live: LivePort, binding: Binding) -> list[Group]:
    """The groups of a binding's service that a port's socket can join: one bound to an address, those of its family."""
    address = live.opened.socket.address
    groups = binding.service.groups
    return [group for group in groups if address is None or group_and_source(group)[0].version == address.version]
