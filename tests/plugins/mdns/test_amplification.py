"""How much larger an answer is than its question, and what a question may cost: the README has these figures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio
from responder_plugins.mdns.link import Link
from responder_plugins.mdns.options import Offer
from responder_plugins.mdns.records import Zone
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import read
from trio.testing import MockClock

from .support import V4, mdns, message, query, question, serving, steady
from .test_answering import LAN, peer

PAGES = [
    {"name": f"Page {number}", "type": "_http._tcp", "port": 8000 + number, "txt": {"path": f"/{number}"}}
    for number in range(40)
]

ETHERNET = 1500 - 28
"""Bytes of a message that goes out whole."""


def with_edns(payload: bytes, size: int) -> bytes:
    return payload[:10] + (1).to_bytes(2) + payload[12:] + dns.opt_record(size, dns.NOERROR, dnssec_ok=False)


@pytest.mark.parametrize("to", [V4, "10.71.0.1"])
async def test_plain_dns_gets_512_bytes_and_who_has_edns_what_it_takes(
    to: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """RFC 6762 section 6.7: as a conventional DNS server would; RFC 6891 section 6.2."""
    async with serving(mdns(services=PAGES), state=tmp_path, numbers=(1,)) as world:
        asked = query("_http._tcp.local", dns.PTR)
        (plain,) = await world.ask(asked, to=to, port=0)
        assert plain.size <= 512
        assert plain.message.flags == dns.QR | dns.AA | dns.TC
        assert plain.message.answers
        (whole,) = await world.ask(with_edns(asked, 4096), to=to, port=0)
        assert 512 < whole.size <= ETHERNET
        assert len(whole.message.answers) == 40
        assert not whole.message.flags & dns.TC
        assert [each.rdtype for each in whole.message.additionals].count(dns.OPT) == 1
        (some,) = await world.ask(with_edns(asked, 700), to=to, port=0)
        assert 512 < some.size <= 700
        (least,) = await world.ask(with_edns(asked, 0), to=to, port=0)
        assert least.size <= 512


async def test_the_figures_of_the_readme(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Twenty services, and a host with one IPv4 and two IPv6 addresses."""
    async with serving(mdns(services=PAGES[:20]), state=tmp_path, numbers=(1,)) as world:

        async def factor(payload: bytes, port: int) -> tuple[int, int]:
            await trio.sleep(2)
            return len(payload), sum(each.size for each in await world.ask(payload, port=port))

        pointers = query("_http._tcp.local", dns.PTR)
        figures = [
            await factor(query("lab.local", dns.A), 0),
            await factor(query("lab.local", dns.A), 5353),
            await factor(pointers, 0),
            await factor(with_edns(pointers, 4096), 0),
            await factor(pointers, 5353),
            await factor(query("_http._tcp.local", dns.PTR, qu=True), 5353),
        ]
        assert figures == [(27, 99), (27, 93), (34, 493), (45, 1470), (34, 1344), (34, 1344)]


def test_the_same_question_many_times_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [{"name": f"Page {number}", "type": "_http._tcp", "port": 80} for number in range(100)]
    link = Link(LAN, steady(), Counter())
    link.offer(Offer.of("lab", mdns(services=offered).offered), LAN, 0.0)
    while link.due() < 100:
        list(link.advance(link.due()))
    found = 0
    find = Zone.find

    def counted(zone: Zone, key: bytes, rdtype: int, rdclass: int) -> object:
        nonlocal found
        entries = find(zone, key, rdtype, rdclass)
        found += len(entries)
        return entries

    monkeypatch.setattr(Zone, "find", counted)
    names = ["_http._tcp.local", "_HTTP._tcp.local", "_http._TCP.local"] * 490
    asked = message(*(question(each, dns.PTR) for each in names))
    assert len(asked) <= 9000
    link.receive(read(asked), peer(1), 100.0, direct=False)
    assert found == 100
    link.reply(read(asked), asked, peer(1, 4000))
    assert found == 200


def test_questions_that_do_not_fit_are_not_all_repeated() -> None:
    link = Link(LAN, steady(), Counter())
    link.offer(Offer.of("lab", mdns().offered), LAN, 0.0)
    while link.due() < 100:
        list(link.advance(link.due()))
    asked = message(*(question("lab.local", dns.A) for _ in range(1_000)))
    reply = link.reply(read(asked), asked, peer(1, 4000))
    assert reply is not None
    assert len(reply) <= 512
    answer = read(reply)
    assert answer.flags & dns.TC
