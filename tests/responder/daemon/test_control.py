"""The control channel: what it answers, and what it bears from its clients.

Clients are real ones on a Unix socket within this process, where data is there at once, so that a fake clock can jump.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder.daemon import control
from responder.daemon.control import (
    MAX_CLIENTS,
    MAX_REQUEST,
    PATIENCE,
    TRACE_BURST,
    TRACE_LIMIT,
    Trace,
    serve_control,
)
from responder.daemon.control_client import ask
from responder.datagram import Peer, PrefixSet, Via
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation, Observers
from responder.dispatch.outcomes import NOBODY
from responder.errors import NetworkError, ResponderError
from responder.net import owner_socket
from responder.net.types import Route

pytestmark = pytest.mark.skipif(owner_socket.AF_UNIX is None, reason="this Python has no Unix sockets")

STATUS = {
    "instances": [{"name": "dns"}, {"name": "echo"}],
    "ports": [{"number": 53, "plugins": ["dns"]}, {"number": 7, "plugins": ["echo", "other"]}],
}


def observation(
    peer: str = "10.71.0.9",
    instance: str = "dns",
    outcome: str = outcomes.ANSWERED,
    request: bytes = b"request",
    answer: bytes | None = b"answer",
    port: int = 53,
) -> Observation:
    route = Route(ip_address(peer), source=ip_address("10.71.0.2"))
    return Observation(
        time=1700000000.5,
        transport="udp",
        port=port,
        peer=Peer(peer, 40000),
        destination=ip_address("10.71.0.2"),
        interface="lan",
        via=Via.UNICAST,
        instance=instance,
        outcome=outcome,
        request=request,
        answers=() if answer is None else ((1700000000.75, (answer, route, 40000)),),
    )


@attrs.define
class FakeDaemon:
    """`Commands`; `mistakes` is what a reload says."""

    observers: Observers = attrs.field(factory=Observers)
    mistakes: list[str] = attrs.field(factory=list)
    broken: bool = False

    def status(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("broken")
        return STATUS

    def recent(self) -> list[dict[str, Any]]:
        return [{"plugin": "dns"}]

    async def reload(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return self.mistakes

    def waiting_for_restart(self) -> list[str]:
        return ["daemon.settle"]

    def words(self, seen: Observation) -> dict[str, str]:
        return {"name": f"asked-of-{seen.instance}"}


@attrs.define
class Client:
    """A raw client that reads line by line."""

    stream: trio.SocketStream
    _read: bytes = b""

    async def send(self, request: dict[str, Any] | bytes) -> None:
        await self.stream.send_all(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")

    async def line(self) -> Any:
        """The next line's JSON; None at the end."""
        while b"\n" not in self._read:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:  # what it sent was not all read
                data = b""
            if not data:
                return None
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)


@attrs.define
class Channel:
    path: Path
    daemon: FakeDaemon

    @asynccontextmanager
    async def client(self, request: dict[str, Any] | bytes = b"") -> AsyncIterator[Client]:
        async with await trio.open_unix_socket(str(self.path)) as stream:
            client = Client(stream)
            await client.send(request)
            yield client

    async def counts(self) -> dict[str, int]:
        async with self.client({"request": "status"}) as client:
            counts: dict[str, int] = (await client.line())["status"]["control"]
            return counts


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Channel]:
    daemon = FakeDaemon()
    with trio.fail_after(600):  # of the fake clock, where there is one
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, tmp_path / "control", daemon)
            yield Channel(tmp_path / "control", daemon)
            nursery.cancel_scope.cancel()
    assert not (tmp_path / "control").exists()


async def test_status(channel: Channel) -> None:
    async with channel.client({"request": "status"}) as client:
        assert await client.line() == {"status": {**STATUS, "control": {"clients": 1, "refused": 0, "cut": 0}}}
        assert await client.line() is None


async def test_recent(channel: Channel) -> None:
    async with channel.client({"request": "recent"}) as client:
        assert await client.line() == {"recent": [{"plugin": "dns"}]}
        assert await client.line() is None


@pytest.mark.parametrize("mistakes", [[], ["plugins.dns.prot: unknown key"]])
async def test_reload(channel: Channel, mistakes: list[str]) -> None:
    channel.daemon.mistakes = mistakes
    async with channel.client({"request": "reload"}) as client:
        assert await client.line() == {"reload": mistakes, "restart": ["daemon.settle"]}
        assert await client.line() is None


GARBAGE = [
    b"\n",
    b"\xff\xfe\n",
    b"[" * 4000 + b"\n",
    b"[]\n",
    b"{}\n",
    b'{"request": "stop"}\n',
    b'{"request": ["status"]}\n',
    b"x" * (MAX_REQUEST + 1),
    b"x" * MAX_REQUEST + b"\n",
    b'{"request": "trace", "peers": ["10.0.0.0/33"]}\n',
    b'{"request": "trace", "peers": "10.0.0.0/8"}\n',
    b'{"request": "trace", "plugins": [7]}\n',
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_gets_an_error_and_is_counted(
    channel: Channel, autojump_clock: MockClock, garbage: bytes
) -> None:
    async with channel.client(garbage) as client:
        assert list(await client.line()) == ["error"]
        assert await client.line() is None
    assert (await channel.counts())["refused"] == 1
    assert not channel.daemon.observers


async def test_half_a_request_gets_an_error(channel: Channel, autojump_clock: MockClock) -> None:
    async with channel.client(b'{"request": ') as client:
        await client.stream.send_eof()
        assert list(await client.line()) == ["error"]


async def test_a_plugin_that_is_not_there_is_an_error(channel: Channel, autojump_clock: MockClock) -> None:
    async with channel.client({"request": "trace", "plugins": ["dsn"]}) as client:
        assert await client.line() == {"error": "there is no plugin 'dsn' (there are: dns, echo)"}


async def test_who_says_nothing_is_cut(channel: Channel, autojump_clock: MockClock) -> None:
    async with channel.client() as client, channel.client(b"{") as slow:
        began = trio.current_time()
        assert await client.line() is None
        assert trio.current_time() - began == pytest.approx(PATIENCE, abs=0.1)
        assert await slow.line() is None
    assert (await channel.counts())["cut"] == 2


async def test_clients_are_limited_and_one_too_many_is_told(channel: Channel, autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MAX_CLIENTS):
            client = await stack.enter_async_context(channel.client({"request": "trace"}))
            assert await client.line() == {"tracing": True}
        async with channel.client({"request": "status"}) as late:
            assert await late.line() == {"error": f"too many clients: there are {MAX_CLIENTS}"}
            assert await late.line() is None
    await wait_all_tasks_blocked()
    assert (await channel.counts())["clients"] == 1
    assert not channel.daemon.observers


async def test_a_broken_answer_is_logged_and_the_next_is_given(
    channel: Channel, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    channel.daemon.broken = True
    async with channel.client({"request": "status"}) as client:
        assert await client.line() is None
    channel.daemon.broken = False
    assert (await channel.counts())["clients"] == 1
    assert "a control request failed" in caplog.text


class TestTrace:
    async def test_follows(self, channel: Channel, autojump_clock: MockClock) -> None:
        async with channel.client({"request": "trace"}) as client:
            assert await client.line() == {"tracing": True}
            channel.daemon.observers.tell(observation())
            assert await client.line() == {
                "datagram": {
                    "time": 1700000000.5,
                    "transport": "udp",
                    "port": 53,
                    "peer": "10.71.0.9",
                    "peer_port": 40000,
                    "scope_id": 0,
                    "destination": "10.71.0.2",
                    "interface": "lan",
                    "via": "unicast",
                    "plugin": "dns",
                    "outcome": "answered",
                    "reason": "",
                    "bytes": 7,
                    "further": False,
                    "words": {"name": "asked-of-dns"},
                    "answers": [
                        {
                            "source": "10.71.0.2",
                            "to": "10.71.0.9",
                            "to_port": 40000,
                            "time": 1700000000.75,
                            "bytes": 6,
                        }
                    ],
                }
            }
        await wait_all_tasks_blocked()
        assert not channel.daemon.observers

    async def test_payloads_where_they_are_asked_for(self, channel: Channel, autojump_clock: MockClock) -> None:
        async with channel.client({"request": "trace", "payloads": True}) as client:
            await client.line()
            channel.daemon.observers.tell(observation(request=b"\xff", answer=b"\0"))
            datagram = (await client.line())["datagram"]
        assert (datagram["payload"], datagram["answers"][0]["payload"]) == ("/w==", "AA==")

    async def test_who_says_more_is_done(self, channel: Channel, autojump_clock: MockClock) -> None:
        async with channel.client({"request": "trace"}) as client:
            await client.line()
            await client.send(b"more" * 10_000)
            assert await client.line() is None
        assert not channel.daemon.observers

    async def test_who_does_not_read_is_cut(self, channel: Channel, autojump_clock: MockClock) -> None:
        async with channel.client({"request": "trace", "payloads": True}) as client:
            assert await client.line() == {"tracing": True}
            for _ in range(100):  # 50 MB: more than any socket holds
                for _ in range(8):
                    channel.daemon.observers.tell(observation(request=bytes(65_000)))
                await wait_all_tasks_blocked()
            assert channel.daemon.observers
            await trio.sleep(PATIENCE * 1.1)
            assert not channel.daemon.observers
        assert (await channel.counts())["cut"] == 1


def trace(*, peers: tuple[str, ...] = (), plugins: tuple[str, ...] = (), payloads: bool = False) -> Trace:
    return Trace(PrefixSet(map(ip_network, peers)), frozenset(plugins), frozenset({53}), payloads, lambda _: {})


async def lines_of(tracing: Trace, *seen: Observation) -> list[dict[str, Any]]:
    for each in seen:
        tracing(each)
    return await tracing.next_lines()


class TestFilter:
    async def test_peers(self) -> None:
        tracing = trace(peers=("10.71.0.0/24", "fd71::/64"))
        seen = [observation(peer) for peer in ("10.71.0.9", "10.72.0.9", "fd71::9", "fd72::9")]
        lines = await lines_of(tracing, *seen)
        assert [line["datagram"]["peer"] for line in lines] == ["10.71.0.9", "fd71::9"]

    async def test_plugins_with_what_nobody_took_of_their_ports(self) -> None:
        tracing = trace(plugins=("dns",))
        seen = [observation(instance=name, port=port) for name in ("dns", "echo", NOBODY) for port in (53, 7)]
        lines = await lines_of(tracing, *seen)
        assert [(line["datagram"]["plugin"], line["datagram"]["port"]) for line in lines] == [
            ("dns", 53),
            ("dns", 7),
            (NOBODY, 53),
        ]


class TestBounds:
    async def test_what_is_too_much_is_lost_and_told(self) -> None:
        tracing = trace()
        lines = await lines_of(tracing, *[observation()] * (TRACE_LIMIT + 5))
        assert len(lines) == TRACE_BURST + 1
        assert lines[-1] == {"lost": 5}
        kept = 0
        while kept < TRACE_LIMIT - TRACE_BURST:
            kept += len(await tracing.next_lines())
        assert kept == TRACE_LIMIT - TRACE_BURST

    async def test_long_payloads_are_bounded_by_their_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(control, "TRACE_BYTES", 100)
        long = observation(request=bytes(60), answer=None)
        lines = await lines_of(trace(payloads=True), long, long, observation(request=b"", answer=b"x" * 40))
        assert [list(line) for line in lines] == [["datagram"], ["datagram"], ["lost"]]
        assert len(await lines_of(trace(), long, long, long)) == 3

    async def test_further_answers_to_a_request_are_marked(self) -> None:
        request = bytes(7)
        again, other = bytes(bytearray(7)), observation(request=b"")
        lines = await lines_of(
            trace(), *[observation(request=each) for each in (request, request, again)], other, other
        )
        assert [line["datagram"]["further"] for line in lines] == [False, True, False, False, False]


class TestAsk:
    async def test_gives_the_answers(self, channel: Channel) -> None:
        answers = await trio.to_thread.run_sync(lambda: list(ask(channel.path, {"request": "reload"}, timeout=5)))
        assert answers == [{"reload": [], "restart": ["daemon.settle"]}]

    async def test_raises_what_the_daemon_objects_to(self, channel: Channel) -> None:
        with pytest.raises(ResponderError, match="expected one of the requests"):
            await trio.to_thread.run_sync(lambda: list(ask(channel.path, {"request": "stop"}, timeout=5)))

    async def test_one_client_too_many_reads_why(self, channel: Channel) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(MAX_CLIENTS):
                client = await stack.enter_async_context(channel.client({"request": "trace"}))
                assert await client.line() == {"tracing": True}
            # Turned away before it says anything: on this loop, while the asking waits for it.
            asking = partial(list, ask(channel.path, {"request": "status"}, timeout=5))
            with pytest.raises(ResponderError, match=f"too many clients: there are {MAX_CLIENTS}"):
                await trio.to_thread.run_sync(asking)

    async def test_a_path_that_is_taken_is_refused_before_the_start(self, channel: Channel) -> None:
        async with trio.open_nursery() as nursery:
            with pytest.raises(NetworkError, match="another daemon"):
                await nursery.start(serve_control, channel.path, channel.daemon)


async def test_where_descriptors_are_short_clients_wait_and_the_log_says_so_in_a_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[float] = []

    class Short:
        async def accept(self) -> trio.SocketStream:
            tried.append(trio.current_time())
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        async def admit(self, stream: trio.SocketStream) -> bool:
            raise AssertionError

    with trio.move_on_after(3 * PATIENCE):
        await control.Control().serve(Short())
    assert 2 < len(tried) <= 4
    (record,) = caplog.records
    assert record.getMessage() == f"control connections wait reason={os.strerror(errno.EMFILE)}"
    assert record.exc_info is None
