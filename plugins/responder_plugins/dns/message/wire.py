"""DNS queries from bytes, and answers to bytes (RFC 1035, RFC 6891): ours, since any peer can send anything.

A query is read by hand and in one pass: no compression pointer is followed, a count is believed only as far as there
are bytes, and nothing is raised but PeerError, for what gets no answer at all.  What can be answered, if only by an
error, becomes a `Query` that says so in `problem`.

Why it is not the reader that other plugins share, see `responder_plugins.shared.dns_message`; all else about messages
comes from there, whole, so that this plugin finds it in one place.

Names are bytes in wire form, without compression; those to compare or to look up are in lower case (RFC 4343), which
`bytes.lower` does: a label's length (0..63) is no letter.
"""

# ruff: noqa: F405 - names of the shared module

from __future__ import annotations

import struct
from typing import Final

import attrs

from responder import PeerError
from responder_plugins.shared.dns_message import *  # noqa: F403 - see above

ECHOED: Final = OPCODE | RD
"""What a reply repeats of the query's flags (RFC 1035 section 4.1.1); CD and AD are cleared (RFC 4035 3.1.6)."""

SIG, KEY, NXT = 24, 25, 30
RRSIG, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, ZONEMD = 46, 48, 50, 51, 59, 60, 63
NSID, COOKIE, KEEPALIVE, PADDING, EDE = 3, 10, 11, 12, 15

NOTIFY = 4
"""The opcode by which primaries tell of changes (RFC 1996)."""

UPDATE = 5
"""The opcode of dynamic updates (RFC 2136); what they carry is read elsewhere, once it is known who sends it."""

MAX_RECORDS: Final = 16
"""Records beside the question that a query is read with.  An honest one has three: SOA (IXFR), OPT and TSIG."""

MAX_OPTIONS: Final = 32
"""Options of EDNS that a query is read with, so that no datagram takes long."""

FIRST_NAME: Final = b"\xc0\x0c"
"""A compression pointer to the question's name."""


@attrs.define(eq=False)
class Edns:
    """A query's OPT record: the UDP size it takes (bytes, at least 512), and of its options those that are known.

    timeout  set by who has the connection: what it is to be told, in tenths of a second (RFC 7828); None: nothing
    """

    size: int
    version: int
    dnssec_ok: bool
    nsid: bool = False
    cookie: bytes | None = None
    padding: bool = False
    keepalive: bool = False
    timeout: int | None = None


@attrs.define(eq=False)
class Query:
    """A query that gets an answer.

    question  name, type and class as sent; empty where they could not be read
    name      the question's name in lower case
    tsig      where its TSIG record begins (bytes from the start); 0: it has none
    serial    of the SOA record that an IXFR query carries (RFC 1995 section 3)
    problem   the rcode that is all the answer there is; 0: none so far
    """

    ident: int
    flags: int
    question: bytes = b""
    name: bytes = b""
    rdtype: int = 0
    rdclass: int = 0
    edns: Edns | None = None
    tsig: int = 0
    serial: int | None = None
    problem: int = 0

    @property
    def opcode(self) -> int:
        return (self.flags & OPCODE) >> 11


def is_update(data: bytes) -> bool:
    """Is it an UPDATE message, and no response to one?"""
    return len(data) > 2 and data[2] >> 3 == UPDATE


class _Broken(Exception):
    """The format is broken here."""


def parse(data: bytes) -> Query:
    """Raises PeerError where DNS forbids any reply: no whole header, or not a query."""
    if len(data) < HEADER.size:
        raise PeerError(f"{len(data)} bytes are no DNS header")
    ident, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if flags & QR:
        raise PeerError("a response, not a query")
    query = Query(ident, flags)
    if flags & OPCODE and query.opcode not in (NOTIFY, UPDATE):
        query.problem = NOTIMP
        return query
    # RFC 9619; none at all is a client that wants a cookie (RFC 7873 section 5.4).
    most = MAX_RECORDS if query.opcode != UPDATE else len(data)
    if questions > 1 or answers + authorities + additionals > most:
        query.problem = FORMERR
        return query
    try:
        at = HEADER.size
        if questions:
            at = _read_question(data, query)
        _read_records(data, at, query, answers, authorities, additionals)
    except (_Broken, struct.error):
        query.problem = FORMERR
    if query.edns is not None and query.edns.version and not query.problem:
        query.problem = BADVERS
    if not questions and not query.problem and (query.edns is None or query.edns.cookie is None):
        query.problem = FORMERR
    return query


def _read_question(data: bytes, query: Query) -> int:
    """Where it ends."""
    end = skip_name(data, HEADER.size)
    if end - HEADER.size > MAX_NAME:
        raise _Broken
    query.rdtype, query.rdclass = struct.unpack_from("!HH", data, end)
    if query.opcode == UPDATE and query.rdtype != SOA:  # RFC 2136 section 2.3; and not to be repeated, then
        raise _Broken
    query.question = data[HEADER.size : end + 4]
    query.name = data[HEADER.size : end].lower()
    return end + 4


def skip_name(data: bytes, at: int) -> int:
    """Where the name at `at` ends.  A pointer ends it and isn't followed; one in a question is refused."""
    start = at
    while at < len(data) and at - start < MAX_NAME:
        size = data[at]
        if size == 0:
            return at + 1
        if size >= 0xC0 and start > HEADER.size:
            return at + 2
        if size > 63:
            raise _Broken  # RFC 6891 section 5: other label types are obsolete; and a question has nothing to point to
        at += size + 1
    raise _Broken


def _read_records(data: bytes, at: int, query: Query, answers: int, authorities: int, additionals: int) -> None:
    total = answers + authorities + additionals
    for number in range(total):
        start, at = at, skip_name(data, at)
        rdtype, rdclass, ttl, size = RECORD.unpack_from(data, at)
        at += RECORD.size
        rdata = data[at : at + size]
        known = query.edns
        if rdtype == OPT and known is None:
            # RFC 6891 section 7: the answer to a broken one has one all the same, so that the client can tell it from a
            # server without EDNS.
            query.edns = _edns(rdclass, ttl)
        if len(rdata) < size:
            raise _Broken
        at += size
        if rdtype == OPT:
            # RFC 6891 section 6.1.1: one, in the additional section, owned by the root.
            if known is not None or number < answers + authorities or data[start]:
                raise _Broken
            assert query.edns is not None  # noqa: S101 - set above
            _read_options(rdata, query.edns)
        elif rdtype == TSIG:
            if number != total - 1 or number < answers + authorities:  # RFC 8945 section 5.1
                raise _Broken
            query.tsig = start
        elif rdtype == SOA and query.rdtype == IXFR and answers <= number < answers + authorities:
            numbers = skip_name(data, skip_name(data, at - size))
            if numbers + 20 != at:
                raise _Broken
            (query.serial,) = struct.unpack_from("!I", data, numbers)
    if at != len(data):
        raise _Broken


def _edns(size: int, ttl: int) -> Edns:
    """OPT's class is the size, its TTL the extended rcode, version and flags (RFC 6891 section 6.1.3)."""
    return Edns(max(size, PLAIN_UDP), ttl >> 16 & 0xFF, bool(ttl & 0x8000))


def _read_options(rdata: bytes, edns: Edns) -> None:
    if edns.version:  # RFC 6891 section 6.1.3: BADVERS, whatever that version's options look like
        return
    at = 0
    for _ in range(MAX_OPTIONS):
        if at >= len(rdata):
            break
        code, length = struct.unpack_from("!HH", rdata, at)
        value = rdata[at + 4 : at + 4 + length]
        if len(value) < length:
            raise _Broken
        at += 4 + length
        if code == NSID:
            edns.nsid = True
        elif code == PADDING:
            edns.padding = True
        elif code == KEEPALIVE:
            edns.keepalive = True
        elif code == COOKIE and edns.cookie is None:
            # RFC 7873 section 4: 8 bytes of the client's, and maybe 8 to 32 of the server's.
            if length != 8 and not 16 <= length <= 40:
                raise _Broken
            edns.cookie = value
    if at < len(rdata):
        raise _Broken


def option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def with_option(opt: bytes, code: int, value: bytes) -> bytes:
    """An OPT record with one option more."""
    end = len(ROOT) + RECORD.size
    rest = opt[end:] + option(code, value)
    return opt[: end - 2] + len(rest).to_bytes(2) + rest
