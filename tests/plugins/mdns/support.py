"""What the tests of mDNS share: two links with a client on each, a daemon's worth of server, and a reader of packets.

The server is the framework's own on a fake network, so that what is looked at is what would be on the link.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio
from responder_plugins.mdns import Mdns
from responder_plugins.mdns.names import from_text
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import Message, Question, Record, RRset, Writer, read
from responder_plugins.shared.dns_text import to_text

from responder import Instance, Server
from responder.testing import FakeClient, FakeHost, FakeInterface, FakeNetwork, Link, options, settled

V4, V6 = "224.0.0.251", "ff02::fb"
FLUSH = QU = 0x8000
PORT = 5353

PAGE = {"name": "Lab page", "type": "_http._tcp", "port": 8080, "txt": {"path": "/"}}
PAGE_NAME = "Lab page._http._tcp.local"


def mdns(**values: Any) -> Mdns:
    """The plugin as a config makes it: host "lab" with a page, unless said otherwise."""
    return options(Mdns, **{"host": "lab", "services": [PAGE], **values})


def question(name: str, rdtype: int, *, qu: bool = False) -> Question:
    return Question(from_text(name), rdtype, dns.IN | (QU if qu else 0))


def record(name: str, rdtype: int, rdata: bytes | str, ttl: int = 120, *, flush: bool = False) -> Record:
    """`rdata` as text: an address, or a name."""
    if isinstance(rdata, str):
        rdata = ip_address(rdata).packed if rdtype in (dns.A, dns.AAAA) else from_text(rdata)
    return Record(from_text(name), rdtype, dns.IN | (FLUSH if flush else 0), ttl, rdata)


def message(
    *questions: Question,
    answers: Iterable[Record] = (),
    authorities: Iterable[Record] = (),
    ident: int = 0,
    flags: int = 0,
) -> bytes:
    writer = Writer(b"", 65535, dns.COMPRESSED_BY_MDNS)
    for name, rdtype, rdclass in questions:
        writer.ask(name + dns.QUESTION.pack(rdtype, rdclass))
    for section, records in ((0, answers), (1, authorities)):
        for each in records:
            assert writer.add(section, RRset(each.name, each.rdtype, each.ttl, (each.rdata,), each.rdclass))
    return writer.finish(ident, flags)


def query(name: str, rdtype: int, *, qu: bool = False, known: Iterable[Record] = (), tc: bool = False) -> bytes:
    return message(question(name, rdtype, qu=qu), answers=known, flags=dns.TC if tc else 0)


def response(*records: Record) -> bytes:
    return message(answers=records, flags=dns.QR | dns.AA)


@attrs.frozen
class Heard:
    """An mDNS message on a link, and when (seconds since the start of the test's host)."""

    time: float
    message: Message
    source: str
    source_port: int
    to: str
    port: int
    hop_limit: int
    size: int

    @property
    def is_response(self) -> bool:
        return bool(self.message.flags & dns.QR)

    @property
    def is_probe(self) -> bool:
        return not self.is_response and bool(self.message.authorities)

    @property
    def is_goodbye(self) -> bool:
        return self.is_response and all(each.ttl == 0 for each in self.message.answers)

    @property
    def answers(self) -> list[tuple[str, int, bytes]]:
        return [told(each) for each in self.message.answers]

    @property
    def additionals(self) -> list[tuple[str, int, bytes]]:
        return [told(each) for each in self.message.additionals]

    @property
    def records(self) -> list[Record]:
        return [*self.message.answers, *self.message.additionals]

    def addresses(self, rdtype: int = dns.A) -> list[str]:
        return [str(ip_address(each.rdata)) for each in self.records if each.rdtype == rdtype]


def told(each: Record) -> tuple[str, int, bytes]:
    return to_text(each.name), each.rdtype, each.rdata


@attrs.define(eq=False)
class World:
    """A host that serves on two links, and a client on each.  `began` is when it was made."""

    network: FakeNetwork
    host: FakeHost
    links: dict[int, Link]
    interfaces: dict[int, FakeInterface]
    clients: dict[int, FakeHost]
    client_interfaces: dict[int, FakeInterface]
    sockets: dict[int, FakeClient]
    began: float
    server: Server | None = None

    def heard(self, number: int = 1, *, since: float = 0.0, to: str | None = None) -> list[Heard]:
        """What the host put on a link, to a group or a peer, oldest first."""
        mine = {str(each.address) for each in self.interfaces[number].snapshot().addresses} | set(SPOKEN_FROM[number])
        return [
            Heard(
                each.time - self.began,
                read(each.packet.payload),
                str(each.packet.source),
                each.packet.source_port,
                str(each.packet.destination),
                each.packet.port,
                each.packet.hop_limit,
                len(each.packet.payload),
            )
            for each in self.links[number].carried
            if str(each.packet.source) in mine
            and each.time - self.began >= since
            and to in (None, str(each.packet.destination))
        ]

    @property
    def now(self) -> float:
        return trio.current_time() - self.began

    async def ask(
        self, payload: bytes, number: int = 1, *, to: str = V4, within: float = 1.5, port: int = PORT
    ) -> list[Heard]:
        """What the host says on that link within so many seconds after a client's message."""
        socket = self.sockets[number] if port == PORT else self.clients[number].client()
        before = len(self.heard(number))
        await socket.send(payload, to, PORT, interface=self.client_interfaces[number], hop_limit=255)
        await trio.sleep(within)
        await settled()
        return self.heard(number)[before:]

    async def say(self, payload: bytes, number: int = 1, *, to: str = V4) -> None:
        await self.sockets[number].send(payload, to, PORT, interface=self.client_interfaces[number], hop_limit=255)
        await settled()


ADDRESSES = {1: ("10.71.0.1/24", "fd71::1/64", "fe80::1/64"), 2: ("10.72.0.1/24", "fd72::1/64", "fe80::1/64")}
"""The same link-local address on both."""


def own(number: int, version: int) -> list[str]:
    """The addresses of a link, without their prefix lengths."""
    return [each.split("/")[0] for each in ADDRESSES[number] if (":" in each) == (version == 6)]


SPOKEN_FROM = {number: [*own(number, 4), *own(number, 6)] for number in ADDRESSES}


def build(seed: int = 0, numbers: Iterable[int] = (1, 2)) -> World:
    network = FakeNetwork(seed)
    host = network.host("host")
    world = World(network, host, {}, {}, {}, {}, {}, trio.current_time())
    for number in numbers:
        link = world.links[number] = network.link(f"link{number}")
        world.interfaces[number] = host.attach(link, *ADDRESSES[number])
        client = world.clients[number] = network.host(f"client{number}")
        interface = client.attach(link, f"10.7{number}.0.9/24", f"fd7{number}::9/64", "fe80::9/64")
        world.client_interfaces[number] = interface
        socket = world.sockets[number] = FakeClient(client, client.open_udp(PORT, shared=True))
        for group in (V4, V6):
            socket.join(group, interface)
    return world


@asynccontextmanager
async def serving(
    plugin: Mdns | None = None,
    *,
    state: Path,
    seed: int = 0,
    wait: float = 4.0,
    before: Callable[[World], None] = lambda _: None,
    numbers: Iterable[int] = (1, 2),
    **keys: Any,
) -> AsyncIterator[World]:
    """A world whose host serves; `wait` seconds, in which names are established and announced."""
    world = build(seed, numbers)
    before(world)
    instance = Instance.of(plugin or mdns(), name="mdns", **keys)
    async with world.host.serve(instance, state=state) as server:
        world.server = server
        await trio.sleep(wait)
        yield world


def steady(seed: int = 1) -> Callable[[float, float], float]:
    return Random(seed).uniform  # noqa: S311 - no secret


OWN = [*own(1, 4), *own(1, 6)]
"""The host's addresses on link 1."""

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
