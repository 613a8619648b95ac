"""The services of an instance's zones in a tree by labels, and the zones that are made of it.

A service changes the records of its own name and of those above it, up to the zone's; `take` says of which zones, and
`change_of` works out the change.  A zone of many names is made anew by `zone_of`, which may run in a thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice, pairwise
from typing import Final

import attrs

from ..message import wire
from ..zone.changes import Change, difference, with_serial
from ..zone.tables import Sets, Zone, blocks, node_of
from . import skydns
from .skydns import KeyedService, Placed

MAX_SERVICES: Final = 1000
"""Services that a name tells of: the first ones by their keys."""

SOA_TTL: Final = 30
REFRESH, RETRY, EXPIRE = 7200, 1800, 86400  # as CoreDNS has them

_SERVERS, _ADDRESSES = b"\2ns\3dns", b"\4apex\3dns"
"""The names right above a zone's that have its NS records, and its own addresses."""

_REVERSE: Final = (b"\7in-addr\4arpa\0", b"\3ip6\4arpa\0")


@attrs.define(eq=False)
class Branch:
    """A name with its own service, and the names right below it by their first label."""

    name: bytes
    service: KeyedService | None = None
    below: dict[bytes, Branch] = attrs.field(factory=dict)

    def find(self, name: bytes) -> Branch | None:
        """The branch of a name that this one's is the root of."""
        branch: Branch | None = self
        for label in _labels(name):
            if branch is None:
                return None
            branch = branch.below.get(label)
        return branch

    def placed(self) -> Iterator[Placed]:
        """The services below it, in the order of their keys; where there are none its own one."""
        waiting = [iter(sorted(self.below.items()))]
        found = False
        while waiting:
            for _, branch in waiting[-1]:
                if branch.service is not None:
                    found = True
                    yield branch.name, branch.service
                if branch.below:
                    waiting.append(iter(sorted(branch.below.items())))
                    break
            else:
                waiting.pop()
        if not found and self.service is not None:
            yield self.name, self.service

    def all(self) -> Iterator[Branch]:
        """It, and those below it."""
        waiting = [self]
        while waiting:
            branch = waiting.pop()
            yield branch
            waiting += branch.below.values()


def _labels(name: bytes) -> Iterator[bytes]:
    """From the last one, without lengths."""
    labels = []
    while name != wire.ROOT:
        labels.append(name[1 : 1 + name[0]])
        name = wire.parent(name)
    return reversed(labels)


class Services:
    """Those below some zones."""

    def __init__(self, zones: Collection[bytes]) -> None:
        self.zones = frozenset(zones)
        self._root = Branch(wire.ROOT)

    def origins(self, name: bytes) -> list[bytes]:
        """The zones that a name is in."""
        return [suffix for suffix in wire.suffixes(name) if suffix in self.zones]

    def put(self, name: bytes, service: KeyedService) -> None:
        """A service by the name that its key means; in place of one that it has."""
        branch, at = self._root, len(name) - 1
        for label in _labels(name):
            at -= len(label) + 1
            branch = branch.below.setdefault(label, Branch(name[at:]))
        branch.service = service

    def delete(self, name: bytes) -> None:
        path = [self._root]
        for label in _labels(name):
            branch = path[-1].below.get(label)
            if branch is None:
                return
            path.append(branch)
        path[-1].service = None
        for above, branch in reversed(list(pairwise(path))):
            if branch.service is not None or branch.below:
                break
            del above.below[branch.name[1 : 1 + branch.name[0]]]

    def get(self, name: bytes) -> KeyedService | None:
        branch = self._root.find(name)
        return None if branch is None else branch.service

    def all(self) -> dict[bytes, KeyedService]:
        """By their names."""
        return {branch.name: branch.service for branch in self._root.all() if branch.service is not None}

    # Zones

    def _placed(self, branch: Branch | None) -> list[Placed]:
        return [] if branch is None else list(islice(branch.placed(), MAX_SERVICES))

    def _node(self, origin: bytes, branch: Branch, soa: Sets) -> bytes:
        reverse = any(wire.is_below(origin, above) for above in _REVERSE)
        sets = skydns.records(branch.name, self._placed(branch), branch.service, reverse=reverse)
        if branch.name == origin:
            own = skydns.records(origin, self._placed(self._root.find(_ADDRESSES + origin)), None, reverse=False)
            taken = {(wire.A, 0), (wire.AAAA, 0)}
            sets = {key: each for key, each in sets.items() if key not in {*taken, (wire.CNAME, 0)}}
            sets |= {key: each for key, each in own.items() if key in taken}
            told = skydns.servers(self._placed(self._root.find(_SERVERS + origin)))
            names = list(dict.fromkeys(name for _, name in told)) or [_SERVERS + origin]
            ttl = min((ttl for ttl, _ in told), default=SOA_TTL)
            sets = {**soa, (wire.NS, 0): (ttl, names), **sets}
        return node_of(sets) if sets else b""

    def zone_of(self, origin: bytes, serial: int) -> Zone:
        """The whole zone."""
        soa = soa_of(origin, serial)
        top = self._root.find(origin) or Branch(origin)
        nodes: dict[bytes, bytes] = {}
        for branch in top.all():
            node = self._node(origin, branch, soa)
            if node:
                nodes[branch.name] = node
        for name in tuple(nodes):
            while name != origin and (name := wire.parent(name)) not in nodes:
                nodes[name] = b""  # RFC 4592 section 2.2.2: an empty non-terminal
        return Zone(origin, nodes)

    def change_of(self, zone: Zone, names: Iterable[bytes], serial: int) -> Change | None:
        """What makes of the zone the one that it should be, where the services of those names changed.

        None: nothing that the zone tells has changed.
        """
        origin = zone.origin
        touched = {origin}
        for name in names:
            for suffix in wire.suffixes(name):
                touched.add(suffix)
                if suffix == origin:
                    break
        soa = soa_of(origin, zone.serial)  # for now, so that the zone's own node may stay
        old, new = Zone(origin, {}), Zone(origin, {})
        for name in touched:
            branch = self._root.find(name) or (Branch(origin) if name == origin else None)
            before = zone.nodes.get(name, b"")
            after = b"" if branch is None else self._node(origin, branch, soa)
            if name == origin and {*blocks(before)} == {*blocks(after)}:
                before = after = node_of(soa)  # a name of many services, of which nothing changed
            old.nodes[name], new.nodes[name] = before, after
        change = difference(old, new)
        if change is None or len(change) == 2:
            return None
        first, *added = change.added
        return attrs.evolve(change, added=(with_serial(first, serial % 2**32 or 1), *added))


def soa_of(origin: bytes, serial: int) -> Sets:
    """The SOA record, by the names that CoreDNS has in it."""
    numbers = (serial % 2**32 or 1, REFRESH, RETRY, EXPIRE, SOA_TTL)
    rdata = _SERVERS + origin + b"\x0ahostmaster" + origin + b"".join(number.to_bytes(4) for number in numbers)
    return {(wire.SOA, 0): (SOA_TTL, [rdata])}
