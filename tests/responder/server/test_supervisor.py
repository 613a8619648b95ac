"""An instance's life, on the fake clock: crashes, backoff, goodbyes, and what `run` may send."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from responder import ConfigError, Interface, InterfaceAddress, Network, Peer, Plugin, Service, SourceUnavailable
from responder.config.instance import Instance, Prepared
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation
from responder.server.server import ServerCore, open_server
from responder.server.state import folder_below
from responder.server.supervisor import FIRST_DELAY, LAST_DELAY
from tests.fakes import GUEST, LAN, FakePlatform

Run = Callable[[Network], Awaitable[None]]


async def _nothing(network: Network) -> None:
    del network


@attrs.frozen
class Runner(Plugin):
    """Background work as the test says."""

    work: Run = _nothing
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, hop_limit=2),)

    async def run(self, network: Network) -> None:
        await self.work(network)


@asynccontextmanager
async def serving(
    *instances: Instance, grace: float = 2.0, state_root: Path = Path(), platform: FakePlatform | None = None
) -> AsyncIterator[tuple[ServerCore, FakePlatform]]:
    platform = platform or FakePlatform()
    handlers = [Prepared(instance, instance.plugin) for instance in instances]
    async with (
        open_server(
            handlers, platform=platform, grace=grace, state_folder=partial(folder_below, state_root, "state")
        ) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield server, platform
        server.stop()


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


class TestNetwork:
    async def use(
        self, work: Run, *, state_root: Path = Path(), platform: FakePlatform | None = None, **keys: object
    ) -> FakePlatform:
        """Run `work` to its end, raising what it raises."""
        outcome: list[BaseException | None] = []

        async def wrapped(network: Network) -> None:
            try:
                await work(network)
            except Exception as error:
                outcome.append(error)
            else:
                outcome.append(None)

        instance = Instance.of(Runner(wrapped), **keys)
        async with serving(instance, state_root=state_root, platform=platform) as (_, used):
            with trio.fail_after(5):
                while not outcome:
                    await trio.lowlevel.checkpoint()
        if outcome[0] is not None:
            raise outcome[0]
        return used

    async def test_a_group_is_sent_to_from_the_interfaces_own_address(self) -> None:
        async def work(network: Network) -> None:
            with assert_checkpoints():
                await network.send(b"4", to="239.1.2.3", interface="lan")
            await network.send(b"6", to=Peer("ff02::fb", 5353), interface=GUEST, hop_limit=255)
            await network.send(b"far", to=Peer("192.0.2.1", 9))

        platform = await self.use(work)
        shown = [
            (
                sent.payload,
                str(sent.route.to),
                sent.port,
                str(sent.route.source),
                sent.route.interface,
                sent.route.hop_limit,
            )
            for sent in platform.sockets[0].sent
        ]
        assert shown == [
            (b"4", "239.1.2.3", 7007, "10.71.0.1", 2, 2),
            (b"6", "ff02::fb", 5353, "fe80::1", 3, 255),
            (b"far", "192.0.2.1", 9, "None", 0, 2),
        ]

    @pytest.mark.parametrize(
        ("to", "on", "message"),
        [
            ("239.1.2.3", None, "needs the interface"),
            ("10.71.0.300", "lan", "10.71.0.300"),
            (Peer("10.71.0.9", 0), None, "port 0"),
        ],
    )
    async def test_what_cannot_be_meant(self, to: str, on: str | None, message: str) -> None:
        async def work(network: Network) -> None:
            await network.send(b"x", to=to, interface=on)

        with pytest.raises(ValueError, match=message):
            await self.use(work, interfaces=["lan"])

    @pytest.mark.parametrize(
        ("to", "on", "message"),
        [
            ("239.1.2.3", 77, "no interface 77"),
            ("239.1.2.3", "guest0", "no interface 'guest0'"),
            ("ff02::fb", attrs.evolve(LAN, index=78), "no interface 78"),
            ("ff02::fb", "bare", "bare has no IPv6 address"),
        ],
    )
    async def test_what_may_be_gone_between_two_awaits_is_a_send_error(
        self, to: str, on: Interface | int | str, message: str
    ) -> None:
        async def work(network: Network) -> None:
            await network.send(b"x", to=to, interface=on)

        bare = attrs.evolve(LAN, index=9, name="bare", addresses=[InterfaceAddress("10.73.0.1", 24)])
        platform = FakePlatform(tables=[(LAN, GUEST, bare)])
        with pytest.raises(SourceUnavailable, match=message):
            await self.use(work, interfaces=["lan", "bare"], platform=platform)

    async def test_what_is_sent_unasked_is_told_to_those_who_watch(self) -> None:
        seen: list[Observation] = []
        sent = trio.Event()

        async def work(network: Network) -> None:
            await sent.wait()
            await network.send(b"hello", to="239.1.2.3", interface="lan")

        async with serving(Instance.of(Runner(work))) as (server, _):
            server.observers.add(seen.append)
            sent.set()
            await wait_all_tasks_blocked()
        (told,) = seen
        assert (told.outcome, told.request, told.instance, told.interface) == (outcomes.SENT, None, "runner", "lan")
        assert (str(told.peer), str(told.destination), told.port) == ("239.1.2.3:7007", "10.71.0.1", 7007)
        assert [payload for _, (payload, _, _) in told.answers] == [b"hello"]

    async def test_a_refused_send_is_the_plugins_to_know(self) -> None:
        platform = FakePlatform()
        raised: list[Exception] = []

        async def work(network: Network) -> None:
            platform.sockets[0].refusals.append(SourceUnavailable(22, "gone"))
            try:
                await network.send(b"x", to="10.71.0.9")
            except SourceUnavailable as error:
                raised.append(error)

        async with serving(Instance.of(Runner(work)), platform=platform) as (server, _):
            await trio.testing.wait_all_tasks_blocked()
            assert len(raised) == 1
            assert server.counters.total(outcomes.SENT) == 0

    async def test_interfaces_are_those_of_the_instance(self) -> None:
        async def work(network: Network) -> None:
            assert network.interfaces == (LAN,)
            assert network.interface(LAN.index) == LAN
            assert network.interface(GUEST.index) is None
            assert network.port() == 7007
            assert network.instance == "runner"
            with pytest.raises(ValueError, match=r"no service 'other' \(it has: default\)"):
                network.port("other")

        await self.use(work, interfaces=["lan"])

    async def test_changes_are_those_of_the_instances_interfaces(self, autojump_clock: MockClock) -> None:
        told: list[str] = []

        async def follow(network: Network) -> None:
            changes = network.changes()
            told.append(", ".join(interface.name for interface in network.interfaces))
            with trio.move_on_after(10):
                async for change in changes:
                    told.append(f"{change.kind} {change.interface}")  # noqa: PERF401 - cut off by the end

        platform = FakePlatform()
        async with serving(Instance.of(Runner(follow), interfaces=["guest*"]), platform=platform):
            await wait_all_tasks_blocked()
            platform.watch.set(attrs.evolve(LAN, name="office"), attrs.evolve(GUEST, index=9, name="guest1"))
            await trio.sleep(1)
            platform.watch.remove(GUEST.index)
            await trio.sleep(1)
        assert told == ["guest0", "appeared guest1", "disappeared guest0"]

    async def test_state_dir(self, tmp_path: Path) -> None:
        async def work(network: Network) -> None:
            assert network.state_dir == tmp_path / "runner"
            (network.state_dir / "boot-id").write_text("1")

        await self.use(work, state_root=tmp_path)
        assert (tmp_path / "runner" / "boot-id").read_text() == "1"

    async def test_a_state_dir_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        async def work(network: Network) -> None:
            _ = network.state_dir

        with pytest.raises(ConfigError, match=r"^state: the folder .*/file/runner can't be made: Not a directory"):
            await self.use(work, state_root=tmp_path / "file")

    async def test_the_source_of_a_listening_instance_is_its_address(self) -> None:
        async def work(network: Network) -> None:
            await network.send(b"x", to=Peer("192.0.2.1", 9))
            with pytest.raises(SourceUnavailable, match="no address of `listen` is an IPv6 one"):
                await network.send(b"x", to=Peer("2001:db8::1", 9))

        platform = await self.use(work, listen=["10.71.0.2"])
        assert platform.sockets[0].sent[0].route.source == ip_address("10.71.0.2")
