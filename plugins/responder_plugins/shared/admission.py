"""Who is served while many ask: places, bounded in number, and fair between links, networks and hosts.

A search that a group hears is held for a random time before it is answered, so a storm could pile up searches; and
connections that say nothing would keep others out.  These rules keep room, each of them a comparison; connections
follow only the first:

- A link may hold as many places as all leave free, a network (/24, /56) on it as many as that leaves, and a host in it
  as many as that leaves.  So a link that floods gets half of the places, two such links a third each; there is always
  a place left for a link, for a network on a calm link, and for a host in a calm network.
- As room gets scarce, the time that answers are spread over shrinks, and a host waits longer for its next turn.  So
  hosts that ask again and again leave the last places to those that did not.
- On a link that takes all it can, the last places are for hosts that were served in calm times.  A storm that forges a
  new source for each search consists of strangers; an honest stranger then shares their lottery, since nothing tells
  it apart.
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
"""Searches that wait; fewer than the framework's default of `max_pending`, which is blind to who asks."""

MIN_WINDOW: Final = 0.1
"""Seconds that answers are spread over when no room is left: this bounds the answers of a second."""

SCARCE: Final = MAX_PENDING // 4
"""Places are scarce for a host that can have fewer than these."""

RESERVED: Final = 4
"""A host that can have fewer places than these, on a link that holds as many, must not be a stranger."""

TURN: Final = 1.0
"""Seconds from a host's last admission to its next while `SCARCE` places are left; twice as long with half of them."""

MAX_TURN: Final = 5.0
"""Seconds that a host which is no stranger waits at most."""

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
        """How many places that host may hold now; 0 where it holds as many already."""
        room = self.total - self.held - self._links[link] - self._networks[link, *network_of(address)]
        return room if self._hosts[link, address] < room else 0

    def of_link(self, link: int) -> int:
        """How many places the hosts of that link hold."""
        return self._links[link]

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
        """Give the place back; a second call does nothing."""
        if self._held:
            self._held = False
            self._places.give_back(self._link, self._address)


@attrs.define(eq=False)
class Admission:
    """The places of searches."""

    places: Places = attrs.field(factory=lambda: Places(MAX_PENDING), init=False)
    _turns: OrderedDict[Host, float] = attrs.field(factory=OrderedDict, init=False)
    _known: OrderedDict[Host, None] = attrs.field(factory=OrderedDict, init=False)

    def ask(self, link: int, address: IPAddress, window: float, now: float) -> Place | None:
        """A place for a search from that host of that link (an index), or None.

        `window` is the time to spread its answers over where there is room; both it and `now` are seconds.
        """
        host = link, address
        room = self.places.room(link, address)
        if not room:
            return None
        if room >= SCARCE:
            _remember(self._known, host, None)
        else:
            is_known = host in self._known
            if room < RESERVED <= self.places.of_link(link) and not is_known:
                return None
            # The last places are for hosts that had none for long.
            turn = TURN * SCARCE / room
            if now - self._turns.get(host, -inf) < (min(turn, MAX_TURN) if is_known else turn):
                return None
        self.places.take(link, address)
        _remember(self._turns, host, now)
        spread = max(min(window, MIN_WINDOW), window * min(1.0, room / SCARCE))
        return Place(spread, self.places, link, address)


def _remember(table: OrderedDict[Host, Value], host: Host, value: Value) -> None:
    table[host] = value
    table.move_to_end(host)
    if len(table) > MAX_REMEMBERED:
        table.popitem(last=False)


def _take_one(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:  # a Counter keeps zeros, and peers choose the keys
        del counter[key]
