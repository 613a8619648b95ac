"""What makes one version of a zone out of another: records that go and records that come, as IXFR tells them.

A `Change` is a thing of its own: an update, a transfer, a signer or a file that was edited makes one; `edit` puts it
into a zone in memory, the journal keeps it, and IXFR sends it on (RFC 1995).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import attrs

from ..message import wire
from .rdata import folded
from .rules import covered_by
from .tables import Zone, blocks, unpack

_COUNTS = struct.Struct("!II")
_HEAD = struct.Struct("!HIH")  # type, TTL, size of the rdata


class ZoneRecord(NamedTuple):
    """A record of class IN; its name as it is written, the TTL in seconds, the rdata without compression."""

    name: bytes
    rdtype: int
    ttl: int
    rdata: bytes

    @property
    def identity(self) -> tuple[bytes, int, bytes]:
        """What is equal of equal records: neither their spelling (RFC 4343) nor their TTL (RFC 2181 section 5.2)."""
        return self.name.lower(), self.rdtype, folded(self.rdtype, self.rdata)


@attrs.frozen
class Change:
    """Records that go and records that come.  The first of each is the SOA record of the version before and after.

    Where an RRset gets another TTL, all of its records go and come.
    """

    removed: tuple[ZoneRecord, ...]
    added: tuple[ZoneRecord, ...]

    @classmethod
    def of(cls, removed: Iterable[ZoneRecord], added: Iterable[ZoneRecord]) -> Change:
        """In any order.  Raises ValueError where one side has not one SOA record."""
        sides = []
        for side in (list(removed), list(added)):
            side.sort(key=lambda record: record.rdtype != wire.SOA)
            if not side or [record.rdtype for record in side[:2]].count(wire.SOA) != 1:
                raise ValueError("a change has an SOA record that goes, and one that comes")
            sides.append(tuple(side))
        return cls(*sides)

    @property
    def before(self) -> int:
        """The serial number of the version that it is applied to."""
        return serial_of(self.removed[0].rdata)

    @property
    def after(self) -> int:
        """The serial number of the version that it makes."""
        return serial_of(self.added[0].rdata)

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)

    def encoded(self) -> bytes:
        parts = [_COUNTS.pack(len(self.removed), len(self.added))]
        for name, rdtype, ttl, rdata in (*self.removed, *self.added):
            parts += [name, _HEAD.pack(rdtype, ttl, len(rdata)), rdata]
        return b"".join(parts)

    @classmethod
    def decoded(cls, data: bytes) -> Change:
        """What `encoded` made.  Raises ValueError for anything else."""
        try:
            removed, added = _COUNTS.unpack_from(data)
            records, at = [], _COUNTS.size
            while at < len(data):
                end = wire.name_end(data, at)
                rdtype, ttl, size = _HEAD.unpack_from(data, end)
                start = end + _HEAD.size
                records.append(ZoneRecord(data[at:end], rdtype, ttl, data[start : start + size]))
                at = start + size
        except (struct.error, IndexError) as error:
            raise ValueError("no change of a zone") from error
        if at != len(data) or len(records) != removed + added:
            raise ValueError("no change of a zone")
        return cls.of(records[:removed], records[removed:])


def serial_of(soa: bytes) -> int:
    """The serial number in the rdata of an SOA record."""
    return int.from_bytes(soa[-20:-16])


def with_serial(soa: ZoneRecord, serial: int) -> ZoneRecord:
    """The SOA record with another serial number."""
    return soa._replace(rdata=soa.rdata[:-20] + serial.to_bytes(4) + soa.rdata[-16:])


def is_newer(serial: int, than: int) -> bool:
    """By serial number arithmetic (RFC 1982); of two that can't be compared, neither is."""
    return 0 < (serial - than) % 2**32 < 2**31


def next_serial(serial: int) -> int:
    """The one after; never 0, which some take for none."""
    return (serial + 1) % 2**32 or 1


def soa_record(zone: Zone) -> ZoneRecord:
    return ZoneRecord(zone.soa.name, wire.SOA, zone.soa.ttl, zone.soa.rdatas[0])


def records_of(zone: Zone) -> Iterator[ZoneRecord]:
    """All records of a zone, the SOA record first."""
    for rrset in zone.rrsets():
        for rdata in rrset.rdatas:
            yield ZoneRecord(rrset.name, rrset.rdtype, rrset.ttl, rdata)


def difference(old: Zone, new: Zone, limit: int | None = None) -> Change | None:
    """What makes `new` of `old`; None where that is more than `limit` records.

    It looks at every name: call it in a thread, and for a zone that may change meanwhile with its snapshot.
    """
    removed, added = [soa_record(old)], [soa_record(new)]
    for before, after in ((old.nodes, new.nodes), (old.hashed, new.hashed)):
        for name, node in before.items():
            other = after.get(name, b"")
            if node[1:] != other[1:]:
                gone, come = _differing(old.spelled.get(name, name), node, new.spelled.get(name, name), other)
                removed += gone
                added += come
                if limit is not None and len(removed) + len(added) > limit:
                    return None
        for name, node in after.items():
            if len(node) > 1 and name not in before:
                added += _differing(b"", b"", new.spelled.get(name, name), node)[1]
                if limit is not None and len(removed) + len(added) > limit:
                    return None
    return Change.of(removed, added)


def _differing(old_name: bytes, old: bytes, new_name: bytes, new: bytes) -> tuple[list[ZoneRecord], list[ZoneRecord]]:
    """Of two nodes the records that only one has, without the SOA record."""
    before, after = _by_identity(old_name, old), _by_identity(new_name, new)
    same = before.keys() & after.keys()
    same = {identity for identity in same if before[identity].ttl == after[identity].ttl}
    gone = [record for identity, record in before.items() if identity not in same]
    come = [record for identity, record in after.items() if identity not in same]
    return gone, come


def _by_identity(name: bytes, node: bytes) -> dict[tuple[bytes, int, bytes], ZoneRecord]:
    found = {}
    for rdtype, _, _, records in blocks(node):
        if rdtype != wire.SOA:
            ttl, rdatas = unpack(records)
            for rdata in rdatas:
                record = ZoneRecord(name, rdtype, ttl, rdata)
                found[record.identity] = record
    return found


def composed(changes: Iterable[Change]) -> Change:
    """One change instead of several, at least one, each of which begins where the one before it ends."""
    removed: dict[tuple[bytes, int, bytes], ZoneRecord] = {}
    added: dict[tuple[bytes, int, bytes], ZoneRecord] = {}
    for change in changes:
        for record in change.removed:
            identity = record.identity
            if added.pop(identity, None) is None:
                removed[identity] = record
        for record in change.added:
            identity = record.identity
            if removed.get(identity) == record:
                del removed[identity]
            else:
                added[identity] = record
    return Change.of(removed.values(), added.values())


def fitting(zone: Zone, change: Change, after: ZoneRecord) -> Change:
    """What is left to do of a change in a zone that it wasn't made for; `after` is the SOA record to get."""
    soa = soa_record(zone)
    removed = [record for record in change.removed[1:] if _stands_in(zone, record)]
    taken = {record.identity for record in removed}
    added = [record for record in change.added[1:] if record.identity in taken or not _stands_in(zone, record)]
    return Change.of([soa, *removed], [after, *added])


def _stands_in(zone: Zone, record: ZoneRecord) -> bool:
    covered = covered_by(record.rdtype, record.rdata)
    rrset = zone.rrset(record.name.lower(), record.rdtype, covered=covered)
    wanted = folded(record.rdtype, record.rdata)
    return rrset is not None and any(folded(record.rdtype, rdata) == wanted for rdata in rrset.rdatas)
