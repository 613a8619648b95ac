"""A host on the link that goes on disputing names: how often ours change, what that costs, and what is not believed.

On a link by itself, with a clock of its own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from responder_plugins.mdns import link as link_module
from responder_plugins.mdns.link import Link
from responder_plugins.mdns.names import local, reverse
from responder_plugins.mdns.options import Offer
from responder_plugins.mdns.probing import FORGOTTEN, LEFT_FOR, LONGEST_WAIT, MANY, SHORTEST_WAIT, Conflicts
from responder_plugins.mdns.records import HOST, LAST_NUMBER, Claim
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import Message, read
from trio.testing import MockClock

from responder import Peer

from .support import OTHER, V4, V6, build, mdns, message, query, question, record, response, serving, steady, to_text
from .test_answering import LAN

RIVAL = Peer(OTHER, 5353)
HOUR = 3600.0


def made(services: int = 0) -> Link:
    offered = [{"name": f"Page {number}", "type": "_http._tcp", "port": 80} for number in range(services)]
    link = Link(LAN, steady(), Counter())
    link.offer(Offer.of("lab", mdns(services=offered).offered), LAN, 0.0)
    return link


def established(link: Link) -> float:
    """When all is established."""
    now = 0.0
    while not all(claim.is_established for claim in link.claims.values()):
        now = link.due()
        list(link.advance(now))
    return now


def denied(names: list[bytes]) -> Message:
    """Another host has those names."""
    return read(message(answers=[record(to_text(each), dns.TXT, b"\0") for each in names], flags=dns.QR | dns.AA))


def run(link: Link, began: float, seconds: float, rival: Callable[[list[bytes]], Message | None]) -> list[float]:
    """The link's probes, by IPv4, while a rival hears all that it asks and says, and may answer each."""
    probes = []
    while link.due() < began + seconds:
        now = link.due()
        for send in list(link.advance(now)):
            if send.version == 4:
                heard = read(send.payload)
                asked = [each.name for each in heard.questions] or [each.name for each in heard.answers]
                if heard.questions:
                    probes.append(now)
                answer = rival(asked)
                if answer is not None:
                    link.receive(answer, RIVAL, now, direct=False)
    return probes


# What a conflict costs


def test_a_packet_that_disputes_all_names_makes_the_zone_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    link = made(services=60)
    now = established(link)
    times = 0
    entries_of = link_module.entries_of

    def counted(*arguments: object) -> object:
        nonlocal times
        times += 1
        return entries_of(*arguments)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(link_module, "entries_of", counted)
    taken = [record(f"Page {number}._http._tcp.local", dns.TXT, b"\1x", flush=True) for number in range(60)]
    link.receive(read(response(*taken)), RIVAL, now, direct=False)
    assert link.counts["conflicts"] == 60
    assert times == 1


# How often names change


def test_what_comes_before_a_name_is_asked_for_changes_nothing() -> None:
    """Section 8.1: it is silently ignored."""
    link = made()
    for version, number in ((dns.TXT, 1), (dns.A, 2)):
        link.receive(
            read(response(record("lab.local", version, b"\0" * 4, flush=True))), RIVAL, number / 1000, direct=False
        )
    assert (link.claims[HOST].number, link.counts["conflicts"]) == (1, 0)


def test_a_host_that_denies_every_name_for_an_hour() -> None:
    """It knows all names that could be next, and says that it has them before each is even asked for."""
    link = made(services=3)
    every = [local(*claim.rest) for claim in link.claims.values() if claim.rest]
    flood = denied(every)
    fights = 0

    def rival(asked: list[bytes]) -> Message:
        nonlocal fights
        fights += 1
        link.receive(flood, RIVAL, link.due(), direct=False)
        now = denied([*asked, *(claim.name for claim in link.claims.values())])
        link.receive(now, RIVAL, link.due(), direct=False)
        return now

    probes = run(link, 0.0, HOUR, rival)
    late = [each for each in probes if each > 60]
    # Each name is tried once a minute.
    assert link.counts["renamed"] <= 4 * (10 + HOUR / LONGEST_WAIT)
    assert len(late) <= 4 * HOUR / LONGEST_WAIT
    assert late
    assert all(1 <= claim.number <= LAST_NUMBER for claim in link.claims.values())
    # It stops: the names are there within a minute.
    run(link, HOUR, LONGEST_WAIT + 2, lambda _: None)
    assert all(claim.is_established for claim in link.claims.values() if not claim.fixed)


def test_a_host_that_lets_each_name_be_established_first() -> None:
    """It disputes what is announced, and then denies the probes: fewer than fifteen conflicts in ten seconds."""
    link = made()
    renamed: list[int] = []
    link.renamed = lambda _, claim: renamed.append(claim.number)

    disputed = b""

    def rival(asked: list[bytes]) -> Message | None:
        nonlocal disputed
        host = link.claims[HOST]
        if host.name not in asked or not (host.is_established or host.name == disputed):
            return None
        disputed = host.name
        return read(response(record(to_text(host.name), dns.A, b"\x0a\x47\0\x09", flush=True)))

    run(link, 0.0, HOUR, rival)
    assert renamed
    assert len(renamed) <= 15 + HOUR / LONGEST_WAIT


def test_a_host_that_wins_every_simultaneous_probe_for_an_hour() -> None:
    link = made()
    later = record("lab.local", 255, b"\xff")

    def rival(asked: list[bytes]) -> Message | None:
        return read(message(*(question(to_text(each), dns.ANY) for each in asked), authorities=[later]))

    probes = [each for each in run(link, 0.0, HOUR, rival) if each > 60]
    assert len(probes) <= HOUR / LONGEST_WAIT + 1
    assert all(second - first >= SHORTEST_WAIT for first, second in pairwise(probes))


def test_fifteen_conflicts_within_ten_seconds_make_it_wait_five() -> None:
    """Section 8.1, however they are spread."""
    chance = random.Random(1)  # noqa: S311 - no secret
    for _ in range(1_000):
        conflicts = Conflicts()
        for moment in sorted(chance.uniform(100, 109.9) for _ in range(MANY)):
            conflicts.note(1, moment)
        assert conflicts.wait >= SHORTEST_WAIT


def test_two_hosts_that_offer_the_same_are_no_attack() -> None:
    conflicts = Conflicts()
    conflicts.note(200, 1.0)
    assert conflicts.wait == SHORTEST_WAIT
    conflicts = Conflicts()
    for second in range(MANY - 1):
        conflicts.note(1, float(second))
    assert conflicts.wait == 0


def test_the_wait_grows_and_a_calm_ends_it() -> None:
    conflicts, now, waits = Conflicts(), 0.0, []
    for _ in range(MANY + 10):
        conflicts.note(1, now)
        waits.append(conflicts.wait)
        now += conflicts.wait
    assert waits[: MANY - 1] == [0] * (MANY - 1)
    assert waits[MANY - 1 :] == sorted(waits[MANY - 1 :])
    assert set(waits) == {0, SHORTEST_WAIT, 2 * SHORTEST_WAIT, 4 * SHORTEST_WAIT, 8 * SHORTEST_WAIT, LONGEST_WAIT}
    conflicts.note(1, now + 6 * FORGOTTEN)
    assert conflicts.wait == 0


def test_names_are_tried_in_order_and_then_at_random() -> None:
    claim = Claim("page", "Page", ("_http", "_tcp"))
    numbers = []
    for _ in range(200):
        claim.take_next({local("Page (3)", "_http", "_tcp").lower()}, steady(len(numbers)))
        numbers.append(claim.number)
    assert numbers[:9] == [2, 4, 5, 6, 7, 8, 9, 10, numbers[8]]
    assert len(set(numbers[9:])) > 100
    assert all(1 <= number <= LAST_NUMBER and number != 3 for number in numbers)


def test_a_reverse_name_that_another_has_is_tried_again_later() -> None:
    link = made()
    key = f"reverse {LAN.addresses[0].address}"
    theirs = read(response(record(to_text(reverse(LAN.addresses[0].address)), dns.PTR, "other.local", flush=True)))
    link.advance(0.3)
    now = link.due()
    list(link.advance(now))
    link.receive(theirs, RIVAL, now, direct=False)
    assert link.claims[key].is_given_up
    run(link, now, LEFT_FOR - 1, lambda _: None)
    assert not link.claims[key].is_established
    run(link, now, LEFT_FOR + 2, lambda _: None)
    assert link.claims[key].is_established


# Who is believed


@pytest.mark.parametrize("section", ["answers", "authorities", "additionals"])
def test_a_conflict_is_one_in_any_section(section: str) -> None:
    """Section 9."""
    link = made()
    now = established(link)
    sections: dict[str, list[dns.Record]] = {"answers": [], "authorities": [], "additionals": []}
    sections[section].append(record("lab.local", dns.A, OTHER, flush=True))
    link.receive(Message(0, dns.QR | dns.AA, [], **sections), RIVAL, now, direct=False)
    assert link.counts["conflicts"] == 1


def test_a_response_to_this_host_alone_counts_only_while_it_asks() -> None:
    """Section 6: a unicast response that answers no recent question is silently ignored."""
    link = made()
    now = established(link)
    conflict = read(response(record("lab.local", dns.A, OTHER, flush=True)))
    link.receive(conflict, RIVAL, now, direct=True)
    assert link.counts["conflicts"] == 0
    link.receive(conflict, RIVAL, now, direct=False)
    while link.claims[HOST].probes == 0:
        now = link.due()
        list(link.advance(now))
    link.receive(conflict, RIVAL, now, direct=True)
    assert link.claims[HOST].number == 2


@pytest.mark.parametrize(("told", "times"), [("10.71.0.1", 20), ("10.71.0.66", 1)])
async def test_a_forged_packet_from_an_address_of_this_host_hides_nothing(
    told: str, times: int, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By IPv6, which Linux lets in: as if another program on this host told one address alone, and a reverse name.

    Another host's address is a conflict, as it is from anybody.
    """
    async with serving(state=tmp_path) as world:
        before = await world.ask(query("lab.local", dns.ANY), to=V6)
        forged = response(
            record("lab.local", dns.A, told, flush=True),
            record("lab.local", dns.AAAA, "fd71::1", flush=True),
            record("1.0.71.10.in-addr.arpa", dns.PTR, "forged.local", flush=True),
        )
        for number in range(times):
            world.links[1].inject(forged, source="fd71::1", source_port=5353, to=V6, port=5353, hop_limit=255)
            await trio.sleep(0.5 + number / 100)
        await trio.sleep(120)
        after = await world.ask(query("lab.local", dns.ANY), to=V6)
        assert after[0].answers == before[0].answers
        assert {*after[0].addresses(dns.AAAA)} == {"fd71::1", "fe80::1"}


@pytest.mark.parametrize("wait", [0.3, 4.0])
async def test_what_a_program_on_this_host_says_by_ipv6_first_is_not_contradicted(
    wait: float, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Avahi probes by IPv6 and by IPv4: an answer to the first takes its name from it, before it is heard by IPv4."""
    reverse = "1.0.71.10.in-addr.arpa"
    theirs = [record("lab.local", dns.AAAA, "fd71::1"), record(reverse, dns.PTR, "beside.local")]
    async with serving(state=tmp_path, wait=wait) as world:
        began = world.now
        probe = message(question("lab.local", dns.ANY), question(reverse, dns.ANY), authorities=theirs)
        for payload in (probe, response(*theirs)):
            world.links[1].inject(payload, source="fd71::1", source_port=5353, to=V6, port=5353, hop_limit=255)
            await trio.sleep(0.01)
        heard = [each for each in world.heard(since=began, to=V6) if each.is_response and each.time < began + 0.2]
        assert [each for each in heard if each.source != "fd71::1"] == []
        await trio.sleep(5)
        assert len(await world.ask(query("lab.local", dns.A))) == 1


async def test_on_a_link_without_ipv4_only_this_host_s_addresses_are_believed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    world = build()
    world.interfaces[1].remove("10.71.0.1")
    async with world.host.serve(mdns(), name="mdns", state=tmp_path):
        await trio.sleep(4)
        for address in ("fd71::66", "fd71::1"):
            forged = response(record("lab.local", dns.AAAA, address, flush=True))
            world.links[1].inject(forged, source="fe80::1", source_port=5353, to=V6, port=5353, hop_limit=255)
            await trio.sleep(4)
            (heard,) = await world.ask(query("lab.local", dns.AAAA), to=V6)
            expected = ["fd71::1", "fe80::1"] if address == "fd71::66" else ["fd71::1"]
            assert sorted(heard.addresses(dns.AAAA)) == expected
    assert V4 not in {each.to for each in world.heard(1)}
