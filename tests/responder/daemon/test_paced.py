from __future__ import annotations

import trio
from trio.testing import MockClock

from responder.daemon.paced import Paced


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


async def test_paced_values_may_take_their_time(autojump_clock: MockClock) -> None:
    async def get() -> float:
        await trio.sleep(1)
        return trio.current_time()

    paced: Paced[float] = Paced(get, 0.5)
    began = trio.current_time()
    assert [await paced() - began for _ in range(2)] == [1, 2]
