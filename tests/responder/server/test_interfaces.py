"""The interfaces followed, on a fake watch and a fake clock: the table at once, plugins once it has settled."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder.datagram import ChangeKind, Interface, InterfaceAddress, InterfaceChange
from responder.net.memberships import Memberships
from responder.net.types import Membership
from responder.server.interfaces import (
    FIRST_RETRY,
    LAST_RETRY,
    PATIENCE,
    RESCAN_INTERVAL,
    RESCAN_PAUSE,
    SETTLE,
    Following,
    Subscription,
    open_following,
)
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, FakeSocket

GROUP, GROUP6 = ip_address("239.255.70.7"), ip_address("ff02::7007")
DOWN = attrs.evolve(LAN, flags={"broadcast", "multicast"})
DOCK = attrs.evolve(GUEST, index=9, name="dock0")


@attrs.define
class Bench:
    platform: FakePlatform
    following: Following

    async def tell(self, *interfaces: Interface) -> None:
        """The system tells; and it has been taken when this returns."""
        self.platform.watch.set(*interfaces)
        await wait_all_tasks_blocked()

    async def remove(self, *indexes: int) -> None:
        self.platform.watch.remove(*indexes)
        await wait_all_tasks_blocked()


@asynccontextmanager
async def following(platform: FakePlatform | None = None, *, settle: float = SETTLE) -> AsyncIterator[Bench]:
    platform = platform or FakePlatform()
    async with open_following(platform, settle=settle) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await wait_all_tasks_blocked()
        yield Bench(platform, it)
        nursery.cancel_scope.cancel()


async def heard(subscription: Subscription, seconds: float = SETTLE + 0.01) -> list[InterfaceChange]:
    """What a subscriber that is quick hears in these seconds."""
    changes = []
    with trio.move_on_after(seconds):
        async for change in subscription:
            changes.append(change)  # noqa: PERF401 - it has to keep what came before the end
    return changes


def kinds(changes: list[InterfaceChange]) -> list[str]:
    return [f"{change.kind} {change.interface}" for change in changes]


class TestTable:
    async def test_follows_at_once(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            forgotten: list[int] = []
            it.following.on_change.append(lambda: forgotten.append(it.following.table.generation))
            await it.tell(DOWN, DOCK)
            assert [*it.following.table] == [LOOPBACK, DOWN, GUEST, DOCK]
            await it.remove(DOCK.index)
            assert [*it.following.table] == [LOOPBACK, DOWN, GUEST]
            assert len(forgotten) == 2
            await it.tell(DOWN)  # nothing new
            assert len(forgotten) == 2
            assert trio.current_time() == pytest.approx(0, abs=0.01)

    async def test_a_signal_or_an_overrun_leads_to_a_look_at_all(self, autojump_clock: MockClock) -> None:
        async with following(FakePlatform(tables=[(LOOPBACK, LAN), (LOOPBACK, DOCK)])) as it:
            it.platform.watch.tell(None)
            await wait_all_tasks_blocked()
            assert [*it.following.table] == [LOOPBACK, DOCK]

    async def test_what_nobody_tells_is_found_in_time(self, autojump_clock: MockClock) -> None:
        async with following(FakePlatform(tables=[(LOOPBACK, LAN), (LOOPBACK, DOCK)])) as it:
            await trio.sleep(RESCAN_INTERVAL - 1)
            assert [*it.following.table] == [LOOPBACK, LAN]
            await trio.sleep(2)
            assert [*it.following.table] == [LOOPBACK, DOCK]

    async def test_a_stale_table_is_renewed_at_once_but_not_all_the_time(self, autojump_clock: MockClock) -> None:
        async with following(FakePlatform(tables=[(LAN,), (GUEST,), (DOCK,)])) as it:
            it.following.stale()
            await wait_all_tasks_blocked()
            assert [*it.following.table] == [GUEST]
            it.following.stale()
            await wait_all_tasks_blocked()
            assert [*it.following.table] == [GUEST]
            await trio.sleep(RESCAN_PAUSE * 1.01)
            assert [*it.following.table] == [DOCK]

    async def test_a_failing_look_is_repeated(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Failing(FakePlatform):
            failures = 0

            async def interfaces(self) -> tuple[Interface, ...]:
                if len(self.tables) == 1 and self.failures < 3:
                    self.failures += 1
                    raise OSError(errno.ENOBUFS, "no room")
                return self.tables.pop(0) if len(self.tables) > 1 else self.tables[0]

        async with following(Failing(tables=[(LAN,), (GUEST,)])) as it:
            it.platform.watch.tell(None)
            await trio.sleep(RESCAN_PAUSE * 5)
            assert [*it.following.table] == [GUEST]
            assert caplog.text.count("can't be read") == 1

    async def test_a_watch_that_breaks_leaves_the_looking(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with following(FakePlatform(tables=[(LAN,), (GUEST,), (DOCK,)])) as it:
            it.platform.watch.fail(OSError(errno.EBADF, "broken"))
            await wait_all_tasks_blocked()
            assert [*it.following.table] == [GUEST]
            await trio.sleep(RESCAN_INTERVAL * 1.01)
            assert [*it.following.table] == [DOCK]
            assert caplog.text.count("no longer heard of") == 1


class TestChanges:
    async def test_are_told_once_settled(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            await it.tell(DOCK)
            assert await heard(changes, SETTLE * 0.9) == []
            assert await heard(changes, SETTLE * 0.2) == [InterfaceChange(ChangeKind.APPEARED, DOCK)]

    async def test_quiet_is_counted_from_the_last_change(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            await it.tell(DOCK)
            await trio.sleep(SETTLE * 0.9)
            renamed = attrs.evolve(DOCK, name="dock1")
            await it.tell(renamed)
            assert await heard(changes, SETTLE * 0.9) == []
            assert kinds(await heard(changes, SETTLE * 0.2)) == ["appeared dock1"]

    async def test_a_flap_that_ends_as_it_began_is_nothing(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            await it.tell(DOWN)
            await it.tell(LAN)
            await it.tell(DOCK)
            await it.remove(DOCK.index)
            assert await heard(changes, 60) == []

    async def test_a_flap_without_end_is_told_in_between(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            with trio.move_on_after(SETTLE * PATIENCE * 2.5):
                async with trio.open_nursery() as nursery:

                    async def flap() -> None:
                        for number in range(1000):
                            await it.tell(attrs.evolve(LAN, name=f"lan{number}"))
                            await trio.sleep(0.1)

                    nursery.start_soon(flap)
                    told = []
                    async for _ in changes:
                        told.append(trio.current_time())  # noqa: PERF401 - it has to keep what came before the end
            assert told == pytest.approx([SETTLE * PATIENCE, SETTLE * PATIENCE * 2], abs=0.2)

    async def test_another_interface_is_not_held_up_by_a_flapping_one(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            await it.tell(DOWN, DOCK)
            await trio.sleep(SETTLE * 0.9)
            await it.tell(LAN)
            assert kinds(await heard(changes, SETTLE * 0.2)) == ["appeared dock0"]

    async def test_how_long_is_configurable(self, autojump_clock: MockClock) -> None:
        async with following(settle=2.0) as it:
            changes = it.following.subscribe()
            await it.tell(DOCK)
            assert await heard(changes, 1.9) == []
            assert kinds(await heard(changes, 0.2)) == ["appeared dock0"]
        async with following(settle=0) as it:
            changes = it.following.subscribe()
            await it.tell(DOCK)
            assert kinds(await heard(changes, 0.01)) == ["appeared dock0"]

    async def test_all_that_may_happen_to_an_interface(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            added = InterfaceAddress("10.9.0.1", 24)
            await it.tell(attrs.evolve(DOWN, name="office", addresses=(*LAN.addresses[1:], added)))
            told = await heard(changes)
            assert kinds(told) == ["renamed office", "down office", "address-removed office", "address-added office"]
            assert [change.address for change in told] == [None, None, LAN.addresses[0], added]
            assert told[0].old_name == "lan"
            await it.tell(LAN)
            assert [change.kind for change in await heard(changes)] == [
                "renamed",
                "address-removed",
                "up",
                "address-added",
            ]
            await it.remove(LAN.index)
            assert kinds(await heard(changes)) == ["disappeared lan"]

    async def test_an_index_that_another_interface_gets(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            # Alike in everything, but the system said that the first one is gone.
            it.platform.watch.tell([(LAN.index, None), (LAN.index, LAN)])
            assert kinds(await heard(changes)) == ["disappeared lan", "appeared lan"]
            # Found by a look at all of them: the link address differs.
            it.platform.tables = [(LOOPBACK, attrs.evolve(LAN, link_address=b"\2\0\0\0\0\1"), GUEST)]
            it.platform.watch.tell(None)
            assert kinds(await heard(changes)) == []
            it.platform.tables = [(LOOPBACK, attrs.evolve(LAN, link_address=b"\2\0\0\0\0\2"), GUEST)]
            it.platform.watch.tell(None)
            assert kinds(await heard(changes)) == ["disappeared lan", "appeared lan"]

    async def test_each_subscriber_hears_of_what_it_may_use(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            everything = it.following.subscribe()
            guests = it.following.subscribe(lambda interface: interface.name.startswith("guest"))
            await it.tell(DOCK, DOWN)
            assert await heard(guests) == []
            assert kinds(await heard(everything)) == ["appeared dock0", "down lan"]
            await it.tell(attrs.evolve(DOCK, name="guest1"), attrs.evolve(GUEST, name="office"))
            assert kinds(await heard(guests)) == ["appeared guest1", "disappeared guest0"]
            assert kinds(await heard(everything)) == ["renamed guest1", "renamed office"]

    async def test_a_slow_subscriber_hears_the_net_difference(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            for number in range(50):
                await it.tell(DOWN, attrs.evolve(DOCK, index=100 + number))
                await trio.sleep(SETTLE * 1.1)
                await it.remove(100 + number)
                await it.tell(attrs.evolve(LAN, name=f"lan{number}"))
                await trio.sleep(SETTLE * 1.1)
            assert len(changes._marked) == 1, "what came and went is not remembered"
            assert kinds(await heard(changes)) == ["renamed lan49"]

    async def test_begins_with_the_present(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            await it.tell(DOCK)
            changes = it.following.subscribe()
            assert DOCK in it.following.table
            assert await heard(changes, 60) == []

    async def test_a_subscription_that_is_forgotten_is_gone(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            changes = it.following.subscribe()
            assert len(it.following._subscriptions) == 1
            del changes
            assert len(it.following._subscriptions) == 0


class RefusingSocket(FakeSocket):
    """Refuses joins on `full`."""

    def __init__(self) -> None:
        super().__init__(7007)
        self.full: set[int] = set()
        self.attempts: list[float] = []

    def join(self, membership: Membership, interface: Interface) -> None:
        if membership.interface in self.full:
            self.attempts.append(trio.current_time())
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        super().join(membership, interface)


class TestMemberships:
    def claimed(self, it: Bench, groups: tuple[object, ...] = (GROUP, GROUP6)) -> tuple[RefusingSocket, Memberships]:
        socket = RefusingSocket()
        memberships = Memberships(socket)
        it.following.claim(memberships, [(groups, lambda interface: interface.name != "guest0")])  # type: ignore[list-item] # addresses
        return socket, memberships

    async def test_follow_at_once(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            socket, _ = self.claimed(it)
            assert socket.joined == {Membership(GROUP, LAN.index), Membership(GROUP6, LAN.index)}
            await it.tell(DOCK, attrs.evolve(LAN, addresses=LAN.addresses[2:]))
            assert socket.joined == {Membership(GROUP6, LAN.index), Membership(GROUP, 9), Membership(GROUP6, 9)}
            await it.remove(9)
            await it.tell(attrs.evolve(GUEST, name="office"))
            assert socket.joined == {
                Membership(GROUP6, LAN.index),
                Membership(GROUP, GUEST.index),
                Membership(GROUP6, GUEST.index),
            }
            assert trio.current_time() == pytest.approx(0, abs=0.01)

    async def test_are_left_where_another_interface_gets_the_index(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            socket, _ = self.claimed(it, (GROUP,))
            left: list[Membership] = []
            leave = socket.leave
            socket.leave = lambda membership, interface: (left.append(membership), leave(membership, interface))[1]  # type: ignore[method-assign] # to see it
            it.platform.watch.tell([(LAN.index, None), (LAN.index, LAN)])
            await wait_all_tasks_blocked()
            assert left == [Membership(GROUP, LAN.index)]
            assert socket.joined == {Membership(GROUP, LAN.index)}

    async def test_change_with_the_claims(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            socket, memberships = self.claimed(it)
            it.following.claim(memberships, [((GROUP6,), lambda _: True)])
            assert socket.joined == {Membership(GROUP6, LAN.index), Membership(GROUP6, GUEST.index)}
            it.following.leave(memberships)
            assert socket.joined == set()
            await it.tell(DOCK)
            assert socket.joined == set()
            it.following.leave(memberships)

    async def test_refused_ones_are_tried_again_with_patience(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            socket, memberships = self.claimed(it, (GROUP,))
            socket.full = {DOCK.index}
            await it.tell(DOCK)
            assert socket.joined == {Membership(GROUP, LAN.index)}
            await trio.sleep(LAST_RETRY * 4)
            pauses = [later - sooner for sooner, later in pairwise(socket.attempts)]
            assert pauses[0] == pytest.approx(FIRST_RETRY)
            assert all(later >= sooner - 1e-6 for sooner, later in pairwise(pauses))
            assert pauses[-1] == pytest.approx(LAST_RETRY)
            assert memberships.failures == len(socket.attempts)
            socket.full.clear()
            await trio.sleep(LAST_RETRY * 1.1)
            assert socket.joined == {Membership(GROUP, LAN.index), Membership(GROUP, DOCK.index)}
            # All is joined: nothing is tried any more, and the next refusal begins anew.
            socket.full, socket.attempts = {10}, []
            await it.tell(attrs.evolve(DOCK, index=10))
            await trio.sleep(FIRST_RETRY * 1.5)
            assert len(socket.attempts) == 2

    async def test_a_refused_one_that_nobody_wants_any_more(self, autojump_clock: MockClock) -> None:
        async with following() as it:
            socket, memberships = self.claimed(it, (GROUP,))
            socket.full = {DOCK.index}
            await it.tell(DOCK)
            it.following.leave(memberships)
            socket.attempts = []
            await trio.sleep(LAST_RETRY)
            assert socket.attempts == []
