"""What `run` sees of the network, and may send."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from responder import (
    ConfigError,
    Datagram,
    Interface,
    InterfaceAddress,
    Network,
    Peer,
    SourceUnavailable,
    Via,
)
from responder.config.instance import Instance
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation
from tests.fakes import GUEST, LAN, FakePlatform

from .support import Run, Runner, serving


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

    @pytest.mark.parametrize(
        ("peer", "destination", "via", "expected"),
        [
            (Peer("10.71.0.9", 40000), "10.71.0.2", Via.UNICAST, ("10.71.0.2", 0, 0)),
            (Peer("192.0.2.9", 40000), "10.99.0.1", Via.UNICAST, ("10.99.0.1", 0, 0)),
            (Peer("fe80::9", 40000, 2), "fe80::1", Via.UNICAST, ("fe80::1", 2, 2)),
            (Peer("169.254.0.9", 40000), "10.71.0.2", Via.UNICAST, ("10.71.0.2", 2, 0)),
            (Peer("10.71.0.9", 40000), "239.1.2.3", Via.MULTICAST, ("10.71.0.1", 2, 0)),
            (Peer("10.71.0.9", 40000), "0.0.0.0", Via.UNICAST, ("None", 0, 0)),
        ],
    )
    async def test_to_a_datagram_it_goes_the_way_of_its_answer(
        self, peer: Peer, destination: str, via: Via, expected: tuple[str, int, int]
    ) -> None:
        async def work(network: Network) -> None:
            with assert_checkpoints():
                await network.send(b"later", to=Datagram(b"", peer, destination, LAN, via=via))

        platform = await self.use(work)
        (sent,) = platform.sockets[0].sent
        route = sent.route
        assert (sent.payload, route.to, sent.port, route.hop_limit) == (b"later", peer.address, 40000, 2)
        assert (str(route.source), route.interface, route.scope_id) == expected

    async def test_to_a_datagram_it_goes_from_the_socket_that_was_asked(self) -> None:
        async def work(network: Network) -> None:
            await network.send(b"x", to=Datagram(b"", Peer("10.71.0.9", 40000), "10.71.0.2", LAN))
            with pytest.raises(SourceUnavailable, match="no interface 3"):
                await network.send(b"x", to=Datagram(b"", Peer("10.72.0.9", 40000), "10.71.0.2", GUEST))
            with pytest.raises(SourceUnavailable, match="no address of `listen` is an IPv6 one"):
                await network.send(b"x", to=Datagram(b"", Peer("fd71::9", 40000), "fd71::1", LAN))

        platform = await self.use(work, listen=["10.71.0.1", "10.71.0.2"], interfaces=["lan"])
        assert [(str(each.address), len(each.sent)) for each in platform.sockets] == [
            ("10.71.0.1", 0),
            ("10.71.0.2", 1),
        ]

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
