"""The tasks in which answers are awaited: used again, never with anything left in them, and gone when not needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import Datagram
from responder.config.instance import Instance
from responder.dispatch import outcomes
from responder.dispatch.sender import Sender
from responder.dispatch.tasks import FEW, SLACK, Tasks
from responder.net.types import Received
from responder.plugin import PASS
from tests.fakes import FakeReceived, flow

from .bench import Probe, Respond, bench

TIMEOUT = 10.0
CROWD = 4 * FEW


def many(*payloads: bytes) -> list[Received]:
    return [FakeReceived(payload, flow()) for payload in payloads]


def probe(respond: Respond) -> Instance:
    return Instance.of(Probe(respond), answer_timeout=TIMEOUT)


@pytest.mark.parametrize("count", [FEW, CROWD])
async def test_each_has_its_time(count: int, autojump_clock: MockClock) -> None:
    lived: list[float] = []

    async def respond(_: Datagram) -> bytes:
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            lived.append(trio.current_time() - began)
        return b""

    async with bench(probe(respond)) as it:
        for number in range(count):
            it.socket.deliver(*many(b"x"))
            await trio.sleep(number % 3 * 0.1)
        await trio.sleep(2 * TIMEOUT)
        assert it.count(outcomes.TIMEOUT) == count
    assert min(lived) >= TIMEOUT
    assert max(lived) <= TIMEOUT * (1 + SLACK) + 1e-6


async def test_a_task_that_is_used_again_gives_each_its_time(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        await trio.sleep(float(request.payload))
        return request.payload

    async with bench(probe(respond)) as it:
        for _ in range(5):
            it.socket.deliver(*many(*[b"6"] * CROWD))
            await trio.sleep(6.5)
            it.socket.deliver(*many(*[b"9.9"] * CROWD))
            await trio.sleep(20)
        assert (it.count(outcomes.ANSWERED), it.count(outcomes.TIMEOUT)) == (10 * CROWD, 0)


async def test_all_that_is_queued_begins_however_much_of_it_waits() -> None:
    begun: list[int] = []

    async def respond(request: Datagram) -> bytes:
        begun.append(int(request.payload))
        if begun[-1] % 3:
            await trio.sleep_forever()
        return request.payload

    async with bench(respond) as it:
        await it.deliver(*many(*[str(number).encode() for number in range(100)]))
        assert sorted(begun) == list(range(100))
        assert len(it.replies()) == 34
        it.server._hurry.cancel()


async def test_a_task_is_used_again_and_ends_when_nobody_needs_it(autojump_clock: MockClock) -> None:
    tasks: set[trio.lowlevel.Task] = set()

    async def respond(request: Datagram) -> bytes:
        tasks.add(trio.lowlevel.current_task())
        await trio.sleep(1)
        return request.payload

    async with bench(probe(respond)) as it:
        await wait_all_tasks_blocked()
        idle = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            it.socket.deliver(*many(b"x", b"y"))
            await trio.sleep(2)
        assert len(it.replies()) == 6
        assert len(tasks) == 2
        await trio.sleep(TIMEOUT)
        assert trio.lowlevel.current_statistics().tasks_living == idle


async def test_a_task_whose_time_was_over_starts_afresh(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        with trio.CancelScope(shield=request.payload == b"shielded"):
            await trio.sleep(TIMEOUT + 1 if request.payload == b"shielded" else TIMEOUT - 1)
        return request.payload

    async with bench(probe(respond)) as it:
        it.socket.deliver(*many(*[b"shielded"] * CROWD))
        await trio.sleep(TIMEOUT + 1.5)
        it.socket.deliver(*many(*[b"plain"] * CROWD))
        await trio.sleep(TIMEOUT)
        assert it.replies() == [b"shielded"] * CROWD + [b"plain"] * CROWD


async def leave_a_scope_open() -> None:
    trio.CancelScope().__enter__()


async def leave_a_deadline() -> None:
    trio.move_on_after(0.5).__enter__()


async def leave_a_nursery_open() -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)


LEAVE = [leave_a_scope_open, leave_a_deadline, leave_a_nursery_open]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("answer", [b"x", None, PASS])
@pytest.mark.parametrize("leave", LEAVE)
async def test_what_an_answer_leaves_open_costs_that_answer_alone(
    leave: Callable[[], Awaitable[None]],
    answer: Any,
    waits: bool,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    async def respond(request: Datagram) -> Any:
        if waits:
            await trio.lowlevel.checkpoint()
        if request.payload == b"bad":
            await leave()
            return answer
        await trio.sleep(1)
        return request.payload

    async with bench(respond) as it:
        it.socket.deliver(*many(b"one", b"bad", b"two"))
        await trio.sleep(2)
        it.socket.deliver(*many(b"three"))
        await trio.sleep(2)
        assert sorted(it.replies()) == [b"one", b"three", b"two"]
        assert (it.count(outcomes.CRASHED), it.count(outcomes.ANSWERED)) == (1, 3)
    assert "respond left a cancel scope or a nursery open" in caplog.text


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("leave", LEAVE)
async def test_in_a_crowd_what_answers_leave_open_touches_no_other(
    leave: Callable[[], Awaitable[None]], waits: bool, autojump_clock: MockClock
) -> None:
    async def respond(request: Datagram) -> bytes:
        if waits:
            await trio.lowlevel.checkpoint()
        if request.payload == b"bad":
            await leave()
        else:
            await trio.sleep(1)
        return request.payload

    async with bench(respond) as it:
        for _ in range(3):
            it.socket.deliver(*many(*[b"good", b"bad"] * CROWD))
            await trio.sleep(2)
        assert it.replies().count(b"good") == 3 * CROWD
        # A scope without a deadline is only found where its worker's scope is closed: it touches nothing until then.
        found = it.count(outcomes.CRASHED)
        assert found == 3 * CROWD if leave is not leave_a_scope_open else found <= 3 * CROWD


async def test_a_scope_that_is_cancelled_later_is_found_then(autojump_clock: MockClock) -> None:
    scopes: list[trio.CancelScope] = []

    async def respond(request: Datagram) -> bytes:
        await trio.lowlevel.checkpoint()
        if request.payload == b"bad":
            scopes.append(trio.CancelScope())
            scopes[-1].__enter__()
        return request.payload

    async with bench(respond) as it:
        await it.deliver(*many(*[b"bad"] * CROWD))
        for scope in scopes:
            scope.cancel()
        await it.deliver(*many(*[b"good"] * CROWD))
        assert it.replies().count(b"good") == CROWD


async def test_a_server_that_is_cancelled_ends_tasks_that_wait_and_those_that_are_idle() -> None:
    ended: list[bytes] = []

    async def respond(request: Datagram) -> bytes:
        try:
            await trio.sleep(0 if request.payload == b"quick" else float("inf"))
        finally:
            ended.append(request.payload)
        return request.payload

    with trio.fail_after(5):
        async with bench(respond) as it:
            await it.deliver(*many(b"quick", b"slow", *[b"quick"] * CROWD))
            assert it.replies() == [b"quick"] * (CROWD + 1)
            it.server._hurry.cancel()
    assert ended.count(b"slow") == 1


async def test_closed_its_tasks_end_and_opened_again_they_stay(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> bytes:
        await trio.sleep(1)
        return request.payload

    async with bench(respond) as it:
        tasks = next(iter(it.server.ports.serving.values())).port.tasks
        await wait_all_tasks_blocked()
        living = trio.lowlevel.current_statistics().tasks_living
        it.socket.deliver(*many(b"x", b"y"))
        await trio.sleep(1.5)
        assert trio.lowlevel.current_statistics().tasks_living > living
        tasks.close()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == living
        it.socket.deliver(*many(b"z"))
        await trio.sleep(1.5)
        assert trio.lowlevel.current_statistics().tasks_living == living
        tasks.reopen()
        it.socket.deliver(*many(b"z"))
        await trio.sleep(1.5)
        assert trio.lowlevel.current_statistics().tasks_living > living
        assert len(it.replies()) == 4


async def test_many_answers_that_end_together_once_it_is_closed_are_sent(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that goes on without a wait would hold everything up, those included that were called to send."""
    used = 0
    use_scope = Tasks._use_scope

    async def counted(self: Tasks, worker: Any) -> bool:
        nonlocal used
        used += 1
        assert used < 100 * CROWD, "it turns without a wait"
        return await use_scope(self, worker)

    monkeypatch.setattr(Tasks, "_use_scope", counted)

    async def respond(request: Datagram) -> bytes:
        await trio.sleep(1)
        return request.payload

    async with bench(respond) as it:
        tasks = next(iter(it.server.ports.serving.values())).port.tasks
        it.socket.deliver(*many(*[b"x"] * CROWD))
        await trio.sleep(0.5)
        tasks.close()
        await trio.sleep(1)
        assert it.replies() == [b"x"] * CROWD


@pytest.mark.parametrize("kind", [LookupError, RuntimeError])
async def test_what_fails_beside_answers_is_not_hidden(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    async def respond(request: Datagram) -> bytes:
        return request.payload

    async def flush(_: Sender, __: object) -> None:
        raise kind

    async def serve() -> None:
        async with bench(respond) as it:
            monkeypatch.setattr(Sender, "flush", flush)
            await it.deliver(*many(b"x"))

    with pytest.raises(ExceptionGroup) as caught:
        await serve()
    assert caught.value.subgroup(kind) is not None
