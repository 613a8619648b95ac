"""DNS messages from bytes and to bytes (RFC 1035): the reader of mdns, llmnr and whoami, the writer of dns too.

Any peer can send anything, so the reader goes by hand and within the bytes: a count is believed only as far as there
are bytes, a compression pointer only points back, each place of a message is read as a name once, and nothing is raised
but `Malformed`.  The dns plugin has a reader of its own for queries (`responder_plugins.dns.message.wire`): it follows
no pointer, knows which error a broken query is answered with, and takes three quarters of this one's time.

Names are bytes in wire form, without compression, in the case that they were sent in; those to compare or to look up
are in lower case (RFC 4343), which `bytes.lower` does: a label's length (0..63) is no letter.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import attrs

from responder import PeerError

HEADER: Final = struct.Struct("!HHHHHH")
"""ID, flags, and the counts of question, answer, authority and additional records (RFC 1035 section 4.1.1)."""

QUESTION: Final = struct.Struct("!HH")
"""Type and class, behind a question's name (RFC 1035 section 4.1.2)."""

RECORD: Final = struct.Struct("!HHIH")
"""Type, class, TTL and rdata length, behind a record's name (RFC 1035 section 4.1.3)."""

QR: Final = 0x8000
OPCODE: Final = 0x7800
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RCODE: Final = 0x000F

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, NOTAUTH = 0, 1, 2, 3, 4, 5, 6, 9
YXRRSET, NXRRSET, NOTZONE = 7, 8, 10
BADVERS: Final = 16

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT, DS = 1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 43
NSEC, SVCB, HTTPS = 47, 64, 65
TKEY, TSIG, IXFR, AXFR, ANY = 249, 250, 251, 252, 255
IN, CH, CLASS_ANY = 1, 3, 255

PLAIN_UDP: Final = 512
"""Bytes that a client without EDNS takes (RFC 1035 section 4.2.1)."""

STREAM: Final = 65535
"""Bytes that the length prefix of TCP can say (RFC 1035 section 4.2.2)."""

MAX_NAME: Final = 255
MAX_LABEL: Final = 63

ROOT: Final = b"\0"

COMPRESSED: Final[Mapping[int, tuple[int, int]]] = {NS: (0, 1), CNAME: (0, 1), SOA: (0, 2), PTR: (0, 1), MX: (2, 1)}
"""Types whose rdata may hold compressed names (RFC 3597 section 4): bytes in front of the names, and how many."""

COMPRESSED_BY_MDNS: Final[Mapping[int, tuple[int, int]]] = {**COMPRESSED, DNAME: (0, 1), SRV: (6, 1), NSEC: (0, 1)}
"""The same where RFC 6762 section 18.14 allows more; of those that it names, the types that somebody still uses.  A
reader expands all of these: RFC 3597 section 4 asks for it, of SRV too."""


class Malformed(PeerError):
    """The bytes are no DNS message."""


class Question(NamedTuple):
    """A name, type and class that are asked for."""

    name: bytes
    rdtype: int
    rdclass: int


class Record(NamedTuple):
    """A record; the TTL is in seconds, and names within `rdata` are not compressed."""

    name: bytes
    rdtype: int
    rdclass: int
    ttl: int
    rdata: bytes


class Message(NamedTuple):
    """A whole message: the header's ID and flags, and the sections."""

    ident: int
    flags: int
    questions: list[Question]
    answers: list[Record]
    authorities: list[Record]
    additionals: list[Record]


def read(
    data: bytes, compressed: Mapping[int, tuple[int, int]] = COMPRESSED_BY_MDNS, empty: Container[int] = ()
) -> Message:
    """Read a message.  Raises Malformed, also where bytes follow the last record.

    `compressed` has the types in whose rdata names may be compressed; NetBIOS has other types of the same numbers.
    `empty` are classes whose records may have no rdata, whatever their type, as in updates (RFC 2136 section 2.4).
    """
    if len(data) < HEADER.size:
        raise Malformed(f"{len(data)} bytes are no DNS header")
    ident, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    reader = _Reader(data, compressed, empty)
    try:
        message = Message(
            ident,
            flags,
            [reader.question() for _ in range(questions)],
            [reader.record() for _ in range(answers)],
            [reader.record() for _ in range(authorities)],
            [reader.record() for _ in range(additionals)],
        )
    except (IndexError, struct.error):
        raise Malformed(f"a DNS message that is cut off at {len(data)} bytes") from None
    if reader.at != len(data):
        raise Malformed(f"{len(data) - reader.at} bytes behind a DNS message")
    return message


class _Reader:
    """Goes through the bytes once; `at` is where it is.  IndexError and struct.error: there are no more bytes."""

    def __init__(self, data: bytes, compressed: Mapping[int, tuple[int, int]], empty: Container[int]) -> None:
        self._data = data
        self._empty = empty
        self._compressed = compressed
        self._names: dict[int, bytes] = {}
        self.at = HEADER.size

    def question(self) -> Question:
        name = self.name()
        rdtype, rdclass = QUESTION.unpack_from(self._data, self.at)
        self.at += QUESTION.size
        return Question(name, rdtype, rdclass)

    def record(self) -> Record:
        name = self.name()
        rdtype, rdclass, ttl, size = RECORD.unpack_from(self._data, self.at)
        start = self.at + RECORD.size
        self.at = start + size
        if self.at > len(self._data):
            raise IndexError
        rdata = self._data[start : self.at]
        if rdtype in self._compressed and (rdata or rdclass not in self._empty):
            rdata = self._expanded(rdtype, rdata, start)
        return Record(name, rdtype, rdclass, ttl, rdata)

    def _expanded(self, rdtype: int, rdata: bytes, start: int) -> bytes:
        """The rdata with its names in full."""
        end = self.at
        skipped, names = self._compressed[rdtype]
        self.at = start + skipped
        parts = [rdata[:skipped]]
        parts += [self.name() for _ in range(names)]
        if self.at > end:
            raise Malformed("a name that goes beyond its record")
        parts.append(self._data[self.at : end])
        self.at = end
        return b"".join(parts)

    def name(self) -> bytes:
        """The name here, in full."""
        data, begin, at = self._data, self.at, self.at
        while 0 < (size := data[at]) < 0x40:
            at += size + 1
        if size:
            name = data[begin:at] + self._pointed(at, begin)
            self.at = at + 2
        else:
            self.at = at + 1
            name = data[begin : self.at]
        if len(name) > MAX_NAME:
            raise Malformed("a name of more than 255 bytes")
        return name

    def _pointed(self, at: int, before: int) -> bytes:
        """The name that the pointer at `at` stands for.  A pointer only points back: to before the name it stands in.

        Every place on the way is kept with its name, so that no message can have the same bytes read again and again.
        """
        data, names = self._data, self._names
        passed: list[tuple[int, int]] = []
        while (name := names.get(at, b"")) == b"":
            size = data[at]
            if size >= 0xC0:
                target = (size & 0x3F) << 8 | data[at + 1]
                if not HEADER.size <= target < before:
                    raise Malformed("a compression pointer that does not point back")
                passed.append((at, at))
                at = before = target
            elif size >= 0x40:
                raise Malformed("a label of a kind that is obsolete (RFC 6891 section 5)")
            elif size:
                passed.append((at, at + size + 1))
                at += size + 1
            else:
                name = ROOT
                break
        for start, end in reversed(passed):
            name = data[start:end] + name
            if len(name) > MAX_NAME:
                raise Malformed("a name of more than 255 bytes")
            names[start] = name
        return name


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
    rdclass: int = IN


class Writer:
    """A message in the making: a question, then sections of RRsets, with compressed names, in at most `limit` bytes.

    `compressed` has the types in whose rdata names are compressed.
    """

    def __init__(self, question: bytes, limit: int, compressed: Mapping[int, tuple[int, int]] = COMPRESSED) -> None:
        self._limit = limit
        self._compressed = compressed
        self._data = bytearray(HEADER.size)
        self._places: dict[bytes, int] = {}
        self._counts = [0, 0, 0]
        self._questions = 0
        if question:
            self.ask(question)

    def __len__(self) -> int:
        return len(self._data)

    def ask(self, question: bytes) -> bool:
        """Add a question (name, type and class); False where it doesn't fit, of more than one."""
        start = len(self._data)
        self._put_name(question[:-4])
        self._data += question[-4:]
        if self._questions and len(self._data) > self._limit:
            self._take_back(start)
            return False
        self._questions += 1
        return True

    def add(self, section: int, rrset: RRset) -> bool:
        """Add a whole RRset to the answer (0), authority (1) or additional (2) section; False where it doesn't fit."""
        start = len(self._data)
        for rdata in rrset.rdatas:
            self._put_name(rrset.name)
            self._data += RECORD.pack(rrset.rdtype, rrset.rdclass, rrset.ttl, 0)
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
        if rdtype not in self._compressed:
            self._data += rdata
            return
        at, names = self._compressed[rdtype]
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


def to_name(labels: Iterable[bytes]) -> bytes:
    """Labels -> a name.  Raises ValueError for an empty or too long label, or a name that is too long."""
    parts = []
    for label in labels:
        if not 0 < len(label) <= MAX_LABEL:
            raise ValueError(f"a label of {len(label)} bytes; 1 to {MAX_LABEL} it may have")
        parts.append(bytes([len(label)]) + label)
    name = b"".join(parts) + ROOT
    if len(name) > MAX_NAME:
        raise ValueError(f"a name of {len(name)} bytes; {MAX_NAME} it may have")
    return name


def labels(name: bytes) -> Iterator[bytes]:
    """The labels of a name in wire form, without the root's."""
    at = 0
    while name[at]:
        end = at + name[at] + 1
        yield name[at + 1 : end]
        at = end


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
