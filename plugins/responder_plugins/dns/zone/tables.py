"""A zone in memory: flat tables of bytes, made for a lookup and a copy.

    answers  name + type -> count + records     what can be given as it is: the zone's own data without names to follow
    linked   name + type -> count + records     the rest: NS, CNAME, MX, SVCB ..., and whatever is below a delegation
    names    name -> its types, two bytes each  every name that exists; an empty non-terminal has none

Names are in wire form and lower case.  Records are in wire form with a pointer to the question in place of their name,
so that those of `answers` are the compiled answer: a reply is header, question, and these bytes.  Tables of bytes also
cost the garbage collector nothing, however many records there are.

A zone doesn't change once it is made.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

import attrs

from responder import Stamp

from ..message import wire
from ..message.wire import RRset

LINKING: Final = frozenset({wire.NS, wire.CNAME, wire.DNAME, wire.MX, wire.SRV, wire.SVCB, wire.HTTPS})
"""Types that lead on to another name, whose answer is more than their own records."""

_RECORD = struct.Struct("!2sHHIH")
_NEGATIVE = struct.Struct("!IIIII")


@attrs.frozen(eq=False, slots=False)  # without slots: cached properties, and the weak references of `loading`
class Zone:
    """`spelled` has the names that the zone file spells otherwise than in lower case, `files` what it was read from."""

    origin: bytes
    answers: Mapping[bytes, bytes]
    linked: Mapping[bytes, bytes]
    names: Mapping[bytes, bytes]
    spelled: Mapping[bytes, bytes] = attrs.field(factory=dict)
    files: Mapping[Path, Stamp] = attrs.field(factory=dict)

    def rrset(self, name: bytes, rdtype: int, owner: bytes | None = None) -> RRset | None:
        """The RRset of a name in lower case; `owner` is how the name is to be written in it."""
        key = name + rdtype.to_bytes(2)
        packed = self.answers.get(key) or self.linked.get(key)
        if packed is None:
            return None
        ttl, rdatas = unpack(packed)
        return RRset(owner or self.spelled.get(name, name), rdtype, ttl, rdatas)

    def types(self, name: bytes) -> tuple[int, ...]:
        """Those of an existing name, in the order of the file."""
        packed = self.names.get(name, b"")
        return struct.unpack(f"!{len(packed) // 2}H", packed)

    def has(self, name: bytes, rdtype: int) -> bool:
        key = name + rdtype.to_bytes(2)
        return key in self.linked or key in self.answers

    @cached_property
    def soa(self) -> RRset:
        soa = self.rrset(self.origin, wire.SOA)
        assert soa is not None  # noqa: S101 - loading refuses a zone without one
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

    @cached_property
    def records(self) -> int:
        return sum(int.from_bytes(packed[:2]) for table in (self.answers, self.linked) for packed in table.values())

    def rrsets(self) -> Iterator[RRset]:
        """All of the zone, the SOA first, delegations' glue included."""
        yield self.soa
        for name in self.names:
            for rdtype in self.types(name):
                if rdtype != wire.SOA:
                    rrset = self.rrset(name, rdtype)
                    assert rrset is not None  # noqa: S101 - `names` lists what the other tables have
                    yield rrset


def pack(rdtype: int, ttl: int, rdata: bytes) -> bytes:
    """One record, its name a pointer to the question's."""
    return _RECORD.pack(wire.FIRST_NAME, rdtype, wire.IN, ttl, len(rdata)) + rdata


def unpack(packed: bytes) -> tuple[int, tuple[bytes, ...]]:
    """TTL and rdatas of a table's value."""
    rdatas = []
    at, ttl = 2, 0
    while at < len(packed):
        _, _, _, ttl, size = _RECORD.unpack_from(packed, at)
        at += _RECORD.size + size
        rdatas.append(packed[at - size : at])
    return ttl, tuple(rdatas)
