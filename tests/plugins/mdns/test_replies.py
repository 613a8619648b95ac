"""Which answers go to whom and when, and which are left out.

Scenarios of Apple's Bonjour Conformance Test 1.5.1, from outside, on a fake network and a fake clock; each names the
section of RFC 6762 that decides it.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from responder_plugins.shared import dns_message as dns
from trio.testing import MockClock

from .support import (
    FLUSH,
    OTHER,
    PAGE,
    PAGE_NAME,
    V4,
    V6,
    World,
    mdns,
    message,
    query,
    question,
    record,
    response,
    serving,
    to_text,
)

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
    """Between 20 and 125 ms, no quarter of that below 5 % or above 45 % of the replies; 15 ms are the machine's."""
    quarters: Counter[int] = Counter()
    async with serving(state=tmp_path) as world:
        for _ in range(400):
            await trio.sleep(1)
            asked = world.now
            (heard,) = await world.ask(query("_http._tcp.local", dns.PTR), within=0.5)
            delay = heard.time - asked
            assert 0.020 <= delay <= 0.110
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
        assert 0.020 <= heard.time - asked <= 0.110


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
            assert all(asked + 0.020 <= each.time <= asked + 0.110 for each in heard)
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
        assert 0.020 <= heard.time - asked <= 0.110


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


async def test_a_message_over_9000_bytes_is_not_read(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 17."""
    async with serving(state=tmp_path) as world:
        asked = query("lab.local", dns.A)
        assert len(await world.ask(asked, within=0.5)) == 1
        await trio.sleep(2)
        assert await world.ask(asked + bytes(9000), within=0.5) == []
