"""DNS queries and their answers as bytes (RFC 1035, RFC 6891): pure, on the reader and writer that DNS plugins share.

What is answered is given as values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from responder import IPAddress, PeerError
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import Malformed, Message, RRset, Writer

EDNS_UDP: Final = 1232
"""Bytes sent at most to a client with EDNS: no fragment on any IPv6 path (1280 minus the headers)."""


@attrs.frozen
class Facts:
    """What is told about a request: `address` answers A or AAAA (None: neither), `texts` answer TXT."""

    address: IPAddress | None
    texts: Sequence[bytes]


def answer(query: bytes, facts: Facts, *, stream: bool = False) -> bytes:
    """The reply to a query; over UDP it is cut to what the client takes, with TC set.

    Raises PeerError where DNS forbids any reply: no whole header, or not a query.
    """
    if len(query) < dns.HEADER.size:
        raise PeerError(f"{len(query)} bytes are no DNS header")
    ident, flags, questions, *_ = dns.HEADER.unpack_from(query)
    if flags & dns.QR:
        raise PeerError("a response, not a query")
    if flags & dns.OPCODE:
        return _bare(ident, flags, dns.NOTIMP)
    if questions != 1:  # RFC 9619
        return _bare(ident, flags, dns.FORMERR)
    try:
        return _reply(dns.read(query), facts, stream=stream)
    except Malformed:
        return _bare(ident, flags, dns.FORMERR)


def _bare(ident: int, flags: int, rcode: int) -> bytes:
    """A header that says nothing but the error."""
    return dns.HEADER.pack(ident, dns.QR | flags & (dns.OPCODE | dns.RD) | rcode, 0, 0, 0, 0)


def _reply(query: Message, facts: Facts, *, stream: bool) -> bytes:
    """Raises Malformed for EDNS that is there twice, or elsewhere than RFC 6891 section 6.1.1 has it."""
    opts = [record for record in query.additionals if record.rdtype == dns.OPT]
    if len(opts) > 1 or any(opt.name != dns.ROOT for opt in opts):
        raise Malformed("more than one OPT record, or one with a name")
    edns = opts[0] if opts else None
    ours = b""
    rcode = dns.NOERROR
    if edns is not None:
        if edns.ttl >> 16 & 0xFF:  # RFC 6891 section 6.1.3
            rcode = dns.BADVERS
        ours = dns.opt_record(EDNS_UDP, rcode, bool(edns.ttl & 0x8000))
    if stream:
        limit = dns.STREAM
    elif edns is None:
        limit = dns.PLAIN_UDP
    else:
        # RFC 6891 section 6.2.3: a smaller size counts as 512.
        limit = min(max(edns.rdclass, dns.PLAIN_UDP), EDNS_UDP)
    (question,) = query.questions
    writer = Writer(question.name + dns.QUESTION.pack(question.rdtype, question.rdclass), limit - len(ours))
    flags = dns.QR | query.flags & dns.RD | rcode & dns.RCODE
    if rcode == dns.NOERROR:
        if question.rdclass != dns.IN:
            flags |= dns.REFUSED
        else:
            flags |= dns.AA
            # TTL 0: the answer depends on the way of each single query.
            for rdtype, rdata in _records(facts):
                if question.rdtype in (rdtype, dns.ANY) and not writer.add(
                    0, RRset(question.name, rdtype, 0, (rdata,))
                ):
                    flags |= dns.TC
    if ours:
        writer.add_raw(2, ours)
    return writer.finish(query.ident, flags)


def _records(facts: Facts) -> Iterator[tuple[int, bytes]]:
    """Types with rdata."""
    if facts.address is not None:
        yield dns.A if facts.address.version == 4 else dns.AAAA, facts.address.packed
    yield dns.TXT, b"".join(bytes([len(text[:255])]) + text[:255] for text in facts.texts)
