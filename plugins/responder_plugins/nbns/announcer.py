"""Registers the names by broadcast on each link, and releases them at the end (RFC 1002 section 5.1.1).

A name is claimed three times; who owns it says so, and then it is not answered for on that link.  A registration is
answered by nobody where all is well, so a name is this host's once nobody has objected for `CLAIM_WAIT` after the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from secrets import randbits
from typing import Final

import attrs
import trio

from responder import Interface, IPAddress, Network, Repeated, get_logger

from ..shared.links import Links, Place
from .message import MULTIHOMED, REGISTRATION, Owned, Response, write_registration, write_release

CLAIMS: Final = 3
"""BCAST_REQ_RETRY_COUNT (section 6)."""

CLAIM_WAIT: Final = 0.25
"""BCAST_REQ_RETRY_TIMEOUT, seconds (section 6)."""

RETRY: Final = 600.0
"""Seconds after which a name that another host had is claimed again."""

MAX_LOGGED: Final = 1024

_log = get_logger(__name__)


def places_of(interface: Interface) -> dict[Place, IPAddress]:
    """The broadcast address of each IPv4 subnet of an interface, each with the own address in that subnet."""
    places: dict[Place, IPAddress] = {}
    if interface.is_working and "broadcast" in interface.flags and "loopback" not in interface.flags:
        for own in interface.addresses:
            if own.broadcast is not None:
                places.setdefault((interface.index, own.broadcast), own.address)
    return places


@attrs.define(eq=False)
class _Claim:
    """A name that is being registered at a place."""

    owned: Owned
    lost_to: IPAddress | None = None


class Announcer:
    """Registers `names` wherever there is a subnet; `counted` has conflicts."""

    def __init__(self, names: Sequence[Owned]) -> None:
        self._names = names
        self._owned: dict[Place, set[Owned]] = {}
        """Where a place's registration is over: the names that nobody else has there."""
        self._claims: dict[int, tuple[Place, _Claim]] = {}
        self._registering: dict[Place, trio.CancelScope] = {}
        self._without_ipv4: set[int] = set()
        self._handed_over: frozenset[Owned] = frozenset()
        """The names that a successor has: they are not released at the end."""
        self._warnings = Repeated(limit=MAX_LOGGED, clock=trio.current_time)
        self._links: Links | None = None
        self.counted: Counter[str] = Counter()

    def owns(self, interface: int, owned: Owned) -> bool:
        """Is it this host's name on all subnets of the interface of that index?"""
        here = [names for place, names in self._owned.items() if place[0] == interface]
        return bool(here) and all(owned in names for names in here)

    def inherit(self, other: Announcer) -> None:
        """Take over the names that stay at a reload, which the other then does not release."""
        other._handed_over = frozenset(self._names)
        self._owned = {place: names & other._handed_over for place, names in other._owned.items()}

    def is_own(self, address: IPAddress) -> bool:
        """Is it an address of this host?  One with two interfaces on a link hears its own claims."""
        return self._links is not None and any(each.has(address) for each in self._links.network.interfaces)

    async def run(self, network: Network) -> None:
        """Keep the names registered until the network's `stopping` fires, then release them."""
        links = self._links = Links(network, places_of)
        async with trio.open_nursery() as nursery:
            await nursery.start(links.watch)
            nursery.start_soon(self._follow, links, nursery)
            await network.stopping.wait()
            nursery.cancel_scope.cancel()
        await self._release(links)

    async def _follow(self, links: Links, nursery: trio.Nursery) -> None:
        there = links.begin()
        self._owned = {place: names for place, names in self._owned.items() if place in there}
        self._begin(there, nursery)
        while True:
            self._tell_links_without_ipv4(links.network)
            change = await links.change()
            for place in (*change.gone, *change.left, *change.new):
                self._forget(place)
            self._begin(change.new, nursery)

    def _forget(self, place: Place) -> None:
        self._owned.pop(place, None)
        if place in self._registering:
            self._registering.pop(place).cancel()

    def _tell_links_without_ipv4(self, network: Network) -> None:
        without = {
            interface.index: interface.name
            for interface in network.interfaces
            if interface.is_working and "loopback" not in interface.flags and not places_of(interface)
        }
        for index in without.keys() - self._without_ipv4:
            _log.info("no IPv4 broadcast there: no NetBIOS names", plugin=network.instance, interface=without[index])
        self._without_ipv4 = set(without)

    def _begin(self, places: Mapping[Place, IPAddress], nursery: trio.Nursery) -> None:
        for place, address in places.items():
            scope = self._registering[place] = trio.CancelScope()
            if isinstance(address, IPv4Address):
                nursery.start_soon(self._keep_registered, place, address, scope)

    async def _keep_registered(self, place: Place, address: IPv4Address, scope: trio.CancelScope) -> None:
        """Register all names, then again and again those that were lost."""
        with scope:
            while True:
                missing = [owned for owned in self._names if owned not in self._owned.get(place, ())]
                if not missing:
                    return
                won = await self._register(place, address, missing)
                self._owned.setdefault(place, set()).update(won)
                await trio.sleep(RETRY)

    async def _register(self, place: Place, address: IPv4Address, names: Sequence[Owned]) -> list[Owned]:
        """Claim names at a place; those that nobody objected to."""
        links = self._links
        assert links is not None  # noqa: S101 - set before anything is started
        claims: dict[int, _Claim] = {}
        for owned in names:
            ident = randbits(16)
            while ident in self._claims:
                ident = randbits(16)
            claims[ident] = _Claim(owned)
            self._claims[ident] = place, claims[ident]
        try:
            for _ in range(CLAIMS):
                for ident, claim in claims.items():
                    if claim.lost_to is None:
                        await links.send(place, write_registration(ident, claim.owned, address, demand=False))
                await trio.sleep(CLAIM_WAIT)
            won = []
            for ident, claim in claims.items():
                if claim.lost_to is None:
                    await links.send(place, write_registration(ident, claim.owned, address, demand=True))
                    won.append(claim.owned)
                else:
                    self._tell_conflict(links.network, place, claim)
            return won
        finally:
            for ident in claims:
                del self._claims[ident]

    def _tell_conflict(self, network: Network, place: Place, claim: _Claim) -> None:
        self.counted["conflict"] += 1
        held_back = self._warnings.due((place[0], claim.owned))
        interface = network.interface(place[0])
        if held_back is not None:
            _log.warning(
                "the name is another host's: not answered for on that link",
                plugin=network.instance,
                name=claim.owned.name,
                other=claim.lost_to,
                interface=place[0] if interface is None else interface.name,
                held_back=held_back,
            )

    def hear(self, response: Response, peer: IPAddress, interface: int) -> None:
        """Take an objection to a claim.  What nobody asked for is not believed: it could silence this host."""
        place, claim = self._claims.get(response.ident, (None, None))
        if place is None or claim is None or place[0] != interface or response.name != claim.owned.name:
            return
        if response.opcode in (REGISTRATION, MULTIHOMED) and response.rcode and claim.lost_to is None:
            claim.lost_to = peer

    async def _release(self, links: Links) -> None:
        """Say at every place that the names are free."""
        held = {
            place: (address, self._owned[place] - self._handed_over)
            for place, address in links.places.items()
            if place in self._owned and isinstance(address, IPv4Address) and links.is_there(place)
        }
        self._owned.clear()
        idents = {(place, owned): randbits(16) for place, (_, names) in held.items() for owned in names}
        for number in range(CLAIMS if idents else 0):
            if number:
                await trio.sleep(CLAIM_WAIT)
            for (place, owned), ident in idents.items():
                address = held[place][0]
                await links.send(place, write_release(ident, owned, address))
