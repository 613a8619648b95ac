"""TCP: pipelining, bounds, answers of any size, and zones handed over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.zone
import pytest
import trio
import trio.testing
from responder_plugins.dns import Dns, TransferKey
from responder_plugins.dns.handler import DnsHandler

from responder import Connection, Peer
from responder.testing import bench, settled
from tests.plugins.dns.support import LINK, SMALL, ZONE, ask_bytes, handler_of, texts

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
KEYRING = dns.tsigkeyring.from_text({"key.test": SECRET})


def connection(stream: trio.abc.HalfCloseableStream, peer: str = "10.71.0.9") -> Connection:
    return Connection(
        stream=stream,
        peer=Peer(peer, 40000),
        destination=LINK.addresses[0].address,
        interface=LINK,
        service="default",
        port=53,
        arrival=0.0,
    )


class Client:
    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._held = b""

    async def send(self, *queries: dns.message.Message) -> None:
        wires = [query.to_wire() for query in queries]
        await self.stream.send_all(b"".join(len(wire).to_bytes(2) + wire for wire in wires))

    async def receive(self) -> bytes:
        """One message; empty at the end."""
        while len(self._held) < 2 or len(self._held) < 2 + int.from_bytes(self._held[:2]):
            more = await self.stream.receive_some()
            if not more:
                return b""
            self._held += more
        size = 2 + int.from_bytes(self._held[:2])
        message, self._held = self._held[2:size], self._held[size:]
        return message


@asynccontextmanager
async def connected(handler: DnsHandler, peer: str = "10.71.0.9") -> AsyncIterator[Client]:
    """A client whose connection is served, and closed as the framework does it."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        await handler.converse(connection(theirs, peer))
        await theirs.aclose()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield Client(ours)
            await ours.aclose()


async def test_many_queries_in_one_go_are_all_answered() -> None:
    queries = [dns.message.make_query(f"n{number}.wild.example.test", "A", id=number) for number in range(100)]
    async with connected(handler_of()) as client:
        await client.send(*queries)
        await client.stream.send_eof()
        replies = [dns.message.from_wire(await client.receive()) for _ in queries]
        assert await client.receive() == b""
    by_id = {reply.id: reply for reply in replies}
    assert all(query.is_response(by_id[query.id]) for query in queries)


async def test_bytes_that_come_one_by_one() -> None:
    query = dns.message.make_query("www.example.test", "A")
    wire = query.to_wire()
    async with connected(handler_of()) as client:
        for byte in len(wire).to_bytes(2) + wire:
            await client.stream.send_all(bytes((byte,)))
        assert query.is_response(dns.message.from_wire(await client.receive()))


async def test_an_answer_that_udp_cuts_is_whole(tmp_path: Path) -> None:
    long = "".join(f'long TXT "{number:03}{"x" * 240}"\n' for number in range(200))
    (tmp_path / "a.zone").write_text(SMALL + long)
    async with connected(handler_of(tmp_path, zones={"example.test": Path("a.zone")})) as client:
        await client.send(dns.message.make_query("long.example.test", "TXT"))
        reply = dns.message.from_wire(await client.receive())
    assert len(reply.answer[0]) == 200


async def test_an_answer_that_no_message_holds_is_servfail(tmp_path: Path) -> None:
    """A chain through one RRset of nearly 64 KiB fits; with the same again behind it (DNAME) it does not."""
    long = "".join(f'{{}} TXT "{number:03}{"x" * 240}"\n' for number in range(253))
    alias = ".".join("a" * 60 for _ in range(3))
    chain = "".join(f"{alias}{number} CNAME {alias}{number + 1}\n" for number in range(14)) + f"{alias}14 CNAME long\n"
    (tmp_path / "a.zone").write_text(SMALL + long.replace("{}", "long") + chain)
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    async with connected(handler) as client:
        for name, rcode in (("long", 0), (f"{alias}0", 2)):
            await client.send(dns.message.make_query(f"{name}.example.test", "TXT", use_edns=0))
            assert dns.message.from_wire(await client.receive()).rcode() == rcode


@pytest.mark.parametrize("sent", [b"\0\0", b"\0\3abc", b"\0\x0c" + b"\0\1\x80" + bytes(9)])
async def test_what_is_no_query_ends_the_connection(sent: bytes) -> None:
    async with connected(handler_of()) as client:
        await client.stream.send_all(sent)
        assert await client.receive() == b""


async def test_an_idle_connection_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(handler_of(idle_timeout=3)) as client:
        await trio.sleep(2.5)
        await client.send(dns.message.make_query("www.example.test", "A"))
        assert await client.receive()
        assert await client.receive() == b""
        assert trio.current_time() == pytest.approx(5.5)


async def test_a_connection_has_its_time(autojump_clock: trio.testing.MockClock) -> None:
    answers = 0
    async with connected(handler_of(idle_timeout=10, connection_time=15)) as client:
        for _ in range(4):
            await client.send(dns.message.make_query("www.example.test", "A"))
            if not await client.receive():
                break
            answers += 1
            await trio.sleep(4)
        assert await client.receive() == b""
        assert trio.current_time() == pytest.approx(16)
    assert answers == 4


KEEPALIVE = dns.edns.GenericOption(dns.edns.OptionType(11), b"")


def told_timeout(reply: bytes) -> list[int]:
    """Tenths of a second."""
    message = dns.message.from_wire(reply)
    return [int.from_bytes(option.to_wire() or b"") for option in message.options if option.otype == 11]


async def test_who_asks_for_how_long_it_may_idle_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """RFC 7828: in units of 100 ms; never more than the connection still has."""
    plain = dns.message.make_query("www.example.test", "A", use_edns=0)
    asking = dns.message.make_query("www.example.test", "A", use_edns=0, options=[KEEPALIVE])
    unknown = dns.message.make_query("nothing.example.test", "A", use_edns=0, options=[KEEPALIVE])
    async with connected(handler_of(idle_timeout=2.5, connection_time=5)) as client:
        for query, timeouts, wait in ((plain, [], 0), (asking, [25], 2), (unknown, [25], 2), (asking, [10], 0)):
            await client.send(query)
            assert told_timeout(await client.receive()) == timeouts
            await trio.sleep(wait)


async def test_each_message_of_a_transfer_tells_it_too() -> None:
    query = axfr()
    query.use_edns(0, options=[KEEPALIVE])
    handler = handler_of(allow_transfer=["10.71.0.0/24"], idle_timeout=3600, connection_time=86400)
    for message in await transferred(handler, query):
        assert told_timeout(message.to_wire()) == [36000]


def test_by_udp_nobody_is_told() -> None:
    query = dns.message.make_query("www.example.test", "A", use_edns=0, options=[KEEPALIVE])
    assert told_timeout(ask_bytes(handler_of(), query.to_wire())) == []


async def test_a_client_that_takes_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    handler = handler_of(idle_timeout=3)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler.converse, connection(theirs))
            await Client(ours).send(*[dns.message.make_query("www.example.test", "A") for _ in range(40)][:1])
        assert trio.current_time() == pytest.approx(3)


async def test_of_one_clients_connections_beyond_the_bound_the_longest_idle_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    query = dns.message.make_query("www.example.test", "A")

    async def ask(stream: trio.abc.Stream) -> bool:
        await Client(stream).send(query)
        return bool(await Client(stream).receive())

    async with bench(Dns(zones={"example.test": ZONE}, idle_timeout=600), connections_per_peer=2) as at:
        first, second = await at.connect(), await at.connect()
        for stream in (first, second, first):
            assert await ask(stream)
            await trio.sleep(1)
        third = await at.connect()
        await settled()
        assert await second.receive_some() == b""
        for stream in (first, third):
            assert await ask(stream)
        assert at.outcomes()["busy"] == 1
    assert Dns.services[0].connections_per_peer == 10


# Transfers


async def transferred(
    handler: DnsHandler, query: dns.message.Message, peer: str = "10.71.0.9"
) -> list[dns.message.Message]:
    """All messages of the answer, their signatures checked."""
    messages: list[dns.message.Message] = []
    context: Any = None
    async with connected(handler, peer) as client:
        await client.send(query)
        await client.stream.send_eof()
        while wire := await client.receive():
            message = dns.message.from_wire(
                wire,
                keyring=KEYRING,
                request_mac=query.mac,
                xfr=True,
                tsig_ctx=context,
                multi=True,
            )
            context = message.tsig_ctx
            messages.append(message)
    return messages


def axfr(kind: str = "AXFR", *, serial: int | None = None, sign: bool = False) -> dns.message.Message:
    query = dns.message.make_query("example.test", kind)
    if serial is not None:
        soa = f"ns1.example.test. host.example.test. {serial} 1 2 3 4"
        query.authority.append(dns.rrset.from_text("example.test.", 1, "IN", "SOA", soa))
    if sign:
        query.use_tsig(KEYRING)
    return query


def records(messages: Sequence[dns.message.Message]) -> list[str]:
    return [line for message in messages for line in texts(message.answer)]


async def test_axfr_gives_the_whole_zone_between_two_soa_records() -> None:
    found = records(await transferred(handler_of(allow_transfer=("10.71.0.0/24",)), axfr()))
    zone = dns.zone.from_file(str(ZONE), "example.test", relativize=False)
    expected = {(name, ttl, rdata) for name, ttl, rdata in zone.iterate_rdatas()}
    assert found[0] == found[-1]
    assert " SOA " in found[0]
    assert len(found) == len(expected) + 1
    assert {line.lower() for line in found} == {
        f"{name} {ttl} {dns.rdatatype.to_text(rdata.rdtype)} {rdata}".lower() for name, ttl, rdata in expected
    }


@pytest.mark.parametrize("serial", [2026010101, 2026010102, 1], ids=["current", "newer", "older"])
async def test_ixfr_is_answered_by_the_soa_or_the_whole(serial: int) -> None:
    found = records(await transferred(handler_of(allow_transfer=("10.0.0.0/8",)), axfr("IXFR", serial=serial)))
    assert (len(found) > 1) == (serial == 1)


async def test_a_large_zone_comes_in_many_signed_messages(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(SMALL + "".join(f"host{number} A 192.0.2.1\n" for number in range(5000)))
    handler = handler_of(
        tmp_path, zones={"example.test": Path("a.zone")}, transfer_keys={"key.test": TransferKey(SECRET)}
    )
    messages = await transferred(handler, axfr(sign=True))
    assert len(messages) > 5
    assert all(message.had_tsig for message in messages)
    assert len(records(messages)) == 5005


@pytest.mark.parametrize(
    ("options", "rcode"),
    [
        ({}, dns.rcode.REFUSED),
        ({"allow_transfer": ("10.72.0.0/24",)}, dns.rcode.REFUSED),
        ({"allow_transfer": ("10.71.0.0/24",), "zones": {"sub.example.test": ZONE}}, None),
    ],
)
async def test_who_may_not_have_it_is_refused(options: dict[str, Any], rcode: int | None, tmp_path: Path) -> None:
    if rcode is None:
        (tmp_path / "a.zone").write_text(SMALL)
        options["zones"] = {"sub.example.test": tmp_path / "a.zone"}
        rcode = dns.rcode.NOTAUTH
    (message,) = await transferred(handler_of(**options), axfr())
    assert (message.rcode(), message.answer) == (rcode, [])


async def test_other_answers_come_between_the_messages_of_a_transfer(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(SMALL + "".join(f"host{number} A 192.0.2.1\n" for number in range(5000)))
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")}, allow_transfer=("10.0.0.0/8",))
    whole, single = axfr(), dns.message.make_query("www.example.test", "A", id=1)
    whole.id = 2
    order = []
    async with connected(handler) as client:
        await client.send(whole, single)
        await client.stream.send_eof()
        while wire := await client.receive():
            order.append(int.from_bytes(wire[:2]))
    assert order.count(single.id) == 1
    assert order[-1] == whole.id
