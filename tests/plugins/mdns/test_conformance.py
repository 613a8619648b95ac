"""The scenarios of Apple's Bonjour Conformance Test 1.5.1, from outside, on a fake network and a fake clock.

Each names the section of RFC 6762 that decides it.
"""

from __future__ import annotations

import struct
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
    FLUSH,
    PAGE,
    PAGE_NAME,
    QU,
    V4,
    V6,
    Heard,
    World,
    mdns,
    message,
    own,
    query,
    question,
    record,
    response,
    serving,
    to_text,
)

OWN = [*own(1, 4), *own(1, 6)]

OTHER = "10.71.0.9"
"""The client's address, which speaks for another host of the same name."""


def srv(target: str, port: int = 8080) -> bytes:
    return struct.pack("!HHH", 0, 0, port) + record("x", dns.PTR, target).rdata


def probes(world: World, number: int = 1, *, name: str = "") -> list[Heard]:
    """The probes by IPv4, for that name or any."""
    return [
        each
        for each in world.heard(number, to=V4)
        if each.is_probe and (not name or name in {to_text(q.name) for q in each.message.questions})
    ]


def announced(world: World, name: str, number: int = 1) -> list[Heard]:
    """The multicast responses that hold a record of that name."""
    return [
        each
        for each in world.heard(number, to=V4)
        if each.is_response and not each.is_goodbye and any(answer[0] == name for answer in each.answers)
    ]


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


# Section 6: replies


async def test_a_unique_answer_comes_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        for name, rdtype in (
            ("lab.local", dns.A),
            ("lab.local", dns.AAAA),
            (PAGE_NAME, dns.SRV),
            (PAGE_NAME, dns.TXT),
            ("1.0.71.10.in-addr.arpa", dns.PTR),
        ):
            await trio.sleep(1)
            asked = world.now
            (heard,) = await world.ask(query(name, rdtype), within=0.5)
            assert heard.time - asked < 0.010
            assert (heard.message.ident, heard.message.flags, heard.message.questions) == (0, dns.QR | dns.AA, [])
            assert (heard.to, heard.port, heard.source_port, heard.hop_limit) == (V4, 5353, 5353, 255)
            assert {(name, rdtype)} == {each[:2] for each in heard.answers}


async def test_shared_reply_timing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Between 20 and 125 ms, no quarter of that below 5 % or above 45 % of the replies."""
    quarters: Counter[int] = Counter()
    async with serving(state=tmp_path) as world:
        for _ in range(400):
            await trio.sleep(1)
            asked = world.now
            (heard,) = await world.ask(query("_http._tcp.local", dns.PTR), within=0.5)
            delay = heard.time - asked
            assert 0.020 <= delay <= 0.125
            quarters[int((delay - 0.020) / (0.105 / 4))] += 1
    assert all(0.05 <= quarters[number] / 400 <= 0.45 for number in range(4)), quarters


async def test_a_record_is_multicast_once_a_second(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        began = world.now
        for _ in range(100):
            await world.say(query("lab.local", dns.A))
            await world.say(query("_http._tcp.local", dns.PTR))
            await trio.sleep(0.05)
        await trio.sleep(3)
        for wanted in [("lab.local", dns.A), ("_http._tcp.local", dns.PTR), (PAGE_NAME, dns.SRV)]:
            times = [
                each.time
                for each in world.heard(since=began, to=V4)
                if wanted in {(to_text(r.name), r.rdtype) for r in each.records}
            ]
            assert len(times) >= 4
            assert all(b - a >= 1 - 1e-9 for a, b in pairwise(times)), (wanted, times)


async def test_a_probe_for_our_name_is_answered_at_once_and_sooner_than_once_a_second(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        probe = message(question("lab.local", dns.ANY), authorities=[record("lab.local", dns.A, OTHER)])
        for _ in range(3):
            asked = world.now
            heard = await world.ask(probe, within=0.25)
            assert heard[0].time == asked
            assert "10.71.0.1" in heard[0].addresses()
        asked = world.now
        (first,) = await world.ask(probe, within=0.1)
        (second,) = await world.ask(probe, within=0.3)
        assert (first.time, second.time) == pytest.approx((asked, asked + 0.25))


# Section 6.3: several questions


async def test_several_questions_are_all_answered_in_one_message(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        asked = world.now
        (heard,) = await world.ask(
            message(
                question("lab.local", dns.A),
                question("nobody.local", dns.A),
                question(PAGE_NAME, dns.SRV),
                question("_services._dns-sd._udp.local", dns.PTR),
                question("_http._tcp.local", dns.PTR),
            )
        )
        assert {each[:2] for each in heard.answers} == {
            ("lab.local", dns.A),
            (PAGE_NAME, dns.SRV),
            ("_services._dns-sd._udp.local", dns.PTR),
            ("_http._tcp.local", dns.PTR),
        }
        assert 0.020 <= heard.time - asked <= 0.120


# Section 6.4: aggregation


async def test_reply_aggregation(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What is asked one after the other, before the first is answered, goes out together."""
    services = [PAGE, {"name": "Printer", "type": "_ipp._tcp", "port": 631}]
    together = 0
    for seed in range(20):
        async with serving(mdns(services=services), state=tmp_path, seed=seed) as world:
            asked = world.now
            await world.say(query("_http._tcp.local", dns.PTR))
            heard = await world.ask(query("_ipp._tcp.local", dns.PTR))
            assert all(asked + 0.020 <= each.time <= asked + 0.120 for each in heard)
            together += len(heard) == 1
    assert together == 20


# Sections 7.1, 7.2 and 7.4: what is left out


@pytest.mark.parametrize(("ttl", "answered"), [(4500, False), (2250, False), (2249, True)])
async def test_known_answers(ttl: int, answered: bool, autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        known = [record("_http._tcp.local", dns.PTR, PAGE_NAME.upper().replace("LOCAL", "local"), ttl)]
        assert bool(await world.ask(query("_http._tcp.local", dns.PTR, known=known))) == answered


async def test_duplicate_suppression(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 7.4: another host gave our answer, with a TTL that is no shorter."""
    for ttl, suppressed in ((4500, True), (4000, False)):
        async with serving(state=tmp_path) as world:
            await world.say(query("_http._tcp.local", dns.PTR))
            before = len(world.heard())
            await world.say(response(record("_http._tcp.local", dns.PTR, PAGE_NAME, ttl)))
            await trio.sleep(1)
            assert (len(world.heard()) == before) == suppressed


async def test_distributed_duplicate_suppression(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 7.2: the known answers of later packets count too, and TC makes us wait for them."""
    known = [record("_http._tcp.local", dns.PTR, PAGE_NAME, 4500)]
    async with serving(state=tmp_path) as world:
        asked = world.now
        (heard,) = await world.ask(query("_http._tcp.local", dns.PTR, tc=True))
        assert 0.400 <= heard.time - asked <= 0.500
        await world.say(query("_http._tcp.local", dns.PTR, tc=True))
        await trio.sleep(0.3)
        assert await world.ask(message(answers=known)) == []
        # With TC again it takes longer.
        asked = world.now
        await world.say(query("_http._tcp.local", dns.PTR, tc=True))
        await trio.sleep(0.3)
        (heard,) = await world.ask(message(flags=dns.TC))
        assert 0.7 <= heard.time - asked <= 0.8


async def test_known_answers_of_one_host_do_not_keep_another_from_its_answer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    known = [record("_http._tcp.local", dns.PTR, PAGE_NAME, 4500)]
    async with serving(state=tmp_path) as world:
        link = world.links[1]
        await world.say(query("_http._tcp.local", dns.PTR, tc=True))
        link.inject(query("_http._tcp.local", dns.PTR, tc=True), source="10.71.0.8", source_port=5353, to=V4, port=5353)
        assert len(await world.ask(message(answers=known))) == 1


async def test_one_that_goes_on_sending_known_answers_is_answered_in_the_end(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        asked = world.now
        await world.say(query("_http._tcp.local", dns.PTR, tc=True))
        for _ in range(20):
            await trio.sleep(0.3)
            await world.say(message(flags=dns.TC))
        (heard,) = world.heard(since=asked, to=V4)
        assert heard.time - asked == pytest.approx(3.0)


# Sections 5.4, 5.5 and 6.7: by unicast


async def test_unicast_interoperability(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 5.4: by unicast where it was multicast within a quarter of its TTL, else by multicast."""
    async with serving(state=tmp_path) as world:
        (heard,) = await world.ask(query("lab.local", dns.A, qu=True))
        assert (heard.to, heard.port, heard.message.ident) == (OTHER, 5353, 0)
        assert all(each.rdclass & FLUSH for each in heard.message.answers)
        await trio.sleep(30)
        (heard,) = await world.ask(query("lab.local", dns.A, qu=True))
        assert heard.to == V4
        # A shared one takes its time by unicast too.
        asked = world.now
        (heard,) = await world.ask(query("_http._tcp.local", dns.PTR, qu=True))
        assert heard.to == OTHER
        assert 0.020 <= heard.time - asked <= 0.120


async def test_a_query_to_this_host_alone_is_answered_by_unicast(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        await trio.sleep(60)
        (heard,) = await world.ask(query("lab.local", dns.A), to="10.71.0.1")
        assert (heard.to, heard.source) == (OTHER, "10.71.0.1")


async def test_a_query_from_off_the_link_is_ignored(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 5.5."""
    async with serving(state=tmp_path) as world:
        before = len(world.heard())
        world.host.route("default", via=OTHER, interface=world.interfaces[1])
        for port in (5353, 40000):
            world.links[1].inject(
                query("lab.local", dns.A), source="192.0.2.7", source_port=port, to="10.71.0.1", port=5353
            )
        await trio.sleep(1)
        assert len(world.heard()) == before


async def test_legacy_queries(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 6.7: the ID and the question repeated, TTL at most 10, no flush bit."""
    async with serving(state=tmp_path) as world:
        for to in (V4, "10.71.0.1", V6, "fd71::1"):
            asked = message(question("_http._tcp.local", dns.PTR), ident=4711, flags=dns.RD)
            (heard,) = await world.ask(asked, to=to, port=0)
            assert (heard.message.ident, heard.message.flags) == (4711, dns.QR | dns.AA)
            assert heard.message.questions == [question("_http._tcp.local", dns.PTR)]
            assert heard.port not in (0, 5353)
            assert {each.rdclass for each in heard.records} == {dns.IN}
            assert all(each.ttl <= 10 for each in heard.records)
            assert heard.answers[0][0] == "_http._tcp.local"


# Section 12 of RFC 6763 and 6.1: additional records


async def test_required_additionals(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        addresses = {("lab.local", dns.A), ("lab.local", dns.AAAA)}
        instance = {(PAGE_NAME, dns.SRV), (PAGE_NAME, dns.TXT)}
        for name, rdtype, wanted in (
            ("_http._tcp.local", dns.PTR, instance | addresses),
            (PAGE_NAME, dns.SRV, addresses),
            ("lab.local", dns.A, {("lab.local", dns.AAAA)}),
            ("lab.local", dns.AAAA, {("lab.local", dns.A)}),
        ):
            await trio.sleep(2)
            (heard,) = await world.ask(query(name, rdtype))
            assert {each[:2] for each in heard.additionals} == wanted


async def test_what_a_name_has_not_is_denied(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 6.1, with the form of its restricted NSEC: one block, and the name itself."""
    async with serving(state=tmp_path) as world:
        for name, types in (("lab.local", {dns.A, dns.AAAA}), (PAGE_NAME, {dns.TXT, dns.SRV})):
            await trio.sleep(1)
            (heard,) = await world.ask(query(name, dns.HTTPS))
            ((_, rdtype, rdata),) = heard.answers
            assert rdtype == dns.NSEC
            end = dns.name_end(rdata)
            assert to_text(rdata[:end]) == name
            assert rdata[end] == 0
            assert len(rdata) == end + 2 + rdata[end + 1]
            bits = rdata[end + 2 :]
            assert {n for n in range(len(bits) * 8) if bits[n // 8] & 0x80 >> n % 8} == types
        assert await world.ask(query("nobody.local", dns.A)) == []
        assert await world.ask(query("_http._tcp.local", dns.A)) == []  # shared: others may have some


async def test_a_host_without_a_family_says_so_unasked(autojump_clock: MockClock, tmp_path: Path) -> None:
    def only_v4(world: World) -> None:
        world.interfaces[1].remove("fd71::1", "fe80::1")

    async with serving(state=tmp_path, before=only_v4) as world:
        (heard,) = await world.ask(query("lab.local", dns.A))
        assert [each[:2] for each in heard.additionals] == [("lab.local", dns.NSEC)]
        await trio.sleep(1)
        (heard,) = await world.ask(query("lab.local", dns.AAAA))
        assert [each[1] for each in heard.answers] == [dns.NSEC]
        assert heard.addresses() == ["10.71.0.1"]


async def test_no_record_is_there_twice(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        for questions in (
            [question("_http._tcp.local", dns.PTR), question(PAGE_NAME, dns.ANY), question("lab.local", dns.ANY)],
            [question("lab.local", dns.A), question("LAB.local", dns.A), question("lab.local", dns.ANY)],
        ):
            await trio.sleep(2)
            await world.ask(message(*questions))
        for heard in world.heard():
            records = [(to_text(each.name), each.rdtype, each.rdata) for each in heard.records]
            assert len(records) == len(set(records))


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
