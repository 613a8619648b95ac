"""RFC 6762 section 10.2: of a unique set all is told or nothing, since the flush bit says that there is no more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio
from responder_plugins.mdns.link import Link
from responder_plugins.mdns.message import packed
from responder_plugins.mdns.options import Offer
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import RRset, read
from trio.testing import MockClock

from responder import Interface, InterfaceAddress

from .support import (
    FLUSH,
    PAGE_NAME,
    V4,
    V6,
    World,
    mdns,
    message,
    own,
    query,
    question,
    record,
    response,
    serving,
    steady,
)
from .test_answering import LAN, peer

FIRST, SECOND = own(1, 6)


def told(world: World, since: float) -> list[set[str]]:
    """The IPv6 addresses of each message that tells some."""
    return [set(each.addresses(dns.AAAA)) for each in world.heard(since=since) if each.addresses(dns.AAAA)]


@pytest.mark.parametrize("name", ["lab.local", PAGE_NAME])
async def test_who_knows_one_address_is_told_all(name: str, autojump_clock: MockClock, tmp_path: Path) -> None:
    """As answers, and as additional records of an SRV."""
    async with serving(state=tmp_path) as world:
        rdtype = dns.AAAA if name == "lab.local" else dns.SRV
        for known in ([FIRST], [SECOND]):
            await trio.sleep(2)
            began = world.now
            records = [record("lab.local", dns.AAAA, each) for each in known]
            await world.ask(query(name, rdtype, known=records))
            assert told(world, began) == [{FIRST, SECOND}]
        await trio.sleep(2)
        began = world.now
        await world.ask(query(name, rdtype, known=[record("lab.local", dns.AAAA, each) for each in (FIRST, SECOND)]))
        assert told(world, began) == []


async def test_what_another_told_of_a_set_does_not_keep_the_rest_from_being_told(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        began = world.now
        await world.say(message(question("lab.local", dns.AAAA), question("nobody.local", dns.A)))  # so that it waits
        await world.say(response(record("lab.local", dns.AAAA, FIRST, flush=True)))
        await trio.sleep(1)
        assert told(world, began) == [{FIRST, SECOND}]


async def test_a_goodbye_for_one_address_is_corrected_with_all(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 6.6."""
    async with serving(state=tmp_path) as world:
        began = world.now
        await world.say(response(record("lab.local", dns.AAAA, FIRST, ttl=0, flush=True)))
        await trio.sleep(1)
        assert told(world, began) == [{FIRST, SECOND}]


@pytest.mark.parametrize("to", [V4, V6])
async def test_a_new_address_is_told_with_those_that_were_told_a_moment_ago(
    to: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        world.interfaces[1].add("fd71::2/64")
        began = world.now
        while "fd71::2" not in str(told(world, began)):
            await world.ask(query("lab.local", dns.AAAA), to=to, within=0.05)
        await trio.sleep(3)
        assert {frozenset(each) for each in told(world, began)} <= {
            frozenset({FIRST, SECOND}),
            frozenset({FIRST, SECOND, "fd71::2"}),
        }


def test_a_set_that_does_not_fit_is_not_added_in_part() -> None:
    addresses = [RRset(dns.to_name([b"lab", b"local"]), dns.A, 120, (bytes([10, 0, 0, n]),), 0x8001) for n in range(40)]
    shared = RRset(dns.to_name([b"_x", b"_tcp", b"local"]), dns.PTR, 4500, (dns.to_name([b"y"]),))
    (whole,) = packed([shared], addresses, 1472)
    assert len(read(whole).additionals) == 40
    (cut,) = packed([shared], addresses, 512)
    assert read(cut).additionals == []


def test_a_burst_has_all_of_a_set_that_is_larger_than_a_message() -> None:
    addresses = tuple(InterfaceAddress(f"10.71.1.{number}", 16) for number in range(1, 201))
    interface = Interface(2, "lan", LAN.flags, 1500, addresses)
    link = Link(interface, steady(), Counter())
    link.offer(Offer.of("lab", mdns().offered), interface, 0.0)
    while link.due() < 100:
        list(link.advance(link.due()))
    sends = link.receive(read(query("lab.local", dns.A)), peer(9), 100.0, direct=False)
    assert len(sends) > 1
    records = [each for send in sends for each in read(send.payload).answers]
    assert len({each.rdata for each in records if each.rdtype == dns.A}) == 200
    assert all(each.rdclass & FLUSH for each in records)
