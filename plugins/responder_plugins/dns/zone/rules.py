"""What holds of every zone: for zones that are read (`builder`) and zones that change (`edit`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..message import wire

LONGEST: Final = wire.STREAM - 512
"""Bytes of an RRset that fit into a message, beside header, question, OPT and TSIG."""

SINGLE: Final = frozenset({wire.SOA, wire.CNAME, wire.DNAME})
"""Types of which a name has one record (RFC 1034 section 3.6.2, RFC 6672 section 2.4)."""

MADE_BY_SIGNER: Final = frozenset(
    {wire.RRSIG, wire.NSEC, wire.NSEC3, wire.NSEC3PARAM, wire.DNSKEY, wire.CDS, wire.CDNSKEY, wire.ZONEMD}
)
"""Types that a zone that is signed here has no other records of: they are made here, or, ZONEMD, wrong once it is."""

NEEDED: Final = (wire.SOA, wire.NS)
"""What a zone has where it begins."""

_BESIDE_CNAME: Final = frozenset({wire.CNAME, wire.RRSIG, wire.NSEC, wire.KEY, wire.SIG, wire.NXT})
"""RFC 4034 sections 2.5 and 4, RFC 2535 section 2.3.5: what signs a name may stand beside its CNAME."""


def may_stand_together(present: Collection[int], rdtype: int) -> bool:
    """May a name with records of these types have one of that type (RFC 2181 section 10.1)?"""
    if rdtype == wire.CNAME:
        return _BESIDE_CNAME.issuperset(present)
    return wire.CNAME not in present or rdtype in _BESIDE_CNAME


def is_of_hashes(rdtype: int, covered: int) -> bool:
    """Does it stand apart, at an owner that is a hash and no name of the zone (RFC 5155 section 7.2.8)?"""
    return wire.NSEC3 in (rdtype, covered)


def covered_by(rdtype: int, rdata: bytes) -> int:
    """The type covered by an RRSIG record; 0 of others."""
    return int.from_bytes(rdata[:2]) if rdtype == wire.RRSIG else 0
