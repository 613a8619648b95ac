"""Whoami, from the query's bytes to the reply's."""

from __future__ import annotations

import struct
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.whoami import Whoami

from responder import Connection, Context, Datagram, Handler, Interface, InterfaceAddress, Peer, PeerError, Via

LINK = Interface(
    2,
    "link1",
    addresses=(
        InterfaceAddress("10.71.0.1", 24),
        InterfaceAddress("10.71.0.2", 24),
        InterfaceAddress("fd71::1", 64),
        InterfaceAddress("fe80::1", 64),
    ),
)
HANDLER: Handler = Whoami().prepare(Context("whoami"))


def ask_bytes(
    payload: bytes, destination: str = "10.71.0.2", *, peer: str = "10.71.0.9", via: Via = Via.UNICAST
) -> bytes:
    answer = HANDLER.respond(Datagram(payload, Peer(peer, 40000), destination, LINK, port=5300, via=via))
    assert isinstance(answer, bytes)
    return answer


def ask(query: dns.message.Message, destination: str = "10.71.0.2", **way: Any) -> dns.message.Message:
    reply = dns.message.from_wire(ask_bytes(query.to_wire(), destination, **way))
    assert query.is_response(reply)
    return reply


def texts(reply: dns.message.Message) -> list[str]:
    return [str(rdata) for rrset in reply.answer for rdata in rrset]


@pytest.mark.parametrize(
    ("kind", "destination", "expected"),
    [
        ("A", "10.71.0.2", ["10.71.0.2"]),
        ("AAAA", "10.71.0.2", []),
        ("A", "fd71::1", []),
        ("AAAA", "fd71::1", ["fd71::1"]),
        ("AAAA", "fe80::1", ["fe80::1"]),
        ("MX", "10.71.0.2", []),
        ("TXT", "10.71.0.2", ['"interface=link1" "peer=10.71.0.9" "port=40000" "via=unicast"']),
    ],
)
def test_tells_the_address_that_was_asked(kind: str, destination: str, expected: list[str]) -> None:
    peer = "fd71::9" if ":" in destination else "10.71.0.9"
    reply = ask(dns.message.make_query("Any.Name.test", kind), destination, peer=peer)
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.AA
    assert texts(reply) == expected
    assert all(rrset.ttl == 0 for rrset in reply.answer)
    assert str(reply.question[0].name) == "Any.Name.test."


def test_any_gives_all() -> None:
    assert texts(ask(dns.message.make_query("x.test", "ANY"))) == [
        "10.71.0.2",
        '"interface=link1" "peer=10.71.0.9" "port=40000" "via=unicast"',
    ]


@pytest.mark.parametrize(
    ("destination", "peer", "via", "kind", "expected"),
    [
        ("239.255.70.7", "10.71.0.9", Via.MULTICAST, "A", "10.71.0.1"),
        ("10.71.0.255", "10.71.0.9", Via.BROADCAST, "A", "10.71.0.1"),
        ("255.255.255.255", "10.71.0.9", Via.BROADCAST, "A", "10.71.0.1"),
        ("ff02::7007", "fe80::9", Via.MULTICAST, "AAAA", "fe80::1"),
        ("ff02::7007", "fd71::9", Via.MULTICAST, "AAAA", "fd71::1"),
    ],
)
def test_a_group_or_broadcast_query_learns_the_interface_own_address(
    destination: str, peer: str, via: Via, kind: str, expected: str
) -> None:
    assert texts(ask(dns.message.make_query("x.test", kind), destination, peer=peer, via=via)) == [expected]
    (told,) = texts(ask(dns.message.make_query("x.test", "TXT"), destination, peer=peer, via=via))
    assert f'"via={via}"' in told


def test_an_interface_without_the_family_gives_no_address() -> None:
    bare = Interface(3, "bare")
    query = dns.message.make_query("x.test", "ANY").to_wire()
    answer = HANDLER.respond(Datagram(query, Peer("10.71.0.9", 1024), "239.255.70.7", bare, via="multicast"))
    assert isinstance(answer, bytes)
    (only,) = texts(dns.message.from_wire(answer))
    assert "interface=bare" in only


def test_other_opcodes_are_not_implemented() -> None:
    query = dns.message.make_query("x.test", "A")
    query.set_opcode(dns.opcode.STATUS)
    reply = dns.message.from_wire(ask_bytes(query.to_wire()))
    assert (reply.id, reply.opcode(), reply.rcode()) == (query.id, dns.opcode.STATUS, dns.rcode.NOTIMP)


def test_other_classes_are_refused() -> None:
    reply = ask(dns.message.make_query("version.bind", "TXT", "CH"))
    assert (reply.rcode(), reply.answer) == (dns.rcode.REFUSED, [])


@pytest.mark.parametrize("count", [0, 2])
def test_other_than_one_question_is_a_format_error(count: int) -> None:
    question = b"\1x\4test\0\0\1\0\1"
    reply = ask_bytes(struct.pack("!HHHHHH", 7, 0x0100, count, 0, 0, 0) + question * count)
    assert reply == struct.pack("!HHHHHH", 7, 0x8101, 0, 0, 0, 0)


def test_garbage_behind_a_header_is_a_format_error() -> None:
    reply = ask_bytes(struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\xff\xff")
    assert reply == struct.pack("!HHHHHH", 7, 0x8001, 0, 0, 0, 0)


@pytest.mark.parametrize("payload", [b"", b"x", bytes(11), struct.pack("!HHHHHH", 7, 0x8000, 0, 0, 0, 0)])
def test_no_header_or_a_response_gets_no_answer(payload: bytes) -> None:
    with pytest.raises(PeerError):
        ask_bytes(payload)


def test_edns_is_answered_only_if_asked_and_without_options() -> None:
    assert ask(dns.message.make_query("x.test", "A")).edns == -1
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    reply = ask(dns.message.make_query("x.test", "A", use_edns=0, payload=4096, options=[cookie]))
    assert (reply.edns, reply.payload, reply.options) == (0, 1232, ())


def test_another_edns_version_is_told() -> None:
    reply = ask(dns.message.make_query("x.test", "A", use_edns=1))
    assert (reply.edns, reply.rcode(), reply.answer) == (0, dns.rcode.BADVERS, [])


@pytest.mark.parametrize(("payload", "limit"), [(None, 512), (100, 512), (4096, 1232)])
def test_an_answer_that_the_client_would_not_take_is_cut_with_tc(payload: int | None, limit: int) -> None:
    # The longest name, and an interface name far longer than real ones: two copies can't come about otherwise.
    name = ".".join(["n" * 63, "n" * 63, "n" * 63, "n" * 61])
    long = Interface(2, "i" * 240, addresses=LINK.addresses)
    peer = Peer("10.71.0.9", 40000)
    query = dns.message.make_query(name, "ANY", use_edns=False if payload is None else 0, payload=payload or 0)
    wire = HANDLER.respond(Datagram(query.to_wire(), peer, "10.71.0.2", long, port=5300))
    assert isinstance(wire, bytes)
    reply = dns.message.from_wire(wire)
    assert len(wire) <= limit
    assert bool(reply.flags & dns.flags.TC) == (limit == 512)


@given(st.binary(min_size=12, max_size=600), st.booleans())
def test_hostile_bytes_get_a_short_answer_or_silence(payload: bytes, query_like: bool) -> None:
    if query_like:  # one question, opcode QUERY: so that the parser gets to see the rest
        payload = payload[:2] + b"\1\0\0\1" + payload[6:]
    try:
        reply = ask_bytes(payload)
    except PeerError:
        assert payload[2] & 0x80
    else:
        assert reply[:2] == payload[:2]
        assert reply[2] & 0x80
        assert len(reply) <= 1232


@given(st.data())
def test_a_query_with_flipped_bytes_harms_nothing(data: st.DataObject) -> None:
    query = bytearray(dns.message.make_query("x.test", "TXT", use_edns=0, payload=1400).to_wire())
    for place in data.draw(st.lists(st.integers(2, len(query) - 1), max_size=4)):
        query[place] = data.draw(st.integers(0, 255))
    query[2] &= 0x7F
    assert len(ask_bytes(bytes(query))) >= 12


def converse(stream: trio.abc.HalfCloseableStream) -> Connection:
    return Connection(
        stream=stream,
        peer=Peer("fd71::9", 40000),
        destination=LINK.addresses[2].address,
        interface=LINK,
        service="default",
        port=5300,
        arrival=0.0,
    )


async def test_several_queries_on_one_connection() -> None:
    client, server = trio.testing.memory_stream_pair()
    queries = [dns.message.make_query(f"{number}.test", "AAAA") for number in range(3)]
    wires = [query.to_wire() for query in queries]
    sent = b"".join(len(wire).to_bytes(2) + wire for wire in wires)
    received = b""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(HANDLER.converse, converse(server))
            # Cut in the middle of a length and of a query: TCP keeps no borders.
            for part in (sent[:1], sent[1:20], sent[20:]):
                await client.send_all(part)
            for query in queries:
                while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2]):
                    received += await client.receive_some()
                size = 2 + int.from_bytes(received[:2])
                reply = dns.message.from_wire(received[2:size])
                received = received[size:]
                assert query.is_response(reply)
                assert texts(reply) == ["fd71::1"]
            await client.send_eof()


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\x20abc", b"\0\0", b"\0\3abc"])
async def test_a_connection_that_ends_early_or_sends_no_query_is_left(sent: bytes) -> None:
    client, server = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(HANDLER.converse, converse(server))
            if sent:
                await client.send_all(sent)
            await client.send_eof()


async def test_an_idle_connection_is_left(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"\0\x20abc")
    await HANDLER.converse(converse(server))
    assert trio.current_time() == pytest.approx(10)
