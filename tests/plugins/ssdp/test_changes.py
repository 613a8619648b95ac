"""What is announced anew as interfaces come, change and go, on the fake clock."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from random import Random

import attrs
import pytest
import trio
from responder_plugins.shared.http import url_host
from responder_plugins.ssdp.announcer import places_of
from trio.testing import MockClock

from responder import Interface, InterfaceAddress
from tests.fakes import GUEST, LAN, LOOPBACK

from .support import PLACES, SETTLED, SINGLE, places, serving


class TestChanges:
    async def test_an_interface_that_comes(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with serving(SINGLE, state=tmp_path, interfaces=(LOOPBACK, LAN)) as host:
            await trio.sleep(SETTLED)
            came = trio.current_time() - host.started
            host.platform.watch.set(GUEST)
            await trio.sleep(SETTLED)
            alive = [each for each in host.announced("ssdp:alive") if each.time > came]
            update = host.announced("ssdp:update")
        # The links that stay are told of the new boot id before it is used (UDA 2.0 section 1.2.4).
        assert places(update) == {place for place in PLACES if place[1] == LAN.index}
        assert {(each["bootid.upnp.org"], each["nextbootid.upnp.org"]) for each in update} == {("0", "1")}
        assert all(PLACES[each.to, each.interface][1] in each["location"] for each in update)
        assert set(Counter((each.to, each.interface, each["usn"]) for each in update).values()) == {2}
        # Then all is announced again on all links, old and new (1.2.4), which had that of the new boot id.
        assert {each["bootid.upnp.org"] for each in alive} == {"1"}
        assert max(each.time for each in update) <= min(each.time for each in alive)
        assert Counter((each.to, each.interface, each["usn"]) for each in alive) == {
            (*place, match.usn): 3 if place[1] == GUEST.index else 1
            for place in PLACES
            for match in host.handler.index.all
        }
        # From then on the new one holds everywhere.
        assert {each["bootid.upnp.org"] for each in host.announced("ssdp:byebye")} == {"1"}

    @pytest.mark.parametrize("how", ["down", "gone"])
    async def test_an_interface_that_goes(self, autojump_clock: MockClock, tmp_path: Path, how: str) -> None:
        async with serving(SINGLE, state=tmp_path, max_age=600) as host:
            await trio.sleep(SETTLED)
            went = trio.current_time() - host.started
            if how == "down":
                host.platform.watch.set(attrs.evolve(GUEST, flags={"broadcast", "multicast"}))
            else:
                host.platform.watch.remove(GUEST.index)
            await trio.sleep(600)
        later = [each for each in host.sent() if each.time > went]
        assert {each.interface for each in later} == {LAN.index}, "nothing is sent where nothing is"
        assert {each.kind for each in later} == {"ssdp:alive", "ssdp:byebye"}

    async def test_it_comes_back(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            host.platform.watch.remove(GUEST.index)
            await trio.sleep(SETTLED)
            back = trio.current_time() - host.started
            host.platform.watch.set(GUEST)
            await trio.sleep(SETTLED)
            alive = [each for each in host.announced("ssdp:alive") if each.time > back]
        assert places(alive) == set(PLACES)
        assert {each["bootid.upnp.org"] for each in alive} == {"1"}

    async def test_another_interface_with_the_same_index(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            came = trio.current_time() - host.started
            host.platform.watch.remove(GUEST.index)
            host.platform.watch.set(attrs.evolve(GUEST, name="guest1", link_address=b"\x02\0\0\0\0\x01"))
            await trio.sleep(SETTLED)
            alive = [each for each in host.announced("ssdp:alive") if each.time > came]
        assert set(Counter((each.to, each.interface) for each in alive).items()) == {
            (place, 9 if place[1] == GUEST.index else 3) for place in PLACES
        }

    async def test_one_that_comes_while_others_are_still_introduced(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        """Those had half of a set with the old boot id; they get whole ones with the new."""
        async with serving(SINGLE, state=tmp_path, interfaces=(LOOPBACK, LAN)) as host:
            await trio.sleep(0.4)
            host.platform.watch.set(GUEST)
            await trio.sleep(SETTLED)
            alive = [each for each in host.announced("ssdp:alive") if each["bootid.upnp.org"] == "1"]
        assert set(Counter((each.to, each.interface, each["usn"]) for each in alive).values()) == {3}
        assert places(alive) == set(PLACES)

    async def test_another_address(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        renumbered = [own for own in GUEST.addresses if own.address.version == 6]
        moved = attrs.evolve(GUEST, addresses=[InterfaceAddress("10.73.0.1", 24), *renumbered])
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            changed = trio.current_time() - host.started
            host.platform.watch.set(moved)
            await trio.sleep(SETTLED)
            later = [each for each in host.sent() if each.time > changed]
        alive = [each for each in later if each.kind == "ssdp:alive"]
        moved_to = ("239.255.255.250", GUEST.index)
        assert places(alive) == set(PLACES)
        assert all("//10.73.0.1:" in each["location"] for each in alive if (each.to, each.interface) == moved_to)
        assert {each["bootid.upnp.org"] for each in alive} == {"1"}
        assert places([each for each in later if each.kind == "ssdp:update"]) == set(PLACES) - {moved_to}
        assert not any("10.72.0.1" in each.message.headers.get("location", "") for each in later)

    async def test_a_family_that_goes_while_the_link_stays(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        """Without its unique local address the device can still say on the site's group that it is gone from there."""
        without = attrs.evolve(GUEST, addresses=[own for own in GUEST.addresses if str(own.address) != "fd72::1"])
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            host.platform.watch.set(without)
            await trio.sleep(SETTLED)
            byebye = host.announced("ssdp:byebye")
        assert places(byebye) == {("ff05::c", GUEST.index)}
        assert {each.source for each in byebye} == {"fe80::1"}

    async def test_a_second_address_changes_nothing(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        more = attrs.evolve(GUEST, addresses=[*GUEST.addresses, InterfaceAddress("10.72.0.2", 24)])
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            count = len(host.sent())
            host.platform.watch.set(more)
            await trio.sleep(SETTLED)
            assert len(host.sent()) == count

    async def test_flapping_is_damped(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        down = attrs.evolve(GUEST, flags={"up", "broadcast", "multicast"})
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            count = len(host.sent())
            for _ in range(1000):
                host.platform.watch.set(down)
                await trio.sleep(0.05)
                host.platform.watch.set(GUEST)
                await trio.sleep(0.05)
            await trio.sleep(SETTLED)
            # 100 s of it: told at the latest every 3 s, and half of those looks find it up as before.  Each time that
            # is 3 messages at 3 places: thrice alive on this link, update twice and alive once on the other.
            said = len(host.sent()) - count
            assert said < 34 / 2 * 3 * 3 * (3 + 2 + 1)

    async def test_many_interfaces_that_come_together_are_one_change(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        links = [
            attrs.evolve(
                GUEST, index=10 + number, name=f"link{number}", addresses=[InterfaceAddress(f"10.80.{number}.1", 24)]
            )
            for number in range(50)
        ]
        async with serving(SINGLE, state=tmp_path, interfaces=(LOOPBACK, LAN)) as host:
            await trio.sleep(SETTLED)
            host.platform.watch.set(*links)
            await trio.sleep(SETTLED)
            update = host.announced("ssdp:update")
        assert {each["nextbootid.upnp.org"] for each in update} == {"1"}
        assert len(update) == 3 * 3 * 2

    async def test_no_interface_at_the_start_and_one_later(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with serving(SINGLE, state=tmp_path, interfaces=()) as host:
            await trio.sleep(SETTLED)
            assert host.sent() == []
            host.platform.watch.set(LAN)
            await trio.sleep(SETTLED)
            alive = host.sent()
        assert {each.kind for each in alive} == {"ssdp:alive"}
        assert places(alive) == {place for place in PLACES if place[1] == LAN.index}

    async def test_another_name_changes_nothing(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
            count = len(host.sent())
            host.platform.watch.set(attrs.evolve(GUEST, name="visitors"))
            await trio.sleep(SETTLED)
            assert len(host.sent()) == count
        assert {each.interface for each in host.announced("ssdp:byebye")} == {LAN.index, GUEST.index}

    async def test_a_name_that_takes_it_out_of_the_instance_and_back(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with serving(SINGLE, state=tmp_path, max_age=600, keys={"interfaces": ["lan", "guest*"]}) as host:
            await trio.sleep(SETTLED)
            left = trio.current_time() - host.started
            host.platform.watch.set(attrs.evolve(GUEST, name="private"))
            await trio.sleep(600)
            back = trio.current_time() - host.started
            host.platform.watch.set(GUEST)
            await trio.sleep(SETTLED)
            later = host.sent(lambda each: each.time > left)
        assert {each.interface for each in later if each.time < back} == {LAN.index}
        alive = [each for each in later if each.time > back and each.kind == "ssdp:alive"]
        assert places(alive) == set(PLACES)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happened_what_is_there_is_known_and_leaves_politely(
    autojump_clock: MockClock, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Links come, go, are renumbered and lose their cable at random; then the state is checked."""
    rng = Random(seed)  # noqa: S311 - the same each time
    addresses = [
        *(InterfaceAddress(f"10.{80 + number}.0.1", 24) for number in range(3)),
        *(InterfaceAddress(f"fd8{number}::1", 64) for number in range(3)),
        InterfaceAddress("fe80::1", 64),
    ]
    links: dict[int, Interface] = {}
    async with serving(SINGLE, state=tmp_path, interfaces=(LOOPBACK,)) as host:
        await trio.sleep(SETTLED)
        for _ in range(40):
            index = rng.randrange(10, 14)
            if index in links and rng.random() < 0.3:
                del links[index]
                host.platform.watch.remove(index)
            else:
                flags = {"up", "multicast", *(["running"] if rng.random() < 0.8 else [])}
                own = rng.sample(addresses, rng.randrange(len(addresses)))
                links[index] = Interface(index, f"link{index}", flags, 1500, own)
                host.platform.watch.set(links[index])
            await trio.sleep(rng.choice([0.05, 0.4, 2, 5]))
        await trio.sleep(SETTLED)
        stopped = trio.current_time() - host.started
        boot = host.handler.writer.boot_id if host.handler.writer else None
    there = {key: address for link in links.values() for key, address in places_of(link).items()}
    latest = {
        (each.interface, ip_address(each.to)): each
        for each in host.sent(lambda each: each.kind in {"ssdp:alive", "ssdp:update"})
    }
    for key, address in there.items():
        assert f"//{url_host(address)}:" in latest[key]["location"]
        assert latest[key].message.headers.get("nextbootid.upnp.org", latest[key]["bootid.upnp.org"]) == str(boot)
    goodbyes = Counter(
        (each.interface, ip_address(each.to), each["usn"])
        for each in host.announced("ssdp:byebye")
        if each.time >= stopped
    )
    assert goodbyes == {(*key, match.usn): 2 for key in there for match in host.handler.index.all}
    assert caplog.text == ""
