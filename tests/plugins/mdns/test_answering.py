"""A channel by itself: what floods of one kind leave of it, and that they cost no answer of another."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import trio
from responder_plugins.mdns.answering import MAX_ASKERS, MAX_WAITING, Channel
from responder_plugins.mdns.link import Link
from responder_plugins.mdns.options import Offer
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import read
from trio.testing import MockClock

from responder import Interface, InterfaceAddress, Peer

from .support import PAGE_NAME, V4, mdns, message, query, question, record, response, serving

LAN = Interface(
    2,
    "lan",
    frozenset({"up", "running", "multicast", "broadcast"}),
    1500,
    (InterfaceAddress("10.71.0.1", 24), InterfaceAddress("fe80::1", 64)),
)


def link() -> Link:
    """A link on which everything is established, at second 100."""
    made = Link(LAN, Random(1).uniform, Counter())  # noqa: S311 - no secret
    made.offer(Offer.of("lab", mdns().offered), LAN, 0.0)
    now = 0.0
    while made.due() < 100:
        now = made.due()
        assert list(made.advance(now)) is not None
    return made


def channel() -> Channel:
    return link().channels[4]


def peer(number: int, port: int = 5353) -> Peer:
    return Peer(f"10.71.{number >> 8 & 0xFF}.{number & 0xFF}", port)


def test_a_storm_of_queries_that_announce_more_is_bounded_and_costs_no_other_answer() -> None:
    """CVE-2026-48045 and CVE-2026-47184 were such a storm."""
    asked = channel()
    for number in range(10_000):
        assert asked.query(read(query("_http._tcp.local", dns.PTR, tc=True)), peer(number), 100.0, direct=False) == []
    assert len(asked.waiting) == MAX_WAITING
    assert asked.counts["dropped"] == 10_000 - MAX_WAITING
    (unique,) = asked.query(read(query("lab.local", dns.A)), peer(1), 100.1, direct=False)
    assert unique.to is None
    asked.query(read(query("_services._dns-sd._udp.local", dns.PTR)), peer(2), 100.1, direct=False)
    assert 100.12 <= asked.next_due <= 100.22
    assert len(list(asked.advance(asked.next_due))) == 1
    assert asked.next_due >= 100.4
    sends = [send for moment in (100.5, 100.52) for send in asked.advance(moment)]
    assert len(sends) == 1  # one answer for all of them
    assert (asked.next_due, asked.waiting, asked.pending) == (float("inf"), {}, {})


def test_a_storm_of_queries_for_unicast_answers_is_bounded() -> None:
    asked = channel()
    for number in range(10_000):
        asked.query(read(query("_http._tcp.local", dns.PTR, qu=True)), peer(number), 100.0, direct=False)
    assert len(asked.askers) == MAX_ASKERS
    assert len(list(asked.advance(100.2))) == MAX_ASKERS


def test_a_storm_of_known_answers_keeps_nothing() -> None:
    asked = channel()
    known = [record("_http._tcp.local", dns.PTR, f"Other {number}._http._tcp.local", 4500) for number in range(100)]
    data = read(message(answers=known, flags=dns.TC))
    asked.query(read(query("_http._tcp.local", dns.PTR, tc=True)), peer(1), 100.0, direct=False)
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(5_000):
        asked.query(data, peer(number % 200), 100.0, direct=False)
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert len(asked.waiting) == 1


def test_a_storm_of_other_names_and_of_probes_for_ours_keeps_nothing() -> None:
    made = link()
    conflict = read(message(question("lab.local", dns.ANY), authorities=[record("lab.local", dns.A, "10.71.0.9")]))
    gc.collect()
    before = sys.getallocatedblocks()
    sent = 0
    for number in range(5_000):
        now = 100 + number / 1000
        made.receive(read(query(f"host-{number}.local", dns.A)), peer(number), now, direct=False)
        sent += len(made.receive(conflict, peer(number), now, direct=False))
        if made.due() <= now:
            sent += len(list(made.advance(now)))
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert sent <= 5 * 4 + 2  # four a second


def test_a_storm_of_conflicts_keeps_nothing_and_says_little() -> None:
    made = link()
    conflict = read(response(record("lab.local", dns.A, "10.71.0.9", flush=True)))
    gc.collect()
    before = sys.getallocatedblocks()
    sent = []
    for number in range(60_000):
        now = 100 + number / 1000
        made.receive(conflict, peer(number), now, direct=False)
        if made.due() <= now:
            sent += list(made.advance(now))
    gc.collect()
    assert sys.getallocatedblocks() - before < 1_000
    assert len(sent) < 300
    # The service, whose name nobody wants, is found all the while.
    assert made.receive(read(query(PAGE_NAME, dns.TXT)), peer(1), 170.0, direct=False)


async def test_a_storm_on_one_link_costs_no_answer_on_the_other(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        for number in range(1_000):
            world.links[1].inject(
                query("_http._tcp.local", dns.PTR, tc=number % 2 == 0, qu=number % 3 == 0),
                source=f"10.71.0.{number % 250 + 2}",
                source_port=5353,
                to=V4,
                port=5353,
            )
            if number % 100 == 0:
                await trio.sleep(0.01)
        asked = world.now
        (heard,) = await world.ask(query("lab.local", dns.A), 2, within=0.5)
        assert heard.time == asked
        (heard,) = await world.ask(query("_http._tcp.local", dns.PTR), 2, within=0.5)
        assert heard.time - asked <= 0.5 + 0.120


async def test_memory_is_flat_over_a_thousand_link_cycles(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path, numbers=(1,)) as world:

        async def cycles(count: int) -> int:
            for _ in range(count):
                world.interfaces[1].unplug()
                await trio.sleep(1)
                world.interfaces[1].plug()
                await trio.sleep(3)
            await trio.sleep(60)
            world.links[1].carried.clear()
            world.sockets[1].heard()
            gc.collect()
            return sys.getallocatedblocks()

        await cycles(100)
        blocks = [await cycles(300) for _ in range(4)]
        assert min(after - before for before, after in pairwise(blocks)) < 100
