"""A primary over a real socket: what it says, and breaks off in the middle, and who may believe it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import attrs
import dns.message
import dns.rcode
import dns.tsig
import pytest
import trio
from responder_plugins.dns.message import wire
from responder_plugins.dns.transfer import connection, outgoing, tsig, upstream
from responder_plugins.dns.transfer.incoming import Incoming
from responder_plugins.dns.transfer.primary import Primary, TransferError, Unanswered
from responder_plugins.dns.transfer.upstream import News, Upstream
from responder_plugins.dns.zone.builder import Line, ZoneBuilder
from responder_plugins.dns.zone.changes import Change, ZoneRecord, difference, records_of, soa_record
from responder_plugins.dns.zone.tables import Zone

from responder import IPAddress, Peer
from tests.fuzz.target_transfers import ORIGIN, version

BOUND = 60.0
"""Seconds for a test: generous, for a loaded machine."""

OLD, NEW, NEWEST = version(7), version(8), version(9)
KEY = dns.tsig.Key("key.test", b"secret of the tests", "hmac-sha256")
OTHER_KEY = dns.tsig.Key("key.test", b"another secret", "hmac-sha256")

Say = Callable[[bytes], Iterator[bytes]]
"""What a server says to a query, in messages."""


@attrs.define
class Server:
    """On a port of 127.0.0.1, by TCP and UDP.  `say` by the name of the query's type; none: it ends the connection."""

    say: dict[str, Say]
    udp: Say | None = None
    asked: list[str] = attrs.field(factory=list)
    sources: list[str] = attrs.field(factory=list)
    port: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Primary]:
        with trio.fail_after(BOUND):
            async with trio.open_nursery() as nursery:
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                self.port = listener.socket.getsockname()[1]
                nursery.start_soon(trio.serve_listeners, self._converse, [listener])
                with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
                    await sock.bind(("127.0.0.1", self.port))
                    nursery.start_soon(self._answer, sock)
                    yield Primary(Peer("127.0.0.1", self.port))
                    nursery.cancel_scope.cancel()

    async def _converse(self, stream: trio.SocketStream) -> None:
        self.sources.append(stream.socket.getpeername()[0])
        data = b""
        while len(data) < 2 or len(data) < int.from_bytes(data[:2]) + 2:
            data += await stream.receive_some()
        query = data[2:]
        kind = _kind(query)
        self.asked.append(kind)
        for message in self.say[kind](query) if kind in self.say else ():
            await stream.send_all(message)
        await stream.aclose()

    async def _answer(self, sock: trio.socket.SocketType) -> None:
        while True:
            query, peer = await sock.recvfrom(65535)
            self.asked.append(f"{_kind(query)} by UDP")
            self.sources.append(peer[0])
            for message in () if self.udp is None else self.udp(query):
                await sock.sendto(message, peer)


def _kind(query: bytes) -> str:
    return {1: "A", 6: "SOA", 251: "IXFR", 252: "AXFR"}[struct.unpack_from("!H", query, 12 + len(ORIGIN))[0]]


def framed(messages: Iterator[bytes]) -> Iterator[bytes]:
    for message in messages:
        yield len(message).to_bytes(2) + message


def whole(zone: Zone, query: bytes) -> Iterator[bytes]:
    return framed(outgoing.messages(zone, wire.parse(query)))


def changes(query: bytes) -> Iterator[bytes]:
    steps = [difference(OLD, NEW), difference(NEW, NEWEST)]
    return framed(outgoing.messages(NEWEST, wire.parse(query), [step for step in steps if step is not None]))


def one_each(zone: Zone, query: bytes) -> Iterator[bytes]:
    """A record a message."""
    asked = wire.parse(query)
    for record in outgoing.whole(zone):
        head = wire.HEADER.pack(asked.ident, wire.QR | wire.AA, 1, 1, 0, 0) + asked.question
        rest = wire.RECORD.pack(record.rdtype, wire.IN, record.ttl, len(record.rdata)) + record.rdata
        yield from framed(iter([head + record.name + rest]))


def rcode(code: int, query: bytes) -> Iterator[bytes]:
    reply = dns.message.make_response(dns.message.from_wire(query, keyring=False if code == 99 else None))
    reply.set_rcode(dns.rcode.Rcode(code))
    return framed(iter([reply.to_wire()]))


async def newest(origin: bytes, primary: Primary, source: IPAddress | None) -> int:
    async with Upstream().reach(primary, source) as reached:
        return await reached.newest(origin)


async def take(origin: bytes, primary: Primary, source: IPAddress | None, soa: ZoneRecord | None) -> News:
    async with Upstream().reach(primary, source) as reached:
        return await reached.take(origin, soa)


def records(zone: Zone) -> list[object]:
    return sorted(outgoing.whole(zone))


async def test_a_whole_zone() -> None:
    for say in (whole, one_each):
        async with Server({"AXFR": partial(say, NEW)}).running() as primary:
            zone = await take(ORIGIN, primary, None, None)
        assert isinstance(zone, Zone)
        assert records(zone) == records(NEW)


async def test_changes_in_their_order() -> None:
    async with Server({"IXFR": changes}).running() as primary:
        news = await take(ORIGIN, primary, None, soa_record(OLD))
    assert isinstance(news, list)
    assert [(change.before, change.after) for change in news] == [(7, 8), (8, 9)]
    expected = [difference(OLD, NEW), difference(NEW, NEWEST)]
    for change, other in zip(news, expected, strict=True):
        assert isinstance(other, Change)
        assert (set(change.removed), set(change.added)) == (set(other.removed), set(other.added))


async def test_nothing_is_new() -> None:
    async with Server({"IXFR": partial(whole, OLD)}).running() as primary:
        assert await take(ORIGIN, primary, None, soa_record(OLD)) is None


@pytest.mark.parametrize(
    "first", [partial(rcode, 4), partial(rcode, 5), partial(rcode, 1), lambda _query: iter([b"\0"])]
)
async def test_where_ixfr_does_not_do_the_whole_zone_is_asked_for(first: Say) -> None:
    server = Server({"IXFR": first, "AXFR": partial(whole, NEW)})
    async with server.running() as primary:
        zone = await take(ORIGIN, primary, None, soa_record(OLD))
    assert isinstance(zone, Zone)
    assert server.asked == ["IXFR", "AXFR"]


async def test_a_zone_instead_of_changes() -> None:
    async with Server({"IXFR": partial(whole, NEW)}).running() as primary:
        zone = await take(ORIGIN, primary, None, soa_record(OLD))
    assert isinstance(zone, Zone)
    assert records(zone) == records(NEW)


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
async def test_a_transfer_that_breaks_off_anywhere_is_none(kind: str) -> None:
    """Whatever the place: between messages or within one, by an end or a reset."""
    said: list[bytes] = []

    def cut(query: bytes, *, size: int) -> Iterator[bytes]:
        said[:] = one_each(NEW, query) if kind == "AXFR" else changes(query)
        yield b"".join(said)[:size]

    server = Server({})
    soa = None if kind == "AXFR" else soa_record(OLD)
    async with server.running() as primary:
        size = 0
        while not said or size < len(b"".join(said)):
            server.say = {kind: partial(cut, size=size)}
            with pytest.raises(TransferError):
                await take(ORIGIN, primary, None, soa)
            size += 7
        server.say = {kind: partial(cut, size=size)}
        assert await take(ORIGIN, primary, None, soa) is not None


async def test_messages_are_taken_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large zone whose records take longer than the network: a primary that has to wait would break off."""
    builder = ZoneBuilder(ORIGIN)
    for record in records_of(NEW):
        builder.add(*record, Line(Path("large"), 0))
    for number in range(500):
        builder.add(
            b"\3" + b"%03d" % number + ORIGIN, wire.TXT, 300, 63 * (b"\xff" + 255 * b"x"), Line(Path("large"), 0)
        )
    large = builder.finish(Path("large"), {})
    sent = threading.Event()

    def say(query: bytes) -> Iterator[bytes]:
        yield from whole(large, query)
        sent.set()

    feed = Incoming.feed

    def feed_later(self: Incoming, message: bytes) -> bool:
        assert sent.wait(BOUND)
        return feed(self, message)

    monkeypatch.setattr(Incoming, "feed", feed_later)
    async with Server({"AXFR": say}).running() as primary:
        zone = await take(ORIGIN, primary, None, None)
    assert isinstance(zone, Zone)
    assert records(zone) == records(large)


async def test_a_silent_primary_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE", 0.01)
    done = trio.Event()

    class Silent(Server):
        async def _converse(self, stream: trio.SocketStream) -> None:
            query = (await stream.receive_some())[2:]
            await stream.send_all(b"".join(whole(NEW, query))[:20])
            await done.wait()

    async with Silent({}).running() as primary:
        with pytest.raises(TransferError):
            await take(ORIGIN, primary, None, None)
        done.set()


@pytest.mark.parametrize("bound", ["LARGEST", "LONGEST"])
async def test_a_transfer_without_end_is_left(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(upstream, bound, 0.5 if bound == "LONGEST" else 50_000)

    def endless(query: bytes) -> Iterator[bytes]:
        first = list(one_each(NEW, query))
        yield first[0]
        while True:
            yield first[1]

    async with Server({"AXFR": endless}).running() as primary:
        with pytest.raises(TransferError, match="MiB" if bound == "LARGEST" else "seconds"):
            await take(ORIGIN, primary, None, None)


async def test_nobody_is_there() -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        primary = Primary(Peer("127.0.0.1", sock.getsockname()[1]))
        with pytest.raises(Unanswered):
            await take(ORIGIN, primary, None, soa_record(OLD))


async def test_a_zone_with_mistakes_is_none() -> None:
    def broken(query: bytes) -> Iterator[bytes]:
        messages = [message[2:] for message in one_each(NEW, query)]
        alias = messages[-2][: 12 + len(ORIGIN) + 4] + b"\2ns" + ORIGIN
        alias += wire.RECORD.pack(wire.CNAME, wire.IN, 300, len(ORIGIN)) + ORIGIN
        return framed(iter([*messages[:-1], alias, messages[-1]]))

    async with Server({"AXFR": broken}).running() as primary:
        with pytest.raises(TransferError, match="CNAME record beside others"):
            await take(ORIGIN, primary, None, None)


def test_data_that_are_not_of_their_type_are_refused() -> None:
    """Found by chance: of MINFO, whose fields dnspython does not know."""
    taking = Incoming(ORIGIN, Primary(Peer("192.0.2.53", 53)), soa_record(OLD))
    taking.query.id = 0
    asked = ORIGIN + struct.pack("!HH", wire.IXFR, 1)
    steps = [soa_record(NEW), soa_record(OLD), soa_record(NEW)]
    more = [ZoneRecord(b"\1v" + ORIGIN, 14, 300, b"\x018"), soa_record(NEW)]
    message = struct.pack("!HHHHHH", 0, 0x8400, 1, 5, 0, 0) + asked
    for name, rdtype, ttl, rdata in [*steps, *more]:
        message += name + wire.RECORD.pack(rdtype, wire.IN, ttl, len(rdata)) + rdata
    with pytest.raises(TransferError, match="name"):
        taking.feed(message)


# TSIG


def signed(key: dns.tsig.Key | None, zone: Zone, query: bytes) -> Iterator[bytes]:
    """As our own server signs, by the digests of dnspython."""
    asked = wire.parse(query)
    signer = None if key is None else tsig.verify(query, asked.tsig, {key.name: key}, time.time)
    for message in one_each(zone, query):
        yield from framed(iter([message[2:] if signer is None else signer.sign(message[2:], multi=True)]))


@pytest.mark.parametrize("key", [KEY, OTHER_KEY, None], ids=["right", "wrong", "unsigned"])
async def test_only_what_the_key_has_signed_is_believed(key: dns.tsig.Key | None) -> None:
    async with Server({"AXFR": partial(signed, key, NEW)}).running() as primary:
        asked = attrs.evolve(primary, key=KEY)
        if key is KEY:
            assert isinstance(await take(ORIGIN, asked, None, None), Zone)
        else:
            with pytest.raises(TransferError):
                await take(ORIGIN, asked, None, None)


# The SOA record


def soa(query: bytes) -> Iterator[bytes]:
    reply = dns.message.make_response(dns.message.from_wire(query))
    reply.flags |= dns.flags.AA
    reply.answer.append(dns.rrset.from_text("other.test.", 300, "IN", "SOA", ". . 42 1 2 3 4"))
    yield reply.to_wire()


async def test_the_serial_by_udp_and_else_by_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "TRIES", (0.05, 0.05))
    server = Server({"SOA": lambda query: framed(soa(query))}, udp=soa)
    async with server.running() as primary:
        assert await newest(ORIGIN, primary, None) == 42
        assert server.asked == ["SOA by UDP"]
        server.udp = None
        server.asked.clear()
        assert await newest(ORIGIN, primary, None) == 42
        assert server.asked == ["SOA by UDP", "SOA by UDP", "SOA"]
        server.say.clear()
        with pytest.raises(Unanswered):
            await newest(ORIGIN, primary, None)


async def test_a_server_without_authority_is_none() -> None:
    def lame(query: bytes) -> Iterator[bytes]:
        for reply in soa(query):
            yield reply[:2] + bytes((reply[2] & ~4,)) + reply[3:]

    for udp, why in ((lame, "no authority"), (lambda query: (m[2:] for m in rcode(5, query)), "REFUSED")):
        async with Server({}, udp=udp).running() as primary:
            with pytest.raises(TransferError, match=why):
                await newest(ORIGIN, primary, None)


async def test_it_is_asked_from_the_address_that_it_has_called() -> None:
    """And from another one where this host no longer has that."""
    server = Server({"AXFR": partial(whole, NEW)}, udp=soa)
    async with server.running() as primary:
        await newest(ORIGIN, primary, ip_address("127.0.0.2"))
        await take(ORIGIN, primary, ip_address("127.0.0.2"), None)
        assert server.sources == ["127.0.0.2", "127.0.0.2"]
        server.sources.clear()
        await newest(ORIGIN, primary, ip_address("192.0.2.1"))
        await take(ORIGIN, primary, ip_address("192.0.2.1"), None)
        assert server.sources == ["127.0.0.1", "127.0.0.1"]
