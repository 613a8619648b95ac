"""Hostile wire: whatever comes, it is answered within bounds or not at all, and nothing is raised but PeerError."""

from __future__ import annotations

import random
import struct

import dns.edns
import dns.message
import dns.opcode
import dns.rcode
import dns.tsigkeyring
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from responder_plugins.dns import TransferKey
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.message import wire

from responder import PeerError
from tests.plugins.dns import queries
from tests.plugins.dns.differences import differing
from tests.plugins.dns.support import ask, ask_bytes, handler_of, request

HANDLER = handler_of(
    transfer_keys={"key.test": TransferKey("c2VjcmV0")}, identity="me", version="1", here=("router.lan",)
)
QUESTION = b"\3www\7example\4test\0\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def header(questions: int = 1, answers: int = 0, authorities: int = 0, additionals: int = 0, flags: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, questions, answers, authorities, additionals)


# Nothing that varies, so that all that can be remembered is.
PLAIN = handler_of()


def answered(payload: bytes, *, handler: DnsHandler = HANDLER, decoded: bool = True) -> bytes | None:
    """The answer, checked for what holds of all; None: silence.

    `decoded`: decoded by dnspython and compared with the processor's answer too, which takes long.
    """
    try:
        reply = ask_bytes(handler, payload)
    except PeerError:
        assert len(payload) < 12 or payload[2] & 0x80
        return None
    assert reply[:2] == payload[:2]
    assert reply[2] & 0x80
    assert len(reply) <= 1232
    edns = wire.parse(payload).edns
    assert len(reply) <= (512 if edns is None else max(edns.size, 512))
    if decoded:
        dns.message.from_wire(reply, keyring=False)
        query = wire.parse(payload)
        if not query.tsig:  # dnspython's signature of another second
            assert differing(reply, handler.processor.answer(query, payload, request(payload)).data) == ()
    return reply


def seeds() -> list[bytes]:
    """Queries with all that can be in one."""
    made = [
        dns.message.make_query(name, kind, use_edns=edns, options=options if edns == 0 else None, id=1)
        for name in (
            "www.example.test",
            "chain1.example.test",
            "a.b.wild.example.test",
            "x.sub.example.test",
            "router.lan",
        )
        for kind in ("A", "MX", "ANY", "IXFR", "PTR")
        for edns in (-1, 0, 1)
        for options in ([], [dns.edns.CookieOption(b"12345678", b"")], [dns.edns.GenericOption("NSID", b"")])
    ]
    signed = dns.message.make_query("example.test", "SOA", use_edns=0, id=1)
    signed.use_tsig(dns.tsigkeyring.from_text({"key.test": "c2VjcmV0"}))
    return [query.to_wire() for query in (*made, signed)] + list(queries.queries())[::200]


SEEDS = seeds()


@pytest.mark.parametrize("seed", SEEDS[::7], ids=range(len(SEEDS[::7])))
def test_cut_at_every_byte(seed: bytes) -> None:
    for end in range(len(seed)):
        answered(seed[:end])


@given(st.binary(min_size=0, max_size=700), st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_bytes(payload: bytes, query_like: bool) -> None:
    if query_like:
        payload = payload[:2] + b"\0\0\0\1\0\0\0\0\0\1" + payload[12:]
    answered(payload)


def mutated(rng: random.Random, seed: bytes, other: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(2, len(data))
        match rng.randrange(6):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randrange(1, 6)]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 6))
            case 4:
                data[at:at] = other[rng.randrange(len(other)) :]
            case _:
                data[at : at + 2] = rng.choice([b"\xc0\x0c", b"\0\0", b"\xff\xff", b"\xc0\xff", b"\0\x29", b"\0\xfa"])
        if len(data) < 14:
            break
    return bytes(data)


def test_mutated_queries() -> None:
    """Bounded for CI; `python -m tests.plugins.dns.fuzz` goes on for as long as wanted."""
    rng = random.Random(9619)  # noqa: S311 - the same ones each time
    for number in range(30_000):
        packet = mutated(rng, rng.choice(SEEDS), rng.choice(SEEDS))
        answered(packet, handler=HANDLER if number % 2 else PLAIN, decoded=number % 5 == 0)


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # itself
        b"\1a\xc0\x0c",  # a loop through a label
        b"\xc0\x00",
        b"\xff\xff",
        b"\x40abc\0",  # an obsolete label type (RFC 6891 section 5)
        b"\x80abc\0",
        (b"\x3f" + b"a" * 63) * 4 + b"\0",  # 257 bytes
        b"\1a" * 127 + b"\1a\0",
        b"\5ab",
    ],
)
def test_names_that_are_none_are_format_errors(name: bytes) -> None:
    assert answered(header() + name + b"\0\1\0\1") == header(0, flags=0x8001)


def test_a_name_of_255_bytes_is_one() -> None:
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"
    assert len(name) == 255
    reply = answered(header() + name + b"\0\1\0\1")
    assert reply is not None
    assert reply[3] & 15 == dns.rcode.REFUSED


@pytest.mark.parametrize(
    ("data", "echoed"),
    [
        (header(0), False),
        (header(0)[:-2] + b"\0\x0c\0\x0a\0\x0812345678", False),  # a cookie, and no OPT record
        (header(2) + QUESTION * 2, False),
        (header(1) + QUESTION[:-1], False),
        (header(1) + QUESTION + b"x", True),  # bytes that no count covers
        (header(1, additionals=1) + QUESTION, True),
        (header(1, additionals=65535) + QUESTION + OPT, False),
        (header(1, answers=65535) + QUESTION, False),
        (header(1, additionals=2) + QUESTION + OPT * 2, True),
        (header(1, answers=1) + QUESTION + OPT, True),  # OPT in a wrong section
        (header(1, additionals=1) + QUESTION + b"\1a" + OPT, True),  # OPT of another name than the root
        (header(1, additionals=1) + QUESTION + OPT[:-2] + b"\0\4\0\x0a\0\7", True),  # an option longer than its record
        (header(1, additionals=1) + QUESTION + OPT[:-2] + b"\0\7\0\x0a\0\3abc", True),  # a cookie of 3 bytes
        (header(1, additionals=1) + QUESTION + OPT[:-2] + b"\0\2\0\x0a", True),
        (
            header(1, additionals=1) + QUESTION + OPT[:-2] + b"\x10\x00" + b"\xff\xf0\0\0" * 1024,
            True,
        ),  # a bomb of options
        (header(1, additionals=1) + QUESTION + b"\1a" * 30_000 + OPT, True),  # a name without end
    ],
)
def test_what_breaks_the_format_gets_formerr_with_what_can_be_echoed(data: bytes, echoed: bool) -> None:
    reply = answered(data)
    assert reply is not None
    assert reply[3] & 15 == dns.rcode.FORMERR
    assert reply[12 : 12 + len(QUESTION)] == (QUESTION if echoed else b"")


@pytest.mark.parametrize(
    "opt",
    [
        OPT[:-2] + b"\0\4\0\x0a\0\7",  # an option longer than its record
        OPT[:-2] + b"\0\7\0\x0a\0\3abc",  # a cookie of 3 bytes
        OPT[:-2] + b"\0\2\0\x0a",
        OPT[:-2] + b"\0\xff\0\x0a",  # a record longer than the message
        b"\1a" + OPT,
    ],
)
def test_a_broken_opt_record_is_answered_with_one(opt: bytes) -> None:
    """RFC 6891 section 7: otherwise the client would take us for a server without EDNS."""
    reply = answered(header(additionals=1) + QUESTION + opt)
    assert reply is not None
    assert (reply[3] & 15, dns.message.from_wire(reply).edns) == (dns.rcode.FORMERR, 0)


def test_another_edns_version_gets_badvers_whatever_its_options_look_like() -> None:
    reply = answered(header(additionals=1) + QUESTION + OPT[:6] + b"\1\0\0\0\3abc")
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == dns.rcode.BADVERS


def test_flags_that_a_query_should_not_have_are_ignored() -> None:
    """As NSD and Knot do: TC, AA, RA, the reserved bit, AD and CD say nothing in a query."""
    for flags in (0x0200, 0x0400, 0x0080, 0x0040, 0x0030, 0x000F):
        reply = answered(header(flags=flags) + QUESTION)
        assert reply is not None
        assert (reply[2:4], reply[6:8]) == (b"\x84\0", b"\0\2")


def test_a_signature_of_names_too_long_for_the_answer_is_a_format_error() -> None:
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"
    rdata = name + bytes(6) + b"\1\x2c\0\0" + bytes(6)
    record = name + b"\0\xfa\0\xff\0\0\0\0" + len(rdata).to_bytes(2) + rdata
    assert answered(header(additionals=1) + name + b"\0\1\0\1" + record) == header(0, flags=0x8001)


@pytest.mark.parametrize("data", [b"", b"x", bytes(11), header(flags=0x8000) + QUESTION, b"\xff" * 40])
def test_what_is_no_query_gets_silence(data: bytes) -> None:
    assert answered(data) is None


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    assert answered(header(flags=opcode << 11) + QUESTION) == header(0, flags=0x8004 | opcode << 11)


def test_records_of_any_kind_beside_the_question_are_passed_over() -> None:
    query = dns.message.make_query("www.example.test", "A", use_edns=0)
    query.answer.append(dns.rrset.from_text("www.example.test.", 1, "IN", "TXT", "x"))
    query.additional.append(dns.rrset.from_text("a.www.example.test.", 1, "IN", "A", "192.0.2.1"))
    assert len(ask(HANDLER, query).answer) == 1


def test_bytes_that_name_a_record_of_the_zone_only_by_accident() -> None:
    """A label with a zero byte, behind which another name seems to end: compiled answers must not be fooled."""
    inside = b"\x0fwww\7example\4te\0\7example\4test\0"
    reply = answered(header() + inside + b"\0\1\0\1")
    assert reply is not None
    assert reply[3] & 15 == dns.rcode.NXDOMAIN
