"""What compiled answers are put together from: how a shape of query is replied to, and the SOA record of denials."""

from __future__ import annotations

from typing import Final

import attrs

from ..message import wire
from ..message.wire import Query
from ..zone.tables import ONE_RECORD, Zone
from . import lookup

_PROCESSED: Final = frozenset(
    {wire.OPT, wire.DS, wire.TKEY, wire.TSIG, wire.IXFR, wire.AXFR, 253, 254, wire.ANY, wire.RRSIG, wire.NSEC}
)
"""Types with rules of their own."""


@attrs.frozen(eq=False)
class Shape:
    """How to reply to queries of one shape.

    rdtype         the type, as a number and in wire form; processed: it has rules of its own
    signatures     what is learnt is the only answer: a zone is signed, and the client wants its signatures
    direct         how a node begins whose only record is the answer
    positive, missing, referral, refused   flags and the count of questions, by what is said
    one, negative  the same with all counts, for an answer of one record and for no data
    rest           the counts of authority and additional records where there are none but our OPT record
    opt            our OPT record, or nothing; `refusing` the same with the reason
    limit          bytes that the reply may have
    """

    rdtype: int
    packed_rdtype: bytes
    processed: bool
    signatures: bool
    direct: bytes
    positive: bytes
    missing: bytes
    referral: bytes
    refused: bytes
    one: bytes
    negative: bytes
    rest: bytes
    opt: bytes
    refusing: bytes
    limit: int

    @classmethod
    def of(cls, query: Query, size: int, *, signed: bool) -> Shape:
        flags = wire.QR | query.flags & wire.ECHOED
        opt = refusing = b""
        if query.edns is not None:
            opt = wire.opt_record(size, 0, query.edns.dnssec_ok)
            reason = wire.option(wire.EDE, lookup.NOT_AUTHORITATIVE.to_bytes(2))
            refusing = wire.opt_record(size, 0, query.edns.dnssec_ok, reason)
        additional = b"\0\1" if opt else b"\0\0"
        positive = (flags | wire.AA).to_bytes(2) + b"\0\1"
        return cls(
            rdtype=query.rdtype,
            packed_rdtype=query.rdtype.to_bytes(2),
            processed=query.rdtype in _PROCESSED,
            signatures=signed and query.edns is not None and query.edns.dnssec_ok,
            direct=b"" if query.rdtype in _PROCESSED else bytes((ONE_RECORD,)) + query.rdtype.to_bytes(2),
            positive=positive,
            missing=(flags | wire.AA | wire.NXDOMAIN).to_bytes(2) + b"\0\1",
            referral=flags.to_bytes(2) + b"\0\1",
            refused=(flags | wire.REFUSED).to_bytes(2) + b"\0\1",
            one=positive + b"\0\1\0\0" + additional,
            negative=positive + b"\0\0\0\1" + additional,
            rest=b"\0\0" + additional,
            opt=opt,
            refusing=refusing,
            limit=min(query.edns.size, size) if query.edns is not None else wire.PLAIN_UDP,
        )


class Denials:
    """The SOA record of a zone's negative answers, by the place of the zone's name in the message."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._made: dict[int, bytes] = {}

    def renew(self, zone: Zone) -> None:
        """The zone has changed, or another one stands in its place."""
        self.zone = zone
        self._made = {}

    def record(self, name: bytes) -> bytes:
        """For a name of the zone that is the question's."""
        place = wire.HEADER.size + len(name) - len(self.zone.origin)
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._make((0xC000 | place).to_bytes(2))
        return made

    def _make(self, pointer: bytes) -> bytes:
        soa = self.zone.negative
        rdata, at = b"", 0
        for _ in range(2):  # MNAME and RNAME
            end = wire.name_end(soa.rdatas[0], at)
            name = soa.rdatas[0][at:end]
            if wire.is_below(name.lower(), self.zone.origin):
                name = name[: -len(self.zone.origin)] + pointer
            rdata += name
            at = end
        rdata += soa.rdatas[0][at:]
        return pointer + wire.RECORD.pack(wire.SOA, wire.IN, soa.ttl, len(rdata)) + rdata
