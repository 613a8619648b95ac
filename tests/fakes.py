"""A host made of memory: a `Platform` whose sockets are filled and read by the test.

It keeps to the contract of `responder.net.types` and nothing more.  No network stands behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import ClassVar, NamedTuple

import attrs
import trio

from responder.datagram import Interface, InterfaceAddress, IPAddress, Via
from responder.errors import BindError
from responder.net.types import Accepted, Changes, Flow, Membership, Message, Received, Route

LAN = Interface(
    2,
    "lan",
    {"up", "running", "broadcast", "multicast"},
    1500,
    [
        InterfaceAddress("10.71.0.1", 24, broadcast=ip_address("10.71.0.255")),
        InterfaceAddress("10.71.0.2", 24, broadcast=ip_address("10.71.0.255")),
        InterfaceAddress("fd71::1", 64),
        InterfaceAddress("fe80::1", 64),
    ],
)
GUEST = Interface(
    3,
    "guest0",
    {"up", "running", "broadcast", "multicast"},
    1500,
    [
        InterfaceAddress("10.72.0.1", 24, broadcast=ip_address("10.72.0.255")),
        InterfaceAddress("fd72::1", 64),
        InterfaceAddress("fe80::1", 64),
    ],
)
LOOPBACK = Interface(
    1, "lo", {"up", "running", "loopback"}, 65536, [InterfaceAddress("127.0.0.1", 8), InterfaceAddress("::1", 128)]
)


def flow(
    peer: str = "10.71.0.9",
    destination: str | None = "10.71.0.2",
    interface: int = 2,
    *,
    scope_id: int = 0,
    local: str | None = None,
    via: Via | None = None,
) -> Flow:
    """A way; by default from a client on LAN to LAN's secondary address."""
    return Flow(
        ip_address(peer),
        scope_id,
        None if destination is None else ip_address(destination),
        interface,
        None if local is None else ip_address(local),
        via,
    )


def FakeReceived(  # noqa: N802 - reads as the class of what it makes
    payload: bytes,
    flow: Flow,
    port: int = 40000,
    truncated: bool = False,
    hop_limit: int | None = 64,
    timestamp: float | None = None,
) -> Received:
    return Received(payload, flow, port, truncated, hop_limit, timestamp)


class Transmit(NamedTuple):
    """A `Message`, for tests to read what was sent."""

    payload: bytes
    route: Route
    port: int


@attrs.define(eq=False)
class FakeSocket:
    """A `DatagramSocket`.  `room` is how many datagrams the kernel takes before it is full; `refusals` come first."""

    answer: ClassVar = None
    port: int
    address: IPAddress | None = None
    shared: bool = False
    kernel_drops: int = 0
    receive_buffer: int | None = None
    raise_send_buffer_by: str | None = None
    counts: dict[str, int] = attrs.field(factory=dict, init=False)
    sent: list[Transmit] = attrs.field(factory=list, init=False)
    refusals: list[Exception] = attrs.field(factory=list, init=False)
    failures: list[Exception] = attrs.field(factory=list, init=False)
    """What the next receives raise."""
    failed_waits: list[Exception] = attrs.field(factory=list, init=False)
    """What the next waits for datagrams raise."""
    room: int | None = attrs.field(default=None, init=False)
    joined: set[Membership] = attrs.field(factory=set, init=False)
    closed: bool = attrs.field(default=False, init=False)
    _queue: list[Received] = attrs.field(factory=list, init=False)
    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def deliver(self, *datagrams: Received) -> None:
        self._queue.extend(datagrams)
        self._lot.unpark_all()

    def give_room(self, count: int) -> None:
        self.room = count
        self._lot.unpark_all()

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._queue or self.failures or self.failed_waits):
            await self._lot.park()
        if self.failed_waits:
            raise self.failed_waits.pop(0)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self._lot.unpark_all()

    def fail_waits(self, *errors: Exception) -> None:
        self.failed_waits += errors
        self._lot.unpark_all()

    def receive(self, limit: int) -> Sequence[Received]:
        if self.failures:
            raise self.failures.pop(0)
        taken, self._queue = self._queue[:limit], self._queue[limit:]
        return taken

    def send(self, batch: Sequence[Message]) -> int:
        if self.refusals:
            raise self.refusals.pop(0)
        count = len(batch) if self.room is None else min(self.room, len(batch))
        if self.room is not None:
            self.room -= count
        self.sent.extend(Transmit(*message) for message in batch[:count])
        return count

    async def send_when_ready(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        while not self.send([message]):
            await self._lot.park()

    def join(self, membership: Membership, interface: Interface) -> None:
        self.joined.add(membership)

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        self.joined.remove(membership)

    def close(self) -> None:
        self.closed = True


@attrs.define(eq=False)
class FakeListener:
    """A `StreamListener`: the test puts connections into it, and errors."""

    port: int
    address: IPAddress | None = None
    closed: bool = attrs.field(default=False, init=False)
    hop_limit: int | None = attrs.field(default=None, init=False)
    _send: trio.MemorySendChannel[Accepted | Exception] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[Accepted | Exception] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Accepted | Exception](16)

    def connect(self, accepted: Accepted) -> None:
        self._send.send_nowait(accepted)

    def fail(self, error: Exception) -> None:
        self._send.send_nowait(error)

    def limit_hops(self, hop_limit: int) -> None:
        self.hop_limit = hop_limit

    async def accept(self) -> Accepted:
        accepted = await self._receive.receive()
        if isinstance(accepted, Exception):
            raise accepted
        return accepted

    def close(self) -> None:
        self.closed = True
        self._send.close()
        self._receive.close()


@attrs.define(eq=False)
class FakeWatch:
    """An `InterfaceWatch` that tells what the test puts into it; None: enumerate anew."""

    platform: FakePlatform
    _told: list[Changes | None] = attrs.field(factory=list, init=False)
    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    broken: OSError | None = attrs.field(default=None, init=False)

    def tell(self, changes: Changes | None) -> None:
        self._told.append(changes)
        self._lot.unpark_all()

    def set(self, *interfaces: Interface) -> None:
        """The host has these now, and tells."""
        self._now([interface.index for interface in interfaces], *interfaces)
        self.tell([(interface.index, interface) for interface in interfaces])

    def remove(self, *indexes: int) -> None:
        self._now(indexes)
        self.tell([(index, None) for index in indexes])

    def _now(self, without: Collection[int], *interfaces: Interface) -> None:
        kept = [interface for interface in self.platform.tables[-1] if interface.index not in without]
        self.platform.tables[-1] = (*kept, *interfaces)

    def fail(self, error: OSError) -> None:
        self.broken = error
        self._lot.unpark_all()

    async def interfaces(self) -> Sequence[Interface]:
        return await self.platform.interfaces()

    async def changes(self) -> Changes | None:
        await trio.lowlevel.checkpoint()
        while not self._told and self.broken is None:
            await self._lot.park()
        if self.broken is not None:
            raise self.broken
        return self._told.pop(0)


@attrs.define(eq=False)
class FakePlatform:
    """A `Platform`.  Ports in `taken` can't be bound; `tables` is what the enumerations give, the last for good."""

    tables: list[tuple[Interface, ...]] = attrs.field(factory=lambda: [(LOOPBACK, LAN, GUEST)])
    taken: set[int] = attrs.field(factory=set)
    tcp_taken: set[int] = attrs.field(factory=set)
    exclusive: bool = False
    """A port number can be had once only, whatever the address."""
    sockets: list[FakeSocket] = attrs.field(factory=list, init=False)
    listeners: list[FakeListener] = attrs.field(factory=list, init=False)
    watch: FakeWatch = attrs.field(init=False)
    _next_port: int = attrs.field(default=50000, init=False)

    def __attrs_post_init__(self) -> None:
        self.watch = FakeWatch(self)

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> FakeSocket:
        del interface
        if port in self.taken or (self.exclusive and any(s.port == port and not s.closed for s in self.sockets)):
            raise BindError(98, f"UDP port {port} is taken", port=port)
        socket = FakeSocket(port or self._chosen(), address, shared)
        self.sockets.append(socket)
        return socket

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> FakeListener:
        del interface
        if port in self.tcp_taken:
            raise BindError(98, f"TCP port {port} is taken", port=port)
        listener = FakeListener(port or self._chosen(), address)
        self.listeners.append(listener)
        return listener

    def _chosen(self) -> int:
        self._next_port += 1
        return self._next_port

    async def interfaces(self) -> Sequence[Interface]:
        return self.tables.pop(0) if len(self.tables) > 1 else self.tables[0]

    @asynccontextmanager
    async def watch_interfaces(self) -> AsyncIterator[FakeWatch]:
        yield self.watch
