"""DNS over HTTPS by HTTP/1.1 and HTTP/2: what is asked and answered, and what a peer may do to hold a connection."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import attrs
import dns.edns
import dns.message
import dns.opcode
import dns.rcode
import dns.update
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import h11
import pytest
import trio
import trio.testing
from responder_plugins.dns import Secondary, Update
from responder_plugins.dns.encrypted.http2 import Http2
from responder_plugins.dns.encrypted.https import lifetime
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.shared import http

from tests.plugins.dns.encrypted.support import secured, tls_handler
from tests.plugins.dns.support import SMALL

TYPE = "application/dns-message"


def query(name: str = "www.example.test", rdtype: str = "A", **more: Any) -> bytes:
    return dns.message.make_query(name, rdtype, id=0, **more).to_wire()


def get(wire: bytes) -> str:
    return "/dns-query?dns=" + base64.urlsafe_b64encode(wire).rstrip(b"=").decode()


@attrs.frozen
class Got:
    status: int
    header: Mapping[str, str]
    body: bytes


class Http1Client:
    """One request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    async def ask(self, method: str, path: str, body: bytes = b"", content_type: str = TYPE) -> Got:
        header = [("Host", "ns.example.test")]
        if method == "POST":
            header += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        pieces: list[Any] = [h11.Request(method=method, target=path, headers=header)]
        pieces += [h11.Data(data=body)] if body else []
        await self._stream.send_all(
            b"".join(self._connection.send(piece) or b"" for piece in [*pieces, h11.EndOfMessage()])
        )
        head, found = None, b""
        while not isinstance(event := self._connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self._connection.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                found += event.data
        assert head is not None
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
        return Got(head.status_code, {name.decode(): value.decode() for name, value in head.headers}, found)


class Http2Client:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.reset: dict[int, int] = {}
        self.terminated = False

    async def flush(self) -> None:
        await self.stream.send_all(self.connection.data_to_send())

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = TYPE,
        *,
        end: bool = True,
        more: Sequence[tuple[str, str]] = (),
    ) -> int:
        number = self.connection.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", "ns.example.test"), (":path", path)]
        if method == "POST":
            head += [("content-type", content_type), *more]
        self.connection.send_headers(number, head, end_stream=end and not body)
        if body:
            self.connection.send_data(number, body, end_stream=end)
        return number

    async def read(self) -> bool:
        """False at the end."""
        data = await self.stream.receive_some()
        for event in self.connection.receive_data(data) if data else ():
            if isinstance(event, h2.events.ResponseReceived):
                assert event.stream_id is not None
                self.heads[event.stream_id] = dict(event.headers or ())  # type: ignore[arg-type]  # decoded
            elif isinstance(event, h2.events.DataReceived):
                assert event.stream_id is not None
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + (event.data or b"")
                self.connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                self.ended.append(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                assert event.stream_id is not None
                self.reset[event.stream_id] = event.error_code or 0
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.terminated = True
        return bool(data)

    async def ask(self, method: str, path: str, body: bytes = b"", content_type: str = TYPE) -> Got:
        number = self.send(method, path, body, content_type)
        await self.flush()
        while number not in self.ended:
            assert await self.read()
            await self.flush()
        head = self.heads[number]
        return Got(int(head[":status"]), head, self.bodies.get(number, b""))


@asynccontextmanager
async def client(handler: DnsHandler, folder: Path, version: str) -> AsyncIterator[Http1Client | Http2Client]:
    async with secured(handler, "https", folder, protocols=(version,)) as stream:
        assert stream.selected_alpn_protocol() == version
        yield Http2Client(stream) if version == "h2" else Http1Client(stream)


VERSIONS = pytest.mark.parametrize("version", ["http/1.1", "h2"])


@VERSIONS
async def test_queries_by_get_and_post(tmp_path: Path, version: str) -> None:
    async with client(tls_handler(tmp_path), tmp_path, version) as asker:
        for name, rcode in (("www.example.test", 0), ("nothing.example.test", 3), ("elsewhere.test", 5)):
            wire = query(name)
            for got in (await asker.ask("GET", get(wire)), await asker.ask("POST", "/dns-query", wire)):
                assert (got.status, got.header["content-type"]) == (200, TYPE)
                assert got.header["content-length"] == str(len(got.body))
                reply = dns.message.from_wire(got.body)
                assert dns.message.from_wire(wire).is_response(reply)
                assert reply.rcode() == rcode
        head = await asker.ask("HEAD", get(query()))
        assert (head.status, head.body) == (200, b"")
        assert int(head.header["content-length"]) > 0


@VERSIONS
async def test_what_is_no_query_gets_a_status(tmp_path: Path, version: str) -> None:
    handler = tls_handler(tmp_path)
    response = dns.message.make_response(dns.message.make_query("www.example.test", "A")).to_wire()
    requests = [
        (404, "GET", "/", b""),
        (404, "POST", "/dns-query/", query()),
        (400, "GET", "/dns-query", b""),
        (400, "GET", "/dns-query?dns=", b""),
        (400, "GET", "/dns-query?dns=%21%21", b""),
        (400, "GET", get(query()) + "&dns=AAAA", b""),
        (400, "GET", get(b"short"), b""),
        (400, "GET", get(response), b""),
        (400, "GET", "/dns-query?" + "&".join(f"a{number}=1" for number in range(500)), b""),
        (400, "POST", "/dns-query", response),
        (405, "PUT", "/dns-query", b""),
    ]
    for status, method, path, body in requests:
        async with client(handler, tmp_path, version) as asker:
            assert (await asker.ask(method, path, body)).status == status, (method, path)
    async with client(handler, tmp_path, version) as asker:
        assert (await asker.ask("POST", "/dns-query", query(), "text/plain")).status == 415
    assert handler.counts()["http-refused"] == len(requests)  # the 405 is no request for us; the 415 is


@VERSIONS
async def test_what_is_no_query_of_dns_is_not_implemented(tmp_path: Path, version: str) -> None:
    """UPDATE and NOTIFY, of whoever may send them by TCP."""
    update = dns.update.UpdateMessage("example.test")
    update.add("new", 60, "A", "192.0.2.1")
    notify = dns.message.make_query("other.test", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    handler = tls_handler(
        tmp_path,
        state=tmp_path / "state",
        update={"example.test": Update(allow=(ip_network("10.71.0.9/32"),))},
        secondary={"other.test": Secondary(primaries=("10.71.0.9",))},
    )
    async with client(handler, tmp_path, version) as asker:
        for message in (update, notify):
            wire = message.to_wire()
            for got in (await asker.ask("GET", get(wire)), await asker.ask("POST", "/dns-query", wire)):
                assert (got.status, got.header["cache-control"] in ("no-store", "max-age=0")) == (200, True)
                reply = dns.message.from_wire(got.body)
                assert (reply.id, reply.opcode(), reply.rcode()) == (message.id, message.opcode(), dns.rcode.NOTIMP)
        reply = dns.message.from_wire((await asker.ask("GET", get(query("new.example.test")))).body)
        assert reply.rcode() == dns.rcode.NXDOMAIN
    assert "notify-received" not in handler.counts()


async def test_a_body_that_is_too_long_for_http1(tmp_path: Path) -> None:
    async with client(tls_handler(tmp_path), tmp_path, "http/1.1") as asker:
        assert (await asker.ask("POST", "/dns-query", bytes(http.MAX_BODY + 1))).status == 413


@pytest.mark.parametrize(("size", "status"), [(65535, 200), (http.MAX_BODY, 200), (70000, 413), (2**24, 413)])
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_long_for_http2(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, size: int, status: int, declared: bool
) -> None:
    """It is refused before its end, the client told to stop (RFC 9113 section 8.1), and the connection goes on."""
    async with client(tls_handler(tmp_path), tmp_path, "h2") as asker:
        assert isinstance(asker, Http2Client)
        more = [("content-length", str(size))] if declared else []
        number = asker.send("POST", "/dns-query", end=False, more=more)
        rest = query() + bytes(size - len(query()))
        while number not in asker.heads:
            room = 0 if not rest else min(asker.connection.local_flow_control_window(number), 2**14, len(rest))
            if room:
                asker.connection.send_data(number, rest[:room], end_stream=room == len(rest))
                rest = rest[room:]
            await asker.flush()
            if not room:
                assert await asker.read()
        assert asker.heads[number][":status"] == str(status)
        if status == 413:
            assert size - len(rest) <= http.MAX_BODY + 1
            assert asker.ended == [number]
            answered = trio.current_time()
            while number not in asker.reset:
                assert await asker.read()
            assert (asker.ended, asker.reset) == ([number], {number: h2.errors.ErrorCodes.NO_ERROR})
            assert trio.current_time() - answered == pytest.approx(0.5, abs=0.001)
            while asker.connection.outbound_flow_control_window < 5 * 2**13:
                await asker.flush()
                assert await asker.read()
        for _ in range(20):  # the window of the connection is as it was
            assert (await asker.ask("POST", "/dns-query", query() + bytes(2**13))).status == 200
        assert (await asker.ask("POST", "/dns-query", query())).status == 200


async def test_for_how_long_answers_are_fresh(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(SMALL + "mail 77 MX 1 www\nalias 20 CNAME www\n")
    handler = tls_handler(tmp_path, zones={"example.test": Path("a.zone")}, here=("me.test",))
    async with client(handler, tmp_path, "h2") as asker:
        for name, rdtype, fresh in (
            ("www", "A", "max-age=300"),
            ("mail", "MX", "max-age=77"),
            ("alias", "A", "max-age=20"),  # the least of the answer's
            ("nothing", "A", "max-age=60"),  # how long a denial holds
            ("www", "AAAA", "max-age=60"),
        ):
            got = await asker.ask("GET", get(query(f"{name}.example.test", rdtype)))
            assert got.header["cache-control"] == fresh, name
        assert (await asker.ask("GET", get(query("x.elsewhere.test")))).header["cache-control"] == "max-age=0"
        # Another client may get another answer.
        assert (await asker.ask("GET", get(query("me.test")))).header["cache-control"] == "no-store"


@VERSIONS
async def test_how_long_a_connection_may_idle_is_no_matter_of_dns_here(tmp_path: Path, version: str) -> None:
    """RFC 7828 is of TCP (and TLS); a connection of HTTP is HTTP's."""
    keepalive = dns.edns.GenericOption(dns.edns.OptionType(11), b"")
    async with client(tls_handler(tmp_path), tmp_path, version) as asker:
        got = await asker.ask("GET", get(query(use_edns=0, options=[keepalive])))
    assert dns.message.from_wire(got.body).options == ()


def test_lifetime_of_what_is_nothing() -> None:
    assert lifetime(bytes(12)) == 0


async def test_many_requests_at_once_by_http2(tmp_path: Path) -> None:
    async with client(tls_handler(tmp_path), tmp_path, "h2") as asker:
        assert isinstance(asker, Http2Client)
        await asker.flush()
        await asker.read()
        numbers = [asker.send("GET", get(query(f"n{number}.wild.example.test"))) for number in range(100)]
        await asker.flush()
        while len(asker.ended) < len(numbers):
            assert await asker.read()
        for number, stream in enumerate(numbers):
            reply = dns.message.from_wire(asker.bodies[stream])
            assert reply.question[0].name.to_text() == f"n{number}.wild.example.test."


async def test_a_long_answer_waits_for_the_window(tmp_path: Path) -> None:
    long = "".join(f'long TXT "{number:03}{"x" * 240}"\n' for number in range(250))
    (tmp_path / "a.zone").write_text(SMALL + long)
    handler = tls_handler(tmp_path, zones={"example.test": Path("a.zone")})
    async with client(handler, tmp_path, "h2") as asker:
        assert isinstance(asker, Http2Client)
        asker.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        got = await asker.ask("GET", get(query("long.example.test", "TXT")))
        assert len(dns.message.from_wire(got.body).answer[0]) == 250


class TestWhatHoldsAConnection:
    @pytest.fixture
    def held(self, tmp_path: Path) -> DnsHandler:
        long = "".join(f'long TXT "{number:03}{"x" * 240}"\n' for number in range(250))
        (tmp_path / "a.zone").write_text(SMALL + long)
        return tls_handler(tmp_path, zones={"example.test": Path("a.zone")})

    @VERSIONS
    async def test_a_client_that_asks_nothing(
        self, held: DnsHandler, tmp_path: Path, autojump_clock: trio.testing.MockClock, version: str
    ) -> None:
        async with secured(held, "https", tmp_path, protocols=(version,)) as stream:
            began = trio.current_time()
            if version == "h2":
                asker = Http2Client(stream)
                await asker.flush()
                while await asker.read():
                    await asker.flush()
                assert asker.terminated
            else:
                assert await stream.receive_some() == b""
            assert trio.current_time() - began == pytest.approx(10, abs=0.001)

    async def test_a_body_that_fills_the_window_of_http2_and_never_ends(
        self, held: DnsHandler, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with client(held, tmp_path, "h2") as asker:
            assert isinstance(asker, Http2Client)
            began = trio.current_time()
            number = asker.send("POST", "/dns-query", bytes(16384), end=False)
            for size in (16384, 16384, 16383):
                asker.connection.send_data(number, bytes(size))
            await asker.flush()
            while not asker.terminated:
                await asker.read()
                assert asker.connection.local_flow_control_window(number) <= 2  # never opened again
            assert trio.current_time() - began == pytest.approx(10, abs=0.001)

    async def test_pings_keep_no_connection(
        self, held: DnsHandler, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with client(held, tmp_path, "h2") as asker:
            assert isinstance(asker, Http2Client)
            began = trio.current_time()
            ended = False
            while not ended:
                asker.connection.ping(b"12345678")
                await asker.flush()
                with trio.move_on_after(1):
                    while not asker.terminated and await asker.read():
                        pass
                    ended = True
            assert trio.current_time() - began <= 11

    async def test_answers_that_nobody_takes(
        self, held: DnsHandler, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with client(held, tmp_path, "h2") as asker:
            assert isinstance(asker, Http2Client)
            asker.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
            numbers = [asker.send("GET", get(query("long.example.test", "TXT"))) for _ in range(10)]
            await asker.flush()
            began = trio.current_time()
            while await asker.read():
                if not asker.terminated:
                    await asker.flush()
            assert trio.current_time() - began == pytest.approx(10, abs=0.001)
            statuses = [asker.heads[number][":status"] for number in numbers]
            assert statuses == ["200"] * 5 + ["503"] * 5  # no more than 256 KiB wait

    async def test_a_connection_ends_though_it_is_busy(
        self, held: DnsHandler, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with client(held, tmp_path, "http/1.1") as asker:
            began = trio.current_time()
            with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):  # noqa: PT012 - until it raises
                while True:
                    await asker.ask("GET", get(query()))
                    await trio.sleep(5)
            assert trio.current_time() - began == pytest.approx(300, abs=10)

    async def test_too_many_streams_end_it(self, held: DnsHandler, tmp_path: Path) -> None:
        async with client(held, tmp_path, "h2") as asker:
            assert isinstance(asker, Http2Client)
            asker.connection.remote_settings.max_concurrent_streams = 1000
            for _ in range(101):
                asker.send("POST", "/dns-query", end=False)
            await asker.flush()
            while await asker.read():
                pass
            assert asker.terminated


async def _bombard(data: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(data)
    await ours.send_eof()
    document = http.Document(b"x" * 100, TYPE)
    await Http2(theirs, lambda _request: document, 10.0).serve()


async def test_mutated_bytes_break_nothing() -> None:
    """Whatever comes, a session ends without an exception."""
    maker = Http2Client(trio.testing.memory_stream_pair()[0])
    maker.send("GET", get(query()))
    maker.send("POST", "/dns-query", query())
    maker.connection.ping(b"12345678")
    whole = maker.connection.data_to_send()
    await _bombard(whole)
    chance = random.Random(7)  # noqa: S311 - to be the same each time
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            where = chance.randrange(24, len(data))
            match chance.randrange(3):
                case 0:
                    data[where] = chance.randrange(256)
                case 1:
                    del data[where : where + chance.randrange(1, 9)]
                case _:
                    data[where:where] = data[chance.randrange(24, len(data)) :][: chance.randrange(1, 40)]
        await _bombard(bytes(data))
