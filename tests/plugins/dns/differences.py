"""Two servers' answers to one query, compared; and every way in which they may differ, with what decides it.

Compared are rcode, flags, the question, EDNS' version and DO, and the sections as sets; decoded by dnspython, which has
no part in making them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype


@attrs.frozen
class Seen:
    """An answer, and the query's own facts where only rules need them.  Sections hold (name, type, TTL, rdata)."""

    rcode: str
    flags: str
    question: bytes
    edns: int
    dnssec_ok: bool
    answer: frozenset[Any]
    authority: frozenset[Any]
    additional: frozenset[Any]


FIELDS = [field.name for field in attrs.fields(Seen)]


def seen(wire: bytes) -> Seen:
    message = dns.message.from_wire(wire)
    return Seen(
        dns.rcode.to_text(message.rcode()),
        dns.flags.to_text(message.flags),
        message.question[0].name.to_wire() or b"" if message.question else b"",
        message.edns,
        bool(message.ednsflags & dns.flags.DO),
        *(
            frozenset(
                (rrset.name.to_digestable(), int(rrset.rdtype), rrset.ttl, rdata.to_digestable())
                for rrset in section
                for rdata in rrset
            )
            for section in (message.answer, message.authority, message.additional)
        ),
    )


def differing(ours: bytes, theirs: bytes) -> tuple[str, ...]:
    """The names of the fields that differ."""
    if ours == theirs:
        return ()
    one, other = seen(ours), seen(theirs)
    return tuple(name for name in FIELDS if getattr(one, name) != getattr(other, name))


@attrs.frozen
class Rule:
    """A difference that may be: which server's, which fields, when, and what decides it for us."""

    server: str
    fields: frozenset[str]
    when: Callable[[dns.message.Message, Seen, Seen], bool]
    decided_by: str


def _rdtype(query: dns.message.Message) -> int:
    return int(query.question[0].rdtype)


def _rdclass(query: dns.message.Message) -> int:
    return int(query.question[0].rdclass)


def _adds_name_servers(_query: dns.message.Message, ours: Seen, theirs: Seen) -> bool:
    """NSD adds the zone's NS records, and their addresses, to a positive answer."""
    return bool(
        ours.answer
        and not ours.authority
        and {rdtype for _, rdtype, _, _ in theirs.authority} == {dns.rdatatype.NS}
        and ours.additional <= theirs.additional
        and {rdtype for _, rdtype, _, _ in theirs.additional} <= {dns.rdatatype.A, dns.rdatatype.AAAA}
    )


RULES = [
    Rule(
        "nsd",
        frozenset({"question"}),
        lambda query, ours, theirs: _rdclass(query) not in (1, 3) and ours.rcode == theirs.rcode == "REFUSED",
        "RFC 5452 section 9.1: without the question a resolver can't match the answer; NSD leaves it out here",
    ),
    Rule(
        "nsd",
        frozenset({"authority", "additional"}),
        _adds_name_servers,
        "RFC 1034 section 4.3.2: step 6 asks for useful records, not for the zone's NS; Knot gives none either",
    ),
    Rule(
        "nsd",
        frozenset({"authority", "additional"}),
        lambda query, ours, theirs: _rdtype(query) in (15, 255) and bool(ours.additional - theirs.additional),
        "RFC 1034 section 4.3.2: step 6 takes addresses from glue too, for an MX that leads below a cut; as Knot does",
    ),
    Rule(
        "nsd",
        frozenset({"authority", "additional"}),
        lambda query, ours, theirs: _rdtype(query) in (64, 65) and bool(ours.additional - theirs.additional),
        "RFC 9460 section 4.1: addresses of the targets of SVCB and HTTPS should be added; as Knot does",
    ),
    Rule(
        "nsd",
        frozenset({"dnssec_ok", "flags"}),
        lambda _query, ours, theirs: ours.rcode == theirs.rcode == "BADVERS",
        "RFC 3225 section 3 (DO is copied) and RFC 4035 section 3.1.6 (CD is cleared), in BADVERS answers too",
    ),
    Rule(
        "nsd",
        frozenset({"answer"}),
        lambda query, ours, theirs: _rdtype(query) == 255 and len({each[1] for each in theirs.answer}) == 1,
        "RFC 8482 section 4.1: any one RRset for ANY; ours is the smallest, NSD's the last of the file",
    ),
    Rule(
        "nsd",
        frozenset({"answer", "authority", "additional", "rcode"}),
        lambda query, _ours, theirs: (
            _rdtype(query) in (46, 47) and any(each[1] == dns.rdatatype.CNAME for each in theirs.answer)
        ),
        "RFC 4034 sections 2.5 and 4: RRSIG and NSEC belong to the alias itself, so they don't follow it; as Knot does",
    ),
    Rule(
        "nsd",
        frozenset({"answer", "authority", "additional", "rcode"}),
        lambda query, ours, _theirs: (
            _rdtype(query) == 50 and any(each[1] == dns.rdatatype.CNAME for each in ours.answer)
        ),
        "RFC 5155 section 7.2.8 is about owners of NSEC3 records; an alias is followed for type NSEC3 as for others",
    ),
    Rule(
        "nsd",
        frozenset({"rcode"}),
        lambda query, ours, _theirs: query.opcode() == 4 and ours.rcode == "NOTIMP",
        "RFC 1035 section 4.1.1: NOTIFY is for secondaries, which this is not; NSD says REFUSED",
    ),
    Rule(
        "knot",
        frozenset({"question", "rcode"}),
        lambda query, ours, _theirs: query.opcode() != 0 and ours.rcode == "NOTIMP",
        "RFC 1035 section 4.1.1: of a message in an unknown format nothing but the header can be repeated; NSD does so",
    ),
    Rule(
        "knot",
        frozenset({"rcode"}),
        lambda query, ours, theirs: _rdclass(query) != 1 and (ours.rcode, theirs.rcode) == ("REFUSED", "NOTIMP"),
        "RFC 5936 section 4.2 is about zones; there is none of this class here, whatever the type",
    ),
]
