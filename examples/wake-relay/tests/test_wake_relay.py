"""The relay between three links of a fake network: office0, where packets are heard, and lab0 and lab1."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from responder import ConfigErrors, Server
from responder.testing import FakeClient, FakeHost, FakeInterface, FakeNetwork, hostile, keeps_no_state, options
from responder.testing import bench as one_link
from trio.testing import MockClock

from responder_wake_relay import WakeRelay
from responder_wake_relay.handler import REMEMBERED
from responder_wake_relay.wire import Wake, build, parse

MACHINE = bytes.fromhex("02005e005301")
OTHER = bytes.fromhex("02005e005302")
PACKET = build(Wake(MACHINE))


@attrs.frozen
class Bench:
    """The relay's interfaces, and on each link a program that hears port 9, all by the link's name."""

    network: FakeNetwork
    server: Server
    own: dict[str, FakeInterface]
    heard_on: dict[str, FakeClient]

    async def say(self, payload: bytes, link: str = "office0") -> None:
        await self.heard_on[link].send(payload, "255.255.255.255", 9)

    def heard(self, link: str) -> list[tuple[float, str]]:
        """When and to which address packets for MACHINE came."""
        heard = [each for each in self.heard_on[link].heard() if each.source.address != self.address(link)]
        assert all(each.payload == PACKET for each in heard)
        return [(round(each.time, 3), str(each.destination)) for each in heard]

    def address(self, link: str) -> Any:
        return self.heard_on[link].host.snapshots()[1].addresses[0].address


@asynccontextmanager
async def bench(**given: Any) -> AsyncGenerator[Bench, None]:
    network = FakeNetwork()
    relay = network.host("relay")
    own: dict[str, FakeInterface] = {}
    heard_on: dict[str, FakeClient] = {}
    for number, name in enumerate(("office0", "lab0", "lab1")):
        link = network.link(name)
        own[name] = relay.attach(link, f"192.0.{number}.1/24", *(["fe80::1/64"] if name != "lab1" else []))
        host: FakeHost = network.host(f"host on {name}")
        interface = host.attach(link, f"192.0.{number}.9/24", "fe80::9/64")
        heard_on[name] = host.client(port=9)
        heard_on[name].join("ff02::1", interface)
    given.setdefault("onto", ("lab*",))
    plugin = WakeRelay(**given)
    async with relay.serve(plugin) as server:
        await trio.testing.wait_all_tasks_blocked()
        yield Bench(network, server, own, heard_on)


async def test_a_packet_is_repeated_on_the_other_links(autojump_clock: MockClock) -> None:
    async with bench() as at:
        await at.say(PACKET)
        await trio.sleep(10)
        assert at.heard("lab0") == [(t, to) for t in (0, 0.1, 0.2) for to in ("255.255.255.255", "ff02::1")]
        assert at.heard("lab1") == [(t, "255.255.255.255") for t in (0, 0.1, 0.2)]
        assert at.heard("office0") == []


async def test_it_is_not_sent_where_it_was_heard(autojump_clock: MockClock) -> None:
    async with bench(onto=("*",)) as at:
        await at.say(PACKET, "lab1")
        await trio.sleep(10)
        assert len(at.heard("lab0")) == len(at.heard("office0")) == 6
        assert at.heard("lab1") == []


async def test_a_machine_is_not_woken_again_within_the_hold_time(autojump_clock: MockClock) -> None:
    async with bench(repeat=1) as at:
        for _ in range(11):
            await at.say(PACKET)
            await trio.sleep(1)
        assert [time for time, _ in at.heard("lab1")] == [0, 5, 10]


async def test_two_relays_between_the_same_links_end_the_loop(autojump_clock: MockClock) -> None:
    async with bench(onto=("*",), repeat=1) as at:
        second = at.network.host("second relay")
        for number, link in enumerate(at.network.links):
            second.attach(link, f"192.0.{number}.2/24", "fe80::2/64")
        async with second.serve(WakeRelay(onto=("*",), repeat=1)):
            await at.say(PACKET)
            await trio.sleep(4)
            assert len(at.heard("lab1")) == 3  # one of the first relay, and one each of what the second heard
            assert [each for link in at.network.links for each in link.carried if each.time > 1] == []


async def test_who_may_be_woken(autojump_clock: MockClock) -> None:
    async with bench(machines=["02-00-5e-00-53-01"], repeat=1) as at:
        for payload in (build(Wake(OTHER)), b"", b"x" * 102, PACKET[:-1]):
            await at.say(payload)
        await trio.sleep(10)
        assert at.heard("lab1") == []
        await at.say(b"some header" + PACKET)
        await trio.sleep(1)
        assert len(at.heard("lab1")) == 1


async def test_a_password_is_asked_for_and_passed_on(autojump_clock: MockClock) -> None:
    password = bytes(range(6))
    async with bench(password="00:01:02:03:04:05", repeat=1) as at:
        for wrong in (b"", bytes(6), password[:4]):
            await at.say(build(Wake(MACHINE, wrong)))
        await at.say(build(Wake(MACHINE, password)))
        await trio.sleep(1)
        (heard,) = at.heard_on["lab1"].heard()
        assert parse(heard.payload) == Wake(MACHINE, password)


async def test_a_link_that_comes_up_wakes_its_machines(autojump_clock: MockClock) -> None:
    async with bench(wake_on_up=["02:00:5e:00:53:01"], repeat=1) as at:
        await trio.sleep(100)
        assert at.heard("lab1") == []
        at.own["lab1"].unplug()
        await trio.sleep(100)
        at.own["lab1"].plug()
        await trio.sleep(100)
        # Links settle for 0.3 s before plugins are told.
        assert at.heard("lab1") == [(200.3, "255.255.255.255")]
        at.own["office0"].unplug()
        await trio.sleep(1)
        at.own["office0"].plug()
        await trio.sleep(100)
        assert at.heard("lab1") == [], "office0 is no link to wake machines on"


async def test_repetitions_make_up_for_a_link_that_loses(autojump_clock: MockClock) -> None:
    async with bench(repeat=20, hold=0.0) as at:
        at.network.links[2].loss = at.network.links[2].duplicate = 0.5
        await at.say(PACKET)
        await trio.sleep(60)
        assert 2 < len(at.heard("lab1")) < 30


async def test_a_link_that_goes_in_the_middle_harms_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as at:
        await at.say(PACKET)
        await trio.sleep(0.05)
        at.own["lab0"].disappear()
        await trio.sleep(10)
        assert len(at.heard("lab1")) == 3
        assert "run crashed" not in caplog.text


async def test_what_is_off_link_is_not_heard() -> None:
    async with one_link(WakeRelay(onto=("eth*",))) as at:
        at.spoof(PACKET, "198.51.100.1")
        await at.collect()
        assert at.outcomes() == {"off-link": 1}


async def test_forged_sources_and_machines_cost_no_memory(autojump_clock: MockClock) -> None:
    requests = [build(Wake(number.to_bytes(6))) for number in range(2 * REMEMBERED)]
    async with one_link(WakeRelay(onto=("nowhere",), repeat=1), on_link=False, rate=0) as at:
        await keeps_no_state(at, *requests)


@given(hostile(PACKET, build(Wake(MACHINE, bytes(6)))))
def test_hostile_bytes_are_parsed_or_refused(payload: bytes) -> None:
    wake = parse(payload)
    assert wake is None or build(wake) in payload


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"machines": ["nobody"], "onto": ["lab0"]},
            "machines: expected a hardware address such as '02:00:5e:00:53:01', got 'nobody'",
        ),
        ({"onto": []}, "onto: "),
        ({"repeat": 0, "onto": ["lab0"]}, "repeat: "),
        ({"hold": "soon", "onto": ["lab0"]}, "hold: expected a duration such as '30s'"),
        ({"machine": [], "onto": ["lab0"]}, "machine: unknown key; did you mean 'machines'?"),
    ],
)
def test_mistakes_are_told_by_their_path(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        options(WakeRelay, **given)
    assert str(caught.value).startswith(message)
