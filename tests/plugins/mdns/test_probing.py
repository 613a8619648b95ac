"""How names are probed for, lost, kept and disputed.

Scenarios of Apple's Bonjour Conformance Test 1.5.1, from outside, on a fake network and a fake clock; each names the
section of RFC 6762 that decides it.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from responder_plugins.mdns.names import reverse
from responder_plugins.shared import dns_message as dns
from trio.testing import MockClock

from .support import (
    OTHER,
    OWN,
    PAGE_NAME,
    QU,
    V4,
    V6,
    World,
    announced,
    mdns,
    message,
    own,
    probes,
    query,
    question,
    record,
    response,
    serving,
    srv,
    to_text,
)

# Section 8.1: probing


async def test_initial_probing(autojump_clock: MockClock, tmp_path: Path) -> None:
    starts = []
    for seed in range(40):
        async with serving(state=tmp_path, seed=seed) as world:
            first, second, third = probes(world)
            starts.append(first.time)
            assert (second.time - first.time, third.time - second.time) == pytest.approx((0.25, 0.25))
            for probe in (first, second, third):
                asked = [(to_text(each.name), each.rdtype, each.rdclass) for each in probe.message.questions]
                names = ["lab.local", PAGE_NAME, *(to_text(reverse(ip_address(each))) for each in OWN)]
                assert asked == [(each, dns.ANY, dns.IN | QU) for each in names]
                proposed = Counter((to_text(each.name), each.rdtype) for each in probe.message.authorities)
                assert proposed == {
                    ("lab.local", dns.A): 1,
                    ("lab.local", dns.AAAA): 2,
                    (PAGE_NAME, dns.SRV): 1,
                    (PAGE_NAME, dns.TXT): 1,
                    **{(each, dns.PTR): 1 for each in names[2:]},
                }
                assert all(each.rdclass == dns.IN for each in probe.message.authorities)  # section 10.2: no flush bit
                assert probe.hop_limit == 255
            assert announced(world, "lab.local")[0].time == pytest.approx(third.time + 0.25)
    assert all(0 <= start <= 0.25 for start in starts)
    assert max(starts) - min(starts) > 0.15


async def test_probes_go_out_by_both_families(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        assert len([each for each in world.heard(to=V6) if each.is_probe]) == 3


@pytest.mark.parametrize("name", ["lab.local", PAGE_NAME])
async def test_a_probe_is_denied(name: str, autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 8.1: whoever has the name keeps it, and the next one is probed for."""
    async with serving(state=tmp_path, wait=0.3) as world:
        taken = (
            record(name, dns.A, OTHER, flush=True)
            if name == "lab.local"
            else record(name, dns.SRV, srv("other.local"), flush=True)
        )
        await world.say(response(taken))
        await trio.sleep(4)
        new = "lab-2.local" if name == "lab.local" else "Lab page (2)._http._tcp.local"
        assert announced(world, name) == []
        said = announced(world, new)
        assert len(said) == 2
        asked = [each for each in probes(world) if new in {to_text(q.name) for q in each.message.questions}]
        assert len(asked) == 3


async def test_a_probe_is_denied_by_a_record_of_another_type(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path, wait=0.3) as world:
        await world.say(response(record("lab.local", dns.TXT, b"\0", flush=True)))
        await trio.sleep(4)
        assert announced(world, "lab.local") == []
        assert announced(world, "lab-2.local")


async def test_a_service_follows_its_host_to_the_new_name(autojump_clock: MockClock, tmp_path: Path) -> None:
    """SRV and A probing: the records that are proposed, and those announced, have the target as it is then."""
    async with serving(state=tmp_path, wait=0.3) as world:
        await world.say(response(record("lab.local", dns.A, OTHER, flush=True)))
        await trio.sleep(4)
        (last,) = {each.rdata for each in announced(world, PAGE_NAME)[-1].records if each.rdtype == dns.SRV}
        assert last == srv("lab-2.local")
        proposed = {each.rdata for each in probes(world)[-1].message.authorities if each.rdtype == dns.SRV}
        assert proposed == {srv("lab-2.local")} or not proposed


async def test_rate_limiting_of_probes(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 8.1: fifteen conflicts within ten seconds, and five seconds pass before each further attempt."""
    async with serving(mdns(services=[]), state=tmp_path, wait=0) as world:
        await _deny_all(world, 60)
        times = [each.time for each in probes(world)]
        first_tries = [each for each in times if each < 12]
        assert len(first_tries) <= 20
        late = [each for each in times if each > 12]
        gaps = [second - first for first, second in pairwise(late)]
        assert late
        assert all(gap >= 4.9 for gap in gaps), gaps


async def _deny_all(world: World, seconds: float) -> None:
    """Another host that has every name that is probed for."""
    seen = 0
    with trio.move_on_after(seconds):
        while True:
            await trio.sleep(0.05)
            new = probes(world)[seen:]
            seen += len(new)
            for probe in new[-1:]:
                taken = [record(to_text(each.name), dns.A, OTHER, flush=True) for each in probe.message.questions]
                await world.say(response(*taken))


# Section 8.2: simultaneous probes


@pytest.mark.parametrize("family", [V4, V6])
@pytest.mark.parametrize(("address", "wins"), [("10.71.0.0", True), ("10.71.0.2", False)])
async def test_simultaneous_probes(
    address: str, wins: bool, family: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The lexicographically later records win; the loser waits a second and tries again."""
    async with serving(mdns(services=[]), state=tmp_path, wait=0.3) as world:
        count = len(probes(world, name="lab.local"))
        theirs = message(question("lab.local", dns.ANY, qu=True), authorities=[record("lab.local", dns.A, address)])
        told = world.now
        await world.say(theirs, to=family)
        await trio.sleep(5)
        times = [each.time for each in probes(world, name="lab.local")]
        if wins:
            assert len(times) == 3
            assert times[-1] < 0.8
        else:
            assert times[count] == pytest.approx(told + 1.0)
            assert len(times[count:]) == 3
        assert announced(world, "lab.local")  # the other was silent then


async def test_simultaneous_probes_compare_all_records(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 8.2.1: the first that differs decides; where one list ends, the longer one is later."""
    async with serving(mdns(services=[]), state=tmp_path, wait=0.3) as world:
        mine = [record("lab.local", dns.A, "10.71.0.1")]
        mine += [record("lab.local", dns.AAAA, each) for each in own(1, 6)]
        count = len(probes(world, name="lab.local"))
        for authorities in (mine[::-1], mine[:1], mine):  # the same in another order, fewer, the same
            await world.say(message(question("lab.local", dns.ANY), authorities=authorities))
        await trio.sleep(0.3)
        times = [each.time for each in probes(world, name="lab.local")]
        assert len(times) > count
        assert all(second - first == pytest.approx(0.25) for first, second in pairwise(times))  # undisturbed
        await world.say(message(question("lab.local", dns.ANY), authorities=[*mine, record("lab.local", 99, b"x")]))
        await trio.sleep(0.9)
        assert len(probes(world, name="lab.local")) == len(times)  # lost


# Section 9: conflicts later


async def test_a_conflict_later_is_probed_for_again_and_lost(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        count, told = len(probes(world)), world.now
        await world.say(response(record("lab.local", dns.A, OTHER, flush=True)))
        assert await world.ask(query("lab.local", dns.A), within=0) == []  # it is nobody's now
        await trio.sleep(0.3)
        again = probes(world)[count:]
        assert again
        assert again[0].time <= told + 0.25
        await world.say(response(record("lab.local", dns.A, OTHER, flush=True)))  # the other defends it
        await trio.sleep(4)
        assert announced(world, "lab-2.local")
        goodbyes = [each for each in world.heard() if each.is_goodbye]
        assert goodbyes == []


async def test_a_conflict_later_that_nobody_defends_is_kept(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        count = len(announced(world, "lab.local"))
        await world.say(response(record("lab.local", dns.A, OTHER, flush=True)))
        await trio.sleep(4)
        assert len(announced(world, "lab.local")) == count + 2
        assert announced(world, "lab-2.local") == []


@pytest.mark.parametrize(
    "records",
    [
        [record("lab.local", dns.A, "10.71.0.1", flush=True)],  # the same
        [record("LAB.local", dns.A, "10.71.0.1", flush=True)],
        [record("lab.local", dns.A, "10.72.0.1", flush=True)],  # this host's on the other link
        [record("lab.local", dns.A, OTHER, ttl=0, flush=True)],  # a goodbye
        [record("lab.local", dns.TXT, b"\0", flush=True)],  # a type that ours has not
        [record("other.local", dns.A, OTHER, flush=True)],
        [record("_http._tcp.local", dns.PTR, f"Other.{PAGE_NAME.partition('.')[2]}", ttl=4500)],  # shared
        [record(PAGE_NAME, dns.SRV, srv("LAB.LOCAL"), flush=True)],
    ],
    ids=str,
)
async def test_what_is_no_conflict(records: list[dns.Record], autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        count = len(probes(world))
        await world.say(response(*records))
        await trio.sleep(3)
        assert len(probes(world)) == count


async def test_a_response_from_another_port_is_no_conflict(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 6: it is silently ignored."""
    async with serving(state=tmp_path) as world:
        count = len(probes(world))
        await world.ask(response(record("lab.local", dns.A, OTHER, flush=True)), port=0, within=3)
        assert len(probes(world)) == count
