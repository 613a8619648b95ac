"""Puts a change into a zone in memory, in time that depends on the change and not on the zone.

An `Edit` works out the names that a change touches, and leaves the zone alone; so it can be seen first whether the
change fits, and what would be wrong with the zone (`mistakes`).  `commit` then takes microseconds a name.

Two things take longer, a look at every name of the zone: a delegation that comes above names that stay, or goes from
above them; and a zone that becomes a signed one, or gets another chain of NSEC or NSEC3 records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from responder import wall_time

from ..message import wire
from .builder import name_text, type_text
from .changes import Change, ZoneRecord
from .denial import chain_of
from .rdata import folded
from .rules import LONGEST, NEEDED, SINGLE, covered_by, is_of_hashes, may_stand_together
from .signatures import FirstEnd, unsigned
from .tables import LEADING_ON, Sets, Zone, blocks, node_of, unpack, way_to_answer

_RECORD_HEAD = 12
"""Bytes of a record in a node beside its rdata."""


class DoesNotFitError(Exception):
    """The zone lacks what the change takes away, or has what it brings: it was made for another version."""


class Edit:
    """Raises DoesNotFitError.  Between here and `commit` the zone must not take another change."""

    def __init__(self, zone: Zone, change: Change) -> None:
        self.zone = zone
        self.change = change
        self._named: dict[bytes, Sets] = {}
        self._hashed: dict[bytes, Sets] = {}
        self._spelled: dict[bytes, bytes] = {}
        for soa in (change.removed[0], change.added[0]):
            if soa.name.lower() != zone.origin:
                raise DoesNotFitError(f"the zone {name_text(zone.origin)} does not begin at {name_text(soa.name)}")
        for record in change.removed:
            self._remove(record)
        for record in change.added:
            self._add(record)

    def _sets(self, record: ZoneRecord) -> tuple[Sets, tuple[int, int]]:
        name = record.name.lower()
        covered = covered_by(record.rdtype, record.rdata)
        hashed = is_of_hashes(record.rdtype, covered)
        touched = self._hashed if hashed else self._named
        sets = touched.get(name)
        if sets is None:
            if not wire.is_below(name, self.zone.origin):
                raise DoesNotFitError(f"{name_text(name)} is out of the zone {name_text(self.zone.origin)}")
            node = (self.zone.hashed if hashed else self.zone.nodes).get(name, b"")
            sets = touched[name] = {}
            for rdtype, of, _, records in blocks(node):
                ttl, rdatas = unpack(records)
                sets[rdtype, of] = ttl, list(rdatas)
        return sets, (record.rdtype, covered)

    def _remove(self, record: ZoneRecord) -> None:
        sets, key = self._sets(record)
        _, rdatas = sets.get(key, (0, []))
        at = _place(rdatas, record)
        if at is None:
            raise DoesNotFitError(f"there is no such {type_text(record.rdtype)} record of {name_text(record.name)}")
        del rdatas[at]
        if not rdatas:
            del sets[key]

    def _add(self, record: ZoneRecord) -> None:
        sets, key = self._sets(record)
        _, rdatas = sets.get(key, (0, []))
        if _place(rdatas, record) is not None:
            raise DoesNotFitError(f"there is such a {type_text(record.rdtype)} record of {name_text(record.name)}")
        self._spelled.setdefault(record.name.lower(), record.name)
        sets[key] = record.ttl, [*rdatas, record.rdata]  # RFC 2181 section 5.2: the TTLs of an RRset are one

    # What would be wrong

    def mistakes(self) -> Iterator[str]:
        """What no zone may have: see `builder`."""
        zone = self.zone
        apex = self._types(zone.origin)
        for rdtype in NEEDED:
            if rdtype not in apex:
                yield f"the zone {name_text(zone.origin)} has no {type_text(rdtype)} record"
        for name, sets in self._named.items():
            types = {rdtype for rdtype, _ in sets}
            if any(not may_stand_together(types - {rdtype}, rdtype) for rdtype in types):
                yield f"{name_text(name)} has a CNAME record beside others"
            if wire.DNAME in types and self._has_below(name):
                yield f"{name_text(name)} has a DNAME record and names below it (RFC 6672 section 2.4)"
            if sets and any(wire.DNAME in self._types(above) for above in self._above(name)):
                yield f"{name_text(name)} is below a DNAME record (RFC 6672 section 2.4)"
        for name, sets in (*self._named.items(), *self._hashed.items()):
            for (rdtype, _), (_, rdatas) in sets.items():
                if rdtype in SINGLE and len(rdatas) > 1:
                    yield f"{name_text(name)} has two {type_text(rdtype)} records"
                if sum(map(len, rdatas)) + _RECORD_HEAD * len(rdatas) > LONGEST:
                    yield f"{name_text(name)} has more {type_text(rdtype)} records than a message can hold"

    def _types(self, name: bytes) -> set[int]:
        """What a name will have."""
        sets = self._named.get(name)
        if sets is None:
            return {rdtype for rdtype, _, _, _ in blocks(self.zone.nodes.get(name, b""))}
        return {rdtype for rdtype, _ in sets}

    def _above(self, name: bytes) -> Iterator[bytes]:
        """The names above one, up to the origin."""
        while name != self.zone.origin:
            name = wire.parent(name)
            yield name

    def _has_below(self, name: bytes) -> bool:
        """Will there be names below one?  What was there counts until it goes by another change."""
        return bool(self.zone.children.get(name)) or any(
            sets and other != name and wire.is_below(other, name) for other, sets in self._named.items()
        )

    # The change of the zone

    def commit(self) -> None:
        """From here on the zone is the other version."""
        zone = self.zone
        signed_by, chain = _signed_by(zone), zone.chain
        named, hashed = self._nodes()
        zone.about_to_change()
        self._count_signatures()
        fresh = [name for name, sets in self._named.items() if sets and name not in zone.nodes]
        new = [*self._named]
        for name, sets in self._named.items():
            if sets:
                new += self._put(name, node_of(sets))
        for name in fresh:
            if (written := self._spelled[name]) != name:
                zone.spelled[name] = written
        for name, sets in self._named.items():
            if not sets:
                self._take_out(name)
        turned = set(self._turned_cuts())
        for name in new:
            if name in zone.nodes:
                self._mark(name)
        touched: dict[bytes, list[bytes]] = {}
        for name in self._named if turned else ():
            if name in zone.nodes and name != zone.origin:
                touched.setdefault(wire.parent(name), []).append(name)
        strays = [cut for cut in turned if not self._is_all_touched(cut, touched)]
        if strays:
            for name in zone.nodes:
                if any(wire.is_below(name, cut) for cut in strays):
                    self._mark(name)
                    named.setdefault(name, zone.nodes[name])
        for name, sets in self._named.items():
            (zone.dnames.add if (wire.DNAME, 0) in sets else zone.dnames.discard)(name)
        for owner, sets in self._hashed.items():
            if sets:
                zone.hashed[owner] = node_of(sets)
            else:
                zone.hashed.pop(owner, None)
        if _signed_by(zone) != signed_by:
            zone.chain = chain_of(zone.origin, zone.nodes, zone.hashed) if self._has_signatures() else None
        elif zone.chain is not None:
            zone.chain.change(zone.nodes, zone.hashed, self._named if zone.chain.rdtype == wire.NSEC else self._hashed)
        if zone.chain is None:
            zone.unsigned = 0
        elif chain is None or chain.rdtype != zone.chain.rdtype:
            zone.unsigned = self._count_unsigned(zone.nodes, zone.hashed, ())
        else:
            before = self._count_unsigned(named, hashed, turned)
            now = {name: zone.nodes.get(name, b"") for name in named}
            zone.unsigned += self._count_unsigned(now, self._nodes()[1], ()) - before

    def _nodes(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """What names and hashes that are touched have now."""
        zone = self.zone
        return (
            {name: zone.nodes.get(name, b"") for name in self._named},
            {owner: zone.hashed.get(owner, b"") for owner in self._hashed},
        )

    def _count_unsigned(
        self, nodes: Mapping[bytes, bytes], hashed: Mapping[bytes, bytes], turned: Collection[bytes]
    ) -> int:
        """Of these nodes the RRsets without a signature; `turned` were delegations and are none, or the reverse."""
        chain, cuts = self.zone.chain, self.zone.cuts
        assert chain is not None  # noqa: S101 - the caller has seen it

        def is_cut(name: bytes) -> bool:
            return (name in cuts) != (name in turned)

        below = {name for name in nodes if any(map(is_cut, self._above(name)))} if cuts or turned else ()
        at_cuts = {name for name in nodes if is_cut(name)} if cuts or turned else ()
        return sum(1 for _ in unsigned(nodes, hashed, at_cuts, below, chain.rdtype))

    def _put(self, name: bytes, node: bytes) -> list[bytes]:
        """The empty non-terminals that this makes."""
        nodes, children, origin = self.zone.nodes, self.zone.children, self.zone.origin
        made = []
        present = name in nodes
        nodes[name] = node
        while not present and name != origin:
            name = wire.parent(name)
            children[name] = children.get(name, 0) + 1
            present = name in nodes
            if not present:
                nodes[name] = b""
                made.append(name)
        return made

    def _take_out(self, name: bytes) -> None:
        """With the empty non-terminals above that are of no more use."""
        nodes, children, origin = self.zone.nodes, self.zone.children, self.zone.origin
        self.zone.spelled.pop(name, None)
        if name not in nodes:
            return
        nodes[name] = b""
        while name != origin and not children.get(name) and len(nodes[name]) <= 1:
            del nodes[name]
            name = wire.parent(name)
            children[name] -= 1
            if not children[name]:
                del children[name]

    def _turned_cuts(self) -> Iterator[bytes]:
        """Names that have become delegations, or are none any more."""
        cuts = self.zone.cuts
        for name, sets in self._named.items():
            is_cut = (wire.NS, 0) in sets and name != self.zone.origin
            if is_cut != (name in cuts):
                (cuts.add if is_cut else cuts.discard)(name)
                yield name

    def _is_all_touched(self, cut: bytes, touched: Mapping[bytes, Sequence[bytes]]) -> bool:
        """Are all names below a cut among those that are marked anyway?  `touched` has them by the name above."""
        below = touched.get(cut, ())
        known = self.zone.children.get(cut, 0)
        return len(below) == known and all(self._is_all_touched(name, touched) for name in below)

    def _mark(self, name: bytes) -> None:
        """Say in the first byte of a node how to answer: what stands at and below a delegation is another's."""
        zone = self.zone
        node = zone.nodes[name]
        if name in zone.cuts or any(above in zone.cuts for above in self._above(name)):
            first = bytes((LEADING_ON,))
        elif len(node) > 1:
            first = bytes((way_to_answer(node),))
        else:
            first = b""
        zone.nodes[name] = first + node[1:]

    def _has_signatures(self) -> bool:
        return self.zone.ends is not None and self.zone.ends.time is not None

    def _count_signatures(self) -> None:
        if self.zone.ends is None:
            self.zone.ends = FirstEnd(wall_time())
        for record in self.change.removed:
            if record.rdtype == wire.RRSIG:
                self.zone.ends.forget(record.rdata)
        for record in self.change.added:
            if record.rdtype == wire.RRSIG:
                self.zone.ends.see(record.rdata)


def apply(zone: Zone, change: Change) -> None:
    """Put a change into a zone at once.  Raises DoesNotFitError, with the zone as it was."""
    Edit(zone, change).commit()


def _place(rdatas: list[bytes], record: ZoneRecord) -> int | None:
    """Where the record stands."""
    if record.rdata in rdatas:
        return rdatas.index(record.rdata)
    wanted = folded(record.rdtype, record.rdata)
    return next((at for at, rdata in enumerate(rdatas) if folded(record.rdtype, rdata) == wanted), None)


def _signed_by(zone: Zone) -> set[tuple[int, int, bytes]]:
    """What decides at the origin which chain a zone has: see `chain_of`."""
    found = set()
    for rdtype, covered, _, records in blocks(zone.nodes.get(zone.origin, b"")):
        if rdtype == wire.NSEC3PARAM:
            found.add((rdtype, covered, records))
        elif rdtype in (wire.DNSKEY, wire.NSEC) or covered in (wire.SOA, wire.DNSKEY):
            found.add((rdtype, covered, b""))
    return found
