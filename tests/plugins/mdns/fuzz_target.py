"""What `tests.plugins.fuzz` gives to mdns, and how it judges: a link in the middle of its life, and a querier's cache.

Time goes on with each message, so that what is put off is said, names are lost, and probed for again.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from itertools import count

from responder_plugins.mdns.answering import MAX_ASKERS, MAX_CACHED, MAX_WAITING
from responder_plugins.mdns.link import Link
from responder_plugins.mdns.message import room
from responder_plugins.mdns.names import SERVICE_TYPES, from_text
from responder_plugins.mdns.options import Offer
from responder_plugins.mdns.querier import MAX_RECORDS, Cache
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import read

from responder import Peer, PeerError

from .support import PAGE, PAGE_NAME, mdns, message, query, question, record, response, steady
from .test_answering import LAN

SRV = bytes(4) + (80).to_bytes(2) + from_text("other.local")
SEEDS = (
    query("lab.local", dns.A),
    query("lab.local", dns.ANY, qu=True),
    query("_http._tcp.local", dns.PTR, tc=True, known=[record("_http._tcp.local", dns.PTR, PAGE_NAME, 4500)]),
    query("_services._dns-sd._udp.local", dns.PTR, qu=True),
    query("1.0.71.10.in-addr.arpa", dns.PTR),
    message(question(PAGE_NAME, dns.SRV), question(PAGE_NAME, dns.TXT), question("lab.local", dns.HTTPS), ident=7),
    message(question("lab.local", dns.ANY, qu=True), authorities=[record("lab.local", dns.A, "10.71.0.9")]),
    message(answers=[record("_http._tcp.local", dns.PTR, PAGE_NAME, 4500)], flags=dns.TC),
    response(record("lab.local", dns.A, "10.71.0.9", flush=True)),
    response(record("lab.local", dns.A, "10.71.0.1", ttl=0, flush=True)),
    response(record(PAGE_NAME, dns.SRV, SRV, flush=True), record(PAGE_NAME, dns.TXT, b"\6path=/", flush=True)),
    response(record("_http._tcp.local", dns.PTR, f"Other.{PAGE_NAME.partition('.')[2]}", 4500)),
)
PEERS = tuple(
    Peer(address, port) for address in ("10.71.0.9", "fe80::9", "10.71.0.1") for port in (5353, 5353, 5353, 40000)
)
OWN = {own.address.packed for own in LAN.addresses}
SECONDS = 0.003
"""From one message to the next."""


class Target:
    """A link that begins anew every 5,000 messages: by then its names have all been fought for."""

    def __init__(self) -> None:
        services = [PAGE, {"name": "Printer", "type": "_ipp._tcp", "port": 631, "subtypes": ["_universal"]}]
        self.offer = Offer.of("lab", mdns(services=services).offered)
        self.number = count()
        self.restart(0.0)

    def restart(self, now: float) -> None:
        self.link = Link(LAN, steady(), Counter(), is_own=lambda address: address.packed in OWN)
        self.link.offer(self.offer, LAN, now - 10)
        while self.link.due() < now:
            list(self.link.advance(self.link.due()))
        self.cache = Cache(LAN)

    def answered(self, payload: bytes) -> bytes | None:
        """What was said at once, once judged.  Raises AssertionError for what must not be said or kept."""
        number = next(self.number)
        now = number * SECONDS
        if number % 5_000 == 4_999:
            self.restart(now)
        link, peer = self.link, PEERS[number % len(PEERS)]
        said: list[bytes] = []
        try:
            received = read(payload)
        except PeerError:
            received = None
        if received is not None and peer.port != 5353:
            reply = link.known_reply(payload, peer.address.version) or link.reply(received, payload, peer)
            if reply is not None:
                assert reply[:2] == payload[:2]
                said.append(reply)
        elif received is not None:
            sends = link.receive(received, peer, now, direct=number % 7 == 0)
            assert all(send.to in (None, peer) for send in sends)
            said += [send.payload for send in sends]
            self.hear(received, now)
        if link.due() <= now:
            for version, out, _ in link.advance(now):
                judge(out)
                assert len(out) <= room(LAN.mtu, version)
        for each in said:
            judge(each)
        for channel in link.channels.values():
            assert len(channel.waiting) <= MAX_WAITING
            assert len(channel.askers) <= MAX_ASKERS
            assert len(channel._replies) <= MAX_CACHED
            assert len(channel.pending) <= len(channel.zone.entries)
        return said[0] if said else None

    def hear(self, received: dns.Message, now: float) -> None:
        for each in (*received.answers, *received.additionals):
            self.cache.hear(each, now)
        assert self.cache.count == sum(map(len, self.cache.records.values())) <= MAX_RECORDS
        for key in ((SERVICE_TYPES, dns.PTR), (from_text("_http._tcp.local"), dns.PTR)):
            for followed, _ in zip(self.cache.follow(key), range(50), strict=False):
                assert len(followed) == 2
            for each, _ in zip(self.cache.instances(key[0]), range(50), strict=False):
                assert all(address.partition("%")[0] for address in each.addresses)


def judge(said: bytes) -> None:
    """Nothing is said of others' addresses, and no name but ours."""
    out = read(said)
    for each in (*out.answers, *out.authorities, *out.additionals):
        if each.rdtype in (dns.A, dns.AAAA):
            assert each.rdata in OWN, ip_address(each.rdata)


TARGET = Target()
answered = TARGET.answered
