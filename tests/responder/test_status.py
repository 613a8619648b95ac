"""What a server says of itself; on a fake platform."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import Answer, Datagram, Plugin, Service
from responder.instance import Instance, prepare_all
from responder.log import get_logger
from responder.server import Server, open_server
from responder.status import MAX_ERRORS, MAX_MESSAGE, About, GroupStatus, Paced, RecentErrors, take
from tests.fakes import FakePlatform, FakeReceived, path


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
async def opened(platform: FakePlatform, *instances: Instance) -> AsyncIterator[Server]:
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
        first.deliver(FakeReceived(b"", path()), FakeReceived(b"", path(interface=3)))
        second.deliver(FakeReceived(b"", path()))
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
    assert status.groups == (GroupStatus(7007, "lan", joined=("239.255.70.7",), missing=()),)
    assert status.counters == {"a": {"lan": {"answered": 1}, "guest0": {"interface": 1}}}
    assert status.latencies == ()
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
        server.failed = True
        assert take(server, About()).not_ready() == ["a port can no longer receive", "a is restarting"]


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


async def test_paced_values_are_new_and_not_too_many(autojump_clock: MockClock) -> None:
    taken: list[float] = []

    def get() -> float:
        taken.append(trio.current_time())
        return taken[-1]

    paced = Paced(get, 0.5)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(paced)
    start = taken[0]
    assert [round(at - start, 3) for at in taken] == [0, 0.5, 1, 1.5]
    await trio.sleep(10)
    asked = trio.current_time()
    assert await paced() == asked
