"""Primaries within TLS: who is believed, what is asked over which connection, and in which words it fails."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import dns.edns
import dns.message
import dns.tsig
import pytest
import trio
import trio.testing
from responder_plugins.dns import PrimaryTls
from responder_plugins.dns.encrypted.client import ClientTls, of_client
from responder_plugins.dns.message import wire
from responder_plugins.dns.transfer import outgoing, tsig
from responder_plugins.dns.transfer.primary import Primary, TlsFailed
from responder_plugins.dns.transfer.upstream import CONNECTIONS, News, Upstream
from responder_plugins.dns.zone.changes import ZoneRecord, soa_record
from responder_plugins.dns.zone.tables import Zone

from responder import Context, Peer
from tests.fuzz.target_transfers import NEW, OLD, ORIGIN
from tests.plugins.dns.certificates import Authority
from tests.plugins.dns.transfer.test_incoming import BOUND, KEY, records

NAME = "ns.example.test"

Say = Callable[[bytes], Iterator[bytes]]


def zone_said(zone: Zone, query: bytes) -> Iterator[bytes]:
    """The zone, or its SOA record, in messages that are signed where the query is."""
    asked = wire.parse(query)
    if asked.rdtype == wire.SOA:
        asked.rdtype, asked.serial = wire.IXFR, zone.serial
    signer = tsig.verify(query, asked.tsig, {KEY.name: KEY}, time.time) if asked.tsig else None
    for message in outgoing.messages(zone, asked):
        yield message if signer is None else signer.sign(message, multi=True)


@attrs.define
class TlsServer:
    """Says what `say` has to each query, on so many queries of a connection.

    asked  the queries by connection
    """

    folder: Path
    say: Say = lambda query: zone_said(NEW, query)
    queries: int = 100
    protocols: tuple[str, ...] = ("dot",)
    authorities: Path | None = None
    asked: list[list[bytes]] = attrs.field(factory=list)
    port: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        if self.protocols:
            context.set_alpn_protocols(list(self.protocols))
        if self.authorities is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authorities)
        with trio.fail_after(BOUND):
            async with trio.open_nursery() as nursery:
                listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
                self.port = listeners[0].transport_listener.socket.getsockname()[1]
                nursery.start_soon(trio.serve_listeners, self._converse, listeners)
                yield
                nursery.cancel_scope.cancel()

    async def _converse(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        asked: list[bytes] = []
        try:
            await stream.do_handshake()
            self.asked.append(asked)
            for _ in range(self.queries):
                size = int.from_bytes(await self._exactly(stream, 2))
                asked.append(await self._exactly(stream, size))
                for message in self.say(asked[-1]):
                    await stream.send_all(len(message).to_bytes(2) + message)
        except (trio.BrokenResourceError, EOFError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _exactly(self, stream: trio.SSLStream[trio.SocketStream], size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = await stream.receive_some(size - len(data))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def primary(self, options: PrimaryTls | None = None, key: dns.tsig.Key | None = None) -> Primary:
        options = options or PrimaryTls(names=(NAME,), ca=Path("ca.pem"))
        credentials = of_client(options, "tls")
        credentials.load(Context("dns", self.folder))
        name = options.names[0] if options.names else None
        return Primary(Peer("127.0.0.1", self.port), key, ClientTls(options, name, credentials))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Authority(tmp_path).issue(hosts=(NAME, "127.0.0.1"))
    return tmp_path


async def check(upstream: Upstream, primary: Primary) -> tuple[int, News]:
    """As a zone is checked that is not the newest."""
    async with upstream.reach(primary, None) as reached:
        return await reached.newest(ORIGIN), await reached.take(ORIGIN, soa_record(OLD))


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
async def test_a_zone_comes_over_one_connection_and_queries_are_padded(folder: Path, key: dns.tsig.Key | None) -> None:
    server = TlsServer(folder)
    async with server.running():
        serial, zone = await check(Upstream(), server.primary(key=key))
    assert serial == 8
    assert isinstance(zone, Zone)
    assert records(zone) == records(NEW)
    (queries,) = server.asked
    assert [wire.parse(query).rdtype for query in queries] == [wire.SOA, wire.IXFR]
    for query in queries:
        assert len(query) % 128 == 0
        options = dns.message.from_wire(query, keyring=False).options
        assert [option.otype for option in options] == [dns.edns.OptionType.PADDING]


def is_no_ixfr(flags: bytes, query: bytes) -> Iterator[bytes]:
    """IXFR is answered with these flags and nothing else."""
    if wire.parse(query).rdtype == wire.IXFR:
        yield query[:2] + flags + b"\0\1" + bytes(6) + query[12 : 12 + len(ORIGIN) + 4]
    else:
        yield from zone_said(NEW, query)


@pytest.mark.parametrize(("flags", "connections"), [(b"\x80\4", 1), (b"\x80\0", 2)], ids=["NOTIMP", "in disorder"])
async def test_after_ixfr_that_failed_axfr_goes_over_the_same_connection(
    folder: Path, flags: bytes, connections: int
) -> None:
    """RFC 9103 section 7.10; but not where it is unknown what else comes over that."""
    server = TlsServer(folder, partial(is_no_ixfr, flags))
    async with server.running():
        _, zone = await check(Upstream(), server.primary())
    assert isinstance(zone, Zone)
    assert len(server.asked) == connections


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
async def test_a_primary_that_ends_connections_is_asked_over_another_one(
    folder: Path, key: dns.tsig.Key | None
) -> None:
    server = TlsServer(folder, queries=1)
    async with server.running():
        _, zone = await check(Upstream(), server.primary(key=key))
    assert isinstance(zone, Zone)
    assert [len(queries) for queries in server.asked] == [1, 1]


async def test_many_zones_share_few_connections(folder: Path) -> None:
    server = TlsServer(folder)
    async with server.running():
        upstream, primary = Upstream(), server.primary()
        async with trio.open_nursery() as nursery:
            for _ in range(10 * CONNECTIONS):
                nursery.start_soon(check, upstream, primary)
        assert len(server.asked) <= CONNECTIONS
        assert sum(map(len, server.asked)) == 20 * CONNECTIONS
        await upstream.aclose()


async def test_empty_messages_of_a_transfer_are_padding(folder: Path) -> None:
    """RFC 9103 section 7.9.1."""

    def say(query: bytes) -> Iterator[bytes]:
        asked = wire.parse(query)
        opt = wire.opt_record(1232, 0, dnssec_ok=False, options=wire.option(wire.PADDING, bytes(400)))
        for record in outgoing.whole(NEW):
            yield wire.HEADER.pack(asked.ident, wire.QR | wire.AA, 1, 1, 0, 0) + asked.question + wire_of(record)
            if record.rdtype != wire.SOA:
                yield wire.HEADER.pack(asked.ident, wire.QR | wire.AA, 0, 0, 0, 1) + opt

    server = TlsServer(folder, say)
    async with server.running(), Upstream().reach(server.primary(), None) as reached:
        zone = await reached.take(ORIGIN, None)
    assert isinstance(zone, Zone)
    assert records(zone) == records(NEW)


def wire_of(record: ZoneRecord) -> bytes:
    return record.name + wire.RECORD.pack(record.rdtype, wire.IN, record.ttl, len(record.rdata)) + record.rdata


CA = Path("ca.pem")


@pytest.mark.parametrize(
    "options",
    [
        PrimaryTls(names=(NAME,), ca=CA),
        PrimaryTls(names=("127.0.0.1",), ca=CA),
        PrimaryTls(ca=CA),
        PrimaryTls(ca=Path("server.pem")),
        PrimaryTls(names=(NAME,), ca=Path("server.pem")),
        PrimaryTls(opportunistic=True),
    ],
    ids=["name", "address", "any name", "its own certificate", "its own certificate and name", "opportunistic"],
)
async def test_who_is_believed(folder: Path, options: PrimaryTls) -> None:
    server = TlsServer(folder)
    async with server.running():
        assert (await check(Upstream(), server.primary(options)))[0] == 8


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (PrimaryTls(names=("ns.other.test",), ca=CA), "Hostname mismatch"),
        (PrimaryTls(names=("127.0.0.2",), ca=CA), "IP address mismatch"),
        (PrimaryTls(names=(NAME,)), "unable to get local issuer certificate"),
        (PrimaryTls(ca=Path("other/ca.pem")), ""),
        (PrimaryTls(ca=Path("other/server.pem")), ""),
    ],
    ids=["name", "address", "system", "authority", "certificate"],
)
async def test_who_is_not_believed(folder: Path, options: PrimaryTls, why: str) -> None:
    (folder / "other").mkdir()
    Authority(folder / "other").issue()
    server = TlsServer(folder)
    async with server.running():
        with pytest.raises(TlsFailed, match=f"TLS failed: its certificate is not good: {why}"):
            await check(Upstream(), server.primary(options))
    assert server.asked == []


async def test_a_primary_is_told_that_it_is_not_believed(folder: Path) -> None:
    """By an alert (RFC 8446 section 6.2), which its log has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    reasons: list[str] = []

    def listen(sock: socket.socket) -> None:
        accepted, _ = sock.accept()
        with accepted, pytest.raises(ssl.SSLError) as refused:
            context.wrap_socket(accepted, server_side=True)
        reasons.append(refused.value.reason)

    server = TlsServer(folder)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server.port = sock.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, listen, sock)
            with pytest.raises(TlsFailed):
                await check(Upstream(), server.primary(PrimaryTls(names=(NAME,))))
    assert reasons == ["TLSV1_ALERT_UNKNOWN_CA"]


def _old(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _wants_certificates(context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED


OTHERS = {"certificate": Path("client.pem"), "key": Path("client.key")}


@pytest.mark.parametrize(
    ("prepare", "ours", "why"),
    [
        (_old, {}, "it does not speak TLS 1.3"),
        (_wants_certificates, {}, "it wants a certificate of ours (tls.certificate)"),
        (_wants_certificates, OTHERS, "it does not know who vouches for our certificate"),
    ],
    ids=["TLS 1.2", "no certificate", "another certificate"],
)
async def test_what_a_primary_refuses_is_told(
    folder: Path, prepare: Callable[[ssl.SSLContext], None], ours: dict[str, Path], why: str
) -> None:
    Authority(folder).issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    prepare(context)
    server = TlsServer(folder)

    def refuse(sock: socket.socket) -> None:
        """Trio's own stream keeps its alert to itself; and who hangs up before the query has come may lose it."""
        accepted, _ = sock.accept()
        with accepted, context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as within:
            with pytest.raises(ssl.SSLError):
                within.do_handshake()
            within.shutdown(socket.SHUT_WR)
            while socket.socket.recv(within, 4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as sock:
        server.port = sock.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse, sock)
            with pytest.raises(TlsFailed) as caught:
                await check(Upstream(), server.primary(PrimaryTls(opportunistic=True, **ours)))
    assert str(caught.value) == f"TLS failed: {why}"


async def test_a_server_that_speaks_something_else_is_told(folder: Path) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.test ESMTP\r\n")
        await stream.receive_some()

    server = TlsServer(folder)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, greet, [listener])
        with pytest.raises(TlsFailed, match="what it speaks is no TLS"):
            await check(Upstream(), server.primary())
        nursery.cancel_scope.cancel()


async def test_of_a_primary_that_tells_no_protocol_it_is_assumed(folder: Path) -> None:
    """NSD 4.6 is one."""
    silent = TlsServer(folder, protocols=())
    async with silent.running():
        assert (await check(Upstream(), silent.primary()))[0] == 8


async def test_our_certificate_is_shown_and_a_new_one_is_read(folder: Path) -> None:
    seen: list[object] = []

    class Curious(TlsServer):
        async def _converse(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
            await super()._converse(stream)
            seen.append(stream.getpeercert()["serialNumber"])

    authority = Authority(folder)
    authority.issue()
    authority.issue("client")
    server = Curious(folder, authorities=folder / "ca.pem")
    options = PrimaryTls(names=(NAME,), ca=CA, certificate=Path("client.pem"), key=Path("client.key"))
    async with server.running():
        primary, upstream = server.primary(options), Upstream()
        await check(upstream, primary)
        authority.issue("client")
        await check(upstream, primary)
        await trio.testing.wait_all_tasks_blocked()
    assert len({*seen}) == len(seen) == 2
