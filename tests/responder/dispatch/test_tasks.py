from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
import sniffio
import trio
from trio.testing import MockClock

from responder import Datagram
from responder.config.instance import Instance
from responder.dispatch import outcomes
from responder.net.types import Received
from responder.plugin import PASS
from tests.fakes import FakeReceived, flow

from .bench import Bench, Probe, Threaded, bench

SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


def pending(it: Bench) -> int:
    (binding,) = next(iter(it.server.ports.serving.values())).port.bindings
    return binding.pending


def many(*payloads: bytes) -> list[Received]:
    return [FakeReceived(payload, flow()) for payload in payloads]


@pytest.mark.parametrize("waits", [False, True])
async def test_an_answer_sees_its_own_context_only(waits: bool) -> None:
    async def respond(request: Datagram) -> bytes:
        before = SEEN.get()
        token = SEEN.set(request.payload.decode())
        if waits:
            await trio.lowlevel.checkpoint()
        own = SEEN.get()
        if request.payload == b"b":
            SEEN.reset(token)
        return f"{before} {own}".encode()

    async with bench(respond) as it:
        for _ in range(2):
            await it.deliver(*many(b"a", b"b"))
        assert sorted(it.replies()) == [b"nothing a", b"nothing a", b"nothing b", b"nothing b"]


async def test_threads_and_tasks_of_an_answer_have_its_context() -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append(SEEN.get())

    async def respond(request: Datagram) -> bytes:
        SEEN.set(request.payload.decode())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        seen.append(await trio.to_thread.run_sync(SEEN.get))
        assert sniffio.current_async_library() == "trio"
        return request.payload

    async with bench(respond) as it:
        with trio.fail_after(5):
            it.socket.deliver(*many(b"mine"))
            while not it.replies():
                await trio.lowlevel.checkpoint()
    assert seen == ["mine", "mine"]


async def test_an_iterator_and_its_end_have_the_context_of_the_answer() -> None:
    seen: list[str] = []

    async def respond(request: Datagram) -> AsyncIterator[bytes]:
        SEEN.set(request.payload.decode())
        try:
            yield b"one"
            yield SEEN.get().encode()
        finally:
            seen.append(SEEN.get())

    async with bench(respond) as it:
        await it.deliver(*many(b"a", b"b"))
        assert sorted(it.replies()) == [b"a", b"b", b"one", b"one"]
    assert sorted(seen) == ["a", "b"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("answer", [b"x", None, PASS])
async def test_a_scope_left_open_costs_its_own_answer_only(
    waits: bool, answer: Any, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def respond(request: Datagram) -> Any:
        if waits:
            await trio.lowlevel.checkpoint()
        if request.payload == b"bad":
            trio.move_on_after(0.5).__enter__()
            return answer
        await trio.sleep(1)
        return request.payload

    async with bench(respond) as it:
        it.socket.deliver(*many(b"one", b"bad", b"two"))
        await trio.sleep(2)
        it.socket.deliver(*many(b"three"))
        await trio.sleep(2)
        assert sorted(it.replies()) == [b"one", b"three", b"two"]
        assert (it.count(outcomes.CRASHED), it.count(outcomes.ANSWERED), pending(it)) == (1, 3, 0)
    assert "respond left a cancel scope or a nursery open" in caplog.text


async def test_a_nursery_left_open_by_a_generator_costs_its_own_answer_only(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> AsyncIterator[bytes]:
        if request.payload == b"bad":
            nursery = await trio.open_nursery().__aenter__()
            nursery.start_soon(trio.sleep_forever)
        yield request.payload

    async with bench(respond) as it:
        it.socket.deliver(*many(b"bad", b"good"))
        await trio.sleep(1)
        await it.deliver(*many(b"more"))
        assert sorted(it.replies()) == [b"bad", b"good", b"more"]
        assert (it.count(outcomes.CRASHED), pending(it)) == (1, 0)


async def test_what_waits_for_another_library_is_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def respond(request: Datagram) -> bytes:
        if request.payload == b"bad":
            await asyncio.sleep(0)
        return request.payload

    async with bench(respond) as it:
        await it.deliver(*many(b"bad", b"good"))
        assert it.replies() == [b"good"]
        assert it.count(outcomes.CRASHED) == 1
    assert "unrecognized yield message None" in caplog.text


async def test_some_wait_and_some_do_not(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        number = int(request.payload)
        if number % 3 == 0:
            await trio.sleep(1)
        if number % 5 == 0:
            raise LookupError
        return request.payload

    async with bench(respond) as it:
        it.socket.deliver(*many(*[str(number).encode() for number in range(200)]))
        await trio.sleep(2)
        assert sorted(map(int, it.replies())) == [number for number in range(200) if number % 5]
        assert (it.count(outcomes.ANSWERED), it.count(outcomes.CRASHED), pending(it)) == (160, 40, 0)


async def test_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr("responder.dispatch.tasks.perf_counter", lambda: next(clock) * 0.01)
    steps: set[int] = set()
    step = 0

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal step
            step += 1

    async def respond(request: Datagram) -> bytes:
        steps.add(step)
        return request.payload

    async with bench(respond) as it:
        trio.lowlevel.add_instrument(instrument := Steps())
        await it.deliver(*many(*[b"x"] * 20))
        trio.lowlevel.remove_instrument(instrument)
        assert it.replies() == [b"x"] * 20
    assert len(steps) == 20


async def test_answers_that_did_not_wait_meet_a_full_queue(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        return request.payload

    async with bench(respond) as it:
        it.socket.room = 20
        it.socket.deliver(*many(*[b"x"] * 50))
        await trio.sleep(1)
        assert len(it.replies()) == 20
        assert (it.count(outcomes.ANSWERED), it.count(outcomes.NO_ROOM), pending(it)) == (20, 30, 0)


async def test_those_who_watch_are_told_of_an_answer_that_was_lost(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        return request.payload

    told: list[str] = []
    async with bench(respond) as it:
        it.server.observers.add(lambda observation: told.append(observation.outcome))
        it.socket.room = 1
        it.socket.deliver(*many(b"x", b"x"))
        await trio.sleep(1)
    assert sorted(told) == [outcomes.ANSWERED, outcomes.NO_ROOM]


async def test_answers_that_wait_for_room_are_still_pending(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        if request.payload == b"wait":
            await trio.sleep(1)
        return request.payload

    async with bench(respond) as it:
        it.socket.room = 0
        await it.deliver(*many(b"x", b"x", b"wait"))
        assert pending(it) == 3
        await trio.sleep(0.5)
        assert (it.count(outcomes.NO_ROOM), pending(it)) == (2, 1)
        it.socket.room = 1
        await trio.sleep(1)
        assert (it.replies(), pending(it)) == ([b"wait"], 0)


async def coroutine(payload: bytes) -> bytes:
    return payload


async def generator(payload: bytes) -> AsyncIterator[bytes]:
    yield payload


@pytest.mark.parametrize("awaited", [coroutine, generator])
async def test_what_a_blocking_service_gives_to_await_is_awaited(awaited: Callable[[bytes], Any]) -> None:
    async with bench(Instance.of(Threaded(lambda request: awaited(request.payload)))) as it:
        with trio.fail_after(5):
            it.socket.deliver(*many(b"x"))
            while pending(it) or not it.replies():
                await trio.lowlevel.checkpoint()
        assert it.replies() == [b"x"]


async def test_a_late_pass_asks_the_next_who_may_be_late_too() -> None:
    async def passes(_: Datagram) -> Any:
        return PASS

    async def answers(request: Datagram) -> bytes:
        return request.payload

    first, second = Instance.of(Probe(passes), "first"), Instance.of(Probe(answers), "second")
    async with bench(first, second) as it:
        await it.deliver(*many(b"x", b"y"))
        assert sorted(it.replies()) == [b"x", b"y"]


async def test_a_server_that_stops_waits_for_answers_and_not_for_idle_tasks(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        await trio.sleep(int(request.payload))
        return request.payload

    async with bench(respond) as it:
        it.socket.deliver(*many(b"0", b"0", b"2"))
        await trio.sleep(1)
    assert it.replies() == [b"0", b"0", b"2"]
    assert trio.current_time() == 2
