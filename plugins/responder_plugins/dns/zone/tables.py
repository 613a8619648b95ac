"""A zone in memory: a table of bytes by name, made for a lookup and a copy.

The value of a name is its *node*: one byte that says how to answer, and behind it the name's RRsets, each a *block*:

    type, type covered, number of records, size of the records in bytes, the records

The type covered is 0 but for RRSIG, whose records are one RRset for each type that they cover (RFC 4034 section 3).
The records are in wire form, with a pointer to the question in place of their name, so that the first block's records
are the compiled answer: a reply is header, question, and these bytes.  An empty non-terminal has no
blocks, and no such byte unless it is below a delegation.

Names are in wire form and lower case.  Bytes cost the garbage collector nothing, however many names there are, and one
table of one object a name is about as small as Python can have it.

A zone takes changes in place (see `edit`), all from one thread, at once and between two answers.  Who looks through a
zone for longer, such as a transfer or another thread, does so in its `snapshot`.
"""

from __future__ import annotations

import struct
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from responder import ConfigError, Stamp

from ..message import wire
from ..message.wire import RRset

if TYPE_CHECKING:
    from .changes import Change
    from .denial import Chain
    from .signatures import FirstEnd

LINKING: Final = frozenset({wire.NS, wire.CNAME, wire.DNAME, wire.MX, wire.SRV, wire.SVCB, wire.HTTPS})
"""Types that lead on to another name, whose answer is more than their own records."""

ONE_RECORD, ONE_RRSET, SEVERAL, LEADING_ON = range(4)
"""How to answer, the first byte of a node:

ONE_RECORD  its only RRset has one record, and is the whole answer
ONE_RRSET   its only RRset is the whole answer
SEVERAL     of its RRsets those that are not of `LINKING` are the whole answer
LEADING_ON  an alias, a delegation, or below one: no RRset answers by itself
"""

BLOCK: Final = struct.Struct("!HHHI")
"""Type, type covered, number of records, bytes of the records."""

SOME_NAMES: Final = 10_000
"""Names that are looked at before other threads have their turn."""

RECORDS: Final = 1 + BLOCK.size
"""Where the records of a node's first block begin."""

_RECORD = struct.Struct("!2sHHIH")
_NEGATIVE = struct.Struct("!IIIII")


@attrs.define(eq=False, slots=False)  # without slots: cached properties, and weak references
class Zone:
    """All data of a zone.

    hashed     the nodes of NSEC3 records, whose owners are hashes and no names of the zone (RFC 5155 section 7.2.8)
    spelled    the names that the zone file spells otherwise than in lower case
    cuts       the names where other zones begin: those with NS records, but for the origin
    dnames     the names with a DNAME record
    files      what the zone was read from
    warnings   what is served as it stands, but hardly meant
    chain      what proves that something isn't there, where the zone is signed
    ends       when its signatures end
    unsigned   how many RRsets have no signature, where there is a chain
    came_by    what made it of the version before, where that was served by this process and nobody has taken it yet
    """

    origin: bytes
    nodes: dict[bytes, bytes]
    hashed: dict[bytes, bytes] = attrs.field(factory=dict)
    spelled: dict[bytes, bytes] = attrs.field(factory=dict)
    cuts: set[bytes] = attrs.field(factory=set)
    dnames: set[bytes] = attrs.field(factory=set)
    files: Mapping[Path, Stamp] = attrs.field(factory=dict)
    warnings: Sequence[ConfigError] = ()
    chain: Chain | None = None
    ends: FirstEnd | None = None
    unsigned: int = 0
    came_by: Change | None = None
    _snapshot: weakref.ref[Zone] | None = attrs.field(default=None, init=False)

    @property
    def first_end(self) -> float | None:
        """When its first signature ends, in seconds of the real-time clock; None where there is none."""
        return None if self.ends is None else self.ends.time

    def snapshot(self) -> Zone:
        """The zone as it is now, for lookups of data, for as long as somebody holds it: changes go past it.

        Of signed zones it has no `chain`.  The first change while it is held copies the tables: 40 ms for a million
        names.
        """
        held = self._snapshot() if self._snapshot is not None else None
        if held is None:
            held = Zone(self.origin, self.nodes, self.hashed, self.spelled, self.cuts, self.dnames, self.files)
            self._snapshot = weakref.ref(held)
        return held

    def about_to_change(self) -> None:
        """Leave the tables to who holds a snapshot, and forget what was worked out from the SOA record."""
        if self._snapshot is not None and self._snapshot() is not None:
            self.nodes, self.hashed, self.spelled = self.nodes.copy(), self.hashed.copy(), self.spelled.copy()
            self.cuts, self.dnames = self.cuts.copy(), self.dnames.copy()
        self._snapshot = None
        for name in ("soa", "serial", "negative"):
            self.__dict__.pop(name, None)

    @cached_property
    def children(self) -> dict[bytes, int]:
        """How many names stand right below a name, by that name: what tells whether a name is an empty non-terminal.

        A zone that takes changes needs it; worked out at the first time, from all names: some at a time, so that in a
        thread it holds up nobody.
        """
        counts: Counter[bytes] = Counter()
        names = list(self.nodes)
        for at in range(0, len(names), SOME_NAMES):
            counts.update([name[name[0] + 1 :] for name in names[at : at + SOME_NAMES] if name != self.origin])
        return dict(counts)

    def rrset(self, name: bytes, rdtype: int, owner: bytes | None = None, covered: int = 0) -> RRset | None:
        """The RRset of a name in lower case; `owner` is how the name is to be written in it."""
        node = self.nodes.get(name)
        if node:
            for each, of, _, records in blocks(node):
                if each == rdtype and of == covered:
                    return self._rrset(name, each, records, owner)
        return None

    def rrsets_of(self, name: bytes, rdtype: int, owner: bytes | None = None) -> list[RRset]:
        """All records of a type: of RRSIG an RRset for each type covered, else one RRset or none."""
        node = self.nodes.get(name, b"")
        return [self._rrset(name, each, records, owner) for each, _, _, records in blocks(node) if each == rdtype]

    def all_of(self, name: bytes, owner: bytes | None = None) -> list[RRset]:
        """All RRsets of a name, in the order of the file."""
        return [self._rrset(name, each, records, owner) for each, _, _, records in blocks(self.nodes.get(name, b""))]

    def signature(self, rrset: RRset, name: bytes | None = None) -> list[RRset]:
        """The signatures of an RRset, as an RRset of its owner and with its TTL; none where there are none.

        `name` is where they stand: of what a wildcard makes up at the wildcard.
        """
        signed = self.rrset(name or rrset.name.lower(), wire.RRSIG, rrset.name, rrset.rdtype)
        return [] if signed is None else [attrs.evolve(signed, ttl=min(signed.ttl, rrset.ttl))]

    def proof(self, owners: Iterable[bytes]) -> Iterator[RRset]:
        """The NSEC or NSEC3 records of these owners with their signatures."""
        assert self.chain is not None  # noqa: S101 - the owners are the chain's
        rdtype = self.chain.rdtype
        table = self.nodes if rdtype == wire.NSEC else self.hashed
        for owner in owners:
            for each, covered, _, records in blocks(table.get(owner, b"")):
                if each == rdtype or (each == wire.RRSIG and covered == rdtype):
                    yield self._rrset(owner, each, records, None)

    def _rrset(self, name: bytes, rdtype: int, records: bytes, owner: bytes | None) -> RRset:
        ttl, rdatas = unpack(records)
        return RRset(owner or self.spelled.get(name, name), rdtype, ttl, rdatas)

    def has(self, name: bytes, rdtype: int) -> bool:
        return any(each == rdtype for each, _, _, _ in blocks(self.nodes.get(name, b"")))

    @cached_property
    def soa(self) -> RRset:
        soa = self.rrset(self.origin, wire.SOA)
        assert soa is not None  # noqa: S101 - a zone without one is not made
        return soa

    @cached_property
    def serial(self) -> int:
        serial: int = _NEGATIVE.unpack(self.soa.rdatas[0][-_NEGATIVE.size :])[0]
        return serial

    @cached_property
    def negative(self) -> RRset:
        """The SOA record of negative answers: its TTL is the lower of its own and MINIMUM (RFC 2308 section 3)."""
        minimum = _NEGATIVE.unpack(self.soa.rdatas[0][-_NEGATIVE.size :])[4]
        return attrs.evolve(self.soa, ttl=min(self.soa.ttl, minimum))

    def rrsets(self) -> Iterator[RRset]:
        """All of the zone, the SOA first, delegations' glue and NSEC3 records included."""
        yield self.soa
        for table in (self.nodes, self.hashed):
            for name, node in table.items():
                for rdtype, _, _, records in blocks(node):
                    if rdtype != wire.SOA:
                        yield self._rrset(name, rdtype, records, None)


def blocks(node: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Of each RRset of a node: type, type covered, number of records, records."""
    at = 1
    while at < len(node):
        rdtype, covered, count, size = BLOCK.unpack_from(node, at)
        at += BLOCK.size + size
        yield rdtype, covered, count, node[at - size : at]


def pack_record(rdtype: int, ttl: int, rdata: bytes) -> bytes:
    """One record, its name a pointer to the question's.  Raises struct.error where the rdata is too long."""
    return _RECORD.pack(wire.FIRST_NAME, rdtype, wire.IN, ttl, len(rdata)) + rdata


def node_of_one(rdtype: int, ttl: int, rdata: bytes) -> bytes:
    """The node of a name with one record, whose type leads to no other name."""
    record = pack_record(rdtype, ttl, rdata)
    return bytes((ONE_RECORD,)) + BLOCK.pack(rdtype, 0, 1, len(record)) + record


Sets: TypeAlias = dict[tuple[int, int], tuple[int, list[bytes]]]
"""The RRsets of a name by type and type covered: TTL and rdatas."""


def node_of(sets: Sets) -> bytes:
    """The node of a name that is no delegation, nor below one."""
    parts = [b"\0"]
    for (rdtype, covered), (ttl, rdatas) in sets.items():
        records = b"".join(pack_record(rdtype, ttl, rdata) for rdata in rdatas)
        parts += [BLOCK.pack(rdtype, covered, len(rdatas), len(records)), records]
    node = b"".join(parts)
    return bytes((way_to_answer(node),)) + node[1:]


def unpack(records: bytes) -> tuple[int, tuple[bytes, ...]]:
    """TTL and rdatas of a block's records."""
    rdatas = []
    at, ttl = 0, 0
    while at < len(records):
        _, _, _, ttl, size = _RECORD.unpack_from(records, at)
        at += _RECORD.size + size
        rdatas.append(records[at - size : at])
    return ttl, tuple(rdatas)


def ttl_of(records: bytes) -> int:
    return int.from_bytes(records[6:10])


def way_to_answer(node: bytes) -> int:
    """The first byte of a node, from its blocks."""
    count = 0
    first = 0, 0
    for rdtype, _, records, _ in blocks(node):
        if rdtype in (wire.CNAME, wire.DNAME):
            return LEADING_ON
        count += 1
        first = rdtype, records
    if count > 1 or first[0] in LINKING:
        return SEVERAL
    return ONE_RECORD if first[1] == 1 else ONE_RRSET
