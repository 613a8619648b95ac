from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder.dispatch.pool import IDLE, Pool, Worker

TIMEOUT = 10.0

Function: TypeAlias = Callable[[Worker], Coroutine[Any, Any, None]]


def pool_of(nursery: trio.Nursery) -> Pool[Function]:
    """One whose work is to await what a function gives; None is done at once."""

    def begin(queue: deque[Function], worker: Worker) -> Coroutine[Any, Any, None]:
        return queue.popleft()(worker)

    return Pool(nursery, TIMEOUT, begin)


async def leave_a_scope_open(_: Worker) -> None:
    await trio.lowlevel.checkpoint()
    trio.CancelScope().__enter__()


async def leave_a_nursery_open(_: Worker) -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
    await trio.lowlevel.checkpoint()


async def test_each_has_exactly_its_time(autojump_clock: MockClock) -> None:
    lived: list[float] = []

    async def live(worker: Worker) -> None:
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            assert worker.scope.cancel_called
            lived.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        for number in range(30):
            pool.start(live)
            await trio.sleep(number % 3)
    assert lived == [pytest.approx(TIMEOUT)] * 30


async def test_all_that_is_queued_begins_however_much_of_it_waits() -> None:
    begun: list[int] = []
    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        for number in range(100):

            async def wait(_: Worker, number: int = number) -> None:
                begun.append(number)
                if number % 3:
                    await trio.sleep_forever()

            pool.start(wait)
        await wait_all_tasks_blocked()
        assert sorted(begun) == list(range(100))
        nursery.cancel_scope.cancel()


async def test_a_task_is_used_again_and_ends_when_nobody_needs_it(autojump_clock: MockClock) -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def note(_: Worker) -> None:
        tasks.append(trio.lowlevel.current_task())
        await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        for _ in range(3):
            pool.start(note)
            pool.start(note)
            await trio.sleep(2)
        assert len(tasks) == 6
        assert len(set(tasks)) == 2
        began = trio.current_time()
    assert trio.current_time() <= began + 2 * IDLE
    assert not pool._parked


async def test_a_task_that_was_cancelled_is_not_used_again(autojump_clock: MockClock) -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def shield(_: Worker) -> None:
        tasks.append(trio.lowlevel.current_task())
        with trio.CancelScope(shield=True):
            await trio.sleep(TIMEOUT + 1)

    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        pool.start(shield)
        await trio.sleep(TIMEOUT + 2)
        pool.start(shield)
    assert len(set(tasks)) == 2


@pytest.mark.parametrize("spoil", [leave_a_scope_open, leave_a_nursery_open])
async def test_what_a_task_is_left_with_touches_nothing_else(spoil: Function, autojump_clock: MockClock) -> None:
    ended: list[bool] = []

    async def live(worker: Worker) -> None:
        await trio.sleep(TIMEOUT / 2)
        ended.append(worker.is_sound())

    async def open_and_see(worker: Worker) -> None:
        await spoil(worker)
        ended.append(worker.is_sound())

    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        pool.start(live)
        pool.start(open_and_see)
        pool.start(live)
        await trio.sleep(1)
        pool.start(live)
    assert ended == [False, True, True, True]


async def test_the_nursery_ends_also_those_that_are_parked() -> None:
    async def begin_only(_: Worker) -> None:
        begun.append(True)
        await trio.lowlevel.checkpoint()

    begun: list[bool] = []
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            pool = pool_of(nursery)
            pool.start(begin_only)
            await wait_all_tasks_blocked()
            assert len(pool._parked) == 1
            nursery.cancel_scope.cancel()
            pool.start(begin_only)  # too late, and no error
    assert begun == [True, True]


async def test_closed_it_ends_with_its_last_work_and_can_be_opened_again(autojump_clock: MockClock) -> None:
    async def wait(_: Worker) -> None:
        await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        pool.start(wait)
        pool.start(wait)
        await trio.sleep(4)
        pool.start(wait)
        await trio.sleep(1)
        pool.close()
    assert trio.current_time() == 7

    async with trio.open_nursery() as nursery:
        pool = pool_of(nursery)
        pool.close()
        pool.reopen()
        pool.start(wait)
        await trio.sleep(3.5)
        assert len(pool._parked) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [LookupError, RuntimeError])
async def test_a_failure_is_the_nurserys(kind: type[Exception]) -> None:
    async def fail(_: Worker) -> None:
        raise kind

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            pool_of(nursery).start(fail)
    assert caught.value.subgroup(kind) is not None
