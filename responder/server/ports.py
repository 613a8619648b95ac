"""Which ports a set of instances needs, and opening them, all or none.

Instances that name the same port number share its socket, and are asked in config order.  Where every instance on a
port has `listen`, each of those addresses is bound by a socket of its own.  Otherwise the wildcard is bound, and
`listen` only decides which instance may answer.

A port is known by its `Key`, so that a reload finds the sockets that stay.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import TypeAlias

import attrs

from ..config.instance import Instance
from ..datagram import IPAddress, unscoped
from ..errors import BindError
from ..net.handover import Shares, SharingPlatform
from ..net.interface_table import InterfaceTable
from ..net.no_datagrams import NoDatagrams
from ..net.privileges import HasDescriptor
from ..net.types import DatagramSocket, Platform, StreamListener
from ..plugin import Service
from .lasting_listener import LastingListener

PORT_ATTEMPTS = 16
"""How often a port that the system chose for UDP may turn out to be taken for TCP."""

Key: TypeAlias = tuple[int | tuple[str, str], IPAddress | None]
"""The number, or for port 0 (instance, service), which has one of its own; and the address, None for the wildcard."""


@attrs.frozen(eq=False)
class PlannedPort:
    """A socket to have, and who answers there, in config order."""

    key: Key
    users: tuple[tuple[Instance, Service], ...]

    @property
    def number(self) -> int:
        """0: the system chooses."""
        return self.key[0] if isinstance(self.key[0], int) else 0

    @property
    def address(self) -> IPAddress | None:
        return self.key[1]

    @property
    def shared(self) -> bool:
        return any(service.shared for _, service in self.users)

    @property
    def udp(self) -> bool:
        return any(service.udp for _, service in self.users)

    @property
    def tcp(self) -> bool:
        return any(service.tcp for _, service in self.users)

    @property
    def tcp_hop_limit(self) -> int | None:
        """The least that a user of the port asks for."""
        limits = [service.tcp_hop_limit for _, service in self.users if service.tcp_hop_limit is not None]
        return min(limits, default=None)


def plan(instances: Iterable[Instance]) -> dict[Key, PlannedPort]:
    """Which sockets the instances need, in config order."""
    by_number: dict[int | tuple[str, str], list[tuple[Instance, Service]]] = {}
    for instance in instances:
        for service in instance.services:
            by_number.setdefault(service.port or (instance.name, service.name), []).append((instance, service))
    planned: dict[Key, PlannedPort] = {}
    for number, users in by_number.items():
        listening = [instance.listen for instance, _ in users]
        addresses: Iterable[IPAddress | None] = (None,)
        if all(listening):
            addresses = dict.fromkeys(address for listen in listening for address in listen)
        for address in addresses:
            here = tuple(user for user in users if address is None or address in user[0].listen)
            planned[number, address] = PlannedPort((number, address), here)
    return planned


def numbers(instances: Iterable[Instance]) -> dict[str, int]:
    """The port of each service: of the instance, or "instance.service" where it has several; 0: the system chooses."""
    return {
        instance.name if len(instance.services) == 1 else f"{instance.name}.{service.name}": service.port
        for instance in instances
        for service in instance.services
    }


@attrs.define(eq=False)
class Opened:
    """A planned port's sockets."""

    socket: DatagramSocket
    listener: LastingListener | None

    @property
    def listener_failed(self) -> bool:
        return self.listener is not None and self.listener.failed

    @property
    def udp(self) -> bool:
        return not isinstance(self.socket, NoDatagrams)

    def close(self) -> None:
        self.socket.close()
        self.close_listener()

    def close_listener(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None


def open_ports(
    planned: Mapping[Key, PlannedPort], kept: Mapping[Key, Opened], platform: Platform, table: InterfaceTable
) -> dict[Key, Opened]:
    """The sockets of a plan: those of `kept` that it needs, which stay as they are, and new ones for the rest.

    A kept one that has no listener and now needs one gets it here.  Raises an ExceptionGroup of BindError, one for
    each port that can't be had; then nothing has changed.
    """
    result: dict[Key, Opened] = {}
    new: list[Opened] = []
    listeners: list[tuple[Opened, LastingListener]] = []
    errors: list[BindError] = []
    for key, port in planned.items():
        try:
            if key in kept:
                opened = kept[key]
                if port.tcp and opened.listener is None:
                    listeners.append((opened, _open_tcp(platform, table, opened.socket.port, key[1])))
            else:
                # Where the system chose the number, it is the same on the instance's other addresses.
                chosen = next((other.socket.port for there, other in result.items() if there[0] == key[0]), port.number)
                opened = _open(platform, table, port, chosen)
                new.append(opened)
            result[key] = opened
        except BindError as error:
            errors.append(error)
    if errors:
        for opened in new:
            opened.close()
        for _, listener in listeners:
            listener.close()
        raise ExceptionGroup("ports can't be had", errors)
    for opened, listener in listeners:
        opened.listener = listener
    for key, port in planned.items():
        accepting = result[key].listener
        if accepting is not None and port.tcp_hop_limit is not None:
            accepting.limit_hops(port.tcp_hop_limit)
    return result


def share_ports(
    planned: Mapping[Key, PlannedPort],
    kept: Mapping[Key, Shares],
    count: int,
    platform: SharingPlatform,
    table: InterfaceTable,
) -> dict[Key, Shares]:
    """The same for `count` processes: the sockets of `kept` that the plan needs, and new ones for the rest.

    Raises an ExceptionGroup of BindError, one for each port that can't be had; then nothing has changed.
    """
    result: dict[Key, Shares] = {}
    new: list[Shares] = []
    errors: list[BindError] = []
    held = {shares.port for shares in kept.values()}
    for key, port in planned.items():
        own = kept.get(key)
        try:
            sockets = count if port.udp and (own is None or not own.sockets) else 0
            tcp = port.tcp and (own is None or own.listener is None)
            if sockets or tcp:
                opened = platform.open_shares(
                    sockets,
                    port.number,
                    _plain(port.address),
                    interface=_scope(table, port.address, port.number),
                    tcp=tcp,
                    beside_own=port.number in held,
                )
                new.append(opened)
                own = opened if own is None else own.with_(opened)
            assert own is not None  # noqa: S101 - a planned port has one or the other
            result[key] = own.only(udp=port.udp, tcp=port.tcp)
        except BindError as error:
            errors.append(error)
    if errors:
        for opened in new:
            opened.close()
        raise ExceptionGroup("ports can't be had", errors)
    return result


@attrs.define(eq=False)
class SharedPorts:
    """The sockets of `count` processes, held for them by another process.

    Each socket is open while a set that it is in is held.  Several sets are: what is served, what a reload prepares,
    what a process that is being started gets, and what is only needed for goodbyes.
    """

    count: int
    platform: SharingPlatform
    _held: list[Mapping[Key, Shares]] = attrs.field(factory=list, init=False)

    def open(self, instances: Iterable[Instance], table: InterfaceTable) -> dict[Key, Shares]:
        """Hold what the instances need: sockets that are held already, and new ones.  Raises as `share_ports`."""
        kept: dict[Key, Shares] = {}
        for shares in self._held:
            # What is in any set: a TCP listener can't be bound twice.
            kept.update({key: each.with_(kept[key]) if key in kept else each for key, each in shares.items()})
        opened = share_ports(plan(instances), kept, self.count, self.platform, table)
        self.hold(opened)
        return opened

    def hold(self, shares: Mapping[Key, Shares]) -> None:
        """Count one more holder of these sockets; each holder calls `release` once."""
        self._held.append(shares)

    def release(self, shares: Mapping[Key, Shares]) -> None:
        """Close the sockets that are in no other set."""
        # Two sets may be equal, but each is to be released as often as it was held.
        del self._held[next(index for index, each in enumerate(self._held) if each is shares)]
        staying = {sock for held in self._held for each in held.values() for sock in each.all()}
        for each in shares.values():
            for sock in each.all():
                if sock not in staying:
                    sock.close()

    def sockets(self) -> list[HasDescriptor]:
        """All that are open."""
        return [sock for held in self._held for each in held.values() for sock in each.all()]

    def close(self) -> None:
        for shares in tuple(self._held):
            self.release(shares)


def without(shares: Mapping[Key, Shares], successors: Mapping[Key, Shares]) -> dict[Key, Shares]:
    """What of the shares may stay open beside their successors until goodbyes are said.

    Where only the addresses of a port have changed, the old sockets would take datagrams from the new ones.
    """
    numbers = {each.port for each in successors.values()}
    return {key: each for key, each in shares.items() if key not in successors and each.port not in numbers}


def open_udp(platform: Platform, table: InterfaceTable, planned: PlannedPort, number: int) -> DatagramSocket:
    """The UDP socket of a planned port.  Raises BindError."""
    address = planned.address
    return platform.open_udp(number, _plain(address), interface=_scope(table, address, number), shared=planned.shared)


def _open(platform: Platform, table: InterfaceTable, planned: PlannedPort, number: int) -> Opened:
    """The UDP socket, and the TCP listener on the same number, as the plan has them."""
    address = planned.address
    if not planned.udp:
        listener = _open_tcp(platform, table, number, address)
        return Opened(NoDatagrams(listener.port, listener.address), listener)
    for attempt in range(PORT_ATTEMPTS):
        socket = open_udp(platform, table, planned, number)
        if not planned.tcp:
            return Opened(socket, None)
        try:
            return Opened(socket, _open_tcp(platform, table, socket.port, address))
        except BindError:
            socket.close()
            if number or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _open_tcp(platform: Platform, table: InterfaceTable, number: int, address: IPAddress | None) -> LastingListener:
    """Raises BindError."""

    def open_(number: int) -> StreamListener:
        return platform.open_tcp(number, _plain(address), interface=_scope(table, address, number))

    return LastingListener(open_, number)


def _plain(address: IPAddress | None) -> IPAddress | None:
    return None if address is None else unscoped(address)


def _scope(table: InterfaceTable, address: IPAddress | None, port: int) -> int:
    """The interface index of an address's scope, which may be a name; 0 where it has none."""
    if not isinstance(address, IPv6Address) or address.scope_id is None:
        return 0
    scope = address.scope_id
    interface = table.get(int(scope)) if scope.isdecimal() and len(scope) <= 10 else table.named(scope)
    if interface is None:
        raise BindError(errno.ENODEV, f"UDP port {port}: {address}: there is no interface {scope}", port=port)
    return interface.index
