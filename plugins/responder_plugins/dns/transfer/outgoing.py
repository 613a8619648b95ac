"""A zone as messages: AXFR (RFC 5936), and IXFR (RFC 1995): what has changed, the whole, or "you have it already".

Give it a snapshot of the zone, so that the transfer is consistent however long it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ..message import wire
from ..message.wire import Query
from ..zone.changes import Change, ZoneRecord, records_of, soa_record
from ..zone.tables import Zone

FULL: Final = 16384
"""Bytes after which a message is sent: offsets of compression pointers end there, and clients see progress."""


def is_current(query: Query, zone: Zone) -> bool:
    """Has who asks for the changes all of them?  By serial number arithmetic (RFC 1982)."""
    return query.serial is not None and (query.serial - zone.serial) % 2**32 < 2**31


def messages(
    zone: Zone,
    query: Query,
    changes: Iterable[Change] | None = None,
    opt: Callable[[int], bytes] = lambda _size: b"",
) -> Iterator[bytes]:
    """All messages of the answer, in order.  Every name of the zone ends with a pointer to the question's.

    `changes` lead from the version that the client has to this one; None: the whole zone goes.  `opt` gives the OPT
    record, or nothing, that ends a message of so many bytes.
    """
    flags = wire.QR | wire.AA | query.flags & wire.ECHOED
    question = query.question

    def message() -> bytes:
        records = b"".join(parts)
        last = opt(wire.HEADER.size + len(question) + len(records))
        return wire.HEADER.pack(query.ident, flags, 1, count, 0, bool(last)) + question + records + last

    parts: list[bytes] = []
    size = count = 0
    records = whole(zone) if changes is None else increments(zone, changes)
    if query.rdtype == wire.IXFR and is_current(query, zone):
        records = iter([soa_record(zone)])
    for name, rdtype, ttl, rdata in records:
        owner = name[: len(name) - len(zone.origin)] + wire.FIRST_NAME
        record = owner + wire.RECORD.pack(rdtype, wire.IN, ttl, len(rdata)) + rdata
        if size + len(record) > FULL and parts:
            yield message()
            parts, size, count = [], 0, 0
        parts.append(record)
        size += len(record)
        count += 1
    yield message()


def whole(zone: Zone) -> Iterator[ZoneRecord]:
    """RFC 5936 section 2.2: the SOA record, all others, and the SOA record again."""
    yield from records_of(zone)
    yield soa_record(zone)


def increments(zone: Zone, changes: Iterable[Change]) -> Iterator[ZoneRecord]:
    """RFC 1995 section 4: between two SOA records each change, what goes and what comes, each behind its SOA record."""
    yield soa_record(zone)
    for change in changes:
        yield from change.removed
        yield from change.added
    yield soa_record(zone)
