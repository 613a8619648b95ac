from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder.cohorts import SHARE, Cohorts

TIMEOUT = 10.0

ROUNDING = 1e-6


async def test_each_has_its_time_and_at_most_a_tenth_more(autojump_clock: MockClock) -> None:
    lived: list[float] = []

    async def live(scope: trio.CancelScope) -> None:
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            assert scope.cancel_called
            lived.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        cohorts = Cohorts(nursery, TIMEOUT)
        for _ in range(30):
            cohorts.start_soon(live)
            await trio.sleep(0.3)
    assert len(lived) == 30
    assert TIMEOUT - ROUNDING <= min(lived) <= max(lived) <= TIMEOUT * (1 + SHARE) + ROUNDING


async def test_those_that_end_by_themselves_are_waited_for_by_nobody(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    async def end(number: int, scope: trio.CancelScope) -> None:
        await trio.sleep(number)
        assert not scope.cancel_called
        ended.append(number)

    async with trio.open_nursery() as nursery:
        cohorts = Cohorts(nursery, TIMEOUT)
        for number in (3, 1, 2):
            cohorts.start_soon(end, number)
    assert ended == [1, 2, 3]
    assert trio.current_time() == 3


async def test_the_nursery_cancels_them_and_others_can_begin_in_another(autojump_clock: MockClock) -> None:
    seen: list[bool] = []

    async def live(scope: trio.CancelScope) -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append(scope.cancel_called)

    async with trio.open_nursery() as nursery:
        cohorts = Cohorts(nursery, TIMEOUT)
        cohorts.start_soon(live)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        cohorts.start_soon(live)  # too late, and no error
    assert seen[0] is False


async def test_a_failure_is_the_nurserys(autojump_clock: MockClock) -> None:
    async def fail(scope: trio.CancelScope) -> None:
        raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            Cohorts(nursery, TIMEOUT).start_soon(fail)
    assert caught.value.subgroup(LookupError) is not None
