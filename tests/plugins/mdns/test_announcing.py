"""What is said unasked, and how little.

Scenarios of Apple's Bonjour Conformance Test 1.5.1, from outside, on a fake network and a fake clock; each names the
section of RFC 6762 that decides it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from responder_plugins.shared import dns_message as dns
from trio.testing import MockClock

from .support import (
    FLUSH,
    PAGE,
    PAGE_NAME,
    V4,
    V6,
    announced,
    mdns,
    probes,
    query,
    serving,
    srv,
    to_text,
)

# Section 10.2: flush bits


async def test_flush_bits_are_on_unique_records_only(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        await world.ask(query("_http._tcp.local", dns.PTR))
        await world.ask(query("_services._dns-sd._udp.local", dns.PTR))
        await world.ask(query(PAGE_NAME, 99))
        seen = set()
        for heard in world.heard():
            for each in heard.records:
                is_shared = (
                    each.rdtype == dns.PTR and "in-addr" not in to_text(each.name) and "ip6" not in to_text(each.name)
                )
                seen.add((each.rdtype, is_shared))
                assert bool(each.rdclass & FLUSH) != is_shared
        assert {(dns.PTR, True), (dns.PTR, False), (dns.SRV, False), (dns.NSEC, False)} <= seen


# Sections 8.3 and 8.4: announcing, hot-plugging, manual changes


async def test_announcements(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path, wait=60) as world:
        for number in (1, 2):
            first, second = announced(world, "lab.local", number)
            assert second.time - first.time == pytest.approx(1.0)
            for each in (first, second):
                assert {told[:2] for told in each.answers} >= {
                    ("lab.local", dns.A),
                    ("lab.local", dns.AAAA),
                    ("_services._dns-sd._udp.local", dns.PTR),
                    ("_http._tcp.local", dns.PTR),
                    (PAGE_NAME, dns.SRV),
                    (PAGE_NAME, dns.TXT),
                    (f"1.0.7{number}.10.in-addr.arpa", dns.PTR),
                }
                assert {each.to, each.source} == {V4, f"10.7{number}.0.1"}


async def test_hot_plugging(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A link that comes back may be another: everything is probed for again."""
    async with serving(state=tmp_path) as world:
        for _ in range(2):
            count = len(probes(world))
            world.interfaces[1].unplug()
            await trio.sleep(5)
            assert len(probes(world)) == count
            before = world.now
            world.interfaces[1].plug()
            await trio.sleep(6)
            times = [each.time for each in probes(world)[count:]]
            assert len(times) == 3
            assert [each.time for each in announced(world, "lab.local")[-2:]] > [before, before]
        assert len(probes(world, 2)) == 3


async def test_manual_name_change(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A reload with another name: the old one is taken back, the new one probed for, the service kept."""
    async with serving(state=tmp_path) as world:
        assert world.server is not None
        began, count = world.now, len(probes(world))
        await world.server.replace(mdns(host="lab9"))
        await trio.sleep(4)
        gone = [each for each in world.heard(since=began, to=V4) if each.is_goodbye]
        assert {each[0] for one in gone for each in one.answers if each[1] in (dns.A, dns.AAAA)} == {"lab.local"}
        assert PAGE_NAME not in {each[0] for one in gone for each in one.answers}
        asked = {to_text(q.name) for each in probes(world)[count:] for q in each.message.questions}
        assert asked == {"lab9.local"}  # and nothing else
        assert len(announced(world, "lab9.local")) == 2
        (target,) = {each.rdata for each in announced(world, PAGE_NAME)[-1].records if each.rdtype == dns.SRV}
        assert target == srv("lab9.local")


# Section 16: legal characters


@pytest.mark.parametrize(
    "name",
    ['Büro: "Drucker" 100% & <mehr>, 3. Stock\\', "日本語のプリンタ", "x" * 63, "a.b..c", " leading and trailing "],
)
async def test_legal_characters(name: str, autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(mdns(services=[{**PAGE, "name": name}]), state=tmp_path) as world:
        (heard,) = await world.ask(query("_http._tcp.local", dns.PTR))
        target = heard.answers[0][2]
        assert next(iter(dns.labels(target))) == name.encode()
        await trio.sleep(1)
        (heard,) = await world.ask(query(to_text(target), dns.SRV))
        assert heard.answers[0][2] == srv("lab.local")


# Chattiness, and section 11: the hop limit


async def test_chattiness(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Three probes and two announcements by each family, then silence."""
    async with serving(state=tmp_path, wait=3600) as world:
        for number in (1, 2):
            assert len(world.heard(number, to=V4)) == len(world.heard(number, to=V6)) == 5


async def test_everything_has_the_hop_limit_255_and_comes_from_port_5353(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        await world.ask(query("lab.local", dns.A, qu=True))
        await world.ask(query("lab.local", dns.A), port=0)
        await world.ask(query("lab.local", dns.A), to="10.71.0.1")
    assert len(world.heard()) > 10
    assert {(each.hop_limit, each.source_port) for each in world.heard()} == {(255, 5353)}


# Section 10.1: goodbye


async def test_goodbye(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        said = {
            (to_text(r.name), r.rdtype, r.rdata)
            for each in world.heard(to=V4)
            if each.is_response
            for r in each.records
        }
    gone = [each for each in world.heard(to=V4) if each.is_goodbye]
    assert {each for one in gone for each in one.answers} == said
    assert [each for each in world.heard(to=V6) if each.is_goodbye]
