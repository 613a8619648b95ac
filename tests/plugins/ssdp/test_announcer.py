"""alive, its refreshing and byebye: what is sent where and when, on the fake clock."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio
from responder_plugins.ssdp import Ssdp
from responder_plugins.ssdp.announcer import FIRST_WAIT, places_of
from trio.testing import MockClock

from responder import Interface, InterfaceAddress, SendError, SendRefused, SourceUnavailable, Unreachable
from responder.config.instance import Instance, Prepared
from tests.fakes import GUEST, LAN, LOOPBACK

from .support import LAMP, PLACES, ROOT_UUID, SETTLED, SINGLE, handler_of, places, serving


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
