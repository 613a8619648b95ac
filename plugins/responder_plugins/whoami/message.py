"""DNS queries and their answers as bytes (RFC 1035, RFC 6891): pure, and on top of dnspython.

What it answers is given to it as values.  It refuses to know sockets, peers and interfaces.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from responder import IPAddress, PeerError

HEADER: Final = struct.Struct("!HHHHHH")
"""ID, flags, and the counts of question, answer, authority and additional records (RFC 1035 section 4.1.1)."""

QR: Final = 0x8000
RD: Final = 0x0100
OPCODE: Final = 0x7800

PLAIN_UDP: Final = 512
"""Bytes that a client without EDNS takes (RFC 1035 section 4.2.1)."""

EDNS_UDP: Final = 1232
"""Bytes sent at most to one with it: no fragment on any IPv6 path (1280 minus the headers)."""

TCP: Final = 65535
"""Bytes that the length prefix of TCP can say (RFC 1035 section 4.2.2)."""


@attrs.frozen
class Facts:
    """What is told about a request: `address` answers A or AAAA (None: neither), `texts` answer TXT."""

    address: IPAddress | None
    texts: Sequence[bytes]


def answer(query: bytes, facts: Facts, *, stream: bool = False) -> bytes:
    """The reply to a query; over UDP it is cut to what the client takes, with TC set.

    Raises PeerError where DNS forbids any reply: no whole header, or not a query.
    """
    if len(query) < HEADER.size:
        raise PeerError(f"{len(query)} bytes are no DNS header")
    ident, flags, questions, *_ = HEADER.unpack_from(query)
    if flags & QR:
        raise PeerError("a response, not a query")
    if flags & OPCODE:
        return _bare(ident, flags, dns.rcode.NOTIMP)
    if questions != 1:  # RFC 9619
        return _bare(ident, flags, dns.rcode.FORMERR)
    try:
        message = dns.message.from_wire(query)
    except (dns.exception.DNSException, ValueError):  # ValueError: options of the OPT record that don't parse
        return _bare(ident, flags, dns.rcode.FORMERR)
    reply = dns.message.make_response(message, our_payload=EDNS_UDP)
    _fill(reply, message, facts)
    if stream:
        limit = TCP
    elif message.edns < 0:
        limit = PLAIN_UDP
    else:
        # RFC 6891 section 6.2.3: a smaller size counts as 512.
        limit = min(max(message.payload, PLAIN_UDP), EDNS_UDP)
    return reply.to_wire(max_size=limit, prefer_truncation=True)


def _bare(ident: int, flags: int, rcode: int) -> bytes:
    """A header that says nothing but the error."""
    return HEADER.pack(ident, QR | flags & (OPCODE | RD) | rcode, 0, 0, 0, 0)


def _fill(reply: dns.message.Message, query: dns.message.Message, facts: Facts) -> None:
    (question,) = query.question
    if query.edns > 0:  # RFC 6891 section 6.1.3
        reply.set_rcode(dns.rcode.BADVERS)
        return
    if question.rdclass != dns.rdataclass.IN:
        reply.set_rcode(dns.rcode.REFUSED)
        return
    reply.flags |= dns.flags.AA
    for rdata in _records(facts):
        if question.rdtype in (rdata.rdtype, dns.rdatatype.ANY):
            # TTL 0: the answer depends on the way of each single query.
            reply.answer.append(dns.rrset.from_rdata(question.name, 0, rdata))


def _records(facts: Facts) -> list[dns.rdata.Rdata]:
    records: list[dns.rdata.Rdata] = [
        dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [text[:255] for text in facts.texts])
    ]
    if facts.address is not None:
        kind = "A" if facts.address.version == 4 else "AAAA"
        records.insert(0, dns.rdata.from_text("IN", kind, str(facts.address)))
    return records
