"""Instances on ports: what is opened, who answers there, and the life of all of it.

`open_server` plans which sockets the instances need, opens them all or none, and yields a `Server`; `Server.run` serves
until `Server.stop`.  Instances share a port where they name the same number: one socket, asked in config order.

Where no instance on a port has `listen`, or one has none, its socket is the wildcard one, and `listen` of the others is
a matter of who answers; where all have it, just those addresses are bound, each by a socket of its own.

This file refuses to know signals, files of configuration and terminals: that is `responder.daemon`'s.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from ipaddress import IPv6Address
from pathlib import Path

import attrs
import trio

from .datagram import IPAddress, unscoped
from .dispatch import Binding, Port
from .errors import BindError, NetworkError
from .instance import Instance
from .log import get_logger
from .metrics import Counters
from .net.groups import Memberships, wanted
from .net.interfaces import InterfaceTable
from .net.types import DatagramSocket, Membership, Platform, StreamListener
from .plugin import Handler, Service
from .policy import Access
from .sending import Sender
from .streams import StreamPort
from .supervisor import PluginNetwork, Supervised

RESCAN_INTERVAL = 10.0
"""Seconds between two looks at the interfaces where nothing says that they changed."""

RESCAN_PAUSE = 1.0
"""Seconds that at least lie between two looks, however often a datagram shows that the table is old."""

PORT_ATTEMPTS = 16
"""How often a port that the system chose for UDP may turn out to be taken for TCP."""

_log = get_logger(__name__)


@attrs.frozen(eq=False)
class PlannedPort:
    """A port to open: its number, the addresses to bind (none: the wildcard), and who answers there."""

    number: int
    addresses: tuple[IPAddress, ...]
    users: tuple[tuple[Instance, Service], ...]

    @property
    def shared(self) -> bool:
        return any(service.shared for _, service in self.users)

    @property
    def tcp(self) -> bool:
        return any(service.tcp for _, service in self.users)


def plan(instances: Iterable[Instance]) -> list[PlannedPort]:
    """Which ports the instances need, in config order.  Each port 0 is one of its own."""
    by_number: dict[object, list[tuple[Instance, Service]]] = {}
    for instance in instances:
        for service in instance.services:
            by_number.setdefault(service.port or (instance.name, service.name), []).append((instance, service))
    planned = []
    for users in by_number.values():
        listening = [instance.listen for instance, _ in users]
        addresses = tuple(dict.fromkeys(address for listen in listening for address in listen))
        planned.append(PlannedPort(users[0][1].port, addresses if all(listening) else (), tuple(users)))
    return planned


@attrs.frozen(eq=False)
class OpenPort:
    """One opened address of a planned port."""

    socket: DatagramSocket
    listener: StreamListener | None
    bindings: tuple[Binding, ...]


@attrs.define(eq=False)
class Server:
    """Opened ports and the instances on them.  Made by `open_server`."""

    instances: tuple[Supervised, ...]
    ports: tuple[OpenPort, ...]
    table: InterfaceTable
    platform: Platform
    counters: Counters
    grace: float
    state_root: Callable[[], Path]
    _stale: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _receiving: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _hurry: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    ready: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set once every port answers and every group that can be joined is."""
    failed: bool = attrs.field(default=False, init=False)
    """A port ended by itself: the others went on, and the exit status tells."""
    udp_ports: list[Port] = attrs.field(factory=list, init=False)
    _memberships: list[tuple[OpenPort, Memberships]] = attrs.field(factory=list, init=False)

    def port(self, instance: str | None = None, service: str = "default") -> int:
        """The number of a service's port, also where 0 was asked for; of the first instance unless one is named."""
        for opened in self.ports:
            for binding in opened.bindings:
                if instance in (None, binding.runtime.name) and binding.service.name == service:
                    return opened.socket.port
        raise ValueError(f"no instance {instance!r} has a service {service!r}")

    def stop(self) -> None:
        """End `run`, with the grace period for goodbyes; called again, without what is left of it."""
        if self._stopping.is_set():
            self._hurry.cancel()
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`."""
        async with trio.open_nursery() as background:
            with self._hurry:
                async with trio.open_nursery() as work:
                    ports, stream_ports = self._make_ports(work)
                    self._reconcile()
                    background.start_soon(self._receive, ports, stream_ports, background)
                    background.start_soon(self._follow_interfaces)
                    for runtime in self.instances:
                        network = PluginNetwork(runtime, self.table, self.counters, self.state_root)
                        work.start_soon(runtime.supervise, network)
                    work.start_soon(self._say_goodbye)
                    self.ready.set()
            background.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        """Once stopped, give what runs the grace period to end by itself."""
        await self._stopping.wait()
        # No request is taken any more: a device that has said goodbye does not answer.
        self._receiving.cancel()
        for runtime in self.instances:
            runtime.stopping.fire("stop")
        self._hurry.deadline = trio.current_time() + self.grace

    async def _receive(
        self, ports: Iterable[Port], stream_ports: Iterable[StreamPort], connections: trio.Nursery
    ) -> None:
        with self._receiving:
            async with trio.open_nursery() as nursery:
                for port in ports:
                    nursery.start_soon(self._serve, port)
                for stream_port in stream_ports:
                    nursery.start_soon(stream_port.serve, connections)

    def _make_ports(self, work: trio.Nursery) -> tuple[list[Port], list[StreamPort]]:
        """What answers on each opened socket; async answers become tasks of `work`."""
        runtimes = {runtime.name: runtime for runtime in self.instances}
        ports: list[Port] = []
        stream_ports: list[StreamPort] = []
        for opened in self.ports:
            sender = Sender(opened.socket, work, self._table_is_stale)
            port = Port(
                opened.socket, opened.bindings, self.platform, self.table, self.counters, sender, self._table_is_stale
            )
            ports.append(port)
            for binding in opened.bindings:
                runtimes[binding.runtime.name].ports.setdefault(binding.service.name, []).append(port)
            if opened.listener is not None:
                serving = tuple(binding for binding in opened.bindings if binding.service.tcp)
                stream_ports.append(
                    StreamPort(opened.listener, serving, self.table, self.counters, self._table_is_stale)
                )
        self.udp_ports = ports
        self._memberships = [(opened, Memberships(opened.socket)) for opened in self.ports]
        return ports, stream_ports

    async def _serve(self, port: Port) -> None:
        try:
            await port.serve()
        except NetworkError as error:
            # The other ports go on; what runs on this one can't.
            _log.error("a port can no longer receive", exc_info=error, port=port.number)
            self.failed = True

    def _table_is_stale(self) -> None:
        self._stale.set()

    async def _follow_interfaces(self) -> None:
        while True:
            with trio.move_on_after(RESCAN_INTERVAL):
                await self._stale.wait()
            self._stale = trio.Event()
            await self.rescan()
            await trio.sleep(RESCAN_PAUSE)

    async def rescan(self) -> None:
        """Look at the interfaces now, and follow what changed."""
        try:
            interfaces = await self.platform.interfaces()
        except OSError as error:
            _log.warning("the interfaces can't be read", error=error)
            return
        if self.table.replace(interfaces):
            for port in self.udp_ports:
                port.forget_flows()
        self._reconcile()

    def _reconcile(self) -> None:
        for opened, memberships in self._memberships:
            desired: set[Membership] = set()
            for binding in opened.bindings:
                desired |= wanted(binding.service.groups, [*filter(binding.access.serves, self.table)])
            memberships.reconcile(desired, self.table.get)


@asynccontextmanager
async def open_server(
    handlers: Sequence[tuple[Instance, Handler]],
    *,
    platform: Platform,
    grace: float = 2.0,
    state_root: Callable[[], Path] = Path.cwd,
) -> AsyncIterator[Server]:
    """Open every port that the instances need, or none; leaving the context closes all.

    `grace` in seconds is what goodbyes may take at the end; `state_root` gives the folder below which each instance
    may keep state, when one asks.  Raises an ExceptionGroup of BindError, one for each port that can't be had.
    """
    table = InterfaceTable()
    table.replace(await platform.interfaces())
    runtimes = tuple(Supervised(instance, handler) for instance, handler in handlers)
    bindings = {
        (runtime.name, service.name): Binding(runtime, service, Access.of(runtime.instance, service))
        for runtime in runtimes
        for service in runtime.instance.services
    }
    with ExitStack() as closing:
        opened: list[OpenPort] = []
        errors: list[BindError] = []
        for planned in plan(runtime.instance for runtime in runtimes):
            number = planned.number
            for address in planned.addresses or (None,):
                try:
                    socket, listener = _open(platform, table, planned, number, address)
                except BindError as error:
                    errors.append(error)
                    continue
                closing.callback(socket.close)
                if listener is not None:
                    closing.callback(listener.close)
                number = socket.port  # where the system chose it, for the other addresses too
                users = tuple(
                    bindings[instance.name, service.name]
                    for instance, service in planned.users
                    if address is None or address in instance.listen
                )
                opened.append(OpenPort(socket, listener, users))
        if errors:
            raise ExceptionGroup("ports can't be had", errors)
        yield Server(runtimes, tuple(opened), table, platform, Counters(), grace, state_root)


def _open(
    platform: Platform, table: InterfaceTable, planned: PlannedPort, number: int, address: IPAddress | None
) -> tuple[DatagramSocket, StreamListener | None]:
    """One address of a planned port: its UDP socket, and its TCP listener on the same number where it has one."""
    interface = 0
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        interface = _scope(table, address, number)
    plain = None if address is None else unscoped(address)
    for attempt in range(PORT_ATTEMPTS):
        socket = platform.open_udp(number, plain, interface=interface, shared=planned.shared)
        if not planned.tcp:
            return socket, None
        try:
            return socket, platform.open_tcp(socket.port, plain, interface=interface)
        except BindError:
            socket.close()
            if number or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _scope(table: InterfaceTable, address: IPv6Address, port: int) -> int:
    scope = str(address.scope_id)
    interface = table.get(int(scope)) if scope.isdecimal() else table.named(scope)
    if interface is None:
        raise BindError(errno.ENODEV, f"UDP port {port}: {address}: there is no interface {scope}", port=port)
    return interface.index
