"""What signs a change of a signed zone: signatures, and the chain's records beside names that come or go.

The time that it takes depends on the change, and not on the zone, but for delegations that come or go: then the names
below them are looked for among all.
"""

from __future__ import annotations

import base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from ..message import wire
from ..zone.changes import Change, ZoneRecord
from ..zone.denial import Nsec3Chain, NsecChain, canonical
from ..zone.rdata import folded
from ..zone.rules import MADE_BY_SIGNER
from ..zone.tables import Zone, blocks, unpack
from .records import RecordSigner, denied_types, hash_of, hashed_owner, label_of, nsec, nsec3
from .signing import SIGNED_AT_A_CUT, Denial

_RRsets: TypeAlias = dict[int, tuple[int, tuple[bytes, ...]]]
"""TTL and rdatas by type."""


def amended(
    zone: Zone,
    change: Change,
    signer: RecordSigner,
    denial: Denial,
    apex: Mapping[int, Sequence[bytes]],
    apex_ttl: int,
    due: Iterable[bytes] = (),
    due_hashed: Iterable[bytes] = (),
) -> Change:
    """A change of a signed zone with all that signing makes of it.

    `apex` are the rdatas of DNSKEY, CDS and CDNSKEY records as they are to be; `due` are names, and `due_hashed` owners
    of NSEC3 records, whose signatures are looked at, too.  What the change itself says of records that are made here is
    left out.
    """
    return _Amendment(zone, signer, denial, frozenset(due_hashed)).change(change, apex, apex_ttl, due)


@attrs.define(eq=False)
class _Amendment:
    """old, new  the RRsets of names that are affected, without what is made here but for the apex"""

    zone: Zone
    signer: RecordSigner
    denial: Denial
    due_hashed: frozenset[bytes]
    old: dict[bytes, _RRsets] = attrs.field(factory=dict, init=False)
    new: dict[bytes, _RRsets] = attrs.field(factory=dict, init=False)
    removed: list[ZoneRecord] = attrs.field(factory=list, init=False)
    added: list[ZoneRecord] = attrs.field(factory=list, init=False)
    spelled: dict[bytes, bytes] = attrs.field(factory=dict, init=False)

    def change(
        self, change: Change, apex: Mapping[int, Sequence[bytes]], apex_ttl: int, due: Iterable[bytes]
    ) -> Change:
        zone, origin = self.zone, self.zone.origin
        self.removed = [record for record in change.removed if record.rdtype not in MADE_BY_SIGNER]
        self.added = [record for record in change.added if record.rdtype not in MADE_BY_SIGNER]
        present = self._made_at_apex()
        wanted = {rdtype: (apex_ttl, tuple(rdatas)) for rdtype, rdatas in apex.items()}
        for rdtype in {*present, *wanted}:
            if _comparable(present.get(rdtype)) != _comparable(wanted.get(rdtype)):
                self._replace(origin, rdtype, present.get(rdtype), wanted.get(rdtype))
        if self._negative_ttl != zone.negative.ttl:  # that of the whole chain
            due = [name for name, node in zone.nodes.items() if len(node) > 1]
            self.due_hashed = frozenset(zone.hashed)
        for name in (origin, *due):
            self._affect(name)
        for record in self.removed:
            self._affect(record.name.lower())
            _take_out(self.new[record.name.lower()], record)
        for record in self.added:
            self._affect(record.name.lower())
            _put_in(self.new[record.name.lower()], record)
            self.spelled.setdefault(record.name.lower(), record.name)
        turned = [name for name in self.new if name != origin and (name in zone.cuts) != self._is_cut(name)]
        if turned:
            for name in zone.nodes:
                if any(wire.is_below(name, cut) for cut in turned):
                    self._affect(name)
        if self.denial.hashed:
            self._change_hashed_chain()
        else:
            self._change_chain()
        for name in self.new:
            self._sign(name)
        return Change.of(self.removed, self.added)

    def _made_at_apex(self) -> _RRsets:
        return {
            rdtype: rrset
            for rdtype, rrset in _rrsets(self.zone.nodes[self.zone.origin]).items()
            if rdtype in (wire.DNSKEY, wire.CDS, wire.CDNSKEY)
        }

    def _affect(self, name: bytes) -> None:
        if name not in self.old:
            rrsets = _rrsets(self.zone.nodes.get(name, b""))
            self.old[name] = rrsets
            self.new[name] = {
                rdtype: rrset
                for rdtype, rrset in rrsets.items()
                if rdtype not in (wire.NSEC, wire.NSEC3) and (name == self.zone.origin or rdtype not in MADE_BY_SIGNER)
            }

    def _replace(
        self,
        name: bytes,
        rdtype: int,
        old: tuple[int, tuple[bytes, ...]] | None,
        new: tuple[int, tuple[bytes, ...]] | None,
    ) -> None:
        """Another RRset, or none, in place of one, or of none; what they share stays."""
        spelled = self.zone.spelled.get(name) or self.spelled.get(name, name)
        same = {*old[1]} & {*new[1]} if old and new and old[0] == new[0] else set()
        for side, rrset in ((self.removed, old), (self.added, new)):
            if rrset is not None:
                side += [ZoneRecord(spelled, rdtype, rrset[0], rdata) for rdata in rrset[1] if rdata not in same]

    # Where names stand

    def _is_cut(self, name: bytes) -> bool:
        if name == self.zone.origin:
            return False
        rrsets = self.new.get(name)
        return name in self.zone.cuts if rrsets is None else wire.NS in rrsets

    def _is_below_cut(self, name: bytes) -> bool:
        while name != self.zone.origin:
            name = wire.parent(name)
            if self._is_cut(name):
                return True
        return False

    # Signatures

    def _sign(self, name: bytes) -> None:
        """The signatures of a name: those that hold stay."""
        before, after = self.old[name], self.new[name]
        signed = _signatures(self.zone.nodes.get(name, b""))
        wanted = set() if self._is_below_cut(name) else {*after}
        if self._is_cut(name):
            wanted &= SIGNED_AT_A_CUT
        for rdtype in {*signed, *wanted}:
            old = signed.get(rdtype)
            new = None
            if rdtype in wanted:
                ttl, rdatas = after[rdtype]
                new = self._signature(name, rdtype, ttl, rdatas, before.get(rdtype), old)
            if new != old:
                self._replace(name, wire.RRSIG, old, new)

    def _signature(
        self,
        name: bytes,
        rdtype: int,
        ttl: int,
        rdatas: tuple[bytes, ...],
        before: tuple[int, tuple[bytes, ...]] | None,
        old: tuple[int, tuple[bytes, ...]] | None,
    ) -> tuple[int, tuple[bytes, ...]]:
        same = old is not None and old[0] == ttl and _comparable(before) == _comparable((ttl, rdatas))
        if same and old is not None and self.signer.holds(old[1], rdtype):
            return old
        return ttl, tuple(self.signer.sign(name, rdtype, ttl, rdatas))

    # NSEC

    @property
    def _negative_ttl(self) -> int:
        """RFC 9077 section 3, of the SOA record that comes."""
        soa = next(record for record in self.added if record.rdtype == wire.SOA)
        return min(soa.ttl, int.from_bytes(soa.rdata[-4:]))

    def _change_chain(self) -> None:
        chain = self.zone.chain
        assert isinstance(chain, NsecChain)  # noqa: S101 - another denial has the whole zone signed
        within = {name: bool(rrsets) and not self._is_below_cut(name) for name, rrsets in self.new.items()}
        was = {name: wire.NSEC in self.old[name] for name in within}
        ring = _Ring(
            chain.names,
            [name for name in within if within[name] and not was[name]],
            {name for name in within if was[name] and not within[name]},
            canonical,
        )
        ttl = self._negative_ttl
        for name in ring.before_changes():
            if name not in within:
                self._affect(name)
                within[name] = True
        for name, is_within in within.items():
            old = self.old[name].get(wire.NSEC)
            new = None
            if is_within:
                types = denied_types(self.new[name], at_cut=self._is_cut(name))
                new = ttl, (nsec(ring.following(name), types),)
                self.new[name][wire.NSEC] = new
            if new != old:
                self._replace(name, wire.NSEC, old, new)

    # NSEC3

    def _change_hashed_chain(self) -> None:
        chain = self.zone.chain
        assert isinstance(chain, Nsec3Chain)  # noqa: S101 - as above
        owners = {name: hashed_owner(hash_of(name), self.zone.origin) for name in self.new}
        come: set[bytes] = set()
        gone: set[bytes] = set()
        there = self._existing()
        for name in [*self.new]:
            if self.new[name] and not self._is_below_cut(name):
                # Empty non-terminals too; see `signing`.
                for above in wire.suffixes(name if self._is_denied_by_hash(name) else wire.parent(name)):
                    owner = owners.setdefault(above, hashed_owner(hash_of(above), self.zone.origin))
                    if owner in self.zone.hashed:
                        break
                    come.add(owner)
                    if above == self.zone.origin:
                        break
        for name in [*self.new, *there]:
            owner = owners.setdefault(name, hashed_owner(hash_of(name), self.zone.origin))
            if owner in self.zone.hashed and owner not in come and not self._stays(name, there):
                gone.add(owner)
        by_owner = {owner: name for name, owner in owners.items()}
        labels = {label_of(owner) for owner in gone}
        ring = _Ring(chain.labels, [label_of(owner) for owner in come], labels, bytes)
        wanted = {label_of(owner) for name, owner in owners.items() if name in self.new and owner in self.zone.hashed}
        wanted |= {label_of(owner) for owner in self.due_hashed}
        for label in {*ring.before_changes(), *map(label_of, come), *wanted} - labels:
            owner = bytes((len(label),)) + label + self.zone.origin
            self._put_hashed(owner, by_owner.get(owner), ring.following(label))
        for owner in gone:
            self._put_hashed(owner, None, None)

    def _existing(self) -> dict[bytes, bool]:
        """Of the names above those that have come or gone: will they be there, if only as empty non-terminals?"""
        counts: dict[bytes, int] = {}
        there: dict[bytes, bool] = {}

        def has_data(name: bytes) -> bool:
            rrsets = self.new.get(name)
            return len(self.zone.nodes.get(name, b"")) > 1 if rrsets is None else bool(rrsets)

        def turn(name: bytes) -> None:
            """A name has come or gone; what does that make of those above it?"""
            while name != self.zone.origin:
                parent = wire.parent(name)
                step = 1 if there[name] else -1
                before = counts.get(parent, self.zone.children.get(parent, 0))
                counts[parent] = before + step
                was = there.get(parent, parent in self.zone.nodes)
                there[parent] = has_data(parent) or counts[parent] > 0
                if was == there[parent]:
                    return
                name = parent

        for name in self.new:
            was = there.get(name, name in self.zone.nodes)
            count = counts.get(name, self.zone.children.get(name, 0))
            there[name] = has_data(name) or count > 0
            if was != there[name]:
                turn(name)
        return there

    def _is_denied_by_hash(self, name: bytes) -> bool:
        """Has the name records, and an NSEC3 record therefore?"""
        rrsets = self.new[name]
        if not rrsets or self._is_below_cut(name):
            return False
        return not (self.denial.opt_out and self._is_cut(name) and wire.DS not in rrsets)

    def _stays(self, name: bytes, there: Mapping[bytes, bool]) -> bool:
        """Has a name that has an NSEC3 record still one?"""
        if self.new.get(name):
            return self._is_denied_by_hash(name)
        return there.get(name, name in self.zone.nodes) and not self._is_below_cut(name)

    def _put_hashed(self, owner: bytes, name: bytes | None, following: bytes | None) -> None:
        """The NSEC3 record of an owner with its signatures; `following` is the next label, None: it goes.

        Of one that is there only because of the next one the `name` isn't known, and its types stay.
        """
        node = self.zone.hashed.get(owner, b"")
        old = _rrsets(node).get(wire.NSEC3)
        signed = _signatures(node).get(wire.NSEC3)
        new = signature = None
        if following is not None:
            digest = base64.b32hexdecode(following.upper())
            if name is not None and name in self.new:
                at_cut = self._is_cut(name)
                types = denied_types(self.new[name], at_cut=at_cut)
                if types and (not at_cut or wire.DS in types):
                    types.add(wire.RRSIG)
                rdata = nsec3(digest, types, opt_out=self.denial.opt_out)
            elif old is not None:
                rdata = old[1][0][:6] + digest + old[1][0][6 + len(digest) :]
            else:  # an empty non-terminal
                rdata = nsec3(digest, (), opt_out=self.denial.opt_out)
            new = self._negative_ttl, (rdata,)
            signature = self._signature(owner, wire.NSEC3, *new, old, signed)
        for rdtype, before, after in ((wire.NSEC3, old, new), (wire.RRSIG, signed, signature)):
            if before != after:
                self._replace(owner, rdtype, before, after)


class _Ring:
    """A sorted list with some entries more and some less, whose end leads to its begin; the list stays as it is."""

    def __init__(self, entries: Sequence[bytes], more: Iterable[bytes], less: set[bytes], key: Callable[[bytes], Any]):
        self._entries = entries
        self._less = less
        self._key = key
        self._more = sorted(more, key=key)

    def before_changes(self) -> Iterator[bytes]:
        """The entries in front of those that come or go."""
        for entry in (*self._more, *self._less):
            yield self._next(entry, -1)

    def following(self, entry: bytes) -> bytes:
        return self._next(entry, 1)

    def _next(self, entry: bytes, step: int) -> bytes:
        """The nearest entry, not itself unless it is the only one, in one of the two directions."""
        found = [
            each for each in (self._among(self._entries, entry, step), self._among(self._more, entry, step)) if each
        ]
        here = self._key(entry)
        # Those on this side of the list's end come first.
        beyond = [
            (self._key(each) <= here if step > 0 else self._key(each) >= here, self._key(each), each) for each in found
        ]
        ahead = [each for each in beyond if not each[0]] or beyond
        return (min if step > 0 else max)(ahead, key=lambda each: each[1])[2]

    def _among(self, entries: Sequence[bytes], entry: bytes, step: int) -> bytes | None:
        key = self._key(entry)
        at = bisect_right(entries, key, key=self._key) if step > 0 else bisect_left(entries, key, key=self._key) - 1
        for _ in range(len(entries)):
            found = entries[at % len(entries)]
            if found not in self._less:
                return found
            at += step
        return None


def _rrsets(node: bytes) -> _RRsets:
    return {rdtype: unpack(records) for rdtype, _, _, records in blocks(node) if rdtype != wire.RRSIG}


def _signatures(node: bytes) -> _RRsets:
    """By the type covered."""
    return {covered: unpack(records) for rdtype, covered, _, records in blocks(node) if rdtype == wire.RRSIG}


def _comparable(rrset: tuple[int, tuple[bytes, ...]] | None) -> object:
    """The order of records means nothing."""
    return None if rrset is None else (rrset[0], sorted(rrset[1]))


def _take_out(rrsets: _RRsets, record: ZoneRecord) -> None:
    ttl, rdatas = rrsets.get(record.rdtype, (0, ()))
    gone = folded(record.rdtype, record.rdata)
    left = tuple(rdata for rdata in rdatas if folded(record.rdtype, rdata) != gone)
    if left:
        rrsets[record.rdtype] = ttl, left
    else:
        rrsets.pop(record.rdtype, None)


def _put_in(rrsets: _RRsets, record: ZoneRecord) -> None:
    """RFC 2181 section 5.2: the TTL of an RRset is one, and the last one's."""
    _, rdatas = rrsets.get(record.rdtype, (0, ()))
    rrsets[record.rdtype] = record.ttl, (*rdatas, record.rdata)
