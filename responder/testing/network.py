"""A network made of memory: hosts with interfaces on links, and datagrams that go from one to the other.

    network = FakeNetwork()
    lan = network.link("lan", delay=0.002)
    server, client = network.host("server"), network.host("client")
    server.attach(lan, "10.71.0.1/24", "10.71.0.2/24", "fd71::1/64")
    client.attach(lan, "10.71.0.9/24", "fd71::9/64")

Each host is a `responder.net.types.Platform`, so the framework's own server, dispatch, policy and supervisor run on it
unchanged.  Time is trio's clock: with `autojump_clock` (pytest-trio) delays pass at once.  Chance is seeded, so a run
can be repeated.

What is there: unicast by routing tables with gateways that forward, broadcast, multicast on one link, the same
link-local address on several links, delay, loss, duplication, interfaces that come, go and change.  What is not:
neighbour discovery, ICMP, fragments, bandwidth, multicast routing.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

import attrs
import trio

from ..datagram import IPAddress
from .hosts import FakeHost
from .interfaces import FakeInterface
from .sockets import Packet, now, to_address

CARRIED_LIMIT = 10_000
"""Packets that a link remembers; the oldest is forgotten first."""


@attrs.frozen
class Carried:
    """A packet that was put on a link, and when (seconds of trio's clock)."""

    time: float
    packet: Packet


@attrs.define(eq=False)
class Link:
    """What interfaces are plugged into: all of them hear each other.  Every field may be changed at any time.

    delay      seconds that a packet takes, or (least, most) for a random one, which lets packets overtake each other
    loss       the share of packets that are lost, 0..1
    duplicate  the share that arrive twice
    carried    what was put on it, lost or not, the newest `CARRIED_LIMIT`
    """

    name: str
    delay: float | tuple[float, float] = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    interfaces: list[FakeInterface] = attrs.field(factory=list, init=False)
    carried: deque[Carried] = attrs.field(factory=lambda: deque(maxlen=CARRIED_LIMIT), init=False)
    network: FakeNetwork = attrs.field(kw_only=True, repr=False)

    def inject(self, payload: bytes, *, source: str, source_port: int, to: str, port: int, hop_limit: int = 64) -> None:
        """Put a datagram on the link that no host sent: a forged source, a group's, port 0, anything.

        It reaches the interfaces of the link that have the address `to` (or, for a group or a broadcast, all).
        """
        packet = Packet(payload, to_address(source), source_port, to_address(to), port, hop_limit)
        self.network.put(self, packet, None, packet.destination)

    def neighbour(self, address: IPAddress, sender: FakeInterface | None) -> FakeInterface | None:
        """Which interface takes what is sent to that address: its own, or, for IPv4, any of the host that has it.

        Linux answers ARP for each of its addresses on every link; neighbour discovery (IPv6) is stricter.
        """
        others = [each for each in self.interfaces if each is not sender and each.is_working]
        for own in others:
            if own.has(address):
                return own
        if address.version == 4 and not address.is_link_local and not address.is_loopback:
            return next((each for each in others if each.host.owner(address) is not None), None)
        return None

    def _fates(self, chance: random.Random) -> Iterator[float]:
        """The delay of each copy that gets through, in seconds."""
        twice = self.duplicate and chance.random() < self.duplicate
        for _ in range(2 if twice else 1):
            if not (self.loss and chance.random() < self.loss):
                yield self.delay if isinstance(self.delay, (int, float)) else chance.uniform(*self.delay)


class FakeNetwork:
    """Links and hosts.  `seed` decides what chance does on links that lose, delay or duplicate."""

    def __init__(self, seed: int = 0) -> None:
        self.hosts: list[FakeHost] = []
        self.links: list[Link] = []
        self._chance = random.Random(seed)  # noqa: S311 - repeatable chance is the point

    def link(
        self,
        name: str,
        *,
        delay: float | tuple[float, float] = 0.0,
        loss: float = 0.0,
        duplicate: float = 0.0,
    ) -> Link:
        """A new link; see `Link`."""
        link = Link(name, delay, loss, duplicate, network=self)
        self.links.append(link)
        return link

    def host(self, name: str, *, forwards: bool = False) -> FakeHost:
        """A new host, with a loopback interface; with `forwards` it is a router."""
        host = FakeHost(name, self, len(self.hosts) + 1, forwards=forwards)
        self.hosts.append(host)
        return host

    # What hosts call

    def put(self, link: Link, packet: Packet, sender: FakeInterface | None, neighbour: IPAddress) -> None:
        """Carry a packet on a link: to who is meant there, and, through routers, further."""
        link.carried.append(Carried(now(), packet))
        if sender is None or packet.is_for_all(sender.snapshot()):
            for interface in list(link.interfaces):
                if interface is not sender and (sender is not None or _may_take(interface, packet, link)):
                    self._arrive(link, interface, packet)
            return
        taker = link.neighbour(neighbour, sender)
        if taker is not None:
            self._arrive(link, taker, packet)

    def refuse(self, packet: Packet) -> None:
        """Tell whoever sent it that nobody listens there (RFC 792, RFC 4443: port unreachable)."""
        for host in self.hosts:
            if host.owner(packet.source) is not None:
                host.refused(packet)

    def _arrive(self, link: Link, interface: FakeInterface, packet: Packet) -> None:
        for delay in link._fates(self._chance):
            if delay > 0:
                # A system task, so that a network needs no nursery and can be made anywhere.
                trio.lowlevel.spawn_system_task(_later, delay, interface, packet)
            else:
                interface.take(packet)


def _may_take(interface: FakeInterface, packet: Packet, link: Link) -> bool:
    """Is an injected packet for this interface?"""
    return packet.is_for_all(interface.snapshot()) or link.neighbour(packet.destination, None) is interface


async def _later(delay: float, interface: FakeInterface, packet: Packet) -> None:
    await trio.sleep(delay)
    interface.take(packet)
