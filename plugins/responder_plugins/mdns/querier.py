"""Asks what is on the links (RFC 6762 section 5, RFC 6763): for the commands, without a daemon.

`Querier` is a plugin of its own: it asks on every interface and knows by which one each record came.  A question is
asked after 1 s, 2 s, 4 s again (section 5.2), with the answers that are known (section 7.1), and by multicast only: on
a shared port an answer by unicast may reach another program (section 15.1).  It answers nothing, and keeps nothing
beyond its run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import ClassVar, Final, TypeAlias

import attrs
import trio

from responder import PASS, Answer, Datagram, Interface, IPAddress, Network, Plugin, SendError, Service, Via
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.delays import Uniform, by_chance
from responder_plugins.shared.dns_message import Record, RRset, Writer, labels, read
from responder_plugins.shared.dns_text import label_to_text, to_text

from .answering import SOON
from .link import GROUPS, versions_of
from .message import CLASS, PORT, room
from .names import SERVICE_TYPES, composed, from_text, reverse
from .records import comparable

FIRST_AGAIN: Final = 1.0
"""Seconds until a question is asked again; doubled each time (section 5.2)."""

GATHERING: Final = 0.05
"""Seconds that new questions are gathered, so that they go in one message."""

RESCUE: Final = 1.0
"""Seconds in which a record that somebody ended may be said again (sections 10.1 and 10.2)."""

OTHER_LINKS: Final = 0.25
"""Seconds that other links, and other families, have once one has answered."""

MAX_RECORDS: Final = 10_000
"""Records kept of a link; anybody can send them."""

MAX_QUESTIONS: Final = 2_000
"""Questions asked on a link: what is found makes more of them."""

Key: TypeAlias = tuple[bytes, int]
"""A name in lower case, and a type."""


@attrs.frozen(order=True)
class Instance:
    """A service that was found on a link."""

    interface: str
    name: str
    type: str
    host: str = ""
    port: int = 0
    addresses: tuple[str, ...] = ()
    txt: tuple[str, ...] = ()


@attrs.define(eq=False)
class _Asked:
    again: float
    interval: float = FIRST_AGAIN


@attrs.define(eq=False)
class _News:
    """Set when something was heard since it was waited for."""

    event: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Cache:
    """What was heard on one link: records by name and type, with what they say and when they end (seconds)."""

    interface: Interface
    records: dict[Key, dict[bytes, tuple[Record, float]]] = attrs.field(factory=dict)
    asked: dict[Key, _Asked] = attrs.field(factory=dict)
    count: int = 0

    def hear(self, record: Record, now: float) -> None:
        """Keep a record.  TTL 0 ends it, and its flush bit what was heard over a second ago, both in a second (10)."""
        key = record.name.lower(), record.rdtype
        same = comparable(record.rdtype, record.rdata)
        found = self.records.setdefault(key, {}) if record.ttl else self.records.get(key, {})
        if not record.ttl:
            if same in found:
                old, ends = found[same]
                found[same] = old, min(ends, now + RESCUE)
            return
        if record.rdclass & ~CLASS:
            for other, (old, ends) in found.items():
                if other != same and ends - old.ttl < now - 1.0:
                    found[other] = old, min(ends, now + RESCUE)
        if same not in found:
            if self.count >= MAX_RECORDS:
                return
            self.count += 1
        found[same] = record, now + record.ttl

    def end(self, now: float) -> None:
        """Forget what has ended."""
        for key, found in list(self.records.items()):
            self.records[key] = {same: each for same, each in found.items() if each[1] > now}
            self.count -= len(found) - len(self.records[key])
            if not self.records[key]:
                del self.records[key]

    def get(self, name: bytes, rdtype: int) -> list[Record]:
        return [record for record, _ in self.records.get((name.lower(), rdtype), {}).values()]

    def known(self, key: Key, now: float) -> Iterator[RRset]:
        """The answers that need not be told: those with half their TTL and more left (section 7.1)."""
        for record, ends in self.records.get(key, {}).values():
            left = ends - now
            if left * 2 > record.ttl:
                yield RRset(record.name, record.rdtype, int(left), (record.rdata,))

    def addresses(self, host: bytes) -> list[IPAddress]:
        found = [
            ip_address(record.rdata)
            for rdtype, size in ((dns.A, 4), (dns.AAAA, 16))
            for record in self.get(host, rdtype)
            if len(record.rdata) == size
        ]
        return sorted(found, key=lambda each: (each.version, each.packed))

    def is_known(self, key: Key) -> bool:
        """Is there an answer?  A host with addresses of one family has answered for both."""
        name, rdtype = key
        types = (dns.A, dns.AAAA) if rdtype in (dns.A, dns.AAAA) else (rdtype,)
        return any(self.get(name, each) for each in types)

    # What else is to be asked

    def follow(self, key: Key) -> Iterator[Key]:
        """The question, and those that its answers lead to."""
        yield key
        name, rdtype = key
        if rdtype == dns.PTR and name == SERVICE_TYPES:
            for record in self.get(name, rdtype):
                if record.rdata.lower() != SERVICE_TYPES:
                    yield from self.follow((record.rdata.lower(), dns.PTR))
        elif rdtype == dns.PTR and _is_type(name):
            for record in self.get(name, rdtype):
                yield from self.follow((record.rdata.lower(), dns.SRV))
                yield record.rdata.lower(), dns.TXT
        elif rdtype == dns.SRV:
            for record in self.get(name, rdtype):
                target = record.rdata[6:].lower()
                if len(target) > 1:
                    yield target, dns.A
                    yield target, dns.AAAA

    def instances(self, type_name: bytes) -> Iterator[Instance]:
        """The instances of a type, as far as they are known."""
        for pointer in self.get(type_name, dns.PTR):
            yield from self.instance(pointer.rdata)

    def instance(self, name: bytes) -> Iterator[Instance]:
        """An instance by its name; nothing where it is no instance's."""
        parts = [*map(label_to_text, labels(name))]
        if len(parts) < 4:
            return
        # In the case that it is announced in, if that is known.
        for record in (*self.get(name, dns.SRV), *self.get(name, dns.TXT)):
            name = record.name
        text = next(labels(name)).decode(errors="replace")
        blank = Instance(self.interface.name, text, ".".join(parts[1:3]))
        txt = tuple(_strings(record.rdata) for record in self.get(name, dns.TXT))
        blank = attrs.evolve(blank, txt=txt[0] if txt else ())
        targets = [record.rdata for record in self.get(name, dns.SRV) if len(record.rdata) > 7]
        for rdata in targets:
            host = rdata[6:]
            yield attrs.evolve(
                blank,
                host=to_text(host),
                port=int.from_bytes(rdata[4:6]),
                addresses=tuple(map(self.shown, self.addresses(host))),
            )
        if not targets:
            yield blank

    def shown(self, address: IPAddress) -> str:
        """An address as a program on this host can use it."""
        scope = f"%{self.interface.name}" if address.version == 6 and address.is_link_local else ""
        return f"{address}{scope}"


def _is_type(name: bytes) -> bool:
    return any(label in (b"_tcp", b"_udp") for label in labels(name))


def _strings(rdata: bytes) -> tuple[str, ...]:
    """The strings of a TXT record, without empty ones."""
    found = []
    at = 0
    while at < len(rdata):
        end = at + 1 + rdata[at]
        if rdata[at + 1 : end]:
            found.append(rdata[at + 1 : end].decode(errors="backslashreplace"))
        at = end
    return tuple(found)


@attrs.frozen(eq=False)
class Querier(Plugin):
    """Asks for so many seconds; `caches` has what was heard, by interface index.

    questions  names and types
    seconds    to ask and to listen
    patient    go on until the time is over; else until a moment after a link has answered all
    """

    questions: tuple[Key, ...]
    seconds: float
    patient: bool = True
    caches: dict[int, Cache] = attrs.field(factory=dict, init=False)
    done: trio.Event = attrs.field(factory=trio.Event, init=False)
    uniform: Uniform = attrs.field(factory=by_chance)
    _news: _News = attrs.field(factory=_News, init=False)

    services: ClassVar[tuple[Service, ...]] = (
        Service(port=PORT, groups=tuple(GROUPS.values()), hop_limit=255, shared=True, on_link=True),
    )

    def respond(self, request: Datagram) -> Answer:
        """Learn from a response.  Raises PeerError for what is no DNS message."""
        cache = self.caches.get(request.interface.index)
        if cache is None or request.peer.port != PORT or request.via is Via.UNICAST:
            return PASS  # nobody was asked for an answer by unicast (section 6)
        message = read(request.payload)
        if message.flags & (dns.OPCODE | dns.RCODE) or not message.flags & dns.QR:
            return PASS
        now = trio.current_time()
        for record in (*message.answers, *message.additionals):
            if record.rdclass & CLASS == dns.IN:
                cache.hear(record, now)
        self._news.event.set()
        return PASS

    async def run(self, network: Network) -> None:
        """Ask, and ask what follows from the answers."""
        for interface in network.interfaces:
            if versions_of(interface):
                self.caches[interface.index] = Cache(interface)
        if not self.caches:
            self.done.set()
            return
        with trio.move_on_after(self.seconds):
            await trio.sleep(self.uniform(*SOON))  # section 5.2
            while self.patient or not self.is_answered():
                now = trio.current_time()
                for cache in self.caches.values():
                    cache.end(now)
                    await self._ask(network, cache, now)
                with trio.move_on_at(
                    min(each.again for cache in self.caches.values() for each in cache.asked.values())
                ):
                    await self._news.event.wait()
                    await trio.sleep(GATHERING)
                self._news.event = trio.Event()
            await trio.sleep(OTHER_LINKS)
        for cache in self.caches.values():
            cache.end(trio.current_time())
        self.done.set()

    def is_answered(self) -> bool:
        """Has a link answered a question and all that follows from it?"""
        return any(
            cache.get(*question) and all(cache.is_known(key) for key in cache.follow(question))
            for cache in self.caches.values()
            for question in self.questions
        )

    async def _ask(self, network: Network, cache: Cache, now: float) -> None:
        due: dict[Key, None] = {}
        for question in self.questions:
            for key in cache.follow(question):
                if key not in cache.asked and len(cache.asked) < MAX_QUESTIONS:
                    cache.asked[key] = _Asked(now)
                asked = cache.asked.get(key)
                if asked is None or asked.again > now:
                    continue
                asked.again, asked.interval = now + asked.interval, asked.interval * 2
                # Of pointers there may be more; what came unasked needs no question.
                if key[1] == dns.PTR or not cache.is_known(key):
                    due[key] = None
        if not due:
            return
        for version in sorted(versions_of(cache.interface)):
            for payload in _queries(due, cache, now, room(cache.interface.mtu, version)):
                # A link that can't be asked has nothing to show; the others do.
                with contextlib.suppress(SendError, ValueError):
                    await network.send(payload, to=GROUPS[version], interface=cache.interface.index)


def _queries(keys: Iterable[Key], cache: Cache, now: float, limit: int) -> Iterator[bytes]:
    """Messages with all questions, and behind them the known answers, with TC set where more follow (section 7.2)."""
    writer = Writer(b"", limit, dns.COMPRESSED_BY_MDNS)
    known: list[RRset] = []
    for name, rdtype in keys:
        question = name + dns.QUESTION.pack(rdtype, dns.IN)
        if not writer.ask(question):
            yield from _with_known(writer, known, limit)
            writer, known = Writer(question, limit, dns.COMPRESSED_BY_MDNS), []
        known += cache.known((name, rdtype), now)
    yield from _with_known(writer, known, limit)


def _with_known(writer: Writer, known: Iterable[RRset], limit: int) -> Iterator[bytes]:
    for rrset in known:
        if not writer.add(0, rrset):
            yield writer.finish(0, dns.TC)
            writer = Writer(b"", limit, dns.COMPRESSED_BY_MDNS)
            writer.add(0, rrset)
    yield writer.finish(0, 0)


def question_for(text: str) -> tuple[Key, ...]:
    """What to ask to resolve a name or an address.  Raises ValueError."""
    try:
        return ((reverse(ip_address(text.partition("%")[0])), dns.PTR),)
    except ValueError:
        name = from_text(composed(text)).lower()
    if _is_type(name):
        return (name, dns.SRV), (name, dns.TXT)
    return (name, dns.A), (name, dns.AAAA)
