"""Sockets of a fake host: what is received waits in a bounded queue, what is sent goes to the host.

They keep to `responder.net.types`; `hosts` routes.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, ClassVar, cast

import attrs
import trio
import trio.testing

from ..datagram import Interface, IPAddress, Via, unscoped
from ..dispatch.addressing import is_broadcast
from ..errors import BindError, MessageTooLong, NetworkError, Unreachable
from ..net.types import Accepted, Flow, Membership, Message, Received, SendFailure

if TYPE_CHECKING:
    from .hosts import FakeHost

QUEUE_LIMIT = 2048
"""Datagrams that wait at a socket; what comes beyond it is dropped and counted."""

BACKLOG = 128
"""Connections that wait to be accepted; one beyond it is refused."""

MAX_PAYLOAD = {4: 65507, 6: 65527}
"""Bytes of a UDP payload (RFC 768 over RFC 791 and RFC 8200)."""

DEFAULT_HOP_LIMIT = 64


def to_address(value: IPAddress | str) -> IPAddress:
    """The plain form of an address.  Raises ValueError."""
    return unscoped(ip_address(value))


@attrs.frozen
class Packet:
    """A UDP datagram on a link."""

    payload: bytes
    source: IPAddress
    source_port: int
    destination: IPAddress
    port: int
    hop_limit: int

    def is_for_all(self, interface: Interface) -> bool:
        """Is it a group's, or a broadcast on this interface?"""
        return self.destination.is_multicast or is_broadcast(self.destination, interface)


@attrs.define(eq=False)
class FakeReceived(Received):
    """A datagram on a fake socket.  It has no timestamp: dispatch then takes trio's clock, which may be fake.

    arrived  seconds of trio's clock
    """

    arrived: float = 0.0


@attrs.define(eq=False)
class FakeSocket:
    """A `DatagramSocket` of a fake host.

    `room`: datagrams that the kernel takes before it is full; None: any number.  Raise it with `make_room`.
    """

    answer: ClassVar = None
    raise_send_buffer_by: ClassVar = None
    host: FakeHost
    port: int
    address: IPAddress | None
    interface: int
    shared: bool
    kernel_drops: int = attrs.field(default=0, init=False)
    receive_buffer: int | None = attrs.field(default=None, init=False)
    joined: set[Membership] = attrs.field(factory=set, init=False)
    room: int | None = attrs.field(default=None, init=False)
    closed: bool = attrs.field(default=False, init=False)
    _queue: deque[FakeReceived] = attrs.field(factory=deque, init=False)
    _errors: list[SendFailure] | None = attrs.field(default=None, init=False)
    """None: nobody wants to know."""
    _waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    # From the network

    def hears(self, packet: Packet, interface: Interface, via: Via) -> bool:
        """Is a packet that arrived there for this socket?"""
        if packet.port != self.port:
            return False
        if via is Via.MULTICAST:
            return self.address is None and any(
                Membership(packet.destination, interface.index, source) in self.joined
                for source in (None, packet.source)
            )
        if self.interface not in (0, interface.index):
            return False
        return self.address is None if via is Via.BROADCAST else self.address in (None, packet.destination)

    def deliver(self, received: FakeReceived) -> None:
        if len(self._queue) >= QUEUE_LIMIT:
            self.kernel_drops += 1
        else:
            self._queue.append(received)
            self._waiting.unpark_all()

    def refused(self, to: IPAddress, port: int) -> None:
        """ICMP says that nobody listens there."""
        if self._errors is not None:
            error = Unreachable(errno.ECONNREFUSED, f"{to} port {port}: nobody listens there")
            self._errors.append(SendFailure(to, port, error))
            self._waiting.unpark_all()

    def make_room(self, room: int | None) -> None:
        self.room = room
        self._waiting.unpark_all()

    # `responder.net.types.DatagramSocket`

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._queue or self._errors):
            await self._park()

    async def _park(self) -> None:
        if not self.closed:
            await self._waiting.park()
        if self.closed:
            raise trio.ClosedResourceError

    def receive(self, limit: int) -> Sequence[FakeReceived]:
        if self.closed:
            raise NetworkError(errno.EBADF, f"UDP port {self.port} is closed")
        return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    def send(self, batch: Sequence[Message]) -> int:
        sent = 0
        for message in batch:
            if self.room == 0:
                break
            try:
                self._send(message)
            except NetworkError:
                if sent:
                    break  # the next call meets it again
                raise
            if self.room is not None:
                self.room -= 1
            sent += 1
        return sent

    def _send(self, message: Message) -> None:
        payload, route, _ = message
        if len(payload) > MAX_PAYLOAD[route.to.version]:
            raise MessageTooLong(errno.EMSGSIZE, f"to {route.to}: {len(payload)} bytes")
        self.host.send(self.port, message, bound=self.address)

    async def send_when_ready(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        while not self.send([message]):
            await self._park()

    # `responder.net.types.ErrorTellingSocket`

    def hear_errors(self) -> None:
        self._errors = []

    def take_errors(self) -> Sequence[SendFailure]:
        found, self._errors = self._errors or [], [] if self._errors is not None else None
        return found

    def join(self, membership: Membership, interface: Interface) -> None:
        own = self.host.interface(membership.interface)
        if own is None:
            raise OSError(errno.ENODEV, "no such interface")
        self.joined.add(membership)

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        if membership not in self.joined:
            raise OSError(errno.EADDRNOTAVAIL, "the group is not joined")
        self.joined.remove(membership)

    def close(self) -> None:
        self.closed = True
        self.host.forget(self)
        self._waiting.unpark_all()


@attrs.define(eq=False)
class FakeListener:
    """A `StreamListener` of a fake host."""

    host: FakeHost
    port: int
    address: IPAddress | None
    _incoming: trio.MemorySendChannel[Accepted] = attrs.field(init=False)
    _accepted: trio.MemoryReceiveChannel[Accepted] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._incoming, self._accepted = trio.open_memory_channel[Accepted](BACKLOG)

    def offer(self, flow: Flow, port: int) -> trio.abc.HalfCloseableStream:
        """A connection from there: the client's end.  Raises trio.WouldBlock where too many wait."""
        ours, theirs = trio.testing.memory_stream_pair()
        # The contract names a SocketStream; no more is used of it than any half-closeable stream has.
        self._incoming.send_nowait(Accepted(cast("trio.SocketStream", theirs), flow, port))
        return ours

    def limit_hops(self, hop_limit: int) -> None:
        """All hosts of a fake network are on one link, or reached whatever the limit of TCP."""

    async def accept(self) -> Accepted:
        return await self._accepted.receive()

    def close(self) -> None:
        self._incoming.close()
        self._accepted.close()
        self.host.forget(self)


def now() -> float:
    """Seconds of trio's clock; 0.0 before its loop runs."""
    return trio.current_time() if trio.lowlevel.in_trio_run() else 0.0


def taken(port: int, transport: str) -> BindError:
    return BindError(errno.EADDRINUSE, f"{transport} port {port} is taken", port=port)
