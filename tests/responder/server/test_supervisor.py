"""An instance's life, on the fake clock: crashes, backoff, goodbyes."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from responder import Network
from responder.config.instance import Instance
from responder.server.supervisor import FIRST_DELAY, LAST_DELAY

from .support import Runner, serving


async def test_a_run_that_crashes_comes_back_with_growing_delays(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[float] = []

    async def crash(_: Network) -> None:
        starts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        raise RuntimeError("broken")

    async with serving(Instance.of(Runner(crash))) as (server, _):
        await trio.sleep(400)
        (instance,) = server.instances
        assert instance.state == "restarting"
        assert instance.restarts == len(starts)
    pauses = [after - before for before, after in pairwise(starts)]
    for number, pause in enumerate(pauses):
        full = min(LAST_DELAY, FIRST_DELAY * 2**number)
        assert full / 2 <= pause <= full
    assert len(pauses) >= 8
    assert "run crashed" in caplog.text


async def test_a_run_that_lived_long_starts_from_the_first_delay_again(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def crash_late(_: Network) -> None:
        starts.append(trio.current_time())
        await trio.sleep(LAST_DELAY + 1)
        raise RuntimeError("broken")

    async with serving(Instance.of(Runner(crash_late))):
        await trio.sleep(LAST_DELAY * 10)
    assert len(starts) >= 9
    assert all(after - before <= LAST_DELAY + 1 + FIRST_DELAY for before, after in pairwise(starts))


async def test_a_crash_is_not_the_others_business(autojump_clock: MockClock) -> None:
    ticks: list[float] = []

    async def crash(_: Network) -> None:
        raise RuntimeError("broken")

    async def tick(network: Network) -> None:
        while network.stopping.reason is None:
            ticks.append(trio.current_time())
            await trio.sleep(1)

    async with serving(Instance.of(Runner(crash), "bad", port=1), Instance.of(Runner(tick), "good", port=2)):
        await trio.sleep(10.5)
    assert len(ticks) == 11


async def test_an_iteration_over_changes_ends_when_it_is_time(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def follow(network: Network) -> None:
        async for _ in network.changes():
            pass
        ended.append(trio.current_time())

    async with serving(Instance.of(Runner(follow)), grace=100):
        await trio.sleep(5)
        stopped_at = trio.current_time()
    assert ended == [stopped_at]


async def test_a_run_whose_child_task_exits_is_a_crash_of_its_own(autojump_clock: MockClock) -> None:
    async def exit_within(_: Network) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            sys.exit(3)

    async with serving(Instance.of(Runner(exit_within))) as (server, _):
        await trio.sleep(0.5)
        assert server.instances[0].state == "restarting"


async def test_a_run_that_returns_is_not_started_again(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def once(_: Network) -> None:
        starts.append(trio.current_time())

    async with serving(Instance.of(Runner(once))):
        await trio.sleep(1000)
    assert len(starts) == 1


async def test_goodbyes_have_the_grace_period_and_no_longer(autojump_clock: MockClock) -> None:
    said: list[str] = []

    async def polite(network: Network) -> None:
        said.append(await network.stopping.wait())
        await trio.sleep(1)
        await network.send(b"bye", to="239.1.2.3", interface="lan")
        said.append("bye")

    async def endless(network: Network) -> None:
        await network.stopping.wait()
        await trio.sleep_forever()

    async with serving(Instance.of(Runner(polite), "polite"), Instance.of(Runner(endless), "endless"), grace=5) as (
        _,
        platform,
    ):
        stopped_at = trio.current_time()
    assert said == ["stop", "bye"]
    assert platform.sockets[0].sent[0].payload == b"bye"
    assert trio.current_time() - stopped_at == pytest.approx(5)


async def test_a_second_stop_does_not_wait(autojump_clock: MockClock) -> None:
    async def endless(_: Network) -> None:
        await trio.sleep_forever()

    async with serving(Instance.of(Runner(endless)), grace=100) as (server, _):
        started = trio.current_time()
        server.stop()
        await trio.sleep(1)
    assert trio.current_time() - started == pytest.approx(1)


async def test_a_stop_while_waiting_to_restart_is_immediate(autojump_clock: MockClock) -> None:
    async def crash(_: Network) -> None:
        raise RuntimeError("broken")

    async with serving(Instance.of(Runner(crash)), grace=100):
        await trio.sleep(20)
        stopped_at = trio.current_time()
    assert trio.current_time() == stopped_at
