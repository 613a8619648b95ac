"""Who is served while many ask: bounded, and fair between links, networks and hosts.

A multicast search is held for up to MX seconds before it is answered (UDA 2.0 section 1.3.3), so searches that wait are
what a storm could pile up; and connections that say nothing would keep others from the descriptions.  These rules
keep room, each a comparison; connections have the first only:

- A link may hold as many places as all leave free, a network (/24, /56) on it as many as that leaves, and a host in it
  as many as that leaves.  So a link that floods gets half of the places, two a third each; there is always one left for
  a link, a network on a calm link, or a host in a calm network.
- As room gets scarce the time that answers are spread over shrinks (a device may assume a smaller MX, section 1.3.3),
  and a host has to wait its turn, the longer the fewer places there are.  So hosts that ask again and again leave the
  last places to those who did not.
- In a network that takes all it can, its last place is for hosts that were served in calm times.  A storm that
  forges a new source for each search is made of strangers; to those who are strangers too it is a lottery, since
  nothing tells an honest one apart.

This file refuses to know searches, messages and connections.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from math import inf
from typing import Final, TypeAlias, TypeVar

import attrs

from responder import IPAddress

Key = TypeVar("Key")
Value = TypeVar("Value")

Host: TypeAlias = tuple[int, IPAddress]
"""A link (an interface's index) and an address on it."""

MAX_PENDING: Final = 240
"""Searches that wait; under the framework's default of `max_pending`, which takes no account of who asks."""

MAX_CONNECTIONS: Final = 96
"""HTTP connections; under the framework's default of `max_connections`, which takes no account of who asks."""

MAX_WINDOW: Final = 5.0
"""Seconds; a larger MX counts as this (UDA section 1.3.3)."""

MIN_WINDOW: Final = 0.1
"""Seconds that answers are spread over when there is no room left: that bounds what is answered in a second."""

SCARCE: Final = MAX_PENDING // 4
"""Places that a host can see free, from which on they count as scarce."""

RESERVED: Final = 4
"""So few places that a host can see free are not for strangers, where its network holds as many itself."""

TURN: Final = 1.0
"""Seconds that a host waits after its last search was admitted when places begin to be scarce; with half of them twice
as long, and so on."""

MAX_TURN: Final = 5.0
"""Seconds that a host waits at most which is no stranger."""

MAX_REMEMBERED: Final = 4096
"""Hosts whose last turn is remembered, and hosts that are no strangers; the oldest is forgotten first."""


def network_of(address: IPAddress) -> tuple[int, int]:
    """The /24 or /56 of an address, as the framework's own bounds have it."""
    return address.version, int(address) >> (8 if address.version == 4 else 72)


@attrs.define(eq=False)
class Places:
    """So many places in all, and who holds them: hosts, by the link (an index) and the address that they ask from."""

    total: int
    held: int = attrs.field(default=0, init=False)
    _links: Counter[int] = attrs.field(factory=Counter, init=False)
    _networks: Counter[tuple[int, int, int]] = attrs.field(factory=Counter, init=False)
    _hosts: Counter[Host] = attrs.field(factory=Counter, init=False)

    def room(self, link: int, address: IPAddress) -> int:
        """How many that host may hold now; none if it is not more than it holds."""
        room = self.total - self.held - self._links[link] - self._networks[link, *network_of(address)]
        return room if self._hosts[link, address] < room else 0

    def of_network(self, link: int, address: IPAddress) -> int:
        """How many that host's network holds."""
        return self._networks[link, *network_of(address)]

    def take(self, link: int, address: IPAddress) -> None:
        self.held += 1
        self._links[link] += 1
        self._networks[link, *network_of(address)] += 1
        self._hosts[link, address] += 1

    def give_back(self, link: int, address: IPAddress) -> None:
        self.held -= 1
        _take_one(self._links, link)
        _take_one(self._networks, (link, *network_of(address)))
        _take_one(self._hosts, (link, address))


@attrs.define(eq=False)
class Place:
    """A place held by a search.  `window` is the seconds that its answers are spread over."""

    window: float
    _places: Places
    _link: int
    _address: IPAddress
    _held: bool = True

    def release(self) -> None:
        """Give the place back; again does nothing."""
        if self._held:
            self._held = False
            self._places.give_back(self._link, self._address)


@attrs.define(eq=False)
class Admission:
    """The places of searches."""

    places: Places = attrs.field(factory=lambda: Places(MAX_PENDING), init=False)
    _turns: OrderedDict[Host, float] = attrs.field(factory=OrderedDict, init=False)
    _known: OrderedDict[Host, None] = attrs.field(factory=OrderedDict, init=False)

    def ask(self, link: int, address: IPAddress, mx: float, now: float) -> Place | None:
        """A place for a search from that host of that link (an index), or None; `mx` and `now` in seconds."""
        host = link, address
        room = self.places.room(link, address)
        if not room:
            return None
        if room >= SCARCE:
            _remember(self._known, host, None)
        else:
            is_known = host in self._known
            if room < RESERVED <= self.places.of_network(link, address) and not is_known:
                return None
            # The last places are for those who had none for long.
            turn = TURN * SCARCE / room
            if now - self._turns.get(host, -inf) < (min(turn, MAX_TURN) if is_known else turn):
                return None
        self.places.take(link, address)
        _remember(self._turns, host, now)
        window = min(mx, MAX_WINDOW)
        return Place(max(min(window, MIN_WINDOW), window * min(1.0, room / SCARCE)), self.places, link, address)


def _remember(table: OrderedDict[Host, Value], host: Host, value: Value) -> None:
    table[host] = value
    table.move_to_end(host)
    if len(table) > MAX_REMEMBERED:
        table.popitem(last=False)


def _take_one(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:  # a Counter keeps zeros, and peers choose the keys
        del counter[key]
