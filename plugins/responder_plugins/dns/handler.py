"""The handler of dns: answers datagrams from memory, by compiled answers or by the processor, within the rate limit.

It also puts a new catalog in place where zone files change.  TCP is in `tcp`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from responder import (
    PASS,
    Answer,
    Connection,
    Datagram,
    Exchange,
    Handler,
    Network,
    Pass,
    get_logger,
)
from responder_plugins.shared.dns_text import describe

from ..shared.threads import in_thread
from . import zone_notes
from .answer.compiled import CompiledAnswers
from .answer.padding import PLAIN
from .answer.processor import RCODES, QueryProcessor, Response, truncated
from .answer.rate_limit import RateLimit, Verdict
from .cache import BoundedCache, Doorkeeper
from .encrypted.tls import TlsServer
from .message import wire
from .secondary.lister import Lister
from .secondary.secondaries import Secondaries
from .tcp import TcpServer
from .transfer.notify import Notifier
from .transfer.update import Updates
from .zone.catalog import Catalog
from .zone.tables import Zone

if TYPE_CHECKING:
    from .etcd.follower import Follower
    from .keys.maintenance import Signing
    from .transfer.versions import Versions

WATCH: Final = 2.0
"""Seconds between two looks at the zone files."""

PACKETS: Final = 16384, 2**23
"""Answers remembered whole: entries and bytes, each counting twice (see `BoundedCache`)."""

_OPT: Final = wire.ROOT + wire.OPT.to_bytes(2)

_COOKIE_ALONE: Final = {size: (size + 4).to_bytes(2) + wire.COOKIE.to_bytes(2) + size.to_bytes(2) for size in (8, 24)}
"""What stands in front of a cookie that is an OPT record's only option: the lengths of both, and its code."""

_log = get_logger(__name__)


class DnsHandler(Handler):
    """Answers from a catalog.  `reload` gives a new catalog where a zone file has changed, None where none has."""

    def __init__(
        self,
        processor: QueryProcessor,
        *,
        limit: RateLimit | None = None,
        tcp: TcpServer | None = None,
        tls: TlsServer | None = None,
        notifier: Notifier | None = None,
        secondaries: Secondaries | None = None,
        etcd: Follower | None = None,
        lister: Lister | None = None,
        reload: Callable[[], Catalog | None] | None = None,
        signing: Signing | None = None,
        updates: Updates | None = None,
    ) -> None:
        self.processor = processor
        self._versions = processor.versions
        self._limit = limit
        self._tcp = tcp or TcpServer(processor)
        self._tls = tls
        self._notifier = notifier
        self.secondaries = secondaries
        self._etcd = etcd
        self._lister = lister
        for keeper in (secondaries, lister):
            if keeper is not None:
                keeper.serve = self.serve
        self._reload = reload
        self._signing = signing
        self._updates = updates
        if updates is not None:
            processor.take_update = partial(updates.take, self)
        self._by_rcode = [0] * 16
        self._encrypted_ports: dict[int, str] = {}
        self.swap(processor.catalog)

    def respond(self, request: Datagram) -> Answer:
        """PASS where this instance has nothing to say, as of a name in none of its zones: so views fall through."""
        if wire.is_update(request.payload):
            return self._update(request, may_pass=True)
        if self._limit is not None:
            return self._limited(request, self._limit, may_pass=True)
        answer = self.respond_last(request)
        assert isinstance(answer, bytes)  # noqa: S101 - without a limit nothing is held back
        rcode = answer[3] & 0xF
        if rcode != wire.REFUSED and (rcode != wire.NOTIMP or not _is_notify(answer)):
            return answer
        self._by_rcode[rcode] -= 1
        return PASS

    def respond_last(self, request: Datagram) -> Answer:
        """The same, but REFUSED for such a name.  Raises PeerError for what is no query."""
        data = request.payload
        key = data[2:]
        rest = self._known.get(key)
        if rest is None:  # always, where each answer must be counted
            return self._answer_anew(request, data, key) if self._limit is None else self._limited(request, self._limit)
        self._by_rcode[rest[1] & 0xF] += 1
        return data[:2] + rest

    def _update(self, request: Datagram, *, may_pass: bool = False) -> Answer:
        query = self.processor.read(request.payload)
        if may_pass and query.question and self.catalog.covers(query.name) is None:
            return PASS
        if self._updates is not None:
            return self._answer_update(query, request)
        reply = self.processor.answer(query, request.payload, request)
        self.processor.count(reply.rcode)
        return reply.data

    async def _answer_update(self, query: wire.Query, request: Datagram) -> bytes:
        reply = await self.processor.update(query, request.payload, request)
        self.processor.count(reply.rcode)
        return reply.data

    def _answer_anew(self, request: Datagram, data: bytes, key: bytes) -> Answer:
        """The answer to what was not asked a moment ago; remembered at the second time where it is everyone's."""
        is_new = self._asked.is_new(key)
        rest = None if is_new else self._packets.older.get(key)
        if rest is None:
            compiled = self._compiled_answer(data)
            if compiled is None:
                if wire.is_update(data):
                    return self._update(request)
                reply = self._process(request, data)
                if reply.varies:
                    self.processor.count(reply.rcode)
                    return reply.data
                answer = reply.data
            else:
                answer = compiled[0]
            if is_new:
                self._by_rcode[answer[3] & 0xF] += 1
                return answer
            rest = answer[2:]
        self._by_rcode[rest[1] & 0xF] += 1
        # What it takes: two objects of Python's and a place in a dict, some 200 bytes beside what is in them.
        self._packets.put(key, rest, len(key) + len(rest) + 200)
        self._known = self._packets.fresh
        return data[:2] + rest

    def _process(self, request: Datagram, data: bytes) -> Response:
        reply = self._with_cookie(request, data)
        if reply is not None:
            return reply
        query = self.processor.read(data)
        reply = self.processor.answer(query, data, request)
        self.compiled.learn(query, data, self.processor.settings.edns_size, reply)
        return reply

    def _with_cookie(self, request: Datagram, data: bytes) -> Response | None:
        """A cookie behind the compiled answer to the same query without one; None: it is not the only option.

        BIND's clients send one with every query.
        """
        cookies = self.processor.settings.cookies
        size = 8 if data[-12:-8] == b"\0\x0a\0\x08" else 24
        if cookies is None or data[-size - 6 : -size] != _COOKIE_ALONE[size]:
            return None
        plain = data[: -size - 6] + b"\0\0"
        if len(plain) < wire.HEADER.size + 11 or plain[-11:-8] != _OPT:
            return None
        found = self.compiled.answer(plain)
        if found is None:
            query = self.processor.read(plain)
            # Where it is a query that ends with an OPT record, with nothing in it, and the same for everyone.
            if (
                query.problem
                or query.tsig
                or query.edns is None
                or len(plain) != wire.HEADER.size + len(query.question) + 11
            ):
                return None
            reply = self.processor.answer(query, plain, request)
            self.compiled.learn(query, plain, self.processor.settings.edns_size, reply)
            answer, kind = reply.data, reply.kind
        else:
            answer, kind = found
        # Behind an OPT record without options, where there is room for it.
        room = min(max(int.from_bytes(plain[-8:-6]), wire.PLAIN_UDP), self.processor.settings.edns_size)
        if answer[-11:-8] != _OPT or len(answer) + 28 > room:
            return None
        cookie, good = cookies.answer(data[-size:], request.peer.address)
        more = wire.option(wire.COOKIE, cookie)
        return Response(answer[:-2] + len(more).to_bytes(2) + more, answer[3] & 0xF, kind, exempt=good)

    def _limited(self, request: Datagram, limit: RateLimit, *, may_pass: bool = False) -> Answer:
        data = request.payload
        compiled = self.compiled.answer(data)
        if compiled is None:
            if wire.is_update(data):
                return self._update(request)
            reply = self._process(request, data)
        else:
            reply = Response(compiled[0], compiled[0][3] & 0xF, compiled[1])
        if may_pass and (reply.rcode == wire.REFUSED or (reply.rcode == wire.NOTIMP and _is_notify(reply.data))):
            return PASS
        # Errors are one kind, whatever was asked.
        kind = reply.kind if reply.rcode in (wire.NOERROR, wire.NXDOMAIN, wire.YXDOMAIN) else b""
        verdict = Verdict.SEND
        if not reply.exempt:
            verdict = limit.judge(request.peer.address, reply.rcode, kind, trio.current_time())
        if verdict is Verdict.SEND:
            self.processor.count(reply.rcode)
            return reply.data
        self.processor.counts["limited" if verdict is Verdict.DROP else "slipped"] += 1
        size = self.processor.settings.edns_size
        return truncated(wire.parse(request.payload), size) if verdict is Verdict.SLIP else None

    async def converse(self, connection: Connection) -> Pass | None:
        if self._tls is not None and connection.service != PLAIN:
            await self._tls.converse(connection)
            return None
        return await self._tcp.converse(connection)

    def counts(self) -> Mapping[str, int]:
        """Queries by what they got: an rcode, silence, a limit; and transfers."""
        remembered = Counter({RCODES[rcode]: count for rcode, count in enumerate(self._by_rcode) if count})
        for part in (self._notifier, self._tls, self.secondaries, self._etcd, self._updates):
            if part is not None:
                remembered += part.counts
        return remembered + self.processor.counts

    def notes(self) -> Iterator[str]:
        """Which zones get SERVFAIL and why, and what else is so with them."""
        return zone_notes.notes(self.catalog, self.secondaries, self._etcd)

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The first question's name and type, and the answer's rcode; of what is encrypted, by what it came."""
        over = self._encrypted_ports.get(exchange.port)
        return describe(exchange) if over is None else {"over": over}

    # Zones that change

    @property
    def catalog(self) -> Catalog:
        return self.processor.catalog

    @property
    def versions(self) -> Versions | None:
        return self._versions

    def swap(self, catalog: Catalog) -> None:
        """From here on answer from another catalog."""
        self.processor.catalog = catalog
        settings = self.processor.settings
        self.compiled = CompiledAnswers(catalog, settings.here.existing, settings.lists)
        self._compiled_answer = self.compiled.answer
        self._forget_packets()
        for watcher in (self._notifier, self._lister):
            if watcher is not None:
                watcher.see(catalog)

    def zone(self, origin: bytes) -> Zone | None:
        """The zone of an origin that is served now."""
        return self.processor.catalog.zones.get(origin)

    def replace(self, origin: bytes, zone: Zone | None) -> None:
        """Serve another zone at an origin that the catalog has, or none for now (SERVFAIL)."""
        self.processor.catalog.zones[origin] = zone
        self.changed(origin)

    def changed(self, origin: bytes) -> None:
        """A zone has taken a change: forget what was made of it, and tell others."""
        self.compiled.renew(origin)
        self._forget_packets()
        if self._notifier is not None:
            self._notifier.see(self.processor.catalog, {origin})

    def _forget_packets(self) -> None:
        # The answer behind its ID by the query behind its ID, on which with the catalog it depends alone.  With a limit
        # nothing is kept here: then each answer is looked at.
        self._packets: BoundedCache[bytes, bytes] = BoundedCache(*PACKETS)
        self._known = self._packets.fresh
        self._asked: Doorkeeper = Doorkeeper()

    def serve(self, zones: Mapping[bytes, Zone | None], gone: Collection[bytes]) -> None:
        """From here on serve these zones, or these versions of them, and those no more."""
        zones = self._instead(zones)
        present = self.catalog.zones
        if gone or not present.keys() >= zones.keys():
            self.swap(self.catalog.with_zones(zones, gone))
        else:
            for origin, zone in zones.items():
                self.replace(origin, zone)

    def _instead(self, zones: Mapping[bytes, Zone | None]) -> Mapping[bytes, Zone | None]:
        return zones if self._signing is None else self._signing.instead(zones)

    def succeed(self, predecessor: Handler) -> None:
        """What other servers were told need not be told again, and what they or etcd gave need not be asked for."""
        if not isinstance(predecessor, DnsHandler):
            return
        if self._notifier is not None and predecessor._notifier is not None:
            self._notifier.told.update(predecessor._notifier.told)
        if self.secondaries is not None and predecessor.secondaries is not None:
            self.secondaries.succeed(predecessor.secondaries)
            self.serve(self.secondaries.served(), ())
        if self._etcd is not None and predecessor._etcd is not None:
            self._etcd.succeed(predecessor._etcd)
            self.serve(self._etcd.served(), ())

    async def look(self) -> None:
        """Look at the zone files once, and serve what they say now."""
        if self._reload is not None:
            catalog = await in_thread(self._reload)
            if catalog is not None:
                if self._versions is not None:
                    await self._versions.note(catalog)
                for elsewhere in (self.secondaries, self._etcd, self._lister):
                    if elsewhere is not None:
                        catalog = catalog.with_zones(self._instead(elsewhere.served()))
                self.swap(catalog)
                if self._versions is not None:
                    await self._versions.settle(self)

    async def run(self, network: Network) -> None:
        """Look at the zone files, where that is wanted, and at signatures; say at the end what was answered."""
        async with trio.open_nursery() as nursery:
            if self._tls is not None:
                self._encrypted_ports = {network.port(name): name for name in self._tls.services}
                nursery.start_soon(self._tls.watch, WATCH)
            nursery.start_soon(zone_notes.watch_signatures, lambda: self.catalog, network.instance)
            if self._versions is not None:
                # Before others are told: they ask what has changed at once.
                await self._versions.note(self.catalog)
                await self._versions.settle(self)
                nursery.start_soon(self._versions.run, self)
            if self._reload is not None:
                nursery.start_soon(self._watch)
            if self._notifier is not None:
                nursery.start_soon(self._notifier.run, network)
            if self._signing is not None:
                nursery.start_soon(self._signing.run, network, self)
            if self.secondaries is not None:
                nursery.start_soon(self.secondaries.run, network)
            if self._etcd is not None:
                nursery.start_soon(self._etcd.run, self)
            if self._lister is not None:
                nursery.start_soon(self._lister.run, network)
            await network.stopping.wait()
            nursery.cancel_scope.cancel()
        _log.info("queries were counted", plugin=network.instance, counts=dict(self.counts()))

    async def _watch(self) -> None:
        while True:
            await trio.sleep(WATCH)
            await self.look()


def _is_notify(answer: bytes) -> bool:
    """It may be for another instance that has zones from elsewhere."""
    return answer[2] >> 3 & 0xF == wire.NOTIFY
