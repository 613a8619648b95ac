"""LLMNR's messages (RFC 4795 section 2.1): DNS messages whose header has other bits, as bytes and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

import attrs

from responder import Interface, IPAddress

from ..shared import dns_message as dns
from ..shared.dns_message import Malformed, Message, Question, Writer
from ..shared.refused import Refused

PORT: Final = 5355
GROUPS: Final = tuple(map(ip_address, ("224.0.0.252", "ff02::1:3")))

CONFLICT: Final = 0x0400
"""C: in a query, several hosts answered an earlier one; in a response, the name is not meant to be unique."""

TRUNCATED: Final = 0x0200
TENTATIVE: Final = 0x0100
"""T: the name's uniqueness is not verified yet."""

TTL: Final = 30
"""Seconds (section 2.8)."""

MAX_UDP: Final = 1232
"""Bytes of a response for a client with EDNS: no fragment on any IPv6 path."""


@attrs.frozen
class Query:
    """A query; `size` is the bytes of a response that its sender takes, None without EDNS."""

    ident: int
    conflict: bool
    question: Question
    size: int | None = None


@attrs.frozen
class Record:
    """A record of our own."""

    name: bytes
    rdtype: int
    rdata: bytes


@attrs.frozen
class Response:
    """A response: what it is about, its bits, its RCODE and its records."""

    ident: int
    conflict: bool
    tentative: bool
    truncated: bool
    rcode: int
    question: Question
    answers: list[dns.Record]


def is_response(payload: bytes) -> bool:
    """Does a message say that it is a response?"""
    return len(payload) > 2 and bool(payload[2] & 0x80)


def read_query(payload: bytes) -> Query:
    """Raises Refused for what section 2.1.1 has silently discarded."""
    message = _read(payload)
    if message.flags & dns.QR:
        raise Refused("a response", "malformed")
    if message.flags & dns.OPCODE:
        raise Refused("another opcode", "bad-opcode")
    if len(message.questions) != 1 or message.answers or message.authorities:
        raise Refused("not one question and nothing else", "bad-counts")
    sizes = [record.rdclass for record in message.additionals if record.rdtype == dns.OPT]
    return Query(message.ident, bool(message.flags & CONFLICT), message.questions[0], max(sizes) if sizes else None)


def read_response(payload: bytes) -> Response:
    """Raises Refused for what is no response to a query."""
    message = _read(payload)
    if not message.flags & dns.QR or message.flags & dns.OPCODE or len(message.questions) != 1:
        raise Refused("no response to a query", "malformed")
    return Response(
        message.ident,
        bool(message.flags & CONFLICT),
        bool(message.flags & TENTATIVE),
        bool(message.flags & TRUNCATED),
        message.flags & dns.RCODE,
        message.questions[0],
        message.answers,
    )


def _read(payload: bytes) -> Message:
    try:
        return dns.read(payload)
    except Malformed as error:
        raise Refused(str(error), "malformed") from None


def write_query(ident: int, name: bytes, rdtype: int, rdclass: int = dns.IN) -> bytes:
    return Writer(name + dns.QUESTION.pack(rdtype, rdclass), dns.PLAIN_UDP).finish(ident, 0)


def write_response(query: Query, records: Iterable[Record], *, tentative: bool = False, stream: bool = False) -> bytes:
    """A response with those records, as many as fit; TC says that there are more.

    Names are not compressed, since nmap 7.93 reads only such.
    """
    limit = dns.PLAIN_UDP
    opt = b""
    if query.size is not None:
        limit = min(max(query.size, dns.PLAIN_UDP), MAX_UDP)
        opt = dns.opt_record(MAX_UDP, dns.NOERROR, dnssec_ok=False)
    if stream:
        limit = dns.STREAM
    question = query.question
    writer = Writer(question.name + dns.QUESTION.pack(question.rdtype, question.rdclass), limit)
    flags = dns.QR | (TENTATIVE if tentative else 0)
    for record in records:
        head = record.name + dns.RECORD.pack(record.rdtype, dns.IN, TTL, len(record.rdata))
        if len(writer) + len(head) + len(record.rdata) + len(opt) > limit:
            flags |= TRUNCATED
            break
        writer.add_raw(0, head + record.rdata)
    if opt:
        writer.add_raw(2, opt)
    return writer.finish(query.ident, flags)


def address_records(name: bytes, interface: Interface, rdtype: int, peer: IPAddress) -> Iterator[Record]:
    """The A and AAAA records of an interface, as far as the type asks for them.

    First those of the peer's scope: link-local ones for a link-local peer, the others else (section 2.6 (d), (e)).
    """
    for entry in sorted(interface.addresses, key=lambda own: own.address.is_link_local != peer.is_link_local):
        kind = dns.A if entry.address.version == 4 else dns.AAAA
        if rdtype in (kind, dns.ANY):
            yield Record(name, kind, entry.address.packed)


def reverse_name(address: IPAddress) -> bytes:
    """The name below in-addr.arpa or ip6.arpa that stands for an address, in lower case."""
    return dns.to_name(label.encode() for label in address.reverse_pointer.split("."))
