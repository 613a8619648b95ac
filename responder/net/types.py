"""What every platform module offers, and the neutral records that cross the border.

The framework above never sees a file descriptor, a sockaddr or a control message: a platform takes and gives the
records below, and a fake network does the same.  Records are made by the thousand a second, so what many datagrams
share is an object of its own: a `Flow` (who sent to which address on which interface) comes from a bounded
table, one object for all datagrams of that flow as long as it stands there, and is compared by identity.

Nothing is decided here: `responder.dispatch.addressing` chooses source addresses, each platform its socket options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import attrs

from ..datagram import Interface, InterfaceAddress, IPAddress, Via
from ..errors import SendError

if TYPE_CHECKING:
    import trio


@attrs.define(eq=False)
class Flow:
    """Where datagrams came from and how they were addressed: one peer address, one destination, one interface.

    peer         the sender's address, never mapped, without scope
    scope_id     its scope (an interface index) where it is a link-local IPv6 address, else 0
    destination  the header's destination address; None where the platform did not tell
    interface    the arrival interface's index; 0 where the platform did not tell
    local        the host's own address that the kernel would answer a multicast or broadcast from (Linux's
                 `ipi_spec_dst`), if it says so; it may belong to another interface
    via          None where the platform can't tell unicast from directed broadcast: the interface table then does
    reply        the route of replies as dispatch used it last, behind what it was made from
    """

    peer: IPAddress
    scope_id: int
    destination: IPAddress | None
    interface: int
    local: IPAddress | None = None
    via: Via | None = None
    reply: tuple[Route, Route] | None = attrs.field(default=None, init=False)


@attrs.define(eq=False)
class Received:
    """One datagram as a platform received it.

    payload    its bytes; not all of them where it is `truncated` (MSG_TRUNC, WSAEMSGSIZE)
    flow       the same object for all datagrams of a flow, for as long as the socket remembers it
    peer_port  the sender's port
    hop_limit  IPv4's TTL or IPv6's hop limit on arrival; None where the platform does not tell
    timestamp  when the kernel got it: seconds of the real-time clock, as `time.time()`; None where it does not tell
    """

    payload: bytes
    flow: Flow
    peer_port: int
    truncated: bool = False
    hop_limit: int | None = None
    timestamp: float | None = None


@attrs.define(eq=False)
class Route:
    """Where and how to send; many datagrams share one, and a platform may keep its encoded form by identity.

    to         the address to send to
    scope_id   an interface index where `to` is link-local IPv6, else 0
    source     the source address to send from; None: the routing table chooses
    interface  the interface index to send out of; 0: the routing table chooses.  Set only where it must be, since it
               bypasses routing
    hop_limit  None: the system's
    """

    to: IPAddress
    scope_id: int = 0
    source: IPAddress | None = None
    interface: int = 0
    hop_limit: int | None = None


Message: TypeAlias = tuple[bytes, Route, int]
"""One datagram to send: its payload, the way, and the port to send it to.  A plain tuple is what is made fastest."""


@attrs.frozen
class Membership:
    """A multicast group on an interface; with `source`, for datagrams of that source only (RFC 4607)."""

    group: IPAddress
    interface: int
    source: IPAddress | None = None


class AnswerUsual(Protocol):
    """Compiled code that answers the usual datagrams of one socket."""

    def __call__(self, limit: int, port: Any, now: float, wall: float, /) -> int:
        """Receive up to `limit` datagrams that are there now, answer the usual ones, give the port all others, and
        return how many there were.

        port       a `responder.dispatch.port.Port`: its `decide`, `unusual`, `other`, `failed` and `unsent` are called,
                   and its `traffic` counts the bytes that came in, and those that were sent here; an answer of which
                   `other` says True is sent as a plain one is.  The decision about a flow is remembered; its `usual` is
                   None, or the candidate whose `respond` is called
        now, wall  the present: seconds on trio's clock and on the real-time clock

        Raises NetworkError as `DatagramSocket.receive`, and what the port raises.
        """

    def forget(self) -> None:
        """Forget the decisions, and have the port decide anew."""


class DatagramSocket(Protocol):
    """One bound UDP socket (or, where a platform needs it, a pair that acts as one)."""

    @property
    def port(self) -> int: ...
    @property
    def address(self) -> IPAddress | None:
        """The address it is bound to; None: all of the host's, of every family it has."""

    @property
    def kernel_drops(self) -> int:
        """How many datagrams the kernel dropped for want of room, as last told; 0 where the platform doesn't tell."""

    @property
    def receive_buffer(self) -> int | None:
        """Bytes that the kernel gave for datagrams that wait; None where the platform does not tell."""

    @property
    def raise_send_buffer_by(self) -> str | None:
        """What gives it the send buffer that was asked for; None where it has that, or the platform can't tell."""

    @property
    def answer(self) -> AnswerUsual | None:
        """Receive, ask and send in one go, compiled; None where the platform has nothing of the kind."""

    async def wait_readable(self) -> None:
        """Return once `receive` would give something.  Always a checkpoint, but where it raises.

        Raises OSError where the event loop can't wait for it now, NetworkError where it never can again.
        """

    def receive(self, limit: int) -> Sequence[Received]:
        """Up to `limit` datagrams that are there now, without waiting; none left: an empty sequence.

        An error that an earlier send caused (ICMP) is no error of the socket: it is passed over.  Raises NetworkError
        only where the socket itself can no longer receive.
        """

    def send(self, batch: Sequence[Message]) -> int:
        """Send from the start of the batch, without waiting, and say how many went.

        Fewer than all means that the kernel has no room now (`send_when_ready`).  Where the *first* one is refused,
        that raises the `SendError` of the reason, and nothing was sent; a later one's refusal ends the call, to be met
        by the next.
        """

    async def send_when_ready(self, message: Message) -> None:
        """Wait for room and send.  A checkpoint.  Raises SendError.  A cancelled call may or may not have sent."""

    def join(self, membership: Membership, interface: Interface) -> None:
        """Raises OSError.  Joined twice is no error.

        Where the platform needs it, a socket of its own holds the membership, and this one then gets what any program
        of the host has joined: the group and the interface of what it receives must be checked in any case.
        """

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        """Raises OSError, also where it was not joined; `interface` is None where it is gone."""

    def close(self) -> None:
        """Tasks in `wait_readable` and `send_when_ready` get trio.ClosedResourceError.  Twice is no error."""


class SendFailure(NamedTuple):
    """What the network said later of a datagram that was sent to this address and port."""

    to: IPAddress
    port: int
    error: SendError


@runtime_checkable
class ErrorTellingSocket(Protocol):
    """A `DatagramSocket` that can tell ICMP errors.  Optional: Linux has it."""

    def hear_errors(self) -> None:
        """Have the system keep them from now on; `wait_readable` then returns for an error too."""

    def take_errors(self) -> Sequence[SendFailure]:
        """The errors that came since the last call."""


@runtime_checkable
class CountingSocket(Protocol):
    """A `DatagramSocket` or `StreamListener` that counts what the system makes it do.  Optional."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Totals since it was opened, by kind: of a-z and "-"."""


@attrs.frozen
class Accepted:
    """A TCP connection with what the platform tells of its way in; `interface` is 0 where it does not tell."""

    stream: trio.SocketStream
    flow: Flow
    port: int


class StreamListener(Protocol):
    """One bound TCP port."""

    @property
    def port(self) -> int: ...
    @property
    def address(self) -> IPAddress | None: ...

    def limit_hops(self, hop_limit: int) -> None:
        """Send with that TTL or hop limit on connections from now on, their first answer (SYN-ACK) included."""

    async def accept(self) -> Accepted:
        """The next connection.  A momentary shortage (EMFILE, ...) is waited out, a connection that is gone skipped.

        Raises NetworkError where the socket can no longer accept.
        """

    def close(self) -> None: ...


Changes: TypeAlias = Sequence[tuple[int, Interface | None]]
"""Interfaces by index as they are now, in the order of the changes; None: it is gone.  An index that stands twice,
first with None, is now another interface's."""


class InterfaceWatch(Protocol):
    """Follows the host's interfaces from the moment that it was opened, so that nothing between two calls is missed."""

    async def interfaces(self) -> Sequence[Interface]:
        """All of them as they are now; `changes` goes on from there.  Raises OSError."""

    async def changes(self) -> Changes | None:
        """The changes since the last call of either method; None where something changed and all must be enumerated.

        None is what platforms say that only signal, and what follows where messages were lost.  Always a checkpoint;
        a cancelled call has taken nothing.  Not to be called beside `interfaces`.  Raises OSError where the watch can't
        go on.
        """


class Platform(Protocol):
    """A host: what a server opens its sockets with.  `responder.net.platform()` is this machine's own."""

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> DatagramSocket:
        """Open, set up and bind: `interface` is the scope of a link-local `address`.

        With `shared`, others may bind the port later, and where one already has it, it is shared, with a warning.
        Raises BindError.
        """

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> StreamListener:
        """Raises BindError."""

    async def interfaces(self) -> Sequence[Interface]:
        """Enumerate the interfaces as they are now, in a thread where that takes long.  Raises OSError."""

    def watch_interfaces(self) -> AbstractAsyncContextManager[InterfaceWatch]:
        """Follow the interfaces while the context is open.  Entering it raises OSError."""


__all__ = [
    "Accepted",
    "AnswerUsual",
    "Changes",
    "CountingSocket",
    "DatagramSocket",
    "ErrorTellingSocket",
    "Flow",
    "Interface",
    "InterfaceAddress",
    "InterfaceWatch",
    "Membership",
    "Message",
    "Platform",
    "Received",
    "Route",
    "SendFailure",
    "StreamListener",
]
