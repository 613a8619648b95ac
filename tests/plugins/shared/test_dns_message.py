"""The shared reader and writer of DNS messages, beside dnspython's."""

from __future__ import annotations

import random
import struct

import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.shared import dns_message as ours
from responder_plugins.shared.dns_message import Malformed, Message, Question, Record, RRset, Writer

RECORDS = """
lab.local. 120 IN A 192.0.2.1
lab.local. 120 IN AAAA fe80::1
_http._tcp.local. 4500 IN PTR Lab\\032page._http._tcp.local.
Lab\\032page._http._tcp.local. 120 IN SRV 0 0 8080 lab.local.
Lab\\032page._http._tcp.local. 4500 IN TXT "path=/" "x"
lab.local. 120 IN NSEC lab.local. A AAAA
local. 60 IN SOA lab.local. admin.lab.local. 1 2 3 4 5
local. 60 IN MX 10 lab.local.
old.local. 60 IN DNAME new.local.
""".strip().splitlines()


def a_message() -> dns.message.Message:
    """With records of every kind that has names in it, in all sections."""
    message = dns.message.make_query("_http._tcp.local", "PTR")
    message.question.append(dns.rrset.RRset(dns.name.from_text("Lab.local"), 255, 1))
    for number, line in enumerate(RECORDS):
        name, ttl, _, rdtype, rdata = line.split(" ", 4)
        section = (message.answer, message.authority, message.additional)[number % 3]
        section.append(dns.rrset.from_text(name, int(ttl), "IN", rdtype, rdata))
    return message


def records_of(message: dns.message.Message) -> list[list[Record]]:
    return [
        [
            Record(rrset.name.to_wire(), rrset.rdtype, rrset.rdclass, rrset.ttl, rdata.to_wire())
            for rrset in section
            for rdata in rrset
        ]
        for section in (message.answer, message.authority, message.additional)
    ]


def test_reads_what_dnspython_writes() -> None:
    message = a_message()
    read = ours.read(message.to_wire())
    assert (read.ident, read.flags) == (message.id, message.flags)
    # dnspython compresses names in lower and upper case alike, as it met them first.
    assert [[*map(lower, section)] for section in read[3:]] == [
        [*map(lower, section)] for section in records_of(message)
    ]
    assert read.questions == [
        Question(b"\5_http\4_tcp\5local\0", 12, 1),
        Question(b"\3Lab\5local\0", 1, 255),
    ]


def lower(record: Record) -> Record:
    return record._replace(name=record.name.lower(), rdata=record.rdata.lower())


@pytest.mark.parametrize("compressed", [ours.COMPRESSED, ours.COMPRESSED_BY_MDNS])
def test_dnspython_and_the_reader_read_what_the_writer_writes(compressed: dict[int, tuple[int, int]]) -> None:
    message = a_message()
    writer = Writer(b"", 4096, compressed)
    for rrset in message.question:
        assert writer.ask(rrset.name.to_wire() + struct.pack("!HH", rrset.rdtype, rrset.rdclass))
    for number, section in enumerate((message.answer, message.authority, message.additional)):
        for rrset in section:
            rdatas = tuple(rdata.to_wire() for rdata in rrset)
            assert writer.add(number, RRset(rrset.name.to_wire(), rrset.rdtype, rrset.ttl, rdatas))
    wire = writer.finish(message.id, message.flags)
    assert len(wire) == len(writer)
    again = ours.read(wire)
    assert [[*map(lower, section)] for section in again[3:]] == [
        [*map(lower, section)] for section in records_of(message)
    ]
    assert len(again.questions) == len(message.question)
    if compressed is ours.COMPRESSED:  # dnspython takes no compressed names where only mDNS allows them
        assert dns.message.from_wire(wire) == message


def test_the_table_of_mdns_compresses_the_target_of_srv_and_the_other_does_not() -> None:
    target = b"\3lab\5local\0"
    sizes = []
    for compressed in (ours.COMPRESSED, ours.COMPRESSED_BY_MDNS):
        writer = Writer(b"", 512, compressed)
        assert writer.add(0, RRset(target, ours.SRV, 120, (struct.pack("!HHH", 0, 0, 80) + target,)))
        sizes.append(len(writer.finish(0, 0)))
    assert sizes[0] - sizes[1] == len(target) - 2


def test_a_question_that_does_not_fit_is_left_out_and_the_first_always_fits() -> None:
    question = b"\3lab\5local\0\0\1\0\1"
    writer = Writer(b"", 12 + len(question))
    assert writer.ask(question)
    assert not writer.ask(b"\5other\5local\0\0\1\0\1")
    assert ours.read(writer.finish(1, 0)).questions == [Question(question[:-4], 1, 1)]
    assert Writer(b"", 12).ask(question)


def test_the_class_of_a_record_is_written() -> None:
    writer = Writer(b"", 512)
    assert writer.add(0, RRset(b"\3lab\0", ours.A, 120, (b"\1\2\3\4",), 0x8001))
    assert ours.read(writer.finish(0, 0)).answers == [Record(b"\3lab\0", 1, 0x8001, 120, b"\1\2\3\4")]


def name_behind(before: bytes, name: bytes) -> bytes:
    """A message of two records: `before` is the rdata of the first, `name` the name of the second."""
    record = b"\0" + struct.pack("!HHIH", 16, 1, 0, len(before)) + before
    return struct.pack("!HHHHHH", 0, 0, 0, 2, 0, 0) + record + name + struct.pack("!HHIH", 16, 1, 0, 0)


BEFORE = 12 + 11
"""Where the rdata of the first record of `name_behind` begins."""


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\xff",  # forward
        bytes([0xC0, BEFORE + 6]),  # at itself
        b"\1a" + bytes([0xC0, BEFORE + 6]),  # at the name that it stands in
        b"\xc0\x00",  # into the header
        b"\x40",  # label types that are obsolete
        b"\x80",
        bytes([0xC0, BEFORE]) + b"",  # at a label type that is obsolete
    ],
)
def test_names_that_are_none(name: bytes) -> None:
    with pytest.raises(Malformed):
        ours.read(name_behind(b"\x40\1a\0\0\0", name))


def test_a_pointer_at_a_pointer_is_followed() -> None:
    read = ours.read(name_behind(b"\1a\0" + bytes([0xC0, BEFORE]), b"\1b" + bytes([0xC0, BEFORE + 3])))
    assert read.answers[1].name == b"\1b\1a\0"


def test_a_name_has_255_bytes_at_most() -> None:
    before = (b"\x3f" + b"x" * 63) * 3 + b"\0"
    longest = b"\x3d" + b"x" * 61 + bytes([0xC0, BEFORE])
    assert len(ours.read(name_behind(before, longest)).answers[1].name) == 255
    with pytest.raises(Malformed, match="255"):
        ours.read(name_behind(before, b"\x3e" + b"x" * 62 + bytes([0xC0, BEFORE])))
    with pytest.raises(Malformed, match="255"):
        ours.read(name_behind(b"", (b"\x3f" + b"x" * 63) * 4 + b"\0"))


def test_a_name_does_not_go_beyond_its_record() -> None:
    record = b"\0" + struct.pack("!HHIH", ours.PTR, 1, 0, 2) + b"\1a" + b"\0"
    with pytest.raises(Malformed, match="beyond"):
        ours.read(struct.pack("!HHHHHH", 0, 0, 0, 1, 0, 0) + record + b"\0\0\1\0\1\0\0\0\0\0\0")


@pytest.mark.parametrize("size", [*range(12), 40, 100])
def test_cut_off(size: int) -> None:
    wire = a_message().to_wire()
    with pytest.raises(Malformed):
        ours.read(wire[:size])


def test_bytes_behind_the_last_record() -> None:
    with pytest.raises(Malformed, match="behind"):
        ours.read(a_message().to_wire() + b"\0")


def chains(hops: int) -> bytes:
    """Pointers at pointers, and then as many records as there is room for that go through all of them."""
    chain = b"\1a\0" + b"".join(struct.pack("!H", 0xC000 | BEFORE + (1 + 2 * n if n else 0)) for n in range(hops))
    record = struct.pack("!H", 0xC000 | BEFORE + 1 + 2 * hops) + struct.pack("!HHIH", 16, 1, 0, 0)
    count = (65_535 - 12 - 11 - len(chain)) // len(record)
    first = b"\0" + struct.pack("!HHIH", 16, 1, 0, len(chain)) + chain
    return struct.pack("!HHHHHH", 0, 0, 0, 1 + count, 0, 0) + first + record * count


def test_no_bytes_are_read_again_and_again() -> None:
    steps = 0

    class Counted(bytes):
        def __getitem__(self, key):  # type: ignore[no-untyped-def]  # as bytes has it
            nonlocal steps
            steps += 1
            return super().__getitem__(key)

    data = chains(8_000)
    assert {record.name for record in ours.read(Counted(data)).answers[1:]} == {b"\1a\0"}
    assert steps < 2 * len(data)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    read_or_malformed(data)


@given(st.binary(max_size=300), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_any_bytes_behind_a_header(data: bytes, counts: list[int]) -> None:
    read_or_malformed(struct.pack("!HHHHHH", 0, 0x8400, *counts) + data)


def read_or_malformed(data: bytes) -> Message | None:
    try:
        message = ours.read(data)
    except Malformed:
        return None
    for record in (*message.answers, *message.authorities, *message.additionals):
        assert ours.name_end(record.name) == len(record.name) <= 255
    return message


def test_mutants_of_a_whole_message() -> None:
    wire, chance, whole = a_message().to_wire(), random.Random(6762), 0  # noqa: S311 - repeatable
    for _ in range(20_000):
        mutant = bytearray(wire)
        for _ in range(chance.randint(1, 4)):
            mutant[chance.randrange(len(mutant))] = chance.randrange(256)
        whole += read_or_malformed(bytes(mutant)) is not None
    assert whole > 1000  # it got further than the header


@pytest.mark.parametrize("bad", [[b""], [b"x" * 64], [b"x" * 63] * 4])
def test_labels_that_make_no_name(bad: list[bytes]) -> None:
    with pytest.raises(ValueError, match="bytes"):
        ours.to_name(bad)


def test_labels_and_names() -> None:
    name = ours.to_name([b"Lab page", b"_http", b"_tcp", b"local"])
    assert name == b"\x08Lab page\5_http\4_tcp\5local\0"
    assert [*ours.labels(name)] == [b"Lab page", b"_http", b"_tcp", b"local"]
    assert ours.to_name([]) == ours.ROOT


def test_classes_that_may_have_no_data_have_none() -> None:
    """As an update deletes an RRset (RFC 2136 section 2.5.2)."""
    record = ours.ROOT + ours.RECORD.pack(ours.CNAME, ours.CLASS_ANY, 0, 0)
    data = ours.HEADER.pack(1, 0, 0, 1, 0, 0) + record
    with pytest.raises(ours.Malformed):
        ours.read(data)
    assert ours.read(data, empty=(ours.CLASS_ANY,)).answers == [ours.Record(ours.ROOT, ours.CNAME, 255, 0, b"")]
