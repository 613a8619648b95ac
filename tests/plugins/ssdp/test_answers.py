"""Searches and their answers: what they say, when they leave, and by which address; on the fake clock."""

from __future__ import annotations

import itertools
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import trio
from responder_plugins.shared.admission import MAX_PENDING, MIN_WINDOW
from responder_plugins.ssdp.message import MAX_MX
from trio.testing import MockClock

from responder import PASS, PeerError, Via
from responder.dispatch import outcomes
from tests.fakes import FakeReceived, flow

from .support import BASIC, GROUP, LAMP, ROOT_UUID, SINGLE, handler_of, multicast, request_for, search, serving
from .test_message import HOSTILE

OWN_LOCATION = attrs.evolve(SINGLE, location="http://{address}:8080/device.xml")
CALM = 5.0
"""Seconds after which the first announcements are done."""


async def test_an_answer_says_what_section_1_3_3_wants(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path, keys={"ports": {"device": 49200}}) as host:
        await trio.sleep(CALM)
        host.discovery.deliver(multicast(search(f"{BASIC}:1", mx=1)))
        await trio.sleep(CALM)
        (answer,) = host.answers()
    assert answer.message.start == "HTTP/1.1 200 OK"
    assert answer["cache-control"] == "max-age=1800"
    assert answer["date"].endswith(" GMT")
    assert answer["ext"] == ""
    assert answer["location"] == f"http://10.71.0.1:49200/{ROOT_UUID}/device.xml"
    assert "UPnP/2.0" in answer["server"]
    assert (answer["st"], answer["usn"]) == (f"{BASIC}:1", f"uuid:{ROOT_UUID}::{BASIC}:1")
    assert answer["bootid.upnp.org"] == "0"
    assert 0 <= int(answer["configid.upnp.org"]) < 2**24
    assert answer["searchport.upnp.org"] == "49200"
    assert (answer.to, answer.port, answer.hop_limit) == ("10.71.0.9", 40000, 2)
    assert "opt" not in answer.message.headers


async def test_ipv6_control_points_of_uda_1_0_get_their_signature(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path) as host:
        await trio.sleep(CALM)
        host.discovery.deliver(multicast(search(mx=1), "fd71::9", "ff02::c"))
        await trio.sleep(CALM)
        answers = host.answers()
        alive = host.announced("ssdp:alive")
    assert len(answers) == 1
    for each in [*answers, *alive]:
        opt = '"http://schemas.upnp.org/upnp/1/0/"; ns=01' if ":" in each.to else None
        assert each.message.headers.get("opt") == opt
        assert each.message.headers.get("01-nls") == (opt and each["bootid.upnp.org"])


async def test_a_port_that_searchport_may_not_name_is_left_out(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path, keys={"ports": {"device": 8080}}) as host:
        await trio.sleep(CALM)
        host.device.deliver(FakeReceived(search(mx=None), flow()))
        await trio.sleep(CALM)
        assert all("searchport.upnp.org" not in each.message.headers for each in host.sent())
        (answer,) = host.answers(socket=host.device)
    # It is heard there nevertheless, and answered from the address that was asked.
    assert (answer.source, answer.port) == ("10.71.0.2", 40000)


WAYS = [
    pytest.param(("10.71.0.9", GROUP, 2, 0), "10.71.0.1", id="v4-link1"),
    pytest.param(("10.72.0.9", GROUP, 3, 0), "10.72.0.1", id="v4-link2"),
    pytest.param(("fe80::9", "ff02::c", 2, 2), "[fe80::1]", id="link-local-link1"),
    pytest.param(("fe80::9", "ff02::c", 3, 3), "[fe80::1]", id="link-local-link2"),
    pytest.param(("fd71::9", "ff02::c", 2, 0), "[fd71::1]", id="v6-link1"),
    pytest.param(("fd72::9", "ff05::c", 3, 0), "[fd72::1]", id="v6-link2"),
    pytest.param(("10.71.0.9", "10.71.0.2", 2, 0), "10.71.0.2", id="unicast-secondary"),
    pytest.param(("fd72::9", "fd72::1", 3, 0), "[fd72::1]", id="unicast-v6"),
]


@pytest.mark.parametrize(("way", "literal"), WAYS)
async def test_location_is_of_the_arrival_interface_and_family(
    autojump_clock: MockClock, tmp_path: Path, way: tuple[str, str, int, int], literal: str
) -> None:
    peer, destination, interface, scope = way
    via = Via.MULTICAST if ip_address(destination).is_multicast else Via.UNICAST
    async with serving(OWN_LOCATION, state=tmp_path) as host:
        await trio.sleep(CALM)
        host.discovery.deliver(FakeReceived(search(mx=1), flow(peer, destination, interface, scope_id=scope, via=via)))
        await trio.sleep(CALM)
        (answer,) = host.answers()
    assert answer["location"] == f"http://{literal}:8080/device.xml"
    assert answer.source == literal.strip("[]")
    assert answer.to == peer
    if via is Via.MULTICAST:
        assert answer.interface == interface


async def test_mx_delays_are_uniform(autojump_clock: MockClock, tmp_path: Path) -> None:
    """1,000 searches with MX 3; each quarter of the range gets 250, give or take 5 standard deviations."""
    delays: list[float] = []
    # No announcement is due within the 5,000 seconds that this takes.
    async with serving(SINGLE, state=tmp_path, max_age=86400) as host:
        await trio.sleep(CALM)
        for number in range(1000):
            asked = trio.current_time() - host.started
            host.discovery.deliver(multicast(search(mx=3), peer=f"10.71.0.{2 + number % 250}"))
            await trio.sleep(MAX_MX)
            delays.append(host.discovery.times[-1] - host.started - asked)
        assert len(host.answers()) == 1000
    assert min(delays) >= 0
    assert max(delays) <= 3
    quarters = [sum(1 for delay in delays if quarter <= delay / 0.75 < quarter + 1) for quarter in range(4)]
    assert all(250 - 70 < count < 250 + 70 for count in quarters), quarters


@pytest.mark.parametrize(("mx", "longest"), [(0, 0.1), (1, 1), (5, 5), (6, 5), (300, 5), (10**30, 5)])
async def test_all_answers_come_within_mx_and_five_seconds(
    autojump_clock: MockClock, tmp_path: Path, mx: int, longest: float
) -> None:
    async with serving(LAMP, state=tmp_path) as host:
        await trio.sleep(CALM)
        asked = trio.current_time() - host.started
        host.discovery.deliver(multicast(search("ssdp:all", mx=mx)))
        await trio.sleep(130)
        answers = host.answers()
    assert len(answers) == 7
    assert len({each["usn"] for each in answers}) == 7
    assert len({each.time for each in answers}) == 7, "spread, not in a burst"
    assert all(asked <= each.time <= asked + longest for each in answers)


async def test_a_unicast_search_is_answered_within_a_second_without_mx(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(LAMP, state=tmp_path) as host:
        await trio.sleep(CALM)
        asked = trio.current_time() - host.started
        host.discovery.deliver(FakeReceived(search("ssdp:all", mx=None), flow()))
        await trio.sleep(CALM)
        answers = host.answers()
    assert len(answers) == 7
    assert all(each.time - asked < 1 and each.source == "10.71.0.2" for each in answers)


async def test_searches_do_not_wait_for_each_other(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path) as host:
        await trio.sleep(CALM)
        host.discovery.deliver(*[multicast(search(mx=5), peer=f"10.71.0.{number}") for number in range(2, 52)])
        host.discovery.deliver(FakeReceived(search(mx=None), flow("10.71.0.99")))
        await trio.sleep(0.5)
        assert "10.71.0.99" in {each.to for each in host.answers()}
        await trio.sleep(CALM)
        assert len(host.answers()) == 51


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_messages_get_silence_and_are_counted(
    autojump_clock: MockClock, tmp_path: Path, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(SINGLE, state=tmp_path) as host:
        await trio.sleep(CALM)
        caplog.clear()
        host.discovery.deliver(multicast(payload))
        await trio.sleep(CALM * 2)
        assert host.answers() == []
        assert host.server.counters.total(outcomes.MALFORMED) == 1
        assert caplog.text == ""
        host.discovery.deliver(multicast(search()))
        await trio.sleep(CALM)
        assert len(host.answers()) == 1


def test_a_multicast_search_without_mx_is_discarded() -> None:
    with pytest.raises(PeerError, match="without MX"):
        handler_of(SINGLE).respond(request_for(search(mx=None)))


@pytest.mark.parametrize(
    "payload", [search("urn:x:device:Other:1"), b"NOTIFY * HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n"]
)
def test_what_is_not_ours_is_left_to_others(payload: bytes) -> None:
    assert handler_of(SINGLE).respond(request_for(payload)) is PASS


def test_nothing_is_answered_before_the_device_is_there() -> None:
    assert handler_of(SINGLE).respond(request_for(search())) is None


async def test_off_link_peers_get_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path) as host:
        await trio.sleep(CALM)
        host.discovery.deliver(multicast(search(), peer="192.0.2.9"))
        host.device.deliver(FakeReceived(search(mx=None), flow("192.0.2.9")))
        await trio.sleep(CALM)
        assert host.answers() == host.answers(socket=host.device) == []
        assert host.server.counters.total(outcomes.OFF_LINK) == 2


async def test_who_says_byebye_answers_no_more(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(LAMP, state=tmp_path) as host:
        await trio.sleep(CALM)
        host.discovery.deliver(multicast(search("ssdp:all", mx=5)))
        await trio.sleep(0.5)
        stopped = trio.current_time() - host.started
    assert trio.current_time() - host.started - stopped < 1, "and does not wait for what it would have answered"
    assert host.announced("ssdp:byebye")
    assert [each for each in host.answers() if each.time > stopped] == []


class TestStorm:
    """10,000 searches a second: memory and answers are bounded, and who was served in calm times is served."""

    SECONDS = 2
    STORMS: ClassVar = {
        "one-host": [("10.71.0.66", GROUP)],
        "one-network": [(f"10.71.0.{host}", GROUP) for host in range(10, 255)],
        "all-different": [(f"fd71::{host:x}", "ff02::c") for host in range(10, 5000)],
        "all-networks": [(f"fd{host >> 8:02x}:{host & 0xFF:x}::66", "ff02::c") for host in range(10, 5000)],
    }
    HONEST = (("10.71.0.9", 2), ("10.72.0.9", 3))
    """On the storm's own link, and on the other."""

    @pytest.mark.parametrize("mx", [0, 1, 300])
    @pytest.mark.parametrize("kind", STORMS)
    async def test_storm(self, autojump_clock: MockClock, tmp_path: Path, kind: str, mx: int) -> None:
        payload = search("ssdp:all", mx=mx)
        sources = itertools.cycle([multicast(payload, peer, group) for peer, group in self.STORMS[kind]])
        async with serving(LAMP, state=tmp_path) as host:
            await trio.sleep(CALM)
            honest = [multicast(search(mx=1), peer, interface=on) for peer, on in self.HONEST]
            host.discovery.deliver(*honest)
            await trio.sleep(CALM)
            most = 0
            for tick in range(self.SECONDS * 100):
                host.discovery.deliver(*itertools.islice(sources, 100))
                if tick == 100:
                    host.discovery.deliver(*honest)
                await trio.sleep(0.01)
                most = max(most, host.handler.admission.places.held)
            await trio.sleep(CALM * 2)
            answers = host.answers()
            assert host.handler.admission.places.held == 0
        assert most <= MAX_PENDING / 2 + len(self.HONEST)
        answered = Counter(each.to for each in answers)
        assert [answered[peer] for peer, _ in self.HONEST] == [2, 2]
        # Half of the places, each for 7 answers spread over MIN_WINDOW at least: 20,000 searches would be 140,000.
        assert len(answers) < self.SECONDS * 7 * (MAX_PENDING / 2) / (MIN_WINDOW * 0.8)

    async def test_what_others_say_costs_nothing(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        """A storm of announcements, answers and searches for others' devices takes no place."""
        said = [
            b"NOTIFY * HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            search("urn:x:device:Other:1"),
            b"\r\n" * 2000,
        ]
        async with serving(LAMP, state=tmp_path) as host:
            await trio.sleep(CALM)
            for number in range(2_000):
                host.discovery.deliver(multicast(said[number % len(said)], f"10.71.0.{2 + number % 250}"))
            await trio.sleep(0.01)
            assert host.handler.admission.places.held == 0
            host.discovery.deliver(multicast(search(mx=1)))
            await trio.sleep(CALM)
            assert len(host.answers()) == 1
