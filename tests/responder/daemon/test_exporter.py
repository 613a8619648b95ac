"""The metrics endpoint: what it says, by HTTP, and what it bears from its clients.

Clients are on socket pairs within this process, where data is there at once, so that a fake clock can jump; but not
where /metrics is asked for, which is made in a thread.
"""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from ipaddress import ip_address

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder.config.endpoint import Endpoint
from responder.daemon.exporter import (
    HEAD_PATIENCE,
    MAX_CONNECTIONS,
    MAX_HEADERS,
    PATIENCE,
    open_exporter,
    serve_exporter,
)
from responder.daemon.page import Page
from responder.daemon.status import Status
from responder.errors import BindError, NetworkError
from responder.net import platform
from responder.net.types import Accepted, StreamListener
from responder.server.lasting_listener import LastingListener
from responder.server.supervisor import FIRST_DELAY
from tests.fakes import FakeListener, FakePlatform, flow

from .support import STATUS, instance

Connect = Callable[[], trio.SocketStream]


@attrs.define
class Exporter:
    listener: FakeListener
    status: Status

    def connect(self) -> trio.SocketStream:
        ours, theirs = trio.socket.socketpair()
        self.listener.connect(Accepted(trio.SocketStream(theirs), flow(), 40000))
        return trio.SocketStream(ours)

    async def ask(self, request: bytes) -> bytes:
        """The whole response to what is sent at once."""
        async with self.connect() as stream:
            await stream.send_all(request)
            return await read_all(stream)


def lasting(listener: FakeListener) -> LastingListener:
    return LastingListener(lambda _number: listener, listener.port)


async def read_all(stream: trio.SocketStream) -> bytes:
    data = b""
    try:
        async for piece in stream:
            data += piece
    except trio.BrokenResourceError:
        pass  # what was sent was not all read
    return data


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    running = Exporter(FakeListener(9153), STATUS)
    with trio.fail_after(600):  # of the fake clock, where there is one
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_exporter, lasting(running.listener), lambda: running.status, ("metrics.example",))
            yield running
            nursery.cancel_scope.cancel()
    assert running.listener.closed


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def test_metrics(exporter: Exporter) -> None:
    head, _, body = (await exporter.ask(get("/metrics?x=1"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    assert b"connection: close" in head.lower()
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert b'responderd_restarts_total{plugin="echo"} 3.0' in body


@pytest.mark.usefixtures("no_thread")
@pytest.mark.parametrize("path", ["/metrics", "/", "/live.json"])
async def test_where_no_thread_can_be_had_it_says_so(path: str, caplog: pytest.LogCaptureFixture) -> None:
    listener = FakeListener(9153)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_exporter, lasting(listener), lambda: STATUS, (), Page(list))
        answer = await Exporter(listener, STATUS).ask(get(path))
        nursery.cancel_scope.cancel()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"no thread can be had" in answer
    assert caplog.records == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/health"), 200),
        (get("/ready"), 200),
        (get("/"), 404),
        (get("/page.js"), 404),
        (get("http://a/metrics"), 404),
        (b"POST /metrics HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:9153\r\n\r\n", 405),
        (b"HEAD / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 405),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # RFC 9112 section 3.2: no Host
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (MAX_HEADERS + 1), 431),
    ],
)
async def test_answers(exporter: Exporter, autojump_clock: MockClock, request_: bytes, status: int) -> None:
    assert (await exporter.ask(request_)).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9153", 200),
        ("[fd71::1]:9153", 200),
        ("[fd71::1]", 200),
        ("LocalHost.", 200),
        ("Metrics.Example.:9153", 200),
        ("rebound.example", 421),
        ("rebound.example:9153", 421),
        ("127.0.0.1.rebound.example", 421),
        ("", 421),
    ],
)
async def test_another_s_name_is_refused(exporter: Exporter, autojump_clock: MockClock, host: str, status: int) -> None:
    answer = await exporter.ask(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_the_page_is_there_where_it_may_be() -> None:
    listener = FakeListener(9153)
    running = Exporter(listener, STATUS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_exporter, lasting(listener), lambda: STATUS, (), Page(lambda: []))
        for target in ("/", "/?hold", "/live.json", "/page.css", "/page.js", "/icon.svg"):
            head, _, body = (await running.ask(get(target))).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"content-security-policy: default-src 'none'; " in head
            assert b"cache-control: no-store" in head
            assert f"content-length: {len(body)}".encode() in head
            assert (await running.ask(get(target).replace(b"localhost", b"a.example"))).startswith(b"HTTP/1.1 421 ")
        assert (await running.ask(get("/page.html"))).startswith(b"HTTP/1.1 404 ")
        assert (await running.ask(get("/metrics"))).startswith(b"HTTP/1.1 200 ")
        nursery.cancel_scope.cancel()


async def test_a_listener_that_fails_is_opened_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    platform = FakePlatform()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_exporter, open_exporter(platform, Endpoint.parse("[::1]:9153")), lambda: STATUS)
        platform.listeners[0].fail(NetworkError(5, "broken"))
        await trio.sleep(FIRST_DELAY + 0.5)
        assert [each.closed for each in platform.listeners] == [True, False]
        assert platform.listeners[1].address == ip_address("::1")
        running = Exporter(platform.listeners[1], STATUS)
        assert (await running.ask(get("/health"))).startswith(b"HTTP/1.1 200 ")
        nursery.cancel_scope.cancel()
    assert platform.listeners[1].closed
    assert "a port can no longer accept connections" in caplog.text


async def test_not_ready_names_the_plugin(exporter: Exporter, autojump_clock: MockClock) -> None:
    exporter.status = attrs.evolve(STATUS, instances=(instance("dns"), instance("echo", "restarting")))
    response = await exporter.ask(get("/ready"))
    assert response.startswith(b"HTTP/1.1 503 ")
    assert response.endswith(b"\r\n\r\necho is restarting\n")


async def test_ready_has_what_plugins_say_of_themselves(exporter: Exporter, autojump_clock: MockClock) -> None:
    saying = attrs.evolve(instance("dns"), notes=("SERVFAIL: a", "\ud800"))
    exporter.status = attrs.evolve(STATUS, instances=(saying, instance("echo")))
    response = await exporter.ask(get("/ready"))
    assert response.startswith(b"HTTP/1.1 200 ")
    assert response.endswith(b"\r\n\r\nready\ndns: SERVFAIL: a\ndns: ?\n")


async def test_a_second_request_is_not_heard(exporter: Exporter, autojump_clock: MockClock) -> None:
    assert (await exporter.ask(get("/health") * 2)).count(b"HTTP/1.1") == 1


async def test_slow_clients_are_cut(exporter: Exporter, autojump_clock: MockClock) -> None:
    async with exporter.connect() as slow:
        began = trio.current_time()
        for piece in get("/metrics"):
            await slow.send_all(bytes([piece]))
            await wait_all_tasks_blocked()
            await trio.sleep(HEAD_PATIENCE / 20)
            if trio.current_time() - began > HEAD_PATIENCE:
                break
        with suppress(trio.BrokenResourceError):
            assert await slow.receive_some() == b""


async def test_idle_clients_give_way_the_oldest_first(exporter: Exporter, autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        idle = []
        for number in range(MAX_CONNECTIONS):
            idle.append(await stack.enter_async_context(exporter.connect()))
            await idle[-1].send_all(b"GET /metrics HT"[: number % 15])
            await wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        for _ in range(3):
            assert (await exporter.ask(get("/health"))).startswith(b"HTTP/1.1 200 ")
        assert trio.current_time() - began < HEAD_PATIENCE / 4
        # One place was enough: each of the three left it before the next came.
        assert await read_all(idle[0]) == b""
        await idle[1].send_all(get("/health")[len(b"G") :])
        assert (await read_all(idle[1])).startswith(b"HTTP/1.1 200 ")


async def test_who_does_not_read_is_cut(exporter: Exporter, autojump_clock: MockClock) -> None:
    exporter.status = attrs.evolve(STATUS, instances=(instance("x" * 2_000_000, "restarting"),))
    async with exporter.connect() as stream:
        await stream.send_all(get("/ready"))
        await wait_all_tasks_blocked()
        await trio.sleep(3 * PATIENCE)
        assert len(await read_all(stream)) < 2_000_000


async def test_a_client_that_is_gone_hurts_nobody(exporter: Exporter, autojump_clock: MockClock) -> None:
    for request in (b"", b"GET", get("/ready")):
        async with exporter.connect() as stream:
            await stream.send_all(request)
        await wait_all_tasks_blocked()
    assert (await exporter.ask(get("/health"))).startswith(b"HTTP/1.1 200 ")


async def test_a_broken_status_is_logged_and_the_next_request_answered(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Status:
        raise RuntimeError("broken")

    running = Exporter(FakeListener(9153), STATUS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_exporter, lasting(running.listener), broken)
        assert await running.ask(get("/metrics")) == b""
        assert (await running.ask(get("/health"))).startswith(b"HTTP/1.1 200 ")
        nursery.cancel_scope.cancel()
    assert "a metrics request failed" in caplog.text


class TestOpening:
    def test_the_address_and_port_are_those_of_the_endpoint(self) -> None:
        platform = FakePlatform()
        open_exporter(platform, Endpoint.parse("[::1]:9153"))
        assert [(each.port, each.address) for each in platform.listeners] == [(9153, ip_address("::1"))]

    def test_a_busy_port_is_named(self) -> None:
        with pytest.raises(BindError, match="9153"):
            open_exporter(FakePlatform(tcp_taken={9153}), Endpoint.parse(":9153"))

    async def test_a_real_client_reads_it(self) -> None:
        def scrape(listener: StreamListener) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
            connection.request("GET", "/metrics")
            with connection.getresponse() as response:
                return response.status, response.read()

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                listener = open_exporter(platform(), Endpoint.parse("127.0.0.1:0"))
                nursery.start_soon(serve_exporter, listener, lambda: STATUS)
                status, body = await trio.to_thread.run_sync(scrape, listener)
                nursery.cancel_scope.cancel()
        assert status == 200
        assert body.endswith(b"\n")
