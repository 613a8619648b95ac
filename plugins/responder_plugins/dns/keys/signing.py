"""A whole zone, signed: from the zone as its file has it, and what was signed of it before.

Signatures that still hold are kept, so that a zone of which little has changed is signed again in little time, and its
secondaries get little.  The serial of the signed zone is its own: where anything is different, it is one more than the
file's or the last one, whichever is greater.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from typing import Any, Final

import attrs

from ..message import wire
from ..zone.changes import is_newer, next_serial
from ..zone.denial import Nsec3Chain, NsecChain, canonical, chain_of
from ..zone.rules import MADE_BY_SIGNER
from ..zone.signatures import FirstEnd
from ..zone.tables import BLOCK, LEADING_ON, Zone, blocks, pack_record, ttl_of, unpack, way_to_answer
from .records import (
    NSEC3PARAM_RDATA,
    RecordSigner,
    denied_types,
    hash_of,
    hashed_owner,
    label_of,
    nsec,
    nsec3,
)

STRETCH: Final = 64
"""RRsets that are signed before others have the processor for a moment."""

PAUSE: Final = 1e-5
"""Seconds of that moment: a wait of any length lets go of the interpreter (the GIL)."""

SIGNED_AT_A_CUT: Final = frozenset({wire.DS, wire.NSEC})

_Blocks = dict[int, tuple[int, bytes]]
"""Number and records of each RRset of a name, by type."""


@attrs.frozen
class Denial:
    """How names are denied: by NSEC records, or by NSEC3 records that may leave out unsigned delegations."""

    hashed: bool = False
    opt_out: bool = False


@attrs.define(eq=False)
class WholeZone:
    """Signs a zone.

    zone     not signed, or signed until now: what was made for that is left out
    before   a signed version of it, whose signatures stay where they hold for the same records
    serial   of the zone's file; None: the zone has a serial of its own
    changed  whether anything is different from the version before
    made     how many signatures were made
    """

    zone: Zone
    signer: RecordSigner
    denial: Denial
    before: Zone | None = None
    serial: int | None = None
    changed: bool = attrs.field(init=False)
    ends: FirstEnd = attrs.field(init=False)
    made: int = attrs.field(default=0, init=False)
    ordered: list[bytes] = attrs.field(factory=list, init=False)

    def sign(self, apex: Mapping[int, Sequence[bytes]], apex_ttl: int) -> Zone:
        """The signed zone; `apex` are the rdatas of DNSKEY, CDS and CDNSKEY records."""
        zone, origin = self.zone, self.zone.origin
        self.ends = FirstEnd(self.signer.now)
        was = self.before.nodes if self.before is not None else {}
        hashed_before = self.before.hashed if self.before is not None else {}
        self.changed = self.before is None
        nodes = {name: _unsigned(node) for name, node in zone.nodes.items()}
        top = _by_type(nodes[origin])
        top |= {rdtype: _rrset(rdtype, apex_ttl, rdatas) for rdtype, rdatas in apex.items()}
        if self.denial.hashed:
            top[wire.NSEC3PARAM] = _rrset(wire.NSEC3PARAM, 0, [NSEC3PARAM_RDATA])
        nodes[origin] = _node(nodes[origin], top)
        below = names_below_cuts(zone)
        hashed = self._hashed(nodes, below, hashed_before) if self.denial.hashed else {}
        own = {name: None for name, node in nodes.items() if len(node) > 1 and name not in below}
        following = {}
        if not self.denial.hashed:
            chain = None if self.before is None else self.before.chain
            self.ordered = _ordered(own, chain.names if isinstance(chain, NsecChain) else (), canonical)
            following = _ring(self.ordered)
        for name in own:
            if name != origin:
                nodes[name] = self._signed(name, nodes[name], following.get(name), was.get(name, b""))
        self.changed |= len(was) != len(nodes) or len(hashed_before) != len(hashed)
        self.changed |= any(nodes[name] != was.get(name) for name in below)
        nodes[origin] = self._apex(nodes[origin], following.get(origin), was.get(origin, b""))
        if not self.changed:
            assert self.before is not None  # noqa: S101 - without one there is a change
            self.before.files, self.before.warnings = zone.files, zone.warnings
            return self.before
        made = chain_of(origin, nodes, hashed, self.ordered)
        return Zone(
            *(origin, nodes, hashed, dict(zone.spelled), set(zone.cuts), set(zone.dnames)),
            *(zone.files, zone.warnings, made, self.ends),
        )

    def _apex(self, node: bytes, following: bytes | None, was: bytes) -> bytes:
        """The origin's node, once it is known whether anything else has changed: its SOA record has the serial."""
        origin = self.zone.origin
        found, old = _by_type(node), _by_type(was)
        soa, last = found.pop(wire.SOA), old.pop(wire.SOA, None)
        rest = self._signed(origin, _node(node, found), following, _node(was, old, _signatures(was, but=wire.SOA)), soa)
        signed = _signatures(was).get(wire.SOA)
        if last is not None and signed is not None:
            # Everything but the serial, whose signature may be due by itself.
            self.changed |= soa[1][:-20] + soa[1][-16:] != last[1][:-20] + last[1][-16:]
            self.changed |= not self.signer.holds(unpack(signed[1])[1], wire.SOA)
        serial = serial_after(self.serial, None if last is None else _serial(last), changed=self.changed)
        self.changed |= last is None or serial != _serial(last)
        soa = soa[0], soa[1][:-20] + serial.to_bytes(4) + soa[1][-16:]
        made = self._signatures_of(origin, wire.SOA, soa[1], last, signed)
        return _node(node, {wire.SOA: soa, **_by_type(rest)}, {wire.SOA: made, **_signatures(rest)})

    def _signed(
        self, name: bytes, node: bytes, following: bytes | None, was: bytes, more: tuple[int, bytes] | None = None
    ) -> bytes:
        """The node of a name with its signatures, and its NSEC record where the `following` name is given.

        `more` is there for the SOA record, which is signed by itself, but which the NSEC record tells of.
        """
        found, old = _by_type(node), _by_type(was)
        signatures_before = _signatures(was)
        at_cut = name in self.zone.cuts
        if following is not None:
            types = denied_types({*found, wire.SOA} if more else found, at_cut=at_cut)
            found[wire.NSEC] = _rrset(wire.NSEC, self._negative_ttl, [nsec(following, types)])
        signatures = {
            rdtype: self._signatures_of(name, rdtype, records, old.get(rdtype), signatures_before.get(rdtype))
            for rdtype, (_, records) in found.items()
            if not at_cut or rdtype in SIGNED_AT_A_CUT
        }
        made = _node(node, found, signatures)
        if made == was:
            return was  # one object for both, while both are held
        self.changed = True
        return made

    def _signatures_of(
        self,
        name: bytes,
        rdtype: int,
        records: bytes,
        old: tuple[int, bytes] | None,
        signed: tuple[int, bytes] | None,
    ) -> tuple[int, bytes]:
        ttl, rdatas = unpack(records)
        if old is not None and signed is not None and old[1] == records and ttl_of(signed[1]) == ttl:
            rrsigs = unpack(signed[1])[1]
            if self.signer.holds(rrsigs, rdtype):
                self._see(rrsigs)
                return signed
        made = self.signer.sign(name, rdtype, ttl, rdatas)
        self.made += 1
        if self.made % STRETCH == 0:
            time.sleep(PAUSE)
        self._see(made)
        return _rrset(wire.RRSIG, ttl, made)

    def _see(self, rrsigs: Iterable[bytes]) -> None:
        for rrsig in rrsigs:
            self.ends.see(rrsig)

    def _hashed(
        self, nodes: Mapping[bytes, bytes], below: Set[bytes], was: Mapping[bytes, bytes]
    ) -> dict[bytes, bytes]:
        """The nodes of the NSEC3 records (RFC 5155 section 7.1)."""
        origin, cuts = self.zone.origin, self.zone.cuts
        hashes: dict[bytes, bytes] = {}
        for name, node in nodes.items():
            if len(node) <= 1 or name in below:
                continue
            left_out = self.denial.opt_out and name in cuts and wire.DS not in _by_type(node)
            # Empty non-terminals too, though those above what is left out need not (RFC 5155 section 7.1): without a
            # record of theirs NSD proves the wrong thing.
            for above in wire.suffixes(wire.parent(name) if left_out else name):
                if above in hashes:
                    break
                hashes[above] = hash_of(above)
                if above == origin:
                    break
        by_label = {label_of(hashed_owner(digest, origin)): name for name, digest in hashes.items()}
        chain = None if self.before is None else self.before.chain
        self.ordered = _ordered(by_label, chain.labels if isinstance(chain, Nsec3Chain) else (), bytes)
        hashed = {}
        for label, next_label in _ring(self.ordered).items():
            name = by_label[label]
            following = hashes[by_label[next_label]]
            at_cut = name in cuts
            present = _by_type(nodes[name])
            types = denied_types(present, at_cut=at_cut)
            if types and (not at_cut or wire.DS in types):
                types.add(wire.RRSIG)
            owner = hashed_owner(hashes[name], origin)
            records = _rrset(wire.NSEC3, self._negative_ttl, [nsec3(following, types, opt_out=self.denial.opt_out)])
            old = was.get(owner, b"")
            before = _by_type(old).get(wire.NSEC3)
            signed = self._signatures_of(owner, wire.NSEC3, records[1], before, _signatures(old).get(wire.NSEC3))
            made = _node(b"", {wire.NSEC3: records}, {wire.NSEC3: signed})
            self.changed |= made != old
            hashed[owner] = old if made == old else made
        return hashed

    @property
    def _negative_ttl(self) -> int:
        return self.zone.negative.ttl  # RFC 9077 section 3


def unsigned(zone: Zone) -> Zone:
    """The zone without what is made here."""
    nodes = {name: _unsigned(node) for name, node in zone.nodes.items()}
    return Zone(zone.origin, nodes, {}, zone.spelled, zone.cuts, zone.dnames, zone.files, zone.warnings)


def serial_after(file: int | None, last: int | None, *, changed: bool) -> int:
    """The serial of the signed zone: it never goes back (RFC 1982), and is ahead of the file's where that is another.

    One of both is there.
    """
    if last is not None and (file is None or file == last or not is_newer(file, last)):
        return next_serial(last) if changed else last
    assert file is not None  # noqa: S101 - see above
    return next_serial(file)


def _serial(soa: tuple[int, bytes]) -> int:
    return int.from_bytes(soa[1][-20:-16])


def names_below_cuts(zone: Zone) -> set[bytes]:
    """The names below its delegations, which belong to other zones: glue."""
    if not zone.cuts:
        return set()
    known: dict[bytes, bool] = {zone.origin: False}

    def is_at_or_below(name: bytes) -> bool:
        found = known.get(name)
        if found is None:
            found = known[name] = name in zone.cuts or is_at_or_below(wire.parent(name))
        return found

    return {name for name in zone.nodes if name != zone.origin and is_at_or_below(wire.parent(name))}


def _ordered(names: Collection[bytes], before: Sequence[bytes], key: Callable[[bytes], Any]) -> list[bytes]:
    """The names sorted; as they were before where they are the same: sorting a million stops all else for 0.3 s."""
    if len(names) == len(before) and all(name in names for name in before):
        return [*before]
    return sorted(names, key=key)


def _ring(names: Sequence[bytes]) -> dict[bytes, bytes]:
    """Each name's next one; the last one's is the first."""
    # In Python's own steps, between which others may have the processor.
    return {name: after for name, after in zip(names, [*names[1:], *names[:1]], strict=True)}  # noqa: C416 - see above


def _by_type(node: bytes) -> _Blocks:
    """The RRsets of a node but for signatures."""
    return {rdtype: (count, records) for rdtype, _, count, records in blocks(node) if rdtype != wire.RRSIG}


def _unsigned(node: bytes) -> bytes:
    """The node without what is made here."""
    if len(node) <= 1:
        return node
    return _node(node, {rdtype: rrset for rdtype, rrset in _by_type(node).items() if rdtype not in MADE_BY_SIGNER})


def _signatures(node: bytes, *, but: int = 0) -> _Blocks:
    """Its signatures by the type covered."""
    return {of: (count, records) for rdtype, of, count, records in blocks(node) if rdtype == wire.RRSIG and of != but}


def _rrset(rdtype: int, ttl: int, rdatas: Iterable[bytes]) -> tuple[int, bytes]:
    packed = [pack_record(rdtype, ttl, rdata) for rdata in rdatas]
    return len(packed), b"".join(packed)


def _node(like: bytes, rrsets: Mapping[int, tuple[int, bytes]], signatures: _Blocks | None = None) -> bytes:
    """A node of RRsets and their signatures; it leads on where the one that it is `like` does."""
    parts = [b"\0"]
    parts += [BLOCK.pack(rdtype, 0, count, len(records)) + records for rdtype, (count, records) in rrsets.items()]
    parts += [
        BLOCK.pack(wire.RRSIG, covered, count, len(records)) + records
        for covered, (count, records) in (signatures or {}).items()
    ]
    node = b"".join(parts)
    way = LEADING_ON if like[:1] == bytes((LEADING_ON,)) else way_to_answer(node)
    return bytes((way,)) + node[1:]
