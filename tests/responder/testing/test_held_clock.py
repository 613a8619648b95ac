"""A fake clock stands still while threads work.  Without that, each of these times out at once."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

import attrs
import trio
import trio.testing
from trio.testing import MockClock

from responder import Answer, Context, Datagram, Handler, Plugin, Service
from responder.testing import FakeNetwork, bench, never_answers, settled
from responder.testing.held_clock import clock_held_by_threads

WORK = 3_000_000


def work() -> bytes:
    """Some tenths of a second, or hundredths: long beside the jump of a clock."""
    return str(sum(range(WORK))).encode()


DONE = str(WORK * (WORK - 1) // 2).encode()


@attrs.frozen
class Working(Plugin):
    """Answers what a thread has worked out."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, answer_timeout=5),)

    async def respond(self, request: Datagram) -> bytes:
        return await trio.to_thread.run_sync(work)


@attrs.frozen
class Blocking(Plugin):
    """The same, in a thread of the framework's."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, blocking=True, answer_timeout=5),)

    def respond(self, request: Datagram) -> Answer:
        return work()


@attrs.frozen
class Prepared(Plugin):
    """Works when it is prepared."""

    text: str
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)

    def prepare(self, context: Context) -> Handler:
        work()
        return self

    def respond(self, request: Datagram) -> Answer:
        return self.text.encode()


async def test_while_a_handler_waits_for_a_thread(autojump_clock: MockClock) -> None:
    async with bench(Working()) as at:
        for _ in range(3):
            began = trio.current_time()
            heard = await at.ask(b"x", within=1)
            assert (heard.payload, heard.time) == (DONE, began)
            await trio.sleep(3600)
            assert trio.current_time() == began + 3600, "it goes on as soon as the thread has ended"


async def test_while_several_do(autojump_clock: MockClock) -> None:
    async with bench(Working()) as at:
        for _ in range(5):
            await at.client.send(b"x", at.address, 7007)
        heard = await at.collect(within=1)
        assert [each.payload for each in heard] == [DONE] * 5
        assert {each.time for each in heard} == {heard[0].time}


async def test_while_a_blocking_service_answers(autojump_clock: MockClock) -> None:
    async with bench(Blocking()) as at:
        began = trio.current_time()
        assert (await at.ask(b"x", within=1)).payload == DONE
        assert trio.current_time() == began


async def test_during_a_reload(autojump_clock: MockClock) -> None:
    async with bench(Prepared("one")) as at:
        began = trio.current_time()
        with trio.fail_after(1):
            await at.server.replace(Prepared("two"))
        assert (await at.ask(b"x")).payload == b"two"
        assert trio.current_time() == began


@attrs.frozen
class Hanging(Plugin):
    """Leaves a thread behind that waits for `end`, as a disk may that does not answer."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)
    end: ClassVar[threading.Event] = threading.Event()

    async def respond(self, request: Datagram) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, self.end.wait, abandon_on_cancel=True))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return b"given up"


async def test_one_that_nobody_waits_for_holds_nothing(autojump_clock: MockClock) -> None:
    try:
        async with bench(Hanging()) as at:
            began = trio.current_time()
            assert (await at.ask(b"x", within=1)).payload == b"given up"
            await trio.sleep(100)
            assert trio.current_time() == began + 100
    finally:
        Hanging.end.set()


@attrs.frozen
class Crowded(Plugin):
    """Has one thread for all, and leaves the first one's behind, which has the only token until it ends."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, answer_timeout=5),)

    async def respond(self, request: Datagram) -> bytes:
        limiter = trio.CapacityLimiter(1)
        left = await leave_behind(limiter)
        left.set()
        return await trio.to_thread.run_sync(work, limiter=limiter)


async def leave_behind(limiter: trio.CapacityLimiter) -> threading.Event:
    """A thread that has a token of the limiter, and works once the event is set."""
    left = threading.Event()
    async with trio.open_nursery() as nursery:
        working = partial(trio.to_thread.run_sync, lambda: left.wait() and work())
        nursery.start_soon(partial(working, limiter=limiter, abandon_on_cancel=True))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert limiter.borrowed_tokens == 1
    assert not trio.testing.active_thread_count()
    return left


async def test_while_others_wait_for_its_token(autojump_clock: MockClock) -> None:
    async with bench(Crowded()) as at:
        for _ in range(3):
            began = trio.current_time()
            heard = await at.ask(b"x", within=1)
            assert (heard.payload, heard.time) == (DONE, began)
            await trio.sleep(3600)
            assert trio.current_time() == began + 3600, "it goes on as soon as the threads have ended"


async def test_settled_waits_for_those_too(mock_clock: MockClock) -> None:
    async with bench(Crowded()) as at:
        await at.client.send(b"x", at.address, 7007)
        await settled()
        assert [each.payload for each in at.client.heard()] == [DONE]


async def test_a_token_that_a_task_has_comes_back_in_time(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    async with bench(Working()), trio.open_nursery() as nursery:
        left = await leave_behind(trio.CapacityLimiter(1))
        await limiter.acquire_on_behalf_of(nursery.parent_task)
        nursery.start_soon(partial(trio.to_thread.run_sync, work, limiter=limiter))
        await trio.sleep(100)
        limiter.release_on_behalf_of(nursery.parent_task)
        left.set()


async def test_holders_end_in_any_order(autojump_clock: MockClock) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(clock_held_by_threads())
    second.enter_context(clock_held_by_threads())
    with second, trio.fail_after(1):
        limiter = trio.CapacityLimiter(1)
        left = await leave_behind(limiter)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, work, limiter=limiter))
            await trio.testing.wait_all_tasks_blocked()
            first.close()
            left.set()


async def test_hosts_of_a_network_hold_it_together(fake_network: FakeNetwork, autojump_clock: MockClock) -> None:
    link = fake_network.link("lan")
    one, other, client = (fake_network.host(name) for name in ("one", "other", "client"))
    for number, host in enumerate((one, other, client), 1):
        host.attach(link, f"192.0.2.{number}/24")
    async with one.serve(Working()), other.serve(Working()):
        asking = client.client()
        for address in ("192.0.2.1", "192.0.2.2"):
            assert (await asking.ask(b"x", address, 7007, within=1)).payload == DONE


async def test_it_holds_only_while_it_serves(autojump_clock: MockClock) -> None:
    async with bench(Working()) as at:
        await never_answers(at, to="192.0.2.2", within=1)
    with trio.move_on_after(1) as scope:
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    assert scope.cancelled_caught
