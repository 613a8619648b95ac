"""A `respond` that takes long, on a fake platform: it is named, or runs in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel

from responder import PASS, Datagram
from responder.config.instance import Instance
from responder.dispatch import outcomes
from tests.fakes import FakeReceived, flow

from .bench import Probe, Threaded, bench, echo


async def test_a_respond_that_holds_the_loop_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("responder.dispatch.port.perf_counter", lambda: now)

    def slow(request: Datagram) -> bytes:
        nonlocal now
        now += 0.5 if now else 0.01
        return request.payload

    async with bench(slow) as it:
        await it.deliver(FakeReceived(b"x", flow()), FakeReceived(b"x", flow()))
        (binding,) = next(iter(it.server.ports.serving.values())).port.bindings
        assert binding.slowest == 0.5
    assert "respond held the loop up plugin=probe seconds=0.5" in caplog.text


async def test_a_generator_that_holds_the_loop_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("responder.dispatch.answers.perf_counter", lambda: now)

    def lazy(request: Datagram) -> Iterator[bytes]:
        nonlocal now
        now += 0.5
        yield request.payload

    lazily = Instance.of(Probe(lambda request: lazy(request) if request.payload == b"slow" else PASS), "lazy")
    async with bench(lazily, Instance.of(Probe(echo), "innocent")) as it:
        await it.deliver(FakeReceived(b"slow", flow()), FakeReceived(b"x", flow()))
        assert it.replies() == [b"slow", b"x"]
        slowest = {str(each): each.slowest for each in next(iter(it.server.ports.serving.values())).port.bindings}
        assert slowest["lazy"] == 0.5 > slowest["innocent"]
    assert "plugin=lazy seconds=0.5" in caplog.text
    assert "plugin=innocent" not in caplog.text


async def test_a_blocking_generator_runs_in_its_thread() -> None:
    threads: list[int] = []

    def lazy(request: Datagram) -> Iterator[bytes]:
        threads.append(threading.get_ident())
        yield request.payload

    async with bench(Instance.of(Threaded(lazy))) as it:
        it.socket.deliver(FakeReceived(b"x", flow()))
        with trio.fail_after(5):
            while not it.replies():
                await trio.lowlevel.checkpoint()
    assert threads != [threading.get_ident()]


async def test_a_blocking_service_may_give_what_is_awaited() -> None:
    async def answer(request: Datagram) -> bytes:
        await trio.lowlevel.checkpoint()
        return request.payload

    async with bench(Instance.of(Threaded(answer))) as it:
        it.socket.deliver(FakeReceived(b"x", flow()))
        with trio.fail_after(5):
            while not it.replies():
                await trio.lowlevel.checkpoint()
        assert it.count(outcomes.CRASHED) == 0
