"""DNS queries from bytes, and answers to bytes (RFC 1035, RFC 6891): ours, since any peer can send anything.

A query is read by hand and in one pass: no compression pointer is followed, a count is believed only as far as there
are bytes, and nothing is raised but PeerError, for what gets no answer at all.  What can be answered, if only by an
error, becomes a `Query` that says so in `problem`.

Names are bytes in wire form, without compression; those to compare or to look up are in lower case (RFC 4343), which
`bytes.lower` does: a label's length (0..63) is no letter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import attrs

from responder import PeerError

HEADER: Final = struct.Struct("!HHHHHH")
"""ID, flags, and the counts of question, answer, authority and additional records (RFC 1035 section 4.1.1)."""

RECORD: Final = struct.Struct("!HHIH")
"""Type, class, TTL and rdata length, behind a record's name (RFC 1035 section 4.1.3)."""

QR: Final = 0x8000
OPCODE: Final = 0x7800
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
ECHOED: Final = OPCODE | RD
"""What a reply repeats of the query's flags (RFC 1035 section 4.1.1); CD and AD are cleared (RFC 4035 3.1.6)."""

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, NOTAUTH = 0, 1, 2, 3, 4, 5, 6, 9
BADVERS: Final = 16

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT, DS = 1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 43
SVCB, HTTPS = 64, 65
TKEY, TSIG, IXFR, AXFR, ANY = 249, 250, 251, 252, 255
IN, CH, CLASS_ANY = 1, 3, 255

NSID, COOKIE, EDE = 3, 10, 15

PLAIN_UDP: Final = 512
"""Bytes that a client without EDNS takes (RFC 1035 section 4.2.1)."""

STREAM: Final = 65535
"""Bytes that the length prefix of TCP can say (RFC 1035 section 4.2.2)."""

MAX_NAME: Final = 255
MAX_RECORDS: Final = 16
"""Records beside the question that a query is read with.  An honest one has three: SOA (IXFR), OPT and TSIG."""

MAX_OPTIONS: Final = 32
"""Options of EDNS that a query is read with, so that no datagram takes long."""

ROOT: Final = b"\0"
FIRST_NAME: Final = b"\xc0\x0c"
"""A compression pointer to the question's name."""

COMPRESSED: Final = {NS: (0, 1), CNAME: (0, 1), SOA: (0, 2), PTR: (0, 1), MX: (2, 1)}
"""Types whose rdata may hold compressed names (RFC 3597 section 4): bytes in front of the names, and how many."""


@attrs.define(eq=False)
class Edns:
    """A query's OPT record: the UDP size it takes (bytes, at least 512), and of its options those that are known."""

    size: int
    version: int
    dnssec_ok: bool
    nsid: bool = False
    cookie: bytes | None = None


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
    if query.opcode != 0:
        query.problem = NOTIMP
        return query
    # RFC 9619; none at all is a client that wants a cookie (RFC 7873 section 5.4).
    if questions > 1 or answers + authorities + additionals > MAX_RECORDS:
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
        elif code == COOKIE and edns.cookie is None:
            # RFC 7873 section 4: 8 bytes of the client's, and maybe 8 to 32 of the server's.
            if length != 8 and not 16 <= length <= 40:
                raise _Broken
            edns.cookie = value
    if at < len(rdata):
        raise _Broken


def option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def opt_record(size: int, rcode: int, dnssec_ok: bool, options: bytes = b"") -> bytes:
    """An OPT record: `size` is what we take, `rcode` the whole one, of which it holds the upper bits."""
    return ROOT + RECORD.pack(OPT, size, (rcode >> 4) << 24 | (0x8000 if dnssec_ok else 0), len(options)) + options


@attrs.frozen
class RRset:
    """Records of one name and type: the name as it is to be written, the TTL in seconds, each rdata uncompressed."""

    name: bytes
    rdtype: int
    ttl: int
    rdatas: tuple[bytes, ...]


class Writer:
    """A reply in the making: sections of RRsets behind a question, with compressed names, in at most `limit` bytes."""

    def __init__(self, question: bytes, limit: int) -> None:
        self._limit = limit
        self._data = bytearray(HEADER.size)
        self._places: dict[bytes, int] = {}
        self._counts = [0, 0, 0]
        self._questions = bool(question)
        if question:
            self._put_name(question[:-4])
            self._data += question[-4:]

    def add(self, section: int, rrset: RRset) -> bool:
        """Add a whole RRset to the answer (0), authority (1) or additional (2) section; False where it doesn't fit."""
        start = len(self._data)
        for rdata in rrset.rdatas:
            self._put_name(rrset.name)
            self._data += RECORD.pack(rrset.rdtype, IN, rrset.ttl, 0)
            begin = len(self._data)
            self._put_rdata(rrset.rdtype, rdata)
            if len(self._data) > self._limit:
                self._take_back(start)
                return False
            self._data[begin - 2 : begin] = (len(self._data) - begin).to_bytes(2)
        self._counts[section] += len(rrset.rdatas)
        return True

    def add_raw(self, section: int, records: bytes, count: int = 1) -> None:
        """Add what is in wire form already; the limit is the caller's matter."""
        self._data += records
        self._counts[section] += count

    def _take_back(self, start: int) -> None:
        del self._data[start:]
        self._places = {name: place for name, place in self._places.items() if place < start}

    def _put_rdata(self, rdtype: int, rdata: bytes) -> None:
        if rdtype not in COMPRESSED:
            self._data += rdata
            return
        at, names = COMPRESSED[rdtype]
        self._data += rdata[:at]
        for _ in range(names):
            end = name_end(rdata, at)
            self._put_name(rdata[at:end])
            at = end
        self._data += rdata[at:]

    def _put_name(self, name: bytes) -> None:
        lower, at = name.lower(), 0
        while name[at]:
            place = self._places.get(lower[at:])
            if place is not None:
                self._data += (0xC000 | place).to_bytes(2)
                return
            if len(self._data) < 0x4000:  # what a pointer can say
                self._places[lower[at:]] = len(self._data)
            end = at + name[at] + 1
            self._data += name[at:end]
            at = end
        self._data += ROOT

    def finish(self, ident: int, flags: int) -> bytes:
        HEADER.pack_into(self._data, 0, ident, flags, self._questions, *self._counts)
        return bytes(self._data)


def name_end(data: bytes, at: int = 0) -> int:
    """Where the name at `at` ends, in data of our own: whole and uncompressed."""
    while data[at]:
        at += data[at] + 1
    return at + 1


def suffixes(name: bytes) -> Iterable[bytes]:
    """The name, its parent, ... and the root."""
    at = 0
    while name[at]:
        yield name[at:]
        at += name[at] + 1
    yield ROOT


def parent(name: bytes) -> bytes:
    """The name without its first label; the root has none."""
    return name[name[0] + 1 :]


def is_below(name: bytes, ancestor: bytes) -> bool:
    """Is it the same name or one below?  Both in lower case.  Labels count: `xample` is not below `example`."""
    return name.endswith(ancestor) and any(suffix == ancestor for suffix in suffixes(name))
