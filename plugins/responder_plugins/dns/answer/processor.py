"""Answers any query, from its bytes to the reply's: EDNS, cookies, TSIG, CHAOS, errors, truncation.

What a lookup and a copy can answer never comes here; see `compiled`.  Every reply is bounded by what the client takes
and by our own `edns_size`; what doesn't fit is cut at a whole RRset.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

import attrs
import dns.name

from responder import Connection, Datagram, IPAddress, IPNetwork, PeerError

from ..message import wire
from ..message.wire import Query, RRset, Writer
from ..transfer import outgoing, tsig
from ..transfer.versions import Versions
from ..zone.catalog import Catalog
from ..zone.changes import Change
from ..zone.tables import Zone
from . import lookup
from .cookies import Cookies
from .host_names import HostNames
from .lookup import Found, LocalData
from .padding import padded

PROHIBITED, NOT_SUPPORTED, OTHER = 18, 21, 0  # extended errors, RFC 8914 section 4

_VERSION: Final = frozenset({b"\7version\4bind\0", b"\7version\6server\0"})
_IDENTITY: Final = frozenset({b"\x08hostname\4bind\0", b"\2id\6server\0"})  # RFC 4892

RCODES: Final = {
    wire.NOERROR: "noerror",
    wire.FORMERR: "formerr",
    wire.SERVFAIL: "servfail",
    wire.NXDOMAIN: "nxdomain",
    wire.NOTIMP: "notimp",
    wire.REFUSED: "refused",
    wire.YXDOMAIN: "yxdomain",
    wire.YXRRSET: "yxrrset",
    wire.NXRRSET: "nxrrset",
    wire.NOTAUTH: "notauth",
    wire.NOTZONE: "notzone",
    wire.BADVERS: "badvers",
}


Hear: TypeAlias = Callable[[bytes, IPAddress, dns.name.Name | None, IPAddress], bool]
"""Told of a NOTIFY: the zone, who sends it, whose key signs it, the address that it came to.  Is it a primary's?"""

TakeUpdate: TypeAlias = Callable[[bytes, dns.name.Name | None, IPAddress], Awaitable[int]]
"""Takes an UPDATE message by whose signature it has, and where it comes from, and tells the rcode."""


@attrs.frozen(kw_only=True)
class Settings:
    """What the operator chose; see the options of `Dns`.

    lists  the origins of catalog zones: they are only for those who may have them whole (RFC 9432 section 7)
    hear   None: NOTIFY is not implemented
    """

    edns_size: int = 1232
    version: str | None = None
    identity: str | None = None
    allow_transfer: Sequence[IPNetwork] = ()
    keys: tsig.Keyring = attrs.field(factory=dict)
    cookies: Cookies | None = None
    here: HostNames = attrs.field(factory=lambda: HostNames((), 0, "asked"))
    lists: frozenset[bytes] = frozenset()
    hear: Hear | None = None
    clock: Callable[[], float] = time.time


@attrs.define(eq=False)
class Response:
    """What is about to be sent.

    kind      what rate limiting counts it by, with the rcode
    exempt    the client has shown that it is where its address says
    complete  nothing was left out for want of room
    varies    the same query may get another answer: from another client, at another time
    """

    data: bytes
    rcode: int
    kind: bytes = b""
    exempt: bool = False
    complete: bool = False
    varies: bool = True


@attrs.define(eq=False)
class _Extras:
    """What stands behind the sections: the OPT record and the signature."""

    options: bytes = b""
    signer: tsig.Signer | None = None
    exempt: bool = False
    varies: bool = False


@attrs.frozen
class Granted:
    """A zone that is handed over, who signs it, and the OPT record that ends a message of so many bytes."""

    zone: Zone
    signer: tsig.Signer | None = None
    opt: Callable[[int], bytes] = lambda _size: b""


class QueryProcessor:
    """Answers queries from a catalog, which may be put in place of another at any time.

    `counts` has how many answers there were by their rcode, in lower case, for `handler` to tell; and what else there
    is to be counted: queries, connections and transfers, each once.
    """

    def __init__(self, settings: Settings, catalog: Catalog, versions: Versions | None = None) -> None:
        self.settings = settings
        self.catalog = catalog
        self.versions = versions
        self.take_update: TakeUpdate | None = None
        self.counts: Counter[str] = Counter()

    def read(self, data: bytes) -> Query:
        """A query from its bytes.  Raises PeerError, counted, for what gets no answer."""
        try:
            return wire.parse(data)
        except PeerError:
            self.counts["dropped-short" if len(data) < wire.HEADER.size else "dropped-response"] += 1
            raise

    def answer(self, query: Query, data: bytes, request: Datagram | Connection) -> Response:
        """The reply to a parsed query; `data` is what it was parsed from."""
        extras = _Extras()
        found = self._before_lookup(query, data, request, extras)
        if query.opcode == wire.UPDATE:
            query.question, extras.varies = b"", True
            found = Found(wire.NOTIMP, aa=False)
        if found is None and self.settings.lists and self.catalog.covers(query.name) in self.settings.lists:
            extras.varies = True
            if not self._may_transfer(request, extras):
                found = Found(wire.REFUSED, aa=False, error=PROHIBITED)
        if found is None and query.rdtype == wire.IXFR and query.rdclass == wire.IN:
            found = self._newest(query, request, extras)
        elif found is None:
            found = self._find(query, request)
        return self._write(query, found, request, extras)

    async def update(self, query: Query, data: bytes, request: Datagram | Connection) -> Response:
        """The reply to an UPDATE message, once it has been done."""
        if self.take_update is None:
            return self.answer(query, data, request)
        extras = _Extras(varies=True)
        found = self._before_lookup(query, data, request, extras)
        if not query.question:
            found = Found(wire.FORMERR, aa=False)
        elif found is None:
            key = None if extras.signer is None else extras.signer.name
            found = Found(await self.take_update(data, key, request.peer.address), aa=False)
        return self._write(query, found, request, extras)

    def is_outside(self, query: Query, request: Datagram | Connection) -> bool:
        """Is it about a name that this instance knows nothing of?"""
        if query.problem or not query.question or self.catalog.covers(query.name) is not None:
            return False
        return query.rdtype in (wire.AXFR, wire.IXFR) or self._find(query, request).rcode == wire.REFUSED

    def count(self, rcode: int) -> None:
        """An answer goes out."""
        self.counts[RCODES[rcode]] += 1

    def _before_lookup(
        self, query: Query, data: bytes, request: Datagram | Connection, extras: _Extras
    ) -> Found | None:
        """What is answered without looking at the question; None: go on."""
        edns = query.edns
        if edns is not None and edns.cookie is not None and self.settings.cookies is not None:
            cookie, extras.exempt = self.settings.cookies.answer(edns.cookie, request.peer.address)
            extras.options += wire.option(wire.COOKIE, cookie)
            extras.varies = True
        if edns is not None and edns.nsid and self.settings.identity is not None:
            extras.options += wire.option(wire.NSID, self.settings.identity.encode())
        if edns is not None and edns.timeout is not None:
            extras.options += wire.option(wire.KEEPALIVE, edns.timeout.to_bytes(2))
        if query.problem:
            return Found(query.problem, aa=False)
        if query.tsig:
            signer = tsig.verify(data, query.tsig, self.settings.keys, self.settings.clock)
            extras.varies = True
            if signer is None:
                return Found(wire.FORMERR, aa=False)
            extras.signer = signer
            # A good signature exempts nobody: a query that was overheard is as good from another address.
            if signer.error:
                return Found(wire.NOTAUTH, aa=False)
        if query.opcode == wire.NOTIFY:
            return self._hear(query, request, extras)
        if not query.question:
            # Only for a cookie (RFC 7873 section 5.4); where we give none, there is nothing to say.
            return Found(wire.NOERROR if self.settings.cookies else wire.FORMERR, aa=False)
        return None

    def _hear(self, query: Query, request: Datagram | Connection, extras: _Extras) -> Found:
        """NOTIFY (RFC 1996): what else it carries is not believed, since the zone is checked anyway."""
        extras.varies = True
        if self.settings.hear is None:
            query.question = b""  # of what is not implemented the header alone is repeated
            return Found(wire.NOTIMP, aa=False)
        if query.question and query.rdtype != wire.SOA:
            return Found(wire.NOTIMP, aa=False)
        if not query.question or query.rdclass != wire.IN:
            return Found(wire.FORMERR, aa=False)
        key = None if extras.signer is None else extras.signer.name
        if not self.settings.hear(query.name, request.peer.address, key, request.destination):
            return Found(wire.REFUSED, aa=False, error=PROHIBITED)
        extras.exempt = True  # no longer than what came in
        return Found(kind=query.name)

    def _find(self, query: Query, request: Datagram | Connection) -> Found:
        written = query.question[:-4]
        if query.rdclass == wire.CH:
            return self._chaos(query, written)
        if query.rdclass not in (wire.IN, wire.CLASS_ANY):
            return Found(wire.REFUSED, aa=False, error=NOT_SUPPORTED)
        if query.rdtype in (wire.AXFR, wire.IXFR, wire.OPT, wire.TKEY, wire.TSIG):
            return Found(wire.NOTIMP, aa=False)  # AXFR: not by UDP (RFC 5936 section 4.2); the others hold no data
        dnssec = query.edns is not None and query.edns.dnssec_ok
        here = self.settings.here
        if not here.names:
            found = lookup.look_up(self.catalog, written, query.rdtype, dnssec=dnssec)
        else:
            local = LocalData(here.existing, partial(here.answer, request))
            found = lookup.look_up(self.catalog, written, query.rdtype, local, dnssec=dnssec)
            if found.rcode == wire.REFUSED and query.name in here.names:
                found = Found(kind=query.name)  # it exists, and there is no zone around it to say more
        if query.rdclass == wire.CLASS_ANY:
            found.aa = False  # RFC 1034 section 6.2: what may leave other classes out can't be authoritative
        return found

    def _chaos(self, query: Query, written: bytes) -> Found:
        text = None
        if query.name in _VERSION:
            text = self.settings.version
        elif query.name in _IDENTITY:
            text = self.settings.identity
        if text is None:
            return Found(wire.REFUSED, aa=False)
        if query.rdtype not in (wire.TXT, wire.ANY):
            return Found()
        packed = text.encode()
        return Found(answer=[RRset(written, wire.TXT, 0, (bytes((len(packed),)) + packed,))], kind=query.name)

    def _newest(self, query: Query, request: Datagram | Connection, extras: _Extras) -> Found:
        """IXFR by UDP: what has changed, where it fits; else the SOA record, for more by TCP (RFC 1995 section 2)."""
        zone = self.catalog.zones.get(query.name)
        if query.serial is None:
            return Found(wire.FORMERR, aa=False)
        if zone is None:
            return Found(wire.NOTAUTH, aa=False)
        records = [zone.soa]
        if self._may_transfer(request, extras):
            extras.varies = True
            changes = self.changes_for(zone, query, self._room(query, request, extras))
            if changes is not None:
                records = [
                    RRset(name, rdtype, ttl, (rdata,))
                    for name, rdtype, ttl, rdata in outgoing.increments(zone, changes)
                ]
        return Found(answer=records, kind=query.name)

    # Transfers

    def transfer(self, query: Query, data: bytes, request: Connection, *, allowed: bool = True) -> Granted | Response:
        """The zone that an AXFR or IXFR query may have; or the reply that refuses it.

        allowed  a zone may be handed over on this connection
        """
        extras = _Extras()
        found = self._before_lookup(query, data, request, extras)
        if found is None:
            zone = self.catalog.zones.get(query.name)
            if query.rdclass != wire.IN or (query.rdtype == wire.IXFR and query.serial is None):
                found = Found(wire.FORMERR, aa=False)
            elif not allowed or not self._may_transfer(request, extras):
                found = Found(wire.REFUSED, aa=False, error=PROHIBITED)
            elif query.name not in self.catalog.zones:
                found = Found(wire.NOTAUTH, aa=False)  # RFC 5936 section 2.2.1
            elif zone is None:
                found = Found(wire.SERVFAIL, aa=False, error=lookup.NOT_READY)
            else:
                self.counts["transfer"] += 1
                return self._granted(zone, query, request, extras)
        return self._write(query, found, request, extras)

    def _granted(self, zone: Zone, query: Query, request: Connection, extras: _Extras) -> Granted:
        if query.edns is None:
            return Granted(zone, extras.signer)
        # RFC 6891 section 6.1.1, RFC 9103 section 7.9: then each message has an OPT record.
        opt = wire.opt_record(self.settings.edns_size, wire.NOERROR, query.edns.dnssec_ok, extras.options)
        room = wire.STREAM - (0 if extras.signer is None else extras.signer.size)
        return Granted(zone, extras.signer, partial(padded, opt, query.edns, request, room))

    def _may_transfer(self, request: Datagram | Connection, extras: _Extras) -> bool:
        return extras.signer is not None or any(
            request.peer.address in prefix for prefix in self.settings.allow_transfer
        )

    def changes_for(self, zone: Zone, query: Query, room: int | None = None) -> Iterator[Change] | None:
        """What an IXFR query gets, of at most `room` bytes; None: the whole zone, or where there is no room the SOA."""
        if self.versions is None or query.serial is None or outgoing.is_current(query, zone):
            return None
        changes = self.versions.since(zone, query.serial, room)
        if changes is not None:
            self.counts["transfer-increment"] += 1
        return changes

    # Writing

    def _room(self, query: Query, request: Datagram | Connection, extras: _Extras) -> int:
        """Bytes that the sections of an answer may have beside header and question, whatever its OPT record says."""
        limit = wire.STREAM
        if not isinstance(request, Connection):
            limit = wire.PLAIN_UDP if query.edns is None else min(query.edns.size, self.settings.edns_size)
        beside = len(extras.options) + wire.HEADER.size + 11 + (0 if extras.signer is None else extras.signer.size)
        return limit - len(query.question) - beside

    def _write(self, query: Query, found: Found, request: Datagram | Connection, extras: _Extras) -> Response:
        edns = query.edns
        limit = wire.STREAM
        if not isinstance(request, Connection):
            limit = wire.PLAIN_UDP if edns is None else min(edns.size, self.settings.edns_size)
        chaos = query.rdclass == wire.CH
        opt = b""
        if edns is not None:
            options = extras.options
            if found.error is not None:
                options += wire.option(wire.EDE, found.error.to_bytes(2))
            # RFC 6891 section 6.1.1: an OPT record only if there was one; RFC 3225 section 3: DO is copied.
            opt = wire.opt_record(self.settings.edns_size, found.rcode, edns.dnssec_ok, options)
        signer = extras.signer
        room = limit - (0 if signer is None else signer.size)
        writer = Writer(query.question, room - len(opt))
        if chaos:
            for rrset in found.answer:
                writer.add_raw(0, wire.FIRST_NAME + wire.RECORD.pack(wire.TXT, wire.CH, 0, len(rrset.rdatas[0])))
                writer.add_raw(0, rrset.rdatas[0], 0)
            whole = complete = True
        else:
            whole, complete = fill(writer, found)
        if not whole and isinstance(request, Connection):
            # RFC 7766 section 8: no message is longer, so there is nowhere to send the client on to.
            failed = Found(wire.SERVFAIL, aa=False, error=OTHER, kind=found.kind)
            return self._write(query, failed, request, extras)
        if edns is not None:
            writer.add_raw(2, padded(opt, edns, request, room, len(writer)))
        flags = wire.QR | query.flags & wire.ECHOED | found.rcode & 0xF
        flags |= (wire.AA if found.aa else 0) | (0 if whole else wire.TC)
        data = writer.finish(query.ident, flags)
        if signer is not None:
            data = signer.sign(data)
            if len(data) > limit:  # names of 255 bytes in question and signature: nothing can be said about them
                return self._write(Query(query.ident, query.flags), Found(wire.FORMERR, aa=False), request, _Extras())
        varies = found.varies or extras.varies or bool(query.problem)
        return Response(data, found.rcode, found.kind, extras.exempt, complete, varies)


def fill(writer: Writer, found: Found) -> tuple[bool, bool]:
    """Write the sections, RRset by RRset.  Return whether the required records fit, and whether all did.

    Additional records that don't fit are left out without a word (RFC 2181 section 9), glue excepted (RFC 9471).
    """
    for section, rrsets in enumerate((found.answer, found.authority)):
        for rrset in rrsets:
            if not writer.add(section, rrset):
                return False, False
    needed, others = found.additional[: found.glue], found.additional[found.glue :]
    if not all(writer.add(2, rrset) for rrset in needed):
        return False, False
    left_out = [rrset for rrset in others if not writer.add(2, rrset)]
    return True, not left_out


def truncated(query: Query, size: int) -> bytes:
    """The empty reply that sends a client to TCP, no longer than its query; `size` is the largest UDP answer."""
    writer = Writer(query.question, wire.PLAIN_UDP)
    if query.edns is not None:  # RFC 6891 section 6.1.1: without it the client would take us for a server without EDNS
        writer.add_raw(2, wire.opt_record(size, 0, query.edns.dnssec_ok))
    return writer.finish(query.ident, wire.QR | wire.TC | query.flags & wire.ECHOED)
