"""NetBIOS name service messages (RFC 1002 section 4.2): bytes and values.

They are DNS messages with other header bits, types and names, so the DNS reader reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import Final

import attrs

from ..shared import dns_message as dns
from ..shared.dns_message import Malformed
from ..shared.refused import Refused

PORT: Final = 137

NB: Final = 0x20
NBSTAT: Final = 0x21

QUERY, REGISTRATION, RELEASE, MULTIHOMED = 0x0, 0x5, 0x6, 0xF
"""Opcodes; the last is Windows' registration of a host with several addresses."""

OPERATIONS: Final = {QUERY: "query", REGISTRATION: "registration", RELEASE: "release", MULTIHOMED: "multihomed"}
TYPES: Final = {NB: "NB", NBSTAT: "NBSTAT"}
"""Opcodes and types by their names in RFC 1002, for people."""

RESPONSE: Final = 0x8000
AUTHORITATIVE: Final = 0x0400
RECURSION_DESIRED: Final = 0x0100
RECURSION_AVAILABLE: Final = 0x0080
BROADCAST: Final = 0x0010
RCODE: Final = 0x000F
ACTIVE: Final = 6
"""RCODE: the name is owned by another node (section 4.2.6)."""

GROUP: Final = 0x8000
"""Of NB_FLAGS and NAME_FLAGS; the bits of the owner's type are 0 for a B node."""

ACTIVE_NAME: Final = 0x0400
"""Of NAME_FLAGS (section 4.2.18)."""

TTL: Final = 300
"""Seconds that a name may be cached; Windows caches it for ten minutes whatever is said here."""

WORKSTATION, MESSENGER, SERVER, ELECTION = 0x00, 0x03, 0x20, 0x1E
"""Suffixes, the sixteenth byte of a name."""

LENGTH: Final = 15
STATISTICS: Final = 46
"""Bytes of a node status's statistics, of which the first six are the hardware address (section 4.2.18)."""


@attrs.frozen(order=True)
class Name:
    """A NetBIOS name: up to 15 bytes without the spaces that fill it up, and the suffix."""

    text: bytes
    suffix: int

    def __str__(self) -> str:
        return f"{self.text.decode('ascii', 'replace')}<{self.suffix:02x}>"


ANY: Final = Name(b"*", 0)
"""What a node status request asks for that wants all names."""


@attrs.frozen
class Owned:
    """A name that a node has, alone or with others of a group."""

    name: Name
    is_group: bool


@attrs.frozen
class Request:
    """A request: what is asked for, in the bytes that it was asked by; `claims_group` is a registration's G bit."""

    ident: int
    opcode: int
    recursion_desired: bool
    name: Name
    wire_name: bytes
    rdtype: int
    claims_group: bool = False


@attrs.frozen
class Response:
    """A response to a request of our own."""

    ident: int
    opcode: int
    rcode: int
    name: Name
    rdtype: int
    rdata: bytes


def encode(name: Name) -> bytes:
    """A name in wire form: each half byte is a letter from A to P (RFC 1001 section 14.1)."""
    padding = b"\0" if name == ANY else b" "
    data = name.text.ljust(LENGTH, padding) + bytes([name.suffix])
    return bytes([32]) + bytes(0x41 + half for byte in data for half in divmod(byte, 16)) + dns.ROOT


def decode(wire: bytes) -> Name:
    """Raises Refused for what is no name, or has a scope."""
    label, *scope = dns.labels(wire)
    if len(label) != 32 or not all(0x41 <= letter <= 0x50 for letter in label):
        raise Refused("no NetBIOS name")
    if scope:
        raise Refused("a name with a scope", "scope")
    data = bytes((label[at] - 0x41) << 4 | label[at + 1] - 0x41 for at in range(0, 32, 2))
    return Name(data[:LENGTH].rstrip(b" \0"), data[LENGTH])


def read(payload: bytes) -> Request | Response:
    """Raises Refused."""
    try:
        message = dns.read(payload, {})
    except Malformed as error:
        raise Refused(str(error)) from None
    opcode = (message.flags & dns.OPCODE) >> 11
    if message.flags & RESPONSE:
        if len(message.answers) != 1:
            raise Refused("a response without its record")
        (answer,) = message.answers
        name = _named(answer.name)
        return Response(message.ident, opcode, message.flags & RCODE, name, answer.rdtype, answer.rdata)
    if len(message.questions) != 1 or message.answers or message.authorities:
        raise Refused("not one question and nothing else")
    (question,) = message.questions
    if question.rdclass != dns.IN:
        raise Refused("another class than IN")
    claims_group = False
    if opcode in (REGISTRATION, MULTIHOMED):
        if len(message.additionals) != 1 or len(message.additionals[0].rdata) < 6:
            raise Refused("a registration without its record")
        claims_group = bool(message.additionals[0].rdata[0] & GROUP >> 8)
    name = _named(question.name)
    return Request(
        message.ident,
        opcode,
        bool(message.flags & RECURSION_DESIRED),
        name,
        question.name,
        question.rdtype,
        claims_group,
    )


def _named(wire: bytes) -> Name:
    if wire == dns.ROOT:
        raise Refused("no NetBIOS name")
    return decode(wire)


def _message(ident: int, flags: int, counts: Sequence[int], name: bytes, parts: Iterable[bytes]) -> bytes:
    return dns.HEADER.pack(ident, flags, *counts) + name + b"".join(parts)


def _entry(is_group: bool, address: IPv4Address) -> bytes:
    """NB_FLAGS and NB_ADDRESS."""
    return (GROUP if is_group else 0).to_bytes(2) + address.packed


def _record(rdtype: int, ttl: int, rdata: bytes) -> bytes:
    return dns.RECORD.pack(rdtype, dns.IN, ttl, len(rdata)) + rdata


def write_query(ident: int, name: Name, rdtype: int = NB, *, broadcast: bool) -> bytes:
    """A name query or node status request (sections 4.2.12, 4.2.17)."""
    flags = (RECURSION_DESIRED if rdtype == NB else 0) | (BROADCAST if broadcast else 0)
    return _message(ident, flags, (1, 0, 0, 0), encode(name), [dns.QUESTION.pack(rdtype, dns.IN)])


def write_registration(ident: int, owned: Owned, address: IPv4Address, *, demand: bool) -> bytes:
    """A registration by broadcast, or with `demand` the overwrite that ends it (sections 4.2.2, 4.2.3)."""
    flags = REGISTRATION << 11 | BROADCAST | (0 if demand else RECURSION_DESIRED)
    return _claim(ident, flags, owned, address)


def write_release(ident: int, owned: Owned, address: IPv4Address) -> bytes:
    """A release by broadcast (section 4.2.9)."""
    return _claim(ident, RELEASE << 11 | BROADCAST, owned, address)


def _claim(ident: int, flags: int, owned: Owned, address: IPv4Address) -> bytes:
    question = dns.QUESTION.pack(NB, dns.IN)
    pointer = (0xC000 | dns.HEADER.size).to_bytes(2)
    record = _record(NB, 0, _entry(owned.is_group, address))
    return _message(ident, flags, (1, 0, 0, 1), encode(owned.name), [question, pointer, record])


def write_answer(request: Request, owned: Owned, address: IPv4Address) -> bytes:
    """A positive name query response (section 4.2.13)."""
    flags = RESPONSE | AUTHORITATIVE | (RECURSION_DESIRED if request.recursion_desired else 0)
    record = _record(NB, TTL, _entry(owned.is_group, address))
    return _message(request.ident, flags, (0, 1, 0, 0), request.wire_name, [record])


def write_refusal(request: Request, owned: Owned, address: IPv4Address) -> bytes:
    """A negative registration response: the name is ours (section 4.2.6)."""
    flags = RESPONSE | REGISTRATION << 11 | AUTHORITATIVE | RECURSION_DESIRED | RECURSION_AVAILABLE | ACTIVE
    record = _record(NB, 0, _entry(owned.is_group, address))
    return _message(request.ident, flags, (0, 1, 0, 0), request.wire_name, [record])


def write_status(request: Request, names: Sequence[Owned], link_address: bytes) -> bytes:
    """A node status response: the names, and the hardware address (section 4.2.18)."""
    rows = [
        owned.name.text.ljust(LENGTH)
        + bytes([owned.name.suffix])
        + ((GROUP if owned.is_group else 0) | ACTIVE_NAME).to_bytes(2)
        for owned in names
    ]
    statistics = link_address[:6].ljust(STATISTICS, b"\0")
    record = _record(NBSTAT, 0, bytes([len(rows)]) + b"".join(rows) + statistics)
    return _message(request.ident, RESPONSE | AUTHORITATIVE, (0, 1, 0, 0), request.wire_name, [record])


def read_status(rdata: bytes) -> tuple[list[Owned], bytes]:
    """The names and the hardware address of a node status.  Raises Refused."""
    count = rdata[0] if rdata else 0
    end = 1 + 18 * count
    if not rdata or len(rdata) < end + 6:
        raise Refused("a node status that is cut off")
    names = [
        Owned(Name(row[:LENGTH].rstrip(b" \0"), row[LENGTH]), bool(row[16] & GROUP >> 8))
        for row in (rdata[at : at + 18] for at in range(1, end, 18))
    ]
    return names, rdata[end : end + 6]
