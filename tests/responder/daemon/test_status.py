"""What a server says of itself; on a fake platform."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import Answer, Context, Datagram, Handler, Plugin, Service
from responder.config.instance import Instance, prepare_all
from responder.daemon.recent_errors import MAX_ERRORS, MAX_MESSAGE, RecentErrors
from responder.daemon.status import MAX_KINDS, MAX_NOTE, MAX_NOTES, MAX_TOTAL, About, GroupStatus, TrafficStatus, take
from responder.log import Repeated, get_logger
from responder.server.server import ServerCore, open_server
from tests.fakes import FakePlatform, FakeReceived, flow


@attrs.frozen
class Answering(Plugin):
    services: ClassVar[tuple[Service, ...]] = (
        Service(port=7007, groups=["239.255.70.7"], tcp=True),
        Service(port=7008, name="later"),
    )

    def respond(self, request: Datagram) -> Answer:
        if request.service == "later":
            return self._later()
        if request.payload == b"crash":
            raise RuntimeError("broken")
        return b"answer"

    async def _later(self) -> bytes:
        await trio.sleep_forever()
        return b""


@asynccontextmanager
async def opened(platform: FakePlatform, *instances: Instance) -> AsyncIterator[ServerCore]:
    async with (
        open_server(await prepare_all(instances), platform=platform) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield server
        server.stop()
        nursery.cancel_scope.cancel()


async def test_what_it_says(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    about = About(Path("a.toml"))
    async with opened(platform, Instance.of(Answering(), "a", interfaces=["lan"])) as server:
        first, second = platform.sockets
        first.kernel_drops = 7
        first.counts = {"failed-receives": 3}
        first.deliver(FakeReceived(b"", flow()), FakeReceived(b"", flow(interface=3)))
        second.deliver(FakeReceived(b"", flow()))
        await wait_all_tasks_blocked()
        status = take(server, about)
    assert (status.config, status.ready, status.failed, status.not_ready()) == ("a.toml", True, False, [])
    (instance,) = status.instances
    assert (instance.name, instance.plugin, instance.state, instance.pending) == ("a", "Answering", "ready", 1)
    assert instance.slowest > 0
    assert [(port.number, port.address, port.transports, port.plugins, port.kernel_drops) for port in status.ports] == [
        (7007, None, ("udp", "tcp"), ("a",), 7),
        (7008, None, ("udp",), ("a",), 0),
    ]
    assert [port.events for port in status.ports] == [{"failed-receives": 3}, {}]
    assert status.groups == (GroupStatus(7007, "lan", joined=("239.255.70.7",), missing=()),)
    assert status.counters == {"a": {"lan": {"answered": 1}, "guest0": {"interface": 1}}}
    assert status.latencies == ()
    assert status.traffic == (TrafficStatus(7007, "udp", 0, 6), TrafficStatus(7008, "udp", 0, 0))
    assert not status.build.compiled  # on a fake platform
    assert json.loads(json.dumps(status.as_json(), allow_nan=False))["instances"][0]["name"] == "a"


async def test_a_group_that_cannot_be_joined_is_missing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(105, "No buffer space available")

    platform = FakePlatform()
    monkeypatch.setattr("tests.fakes.FakeSocket.join", refuse)
    async with opened(platform, Instance.of(Answering(), "a", interfaces=["lan"])) as server:
        status = take(server, About())
    assert status.groups == (GroupStatus(7007, "lan", joined=(), missing=("239.255.70.7",)),)
    assert status.group_failures > 0


async def test_what_is_not_ready_is_named(autojump_clock: MockClock) -> None:
    async with opened(FakePlatform(), Instance.of(Answering(), "a")) as server:
        server.instances[0].state = "restarting"
        next(iter(server.ports.serving.values())).failed = True
        assert take(server, About()).not_ready() == ["a port can no longer receive", "a is restarting"]


@attrs.frozen
class Counts(Plugin):
    """Its handler counts as `count` does; with None it is one that knows nothing of counting."""

    count: Callable[[], Any] | None = None

    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)

    def prepare(self, context: Context) -> Handler:
        return _OlderHandler() if self.count is None else _Counting(self.count)  # type: ignore[return-value]  # no Handler: what is tested


@attrs.define
class _Counting(Handler):
    count: Callable[[], Any]

    def respond(self, request: Datagram) -> bytes:
        return b"answer"

    def counts(self) -> Mapping[str, int]:
        found: Mapping[str, int] = self.count()
        return found


class _OlderHandler:
    counts = 7  # something of its own

    def respond(self, request: Datagram) -> bytes:
        return b"answer"

    async def converse(self, connection: object) -> None: ...

    async def run(self, network: object) -> None: ...


@attrs.frozen
class Notes(Plugin):
    """Says of itself what `note` returns."""

    note: Callable[[], Any]

    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)

    def notes(self) -> Iterable[str]:
        found: Iterable[str] = self.note()
        return found


def _raises() -> None:
    raise RuntimeError("broken")


def _raises_late() -> Iterator[str]:
    yield "fine"
    raise RuntimeError("broken")


class TestCounts:
    async def test_what_a_handler_counts_is_told_as_it_is_now(self, autojump_clock: MockClock) -> None:
        counted = {"formerr": 1, "v6-9": MAX_TOTAL}
        async with opened(FakePlatform(), Instance.of(Counts(lambda: counted), "a")) as server:
            first = take(server, About()).instances[0]
            counted["formerr"] += 1
            second = take(server, About()).as_json()["instances"][0]
        assert first.events == {"formerr": 1, "v6-9": MAX_TOTAL}
        assert json.loads(json.dumps(second))["events"] == {"formerr": 2, "v6-9": MAX_TOTAL}

    async def test_a_handler_need_not_count(self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
        instances = Instance.of(Counts(), "a"), Instance.of(Answering(), "b", ports={"default": 7009})
        async with opened(FakePlatform(), *instances) as server:
            assert [each.events for each in take(server, About()).instances] == [{}, {}]
        assert "counts" not in caplog.text

    async def test_what_a_handler_says_of_itself_is_told_as_it_is_now(self, autojump_clock: MockClock) -> None:
        said = ["lan: lab-2\nhere", "x" * (MAX_NOTE + 1)]
        async with opened(FakePlatform(), Instance.of(Notes(lambda: said), "a")) as server:
            first = take(server, About()).instances[0]
            said[:] = map(str, range(MAX_NOTES + 1))
            second = take(server, About()).as_json()["instances"][0]
        assert first.notes == ("lan: lab-2 here", "x" * MAX_NOTE)
        assert json.loads(json.dumps(second))["notes"] == [str(number) for number in range(MAX_NOTES)]

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            (_raises, "broken"),
            (_raises_late, "broken"),
            (lambda: None, "NoneType, which is no iterable"),
            (lambda: "text", "str, which is no iterable of strings"),
            (lambda: [7], "int where a string belongs"),
        ],
    )
    async def test_notes_that_are_none_cost_a_line_in_the_log(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, said: Callable[[], Any], why: str
    ) -> None:
        about = About(repeated=Repeated(clock=lambda: 0.0))
        async with opened(FakePlatform(), Instance.of(Notes(said), "bad")) as server:
            for _ in range(2):
                (bad,) = take(server, about).instances
                assert (bad.notes, bad.state) == ((), "ready")
        assert caplog.text.count("notes failed plugin=bad") == 1
        assert why in caplog.text

    @pytest.mark.parametrize(
        ("found", "why"),
        [
            (_raises, "broken"),
            (lambda: sys.exit("leave"), "SystemExit: leave"),
            (lambda: None, "NoneType, which is no mapping"),
            (lambda: [("a", 1)], "list, which is no mapping"),
            (lambda: {f"kind{number}": 1 for number in range(MAX_KINDS + 1)}, "65 kinds"),
            (lambda: {"Refused": 1}, "'Refused'"),
            (lambda: {"a b": 1}, "'a b'"),
            (lambda: {"refused\n": 1}, "'refused"),
            (lambda: {"": 1}, "''"),
            (lambda: {"x" * 65: 1}, "'xxx"),
            (lambda: {7: 1}, ": 7"),
            (lambda: {"a": 1.0}, "for a what is no integer"),
            (lambda: {"a": True}, "for a what is no integer"),
            (lambda: {"a": -1}, "for a what is no integer"),
            (lambda: {"a": MAX_TOTAL + 1}, "for a what is no integer"),
        ],
    )
    async def test_nonsense_costs_a_line_in_the_log(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, found: Callable[[], Any], why: str
    ) -> None:
        now = 0.0
        about = About(repeated=Repeated(clock=lambda: now))
        instances = Instance.of(Counts(found), "bad"), Instance.of(Counts(lambda: {"a": 1}), "good", port=7009)
        logger = logging.getLogger("responder")
        logger.addHandler(about.errors)
        try:
            async with opened(FakePlatform(), *instances) as server:
                for moment in (0.0, 1.0, 59.0):
                    now = moment
                    bad, good = take(server, about).instances
                    assert (bad.events, bad.state) == ({}, "ready")
                    assert good.events == {"a": 1}
                assert caplog.text.count("counts failed plugin=bad") == 1
                now = 60.0
                bad, _good = take(server, about).instances
        finally:
            logger.removeHandler(about.errors)
        assert caplog.text.count("counts failed plugin=bad") == 2
        assert bad.last_error is not None
        assert "held_back=2" in bad.last_error.message
        assert why in bad.last_error.message

    async def test_an_order_to_end_passes(self, autojump_clock: MockClock) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        async with opened(FakePlatform(), Instance.of(Counts(interrupted), "a")) as server:
            with pytest.raises(KeyboardInterrupt):
                take(server, About())


def recorded(*events: tuple[str, str, BaseException | None]) -> RecentErrors:
    recent = RecentErrors()
    logger = logging.getLogger("responder.test_status")
    logger.addHandler(recent)
    try:
        for event, plugin, error in events:
            get_logger("responder.test_status").error(event, exc_info=error, plugin=plugin)
        get_logger("responder.test_status").info("no error")
    finally:
        logger.removeHandler(recent)
    return recent


class TestRecentErrors:
    def test_the_last_are_kept_and_the_last_of_each_plugin(self) -> None:
        recent = recorded(("first", "a", ValueError("bad\nthing")), *[(f"e{n}", "b", None) for n in range(MAX_ERRORS)])
        assert [error.message for error in recent.latest()] == [f"e{n} plugin=b" for n in range(MAX_ERRORS)]
        first = recent.of("a")
        assert first is not None
        assert (first.message, first.level) == ("first plugin=a: ValueError: bad thing", "error")
        assert recent.of("c") is None

    def test_a_long_message_is_cut(self) -> None:
        (error,) = recorded(("x" * 10_000, "a", None)).latest()
        assert len(error.message) <= MAX_MESSAGE
