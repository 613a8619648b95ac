"""A whole zone as messages: AXFR (RFC 5936), and IXFR (RFC 1995) answered by the whole or by "you have it already".

Give it a snapshot of the zone, so that the transfer is consistent however long it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..message import wire
from ..message.wire import Query
from ..zone.tables import Zone

FULL: Final = 16384
"""Bytes after which a message is sent: offsets of compression pointers end there, and clients see progress."""


def is_current(query: Query, zone: Zone) -> bool:
    """Has who asks for the changes all of them?  By serial number arithmetic (RFC 1982)."""
    return query.serial is not None and (query.serial - zone.serial) % 2**32 < 2**31


def messages(zone: Zone, query: Query) -> Iterator[bytes]:
    """All messages of the answer, in order.  Every name of the zone ends with a pointer to the question's."""
    flags = wire.QR | wire.AA | query.flags & wire.ECHOED
    question = query.question
    parts: list[bytes] = []
    size = count = 0
    for record in _records(zone, only_soa=query.rdtype == wire.IXFR and is_current(query, zone)):
        if size + len(record) > FULL and parts:
            yield wire.HEADER.pack(query.ident, flags, 1, count, 0, 0) + question + b"".join(parts)
            parts, size, count = [], 0, 0
        parts.append(record)
        size += len(record)
        count += 1
    yield wire.HEADER.pack(query.ident, flags, 1, count, 0, 0) + question + b"".join(parts)


def _records(zone: Zone, *, only_soa: bool) -> Iterator[bytes]:
    """RFC 5936 section 2.2: the SOA record, all others, and the SOA record again."""
    for rrset in () if only_soa else zone.rrsets():
        owner = rrset.name[: len(rrset.name) - len(zone.origin)] + wire.FIRST_NAME
        for rdata in rrset.rdatas:
            yield owner + wire.RECORD.pack(rrset.rdtype, wire.IN, rrset.ttl, len(rdata)) + rdata
    soa = zone.soa
    yield wire.FIRST_NAME + wire.RECORD.pack(wire.SOA, wire.IN, soa.ttl, len(soa.rdatas[0])) + soa.rdatas[0]
