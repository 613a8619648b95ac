"""The parent and its workers, by what must hold whatever happens to the processes and the configuration."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import ConfigErrors, NetworkError
from responder.config.reading import read
from responder.daemon.orders import Orders
from responder.daemon.service_manager import Notifier
from responder.daemon.status import About
from responder.daemon.workers.parent import Parent
from responder.daemon.workers.worker import BIRTH, HUNG, LAST_PAUSE, START_ATTEMPTS
from responder.net import notify

from .support import FakeProcess, FakeSharingPlatform

GRACE = 0.5
HEAD = f"[daemon]\nworkers = 3\ngrace = {GRACE}\n"
ECHO = HEAD + "[plugins.echo]\nport = 7007\n"
MORE = ECHO + '[plugins.more]\nuse = "echo"\nport = 7008\n'


@pytest.fixture(autouse=True)
def _in_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake clock would jump while another thread works."""

    async def run_sync(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@attrs.define(eq=False)
class Family:
    """A parent that runs, with its processes."""

    file: Path
    parent: Parent
    platform: FakeSharingPlatform
    orders: Orders
    processes: list[FakeProcess]
    """All that were ever started."""
    ended_at: float | None = None

    def alive(self) -> list[FakeProcess]:
        return [each for each in self.processes if each.status is None]

    def states(self) -> list[str]:
        return [worker.state for worker in self.parent.workers]

    async def ready(self) -> None:
        with trio.fail_after(60):
            for worker in self.parent.workers:
                await worker.serving.wait()

    async def reload(self, text: str) -> list[str]:
        self.file.write_text(text)
        return await self.parent.reload()

    def check(self, text: str, *ports: int) -> None:
        """What is in force is served by every worker, on its ports and on no other."""
        assert self.states() == ["ready"] * len(self.parent.workers)
        assert len(self.alive()) == len(self.parent.workers)
        for process in self.alive():
            assert (process.serving, process.ports) == (text, frozenset(ports))
        # One socket for each worker, and a TCP listener for all.
        assert sorted(each.port for each in self.platform.open_now()) == sorted(ports * (len(self.alive()) + 1))

    def check_end(self) -> None:
        assert self.alive() == []
        assert set(self.states()) == {"stopped"}
        self.parent.ports.close()
        assert self.platform.open_now() == []


@asynccontextmanager
async def family(
    folder: Path, text: str = ECHO, *, seed: int = 0, delays: tuple[float, float] = (0.0, 0.1)
) -> AsyncIterator[Family]:
    """Leaving waits for its end."""
    file = folder / "config.toml"
    file.write_text(text)
    chance = random.Random(seed)  # noqa: S311 - repeatable chance is the point
    processes: list[FakeProcess] = []
    platform = FakeSharingPlatform()

    def start(number: int, _count: int) -> FakeProcess:
        processes.append(FakeProcess(number, 100 + len(processes), chance, delays))
        return processes[-1]

    parent = Parent(3, read(file), About(file), Notifier("/its/socket"), platform, start)
    await parent.open_ports()
    it = Family(file, parent, platform, Orders(parent.stop), processes)

    async def run() -> None:
        await parent.run(it.orders)
        it.ended_at = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield it


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the service manager hears."""
    messages: list[str] = []
    monkeypatch.setattr(notify, "send", lambda _address, message, timeout: messages.append(message))
    return messages


class TestStart:
    async def test_it_is_ready_when_every_worker_is(
        self, tmp_path: Path, told: list[str], autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path, delays=(1.0, 3.0)) as it:
            await trio.sleep(0.5)
            assert "READY=1" not in told
            await it.ready()
            await trio.lowlevel.checkpoint()
            it.check(ECHO, 7007)
            await trio.sleep(1)
            assert "READY=1" in told
            it.parent.stop()
        it.check_end()

    async def test_a_worker_killed_during_the_start_is_started_again_before_it_is_ready(
        self, tmp_path: Path, told: list[str], autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path, delays=(1.0, 1.0)) as it:
            await trio.sleep(1.5)
            it.processes[1].kill()
            await trio.sleep(1)
            assert "READY=1" not in told
            await it.ready()
            it.check(ECHO, 7007)
            await trio.sleep(1)
            assert "READY=1" in told
            it.parent.stop()

    async def test_one_that_says_what_is_wrong_ends_the_start(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path, ECHO + "# wrong") as it:
            pass
        assert isinstance(it.parent.failure, ConfigErrors)
        it.check_end()

    async def test_one_that_always_dies_ends_the_start(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path, ECHO + "# deadly") as it:
            pass
        assert isinstance(it.parent.failure, NetworkError)
        assert "it ended 5 times (-11)" in str(it.parent.failure)
        assert len(it.processes) == 3 * START_ATTEMPTS
        it.check_end()

    async def test_one_that_can_not_be_started_ends_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            monkeypatch.setattr(it.parent, "_start_process", refuse)
        assert "worker 0 can't be started: a process: Too many open files" in str(it.parent.failure)

    async def test_one_that_the_system_refuses_what_it_needs_is_no_mistake_of_the_configuration(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await wait_all_tasks_blocked()
            it.processes[1].shortages = 1
        assert isinstance(it.parent.failure, NetworkError)
        assert str(it.parent.failure) == f"worker {it.processes[1].number} did not start: no thread can be had"
        it.check_end()

    async def test_a_stop_meanwhile_is_the_end(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path, delays=(1000.0, 1000.0)) as it:
            await trio.sleep(1)
            it.parent.stop()
        assert it.ended_at == pytest.approx(1)
        assert not any(worker.failed() for worker in it.parent.workers)
        it.check_end()


def refuse(*_: object) -> FakeProcess:
    raise OSError(24, "Too many open files")


class TestRecent:
    async def test_it_is_that_of_all_who_answer(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            zero, one, two = sorted(it.processes, key=lambda each: each.number)
            assert await it.parent.recent() == [
                {"time": float(each.number), "pid": each.pid} for each in (two, one, zero)
            ]
            one.stop()
            assert [each["pid"] for each in await it.parent.recent()] == [two.pid, zero.pid]
            two.die(-11)
            assert [each["pid"] for each in await it.parent.recent()] == [zero.pid]
            it.parent.stop()


class TestLife:
    async def test_one_that_is_silent_is_killed(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.processes[0].stop()
            await trio.sleep(HUNG + 3)
            assert it.processes[0].status == -9
            it.check(ECHO, 7007)
            it.parent.stop()

    async def test_also_one_that_is_silent_from_its_birth(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await wait_all_tasks_blocked()
            it.processes[0].stop()
            await trio.sleep(BIRTH + 3)
            it.check(ECHO, 7007)
            it.parent.stop()

    async def test_a_failure_of_the_parent_s_own_costs_that_process_alone(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.processes[0].broken = True
            await trio.sleep(3)
            assert [process.status for process in it.processes] == [-9, None, None, None]
            it.check(ECHO, 7007)
            it.parent.stop()

    async def test_one_that_stops_says_goodbye_all_the_same(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.processes[0].stop()
            it.parent.stop()
        assert [process.status for process in it.processes] == [0, 0, 0]
        assert not any(worker.failed() for worker in it.parent.workers)

    async def test_one_that_has_said_goodbye_and_is_slow_to_end_is_no_failure(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.processes[0].lingers = True
            began = trio.current_time()
            it.parent.stop()
        assert it.ended_at is not None
        assert it.ended_at - began <= GRACE + 2
        assert it.processes[0].status == -9
        assert not any(worker.failed() for worker in it.parent.workers)
        assert "does not end" not in caplog.text

    async def test_one_that_says_no_goodbye_is_one(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.processes[0].delays = (1000.0, 1000.0)
            it.parent.stop()
        assert [worker.failed() for worker in it.parent.workers].count(True) == 1

    async def test_stopping_twice_leaves_no_grace(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path, HEAD.replace("0.5", "100") + "[plugins.echo]\nport = 7007\n") as it:
            await it.ready()
            for process in it.processes:
                process.delays = (1000.0, 1000.0)
            began = trio.current_time()
            it.parent.stop()
            await trio.sleep(1)
            it.parent.stop()
            it.parent.stop()
        assert it.ended_at is not None
        assert it.ended_at - began < 3
        it.check_end()


class TestReload:
    async def test_ports_come_and_go(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            assert await it.reload(MORE) == []
            it.check(MORE, 7007, 7008)
            assert await it.reload(ECHO) == []
            await trio.sleep(3)
            it.check(ECHO, 7007)
            it.parent.stop()

    async def test_a_port_is_not_closed_while_a_reload_prepares_to_have_it_again(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            assert await it.reload(MORE) == []
            assert await it.reload(ECHO) == []
            for process in it.alive():
                process.delays = (5.0, 5.0)
            assert await it.reload(MORE) == []
            it.check(MORE, 7007, 7008)
            await trio.sleep(10)
            it.check(MORE, 7007, 7008)
            it.parent.stop()

    @pytest.mark.parametrize(
        "text", [ECHO + "# wrong", "[[[[", ECHO + "[plugins.x]\nuse='echo'\nport=9\n", "half = [", ""]
    )
    async def test_what_can_not_be_served_changes_nothing(
        self, tmp_path: Path, text: str, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.platform.taken.add(9)
            assert await it.reload(text) != []
            it.check(ECHO, 7007)
            it.parent.stop()

    async def test_what_one_worker_is_refused_by_the_system_is_changed_in_none(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            it.processes[1].shortages = 2
            assert await it.reload(MORE) == [f"worker {it.processes[1].number}: no thread can be had"]
            it.check(ECHO, 7007)
            assert [process.status for process in it.processes] == [None] * 3
            assert await it.reload(MORE) == []
            it.check(MORE, 7007, 7008)
            it.parent.stop()

    async def test_what_kills_every_worker_is_refused(self, tmp_path: Path, autojump_clock: MockClock) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            assert await it.reload(MORE + "# deadly") == ["no process that serves lived long enough to prepare it"]
            await trio.sleep(LAST_PAUSE)
            it.check(ECHO, 7007)
            it.parent.stop()

    async def test_a_worker_that_starts_meanwhile_serves_the_new_one(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path, delays=(0.5, 0.5)) as it:
            await it.ready()
            for moment in range(30):
                text = f"{MORE}# {moment}\n"
                it.processes[-1].kill()
                await trio.sleep(0.1 * moment)
                assert await it.reload(text) == []
                await trio.sleep(2 * LAST_PAUSE)
                it.check(text, 7007, 7008)
            it.parent.stop()

    async def test_where_no_worker_can_serve_what_is_in_force_a_reload_mends_it(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        async with family(tmp_path) as it:
            await it.ready()
            # As where a file that the configuration names has gone.
            (source,) = it.parent.in_force.reading.sources
            wrong = attrs.evolve(it.parent.in_force.reading, sources=(attrs.evolve(source, text="wrong"),))
            it.parent.in_force = attrs.evolve(it.parent.in_force, reading=wrong)
            for process in it.alive():
                process.kill()
            await trio.sleep(LAST_PAUSE)
            assert "ready" not in it.states()
            assert await it.reload(MORE + "# wrong") == ["wrong"]
            assert await it.reload(MORE) == []
            await trio.sleep(2 * LAST_PAUSE)
            it.check(MORE, 7007, 7008)
            it.parent.stop()


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens(tmp_path: Path, seed: int, autojump_clock: MockClock) -> None:
    """Processes are killed, stopped and continued, configurations reloaded, and the end asked for, at random."""
    chance = random.Random(seed)  # noqa: S311 - repeatable chance is the point
    good = {
        ECHO: (7007,),
        MORE: (7007, 7008),
        MORE.replace("7007", "7009"): (7009, 7008),
        ECHO.replace("port = 7007", 'port = 7007\nlisten = ["10.71.0.1"]'): (7007,),
    }
    bad = [ECHO + "# wrong", MORE + "# deadly", MORE[:-9], "[[[[" * 5000, f"a = {'9' * 5000}", MORE + "port = [", ""]
    ends_in_the_start = chance.random() < 0.2
    async with family(tmp_path, seed=seed, delays=(0.0, chance.choice([0.1, 1.0, 3.0]))) as it:
        text = ECHO
        if not ends_in_the_start:
            await it.ready()
        for _ in range(0 if ends_in_the_start else chance.randrange(40)):
            await trio.sleep(chance.choice([0, 0, 0.01, 0.1, 0.5, 1, 5]))
            alive = it.alive()
            match chance.randrange(8):
                case 0 | 1 if alive:
                    chance.choice(alive).kill()
                case 2 if alive:
                    chance.choice(alive).stop()
                case 3 if alive:
                    chance.choice(alive).wake()
                case 4 | 5:
                    candidate = chance.choice([*good])
                    if not await it.reload(candidate):
                        text = candidate
                case 6:
                    assert await it.reload(chance.choice(bad)) != []
                case _:
                    for process in alive:
                        process.wake()
                    await trio.sleep(3 * LAST_PAUSE)
                    it.check(text, *good[text])
        await trio.sleep(chance.choice([0, 0, 0.1, 1, 5]))
        began = trio.current_time()
        it.parent.stop()
        if chance.random() < 0.3:
            await trio.sleep(chance.random())
            it.parent.stop()
    assert it.ended_at is not None
    assert it.ended_at - began <= GRACE + 2
    it.check_end()
    assert it.parent.failure is None
    if it.processes and max(it.processes[0].delays) < 1:  # none is slower than its grace
        assert not any(worker.failed() for worker in it.parent.workers)
