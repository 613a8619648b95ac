"""Hosts of a fake network: their interfaces, what they send and take, and the platform that a server runs on.

A host behaves as a Linux one does where a responder can notice.  It takes what is sent to any of its addresses,
whatever interface it came in by (a weak host, RFC 1122 section 3.3.4.2); an address that is no longer its own can't be
a source; a reply without a source gets the one that the routing table chooses, right or wrong.

What lies between hosts is in `network`.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..config.instance import Instance, prepare
from ..datagram import Interface, IPAddress, Via, unscoped
from ..dispatch.addressing import needs_interface
from ..errors import BindError, SendRefused, SourceUnavailable, Unreachable
from ..net.types import Changes, Flow, Message
from ..plugin import Plugin
from ..server.embedding import Server, to_instances
from ..server.interfaces import SETTLE
from .clients import FakeClient
from .failures import Failures, watched
from .held_clock import clock_held_by_threads
from .interfaces import FakeInterface
from .routing import Hop, StaticRoute, next_hop, prefix_of
from .sockets import DEFAULT_HOP_LIMIT, FakeListener, FakeReceived, FakeSocket, Packet, now, taken, to_address

if TYPE_CHECKING:
    from .network import FakeNetwork, Link

LOOPBACK = 1
"""The index of every host's loopback interface, as on Linux."""

FIRST_CHOSEN_PORT = 49152
"""From here on ports are that the system chooses (RFC 6335 section 6)."""


class FakeWatch:
    """An `InterfaceWatch` of a fake host."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self._changes: list[tuple[int, Interface | None]] = []
        self._waiting = trio.lowlevel.ParkingLot()

    def tell(self, index: int, interface: Interface | None) -> None:
        self._changes.append((index, interface))
        self._waiting.unpark_all()

    async def interfaces(self) -> Sequence[Interface]:
        await trio.lowlevel.checkpoint()
        self._changes.clear()
        return self._host.snapshots()

    async def changes(self) -> Changes | None:
        await trio.lowlevel.checkpoint()
        while not self._changes:
            await self._waiting.park()
        changes, self._changes = self._changes, []
        return changes


class FakeHost:
    """A host, made by `FakeNetwork.host`.  A `responder.net.types.Platform`."""

    def __init__(self, name: str, network: FakeNetwork, number: int, *, forwards: bool) -> None:
        self.name = name
        self.network = network
        self.number = number
        self.forwards = forwards
        self._routes: list[StaticRoute] = []
        self._sockets: list[FakeSocket] = []
        self._listeners: list[FakeListener] = []
        self._watches: list[FakeWatch] = []
        self._interfaces = {LOOPBACK: FakeInterface(self, LOOPBACK, "lo", None, ["127.0.0.1/8", "::1/128"])}
        self._next_index = LOOPBACK + 1
        self._next_port = FIRST_CHOSEN_PORT

    def __repr__(self) -> str:
        return f"<host {self.name}>"

    # What a test does with it

    @property
    def loopback(self) -> FakeInterface:
        """Give it service addresses: `host.loopback.add("10.99.0.1/32")`."""
        return self._interfaces[LOOPBACK]

    def attach(self, link: Link, *addresses: str, name: str | None = None) -> FakeInterface:
        """A new interface on a link, with addresses as in "10.71.0.1/24"; named as the link unless `name` is given.

        One with an IPv6 address gets a link-local one as well, unless it is given.
        """
        interface = FakeInterface(self, self._next_index, name or link.name, link, addresses)
        self._interfaces[interface.index] = interface
        self._next_index += 1
        link.interfaces.append(interface)
        self.changed(interface)
        return interface

    def route(self, prefix: str, *, interface: FakeInterface, via: str | None = None) -> None:
        """Reach a prefix (or "default": all of the gateway's family) through a gateway, or right on the link."""
        gateway = None if via is None else to_address(via)
        version = gateway.version if gateway is not None else 4
        self._routes.append(StaticRoute(prefix_of(prefix, version), interface.index, gateway))

    def client(self, address: str | None = None, port: int = 0) -> FakeClient:
        """A program's socket on this host, bound to an address or to all; port 0: the system chooses."""
        return FakeClient(self, self.open_udp(port, None if address is None else to_address(address)))

    @asynccontextmanager
    async def serve(
        self,
        *plugins: Plugin | Instance,
        grace: float = 2.0,
        settle: float = SETTLE,
        state: Path | None = None,
        failures: list[BaseException] | None = None,
        **keys: Any,
    ) -> AsyncIterator[Server]:
        """`responder.serve` on this host: the real server on fake sockets, with the same arguments.

        What the plugins' code raises beside PeerError is raised when the context is left, though the server goes on
        without; a test that expects it gives a list, `failures=[]`, which takes it instead.  `prepare` runs at once, in
        this thread.
        """
        watched = Failures(failures)
        async with self.serve_watched(
            *plugins, grace=grace, settle=settle, state=state, failures=watched, **keys
        ) as it:
            yield it

    @asynccontextmanager
    async def serve_watched(
        self,
        *plugins: Plugin | Instance,
        failures: Failures,
        grace: float = 2.0,
        settle: float = SETTLE,
        state: Path | None = None,
        **keys: Any,
    ) -> AsyncIterator[Server]:
        """The same, with what takes the failures: see `responder.testing.failures`."""
        prepared = [prepare(instance, state or Path.cwd()) for instance in to_instances(plugins, keys)]
        with clock_held_by_threads():
            async with watched(prepared, failures, platform=self, grace=grace, settle=settle, state=state) as server:
                yield server

    async def connect(
        self, to: str, port: int, *, interface: FakeInterface | None = None
    ) -> trio.abc.HalfCloseableStream:
        """A TCP connection.  Raises ConnectionRefusedError where nobody listens, OSError where there is no way."""
        await trio.lowlevel.checkpoint()
        destination = to_address(to)
        hop = self._hop(destination, interface.index if interface else 0)
        source = destination if hop is None else hop.source
        arrival = self.loopback if hop is None else self._trace(hop, destination)
        if arrival is None or source is None:
            raise Unreachable(errno.EHOSTUNREACH, f"no way to {destination}")
        scope_id = arrival.index if source.version == 6 and source.is_link_local else 0
        flow = Flow(source, scope_id, destination, arrival.index, destination, Via.UNICAST)
        for listener in arrival.host._listeners:
            if listener.port == port and listener.address in (None, destination):
                return listener.offer(flow, self._chosen_port())
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens at {destination} port {port}")

    # What the framework does with it: `responder.net.types.Platform`

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> FakeSocket:
        self._check_bind(port, address)
        for other in self._sockets:
            meet = port == other.port and (address == other.address or None in (address, other.address))
            if meet and not (shared and other.shared):
                raise taken(port, "UDP")
        socket = FakeSocket(self, port or self._chosen_port(), address, interface, shared)
        self._sockets.append(socket)
        return socket

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> FakeListener:
        self._check_bind(port, address)
        for other in self._listeners:
            if port == other.port and (address == other.address or None in (address, other.address)):
                raise taken(port, "TCP")
        listener = FakeListener(self, port or self._chosen_port(), address)
        self._listeners.append(listener)
        return listener

    async def interfaces(self) -> Sequence[Interface]:
        await trio.lowlevel.checkpoint()
        return self.snapshots()

    @asynccontextmanager
    async def watch_interfaces(self) -> AsyncIterator[FakeWatch]:
        watch = FakeWatch(self)
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    # What its parts ask

    def snapshots(self) -> tuple[Interface, ...]:
        return tuple(interface.snapshot() for interface in self._interfaces.values())

    def interface(self, index: int) -> FakeInterface | None:
        return self._interfaces.get(index)

    def refused(self, packet: Packet) -> None:
        """ICMP about a packet that this host sent: nobody listens where it went to."""
        for socket in self._sockets:
            if socket.port == packet.source_port and socket.address in (None, packet.source):
                socket.refused(packet.destination, packet.port)

    def owner(self, address: IPAddress) -> FakeInterface | None:
        """The interface that has the address; an address of one that is down is still the host's."""
        return next((each for each in self._interfaces.values() if each.has(address)), None)

    def changed(self, interface: FakeInterface, *, gone: bool = False) -> None:
        if gone:
            del self._interfaces[interface.index]
        for watch in self._watches:
            watch.tell(interface.index, None if gone else interface.snapshot())

    def forget(self, closed: FakeSocket | FakeListener) -> None:
        """A socket that was closed."""
        if isinstance(closed, FakeSocket):
            self._sockets = [each for each in self._sockets if each is not closed]
        else:
            self._listeners = [each for each in self._listeners if each is not closed]

    # Sending

    def send(self, source_port: int, message: Message, *, bound: IPAddress | None = None) -> None:
        """Raises SendError, as the kernel would."""
        payload, route, to_port = message
        out_of = route.interface or route.scope_id
        source = route.source or bound
        if source is not None and (source.version != route.to.version or not self._may_speak_from(source, out_of)):
            raise SourceUnavailable(errno.EADDRNOTAVAIL, f"{source} is no address of {self.name} now")
        hop = self._hop(route.to, out_of)
        source = source or (route.to if hop is None else hop.source)
        if source is None:
            raise Unreachable(errno.EADDRNOTAVAIL, f"{self.name} has no address to speak to {route.to} from")
        # Groups are not for routers unless a hop limit says so (RFC 1112 section 6.1, RFC 3493 section 5.2).
        hop_limit = (
            route.hop_limit if route.hop_limit is not None else 1 if route.to.is_multicast else DEFAULT_HOP_LIMIT
        )
        packet = Packet(payload, source, source_port, route.to, to_port, hop_limit)
        if hop is None:
            self.take(packet, self.loopback)
            return
        interface = self._interfaces[hop.interface.index]
        if interface.is_blocked:
            raise SendRefused(errno.EPERM, f"a firewall drops what is sent out of {interface.name}")
        if packet.is_for_all(hop.interface):
            # IP_MULTICAST_LOOP is on, and a broadcast comes back too.
            self.take(packet, interface)
        self._put(interface, packet, hop.neighbour)

    def _put(self, interface: FakeInterface, packet: Packet, neighbour: IPAddress) -> None:
        if interface.link is not None:
            self.network.put(interface.link, packet, interface, neighbour)

    def _hop(self, destination: IPAddress, out_of: int) -> Hop | None:
        """The first hop; None: the destination is the host itself.  Raises Unreachable."""
        if needs_interface(destination) and out_of and out_of not in self._interfaces:
            raise Unreachable(errno.ENODEV, f"{self.name} has no interface {out_of}")
        own = self.owner(destination)
        if own is not None and (not _is_scoped(destination) or own.index == out_of):
            return None
        hop = next_hop(destination, self.snapshots(), self._routes, out_of=out_of)
        if hop is None:
            raise Unreachable(errno.ENETUNREACH, f"{self.name} has no way to {destination}")
        return hop

    def _may_speak_from(self, source: IPAddress, out_of: int) -> bool:
        if _is_scoped(source) and out_of:
            interface = self.interface(out_of)
            return interface is not None and interface.has(source)
        return self.owner(source) is not None

    def _trace(self, hop: Hop, destination: IPAddress) -> FakeInterface | None:
        """Where a unicast packet would arrive, by way of how many routers there are."""
        host: FakeHost = self
        for _ in range(DEFAULT_HOP_LIMIT):
            out = host._interfaces[hop.interface.index]
            arrival = out.link.neighbour(hop.neighbour, out) if out.link is not None else None
            if arrival is None or arrival.host.owner(destination) is not None:
                return arrival
            onward = arrival.host._onward(destination)
            if onward is None:
                return None
            host, hop = arrival.host, onward
        return None

    def _onward(self, destination: IPAddress) -> Hop | None:
        """The next hop of what is not for this host; None: it is dropped."""
        if not self.forwards or needs_interface(destination):
            return None
        return next_hop(destination, self.snapshots(), self._routes)

    # Taking

    def take(self, packet: Packet, interface: FakeInterface) -> None:
        """What arrived by an interface: to the sockets, onward, or nowhere."""
        snapshot = interface.snapshot()
        if packet.is_for_all(snapshot):
            via = Via.MULTICAST if packet.destination.is_multicast else Via.BROADCAST
        elif self.owner(packet.destination) is not None and (
            not _is_scoped(packet.destination) or interface.has(packet.destination) or interface is self.loopback
        ):
            via = Via.UNICAST
        else:
            hop = self._onward(packet.destination) if packet.hop_limit > 1 else None
            if hop is not None:
                onward = attrs.evolve(packet, hop_limit=packet.hop_limit - 1)
                self._put(self._interfaces[hop.interface.index], onward, hop.neighbour)
            return
        scope_id = interface.index if _is_scoped(packet.source) else 0
        flow = Flow(packet.source, scope_id, packet.destination, interface.index, _local(snapshot, packet, via), via)
        hearing = [socket for socket in self._sockets if socket.hears(packet, snapshot, via)]
        if via is Via.UNICAST and hearing:
            # One socket gets it: the one bound to the address, of several the last bound (Linux, SO_REUSEADDR).
            hearing = [max(hearing, key=lambda socket: (socket.address is not None, self._sockets.index(socket)))]
        if via is Via.UNICAST and not hearing:
            self.network.refuse(packet)
        for socket in hearing:
            received = FakeReceived(packet.payload, flow, packet.source_port, hop_limit=packet.hop_limit, arrived=now())
            socket.deliver(received)

    def _check_bind(self, port: int, address: IPAddress | None) -> None:
        if address is not None and not address.is_multicast and self.owner(address) is None:
            raise BindError(errno.EADDRNOTAVAIL, f"{self.name} has no address {address}", port=port)

    def _chosen_port(self) -> int:
        self._next_port += 1
        return self._next_port


def _local(interface: Interface, packet: Packet, via: Via) -> IPAddress | None:
    """What Linux's `ipi_spec_dst` says; IPv6 has no such thing."""
    if packet.destination.version == 6:
        return None
    return packet.destination if via is Via.UNICAST else interface.source_for(unscoped(packet.source))


def _is_scoped(address: IPAddress) -> bool:
    return address.version == 6 and address.is_link_local
