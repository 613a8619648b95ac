"""alive, its refreshing, update and byebye: what is sent where and when, on the fake clock."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from random import Random

import attrs
import pytest
import trio
from responder_plugins.shared.http import url_host
from responder_plugins.ssdp import Ssdp
from responder_plugins.ssdp.announcer import FIRST_WAIT, places_of
from trio.testing import MockClock

from responder import Interface, InterfaceAddress, SendError, SendRefused, SourceUnavailable, Unreachable
from responder.config.instance import Instance, Prepared
from tests.fakes import GUEST, LAN, LOOPBACK

from .support import LAMP, ROOT_UUID, SINGLE, Sent, handler_of, serving

PLACES = {
    ("239.255.255.250", 2): ("10.71.0.1", "10.71.0.1"),
    ("ff02::c", 2): ("fe80::1", "[fe80::1]"),
    ("ff05::c", 2): ("fd71::1", "[fd71::1]"),
    ("239.255.255.250", 3): ("10.72.0.1", "10.72.0.1"),
    ("ff02::c", 3): ("fe80::1", "[fe80::1]"),
    ("ff05::c", 3): ("fd72::1", "[fd72::1]"),
}
"""(group, interface) -> (source, literal in LOCATION); nothing is announced on the loopback interface."""

SETTLED = 5.0
"""Seconds after a change within which all about it is said."""


def places(sent: list[Sent]) -> set[tuple[str, int]]:
    return {(each.to, each.interface) for each in sent}


async def test_alive_at_the_start_is_complete_everywhere(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(LAMP, state=tmp_path) as host:
        await trio.sleep(SETTLED)
        alive = host.announced("ssdp:alive")
        assert host.sent() == alive
    assert places(alive) == set(PLACES)
    for each in alive:
        source, literal = PLACES[each.to, each.interface]
        assert each.source == source
        assert each["location"].startswith(f"http://{literal}:{host.device.port}/{ROOT_UUID}/")
        assert each["host"] == (f"[{each.to.upper()}]:1900" if ":" in each.to else f"{each.to}:1900")
        assert each["cache-control"] == "max-age=1800"
        assert each["bootid.upnp.org"] == "0"
        assert each.hop_limit == 2
        assert each.port == 1900
        assert "UPnP/2.0" in each["server"]
    # Each of the 7 messages thrice at each place, and not in one burst.
    assert set(Counter((each.to, each.interface, each["usn"]) for each in alive).values()) == {3}
    assert len(alive) == 7 * 3 * len(PLACES)
    assert len({each.time for each in alive}) > 50


async def test_alive_is_repeated_well_before_it_expires(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path, max_age=600) as host:
        await trio.sleep(20_000)
        alive = host.announced("ssdp:alive")
    gaps = []
    for group, interface in PLACES:
        times = [each.time for each in alive if (each.to, each.interface) == (group, interface)]
        times = [at for at in times if at > SETTLED]
        assert len(times) > 3 * 60
        sets = [at for before, at in pairwise(times) if at - before > 1]
        gaps += [after - before for before, after in pairwise(sets)]
    assert max(gaps) < 300, "below half of max_age (UDA 2.0 section 1.2.2)"
    assert min(gaps) > 100
    assert len({round(gap, 3) for gap in gaps}) > len(gaps) / 10, "at random"


async def test_byebye_for_every_alive_ever_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(LAMP, state=tmp_path) as host:
        await trio.sleep(SETTLED)
        stopped = trio.current_time()
    alive, byebye = host.announced("ssdp:alive"), host.announced("ssdp:byebye")
    told = {(each.to, each.interface, each["nt"], each["usn"]) for each in alive}
    assert {(each.to, each.interface, each["nt"], each["usn"]) for each in byebye} == told
    assert host.handler.writer is None
    assert all("location" not in each.message.headers for each in byebye)
    assert trio.current_time() - stopped < 2, "within the grace period"


async def test_byebye_even_when_stopped_in_the_middle_of_the_first_alive(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(LAMP, state=tmp_path) as host:
        await trio.sleep(FIRST_WAIT / 5)
    alive, byebye = host.announced("ssdp:alive"), host.announced("ssdp:byebye")
    assert 0 < len(alive) < 7 * len(PLACES)
    assert {(each.to, each.interface, each["usn"]) for each in alive} <= {
        (each.to, each.interface, each["usn"]) for each in byebye
    }


async def test_the_boot_id_is_kept_over_restarts(autojump_clock: MockClock, tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        async with serving(SINGLE, state=tmp_path) as host:
            await trio.sleep(SETTLED)
        seen.append({each["bootid.upnp.org"] for each in host.sent()})
    assert seen == [{"0"}, {"1"}, {"2"}]


async def test_a_reload_that_changes_it_says_byebye_and_alive_anew(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path) as host:
        await trio.sleep(SETTLED)
        replaced = trio.current_time() - host.started
        handler = handler_of(LAMP)
        await host.server.replace([Prepared(Instance.of(Ssdp(devices=(LAMP,)), "ssdp"), handler)])
        await trio.sleep(SETTLED)
        later = [each for each in host.sent() if each.time > replaced]
    byebye = [each for each in later if each.kind == "ssdp:byebye"]
    alive = [each for each in later if each.kind == "ssdp:alive"]
    assert {(each["usn"], each["bootid.upnp.org"]) for each in byebye} == {
        (each["usn"], "0") for each in host.announced("ssdp:alive") if each.time < replaced
    }
    assert {each["bootid.upnp.org"] for each in alive} == {"1"}
    assert len({each["usn"] for each in alive}) == 7
    assert max(each.time for each in byebye) <= min(each.time for each in alive)
    (before,) = {each["configid.upnp.org"] for each in byebye}
    (after,) = {each["configid.upnp.org"] for each in alive}
    assert before != after


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


ONE_PLACE = (LOOPBACK, attrs.evolve(GUEST, addresses=GUEST.addresses[:1]))


async def test_a_link_that_refuses_is_named_once(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(LAMP, state=tmp_path, interfaces=ONE_PLACE) as host:
        host.discovery.refusals += [SendRefused(1, "EPERM") for _ in range(10)]
        await trio.sleep(SETTLED)
        assert host.announced("ssdp:alive")
    (warning,) = caplog.messages
    assert warning == "can't announce plugin=ssdp group=239.255.255.250 interface=guest0 error=EPERM"


async def test_a_link_that_refuses_at_times_is_named_once_a_minute(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(LAMP, state=tmp_path, interfaces=ONE_PLACE, max_age=60) as host:
        for _ in range(50):
            host.discovery.refusals.append(SendRefused(1, "EPERM"))
            await trio.sleep(20)
    warnings = [message for message in caplog.messages if "can't announce" in message]
    assert 1000 / 60 / 3 < len(warnings) <= 1000 / 60 + 1
    assert "held_back=" in warnings[-1]


@pytest.mark.parametrize(
    "error", [SendRefused(1, "EPERM"), SourceUnavailable(99, "EADDRNOTAVAIL"), Unreachable(101, "")]
)
async def test_a_link_that_refuses_everything_for_ever_ends_nothing(
    autojump_clock: MockClock, tmp_path: Path, error: SendError, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(LAMP, state=tmp_path, max_age=60) as host:
        host.discovery.refusals += [error] * 100_000
        await trio.sleep(600)
        host.platform.watch.set(attrs.evolve(GUEST, addresses=[InterfaceAddress("10.72.0.5", 24)]))
        await trio.sleep(SETTLED)
        assert host.handler.writer is not None
        assert host.handler.writer.boot_id == 1
        host.discovery.refusals.clear()
        await trio.sleep(60)
        assert places(host.announced("ssdp:alive")) == {*PLACES} - {("ff02::c", 3), ("ff05::c", 3)}
    assert "crashed" not in caplog.text


@pytest.mark.parametrize(
    ("interface", "groups"),
    [
        (LAN, ["239.255.255.250", "ff02::c", "ff05::c"]),
        (LOOPBACK, []),
        (attrs.evolve(LAN, flags={"up", "running", "point-to-point"}), []),
        (attrs.evolve(LAN, flags={"up", "multicast"}), []),
        (attrs.evolve(LAN, addresses=()), []),
        (attrs.evolve(LAN, addresses=[InterfaceAddress("fe80::1", 64)]), ["ff02::c"]),
        (attrs.evolve(LAN, addresses=[InterfaceAddress("10.71.0.1", 24)]), ["239.255.255.250"]),
    ],
)
def test_where_a_device_speaks(interface: Interface, groups: list[str]) -> None:
    assert [group for _, group in places_of(interface)] == [ip_address(group) for group in groups]


async def test_only_the_interfaces_of_the_instance(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path, keys={"interfaces": ["guest*"]}) as host:
        await trio.sleep(SETTLED)
    assert {each.interface for each in host.sent()} == {GUEST.index}
