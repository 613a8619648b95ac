"""Clients on a fake host: a program's UDP socket, as strict about who answers as real clients are.

`ask` takes an answer only from the address and port that were asked, as a connected socket does.  What others send is
kept in `strangers`, and the failure names it: a reply from the wrong source is the commonest mistake of a responder.
`begin` is for protocols that answer from a new port (RFC 1350 section 4): it follows the answer there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from ..datagram import Interface, IPAddress, Peer, is_link_scope_group
from ..dispatch.addressing import LIMITED_BROADCAST
from ..net.types import Membership, Route
from .sockets import to_address

if TYPE_CHECKING:
    from .hosts import FakeHost
    from .interfaces import FakeInterface
    from .sockets import FakeReceived, FakeSocket


class NoAnswer(AssertionError):
    """Nobody who was asked answered in time; the message says who else did."""


@attrs.frozen
class Heard:
    """A datagram that a client received.

    source       who it came from, as a peer: address, port, scope_id
    destination  the client's address, or the group or broadcast address, that it was sent to
    interface    the client's interface that it came in by
    hop_limit    what was left of it
    time         when it arrived (seconds of trio's clock)
    """

    payload: bytes
    source: Peer
    destination: IPAddress
    interface: Interface
    hop_limit: int | None
    time: float


class FakeClient:
    """Made by `FakeHost.client`."""

    def __init__(self, host: FakeHost, socket: FakeSocket) -> None:
        self.host = host
        self.socket = socket
        self.strangers: list[Heard] = []
        """What `ask` heard from others than whom it asked."""

    @property
    def port(self) -> int:
        return self.socket.port

    async def send(
        self,
        payload: bytes,
        to: str,
        port: int,
        *,
        interface: FakeInterface | None = None,
        source: str | None = None,
        hop_limit: int | None = None,
    ) -> None:
        """Send; `interface` is needed for a group, a broadcast or a link-local address: the only one where it has one.

        Raises `responder.errors.SendError`.
        """
        destination = to_address(to)
        index = self._interface_for(destination, interface)
        scope_id = index if destination.version == 6 and destination.is_link_local else 0
        route = Route(destination, scope_id, None if source is None else to_address(source), index, hop_limit)
        await self.socket.send_when_ready((payload, route, port))

    def _interface_for(self, destination: IPAddress, interface: FakeInterface | None) -> int:
        if interface is not None:
            return interface.index
        if not (destination.is_multicast or destination.is_link_local or destination == LIMITED_BROADCAST):
            return 0
        attached = [each for each in self.host.snapshots() if "loopback" not in each.flags]
        if len(attached) == 1:
            return attached[0].index
        if destination.version == 4 or not (destination.is_link_local or is_link_scope_group(destination)):
            return 0  # the routing table may know
        raise ValueError(f"{self.host.name} has several interfaces: say by which to reach {destination} (interface=)")

    async def receive(self) -> Heard:
        """The next datagram, whoever sent it."""
        while True:
            await self.socket.wait_readable()
            for received in self.socket.receive(1):
                return self._heard(received)

    async def ask(
        self,
        payload: bytes,
        to: str,
        port: int,
        *,
        interface: FakeInterface | None = None,
        source: str | None = None,
        within: float = 5.0,
        any_port: bool = False,
    ) -> Heard:
        """Send, and give the answer; for a group or a broadcast address the first from that port.

        With `any_port` it may come from another port.  Raises NoAnswer after `within` seconds of trio's clock.
        """
        await self.send(payload, to, port, interface=interface, source=source)
        destination = to_address(to)
        return await self.hear(
            lambda heard: self._is_from(heard, destination, None if any_port else port),
            f"{destination} port {port}",
            within,
        )

    async def hear(self, is_awaited: Callable[[Heard], bool], whom: str, within: float) -> Heard:
        """The next datagram of that kind; others go to `strangers`.  Raises NoAnswer, naming `whom`."""
        with trio.move_on_after(within):
            while True:
                heard = await self.receive()
                if is_awaited(heard):
                    return heard
                self.strangers.append(heard)
        others = ", ".join(sorted({str(stranger.source) for stranger in self.strangers}))
        raise NoAnswer(
            f"no answer from {whom} within {within} s" + (f"; heard from {others}, whom nobody asked" if others else "")
        )

    async def begin(
        self, payload: bytes, to: str, port: int, *, interface: FakeInterface | None = None, within: float = 5.0
    ) -> FakeConversation:
        """Send, and go on with whoever answers from the asked address, from whichever port.  Raises as `ask`."""
        heard = await self.ask(payload, to, port, interface=interface, within=within, any_port=True)
        return FakeConversation(self, heard, interface)

    def _is_from(self, heard: Heard, asked: IPAddress, port: int | None) -> bool:
        if port is not None and heard.source.port != port:
            return False
        anyone = asked.is_multicast or any(
            asked in (own.broadcast, LIMITED_BROADCAST) for each in self.host.snapshots() for own in each.addresses
        )
        return anyone or heard.source.address == asked

    def heard(self) -> Sequence[Heard]:
        """What has come and was not read yet, without waiting."""
        return [self._heard(received) for received in self.socket.receive(1 << 16)]

    def _heard(self, received: FakeReceived) -> Heard:
        flow = received.flow
        interface = self.host.interface(flow.interface)
        assert flow.destination is not None  # noqa: S101 - a fake host always tells
        return Heard(
            received.payload,
            Peer(flow.peer, received.peer_port, flow.scope_id),
            flow.destination,
            Interface(flow.interface, "gone") if interface is None else interface.snapshot(),
            received.hop_limit,
            received.arrived,
        )

    def join(self, group: str, interface: FakeInterface, source: str | None = None) -> None:
        """Hear a group on an interface, of one source or all."""
        membership = Membership(to_address(group), interface.index, None if source is None else to_address(source))
        self.socket.join(membership, interface.snapshot())

    def close(self) -> None:
        self.socket.close()


@attrs.frozen(eq=False)
class FakeConversation:
    """A client's end of a conversation with the port that `first`, the first answer, came from."""

    client: FakeClient
    first: Heard
    interface: FakeInterface | None = None

    @property
    def peer(self) -> Peer:
        """The address and port that it goes on with."""
        return self.first.source

    async def send(self, payload: bytes) -> None:
        await self.client.send(payload, str(self.peer.address), self.peer.port, interface=self.interface)

    async def receive(self, within: float = 5.0) -> Heard:
        """The next datagram from that address and port; what others send goes to the client's `strangers`.

        Raises NoAnswer.
        """
        return await self.client.hear(lambda heard: heard.source == self.peer, str(self.peer), within)

    async def ask(self, payload: bytes, within: float = 5.0) -> Heard:
        """Send, and give the next datagram.  Raises NoAnswer."""
        await self.send(payload)
        return await self.receive(within)
