"""A zone as it would be: records are added and deleted by the rules of updates, and the zone itself stays as it is.

RFC 2136 section 3.4.2 has the rules.  What they forbid is left out without a word, as it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from ..message import wire
from ..zone.changes import Change, ZoneRecord, is_newer, next_serial, serial_of, soa_record, with_serial
from ..zone.rdata import folded
from ..zone.rules import SINGLE, may_stand_together
from ..zone.tables import Zone

WKS: Final = 11

_AT_APEX: Final = frozenset({wire.SOA, wire.NS})
"""What an update can't take away where the zone begins."""


@attrs.define(eq=False)
class _Set:
    """All records of a name and type: their TTL, and each rdata by what it is compared by."""

    ttl: int
    rdatas: dict[bytes, bytes] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Node:
    """A name as it is written, and its records by type."""

    written: bytes
    sets: dict[int, _Set] = attrs.field(factory=dict)

    def records(self) -> Iterator[tuple[int, bytes, ZoneRecord]]:
        for rdtype, one in self.sets.items():
            for compared, rdata in one.rdatas.items():
                yield rdtype, compared, ZoneRecord(self.written, rdtype, one.ttl, rdata)


class Draft:
    """`zone` must not change meanwhile.  Each step takes as long however many there were before."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._nodes: dict[bytes, _Node] = {}

    def _read(self, name: bytes) -> _Node:
        written = self._zone.spelled.get(name, name)
        node = _Node(written)
        for rrset in self._zone.all_of(name):
            one = node.sets.setdefault(rrset.rdtype, _Set(rrset.ttl))
            one.rdatas.update((folded(rrset.rdtype, rdata), rdata) for rdata in rrset.rdatas)
        return node

    def _at(self, name: bytes) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = self._read(name)
        return node

    def has(self, name: bytes, rdtype: int) -> bool:
        """Has a name in lower case, as the updates so far have left it, records of a type, or for ANY any?"""
        sets = self._at(name).sets
        return bool(sets) if rdtype == wire.ANY else rdtype in sets

    def compared(self, name: bytes, rdtype: int) -> set[bytes]:
        """The rdatas of an RRset as they are compared."""
        one = self._at(name).sets.get(rdtype)
        return set() if one is None else set(one.rdatas)

    def add(self, record: ZoneRecord) -> None:
        """Section 3.4.2.2.  The TTL of a record becomes that of its RRset (RFC 2181 section 5.2)."""
        name, rdtype, rdata = record.name.lower(), record.rdtype, record.rdata
        node = self._at(name)
        if not may_stand_together(node.sets.keys() - {rdtype}, rdtype):
            return
        one = node.sets.get(rdtype)
        if rdtype == wire.SOA and (one is None or not is_newer(serial_of(rdata), serial_of(*one.rdatas.values()))):
            return
        if one is None:
            one = node.sets[rdtype] = _Set(record.ttl)
            if len(node.sets) == 1:
                node.written = record.name
        elif rdtype in SINGLE:
            one.rdatas.clear()
        elif rdtype == WKS:  # one for an address and a protocol
            one.rdatas = {each: other for each, other in one.rdatas.items() if other[:5] != rdata[:5]}
        one.ttl = record.ttl
        one.rdatas[folded(rdtype, rdata)] = rdata

    def delete(self, record: ZoneRecord) -> None:
        """One record (section 3.4.2.4); its TTL says nothing.  The last server of the zone stays."""
        name, rdtype = record.name.lower(), record.rdtype
        sets = self._at(name).sets
        one = sets.get(rdtype)
        is_needed = name == self._zone.origin and rdtype in _AT_APEX
        if one is None or (is_needed and (rdtype == wire.SOA or len(one.rdatas) == 1)):
            return
        one.rdatas.pop(folded(rdtype, record.rdata), None)
        if not one.rdatas:
            del sets[rdtype]

    def delete_all(self, name: bytes, rdtype: int) -> None:
        """An RRset, or for ANY all of a name (section 3.4.2.3); SOA and servers of the zone itself stay."""
        sets = self._at(name).sets
        stay = _AT_APEX if name == self._zone.origin else frozenset[int]()
        for each in [*sets] if rdtype == wire.ANY else [rdtype]:
            if each not in stay:
                sets.pop(each, None)

    def change(self) -> Change | None:
        """What that makes of the zone, with a serial number after the one that it has; None where it makes nothing."""
        removed: list[ZoneRecord] = []
        added: list[ZoneRecord] = []
        for name, node in self._nodes.items():
            before, after = (
                {(rdtype, compared): record for rdtype, compared, record in each.records()}
                for each in (self._read(name), node)
            )
            removed += [record for key, record in before.items() if key not in after or after[key].ttl != record.ttl]
            added += [record for key, record in after.items() if key not in before or before[key].ttl != record.ttl]
        if not removed and not added:
            return None
        if not any(record.rdtype == wire.SOA for record in added):
            soa = soa_record(self._zone)
            removed.append(soa)
            added.append(with_serial(soa, next_serial(self._zone.serial)))
        return Change.of(removed, added)
