"""The quick way: a lookup and a copy, for most datagrams that come.

All of a query but ID, name and type is its *shape* (flags, counts, class, OPT), of which honest clients have a handful.
What a shape means for the reply is worked out by the long way once, and remembered.

    a positive answer   name and type are in the catalog's table: ID, flags, counts, the question as it came, the
                        records that stand there, OPT
    the long way's      aliases, MX and the like, of names that exist: remembered once they have been asked for
    a denial            the name is in a zone, but neither below a delegation or DNAME nor matched by a wildcard, and
                        has no such type: the same with the zone's SOA record, which differs only by where the zone's
                        name stands

All else is None here: the long way's.  A name that holds a zero byte is cut there; what is left is then no whole name,
so it is found neither in a table nor among the labels.  A test holds both ways against each other.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import attrs

from . import wire
from .answering import Reply
from .lookup import Catalog
from .wire import Query
from .zone import Zone

MAX_SHAPES: Final = 1024
"""Shapes remembered: honest clients have some dozens, the rest is made up and goes the long way."""

MAX_REMEMBERED: Final = 10_000
"""Answers of the long way remembered; the oldest is forgotten first."""

_NOT_DENIED: Final = frozenset(
    rdtype.to_bytes(2)
    for rdtype in (wire.OPT, wire.DS, wire.TKEY, wire.TSIG, wire.IXFR, wire.AXFR, 253, 254, wire.ANY, 46, 47)
)
"""Types with rules of their own."""

_CNAME: Final = wire.CNAME.to_bytes(2)


@attrs.frozen(eq=False)
class _Shape:
    """How to reply to queries of one shape.

    head        flags and the count of questions; `missing` the same with NXDOMAIN
    extra       how many records `opt` has
    opt         our OPT record, or nothing
    limit       bytes that the reply may have
    """

    head: bytes
    missing: bytes
    extra: int
    opt: bytes
    limit: int


class _Denials:
    """The SOA record of a zone's negative answers, by the place of the zone's name in the message."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        # Where names below are another's, or this zone's by another name.
        self.leaving = {
            key[:-2]
            for key in zone.linked
            if key.endswith((b"\0\2", b"\0\x27")) and key != zone.origin + wire.NS.to_bytes(2)
        }
        self._made: dict[int, bytes] = {}

    def record(self, place: int) -> bytes:
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._make((0xC000 | place).to_bytes(2))
        return made

    def _make(self, pointer: bytes) -> bytes:
        soa = self.zone.negative
        rdata, at = b"", 0
        for _ in range(2):  # MNAME and RNAME
            end = wire.name_end(soa.rdatas[0], at)
            name = soa.rdatas[0][at:end]
            if wire.is_below(name.lower(), self.zone.origin):
                name = name[: -len(self.zone.origin)] + pointer
            rdata += name
            at = end
        rdata += soa.rdatas[0][at:]
        return pointer + wire.RECORD.pack(wire.SOA, wire.IN, soa.ttl, len(rdata)) + rdata


class Quick:
    """Answers from one catalog; `reserved` are names in lower case that it must not deny, and no PTR with them."""

    def __init__(self, catalog: Catalog, reserved: Collection[bytes] = ()) -> None:
        self._catalog = catalog
        self._answers = catalog.answers
        self._reserved = frozenset(reserved)
        self._zones = {origin: None if zone is None else _Denials(zone) for origin, zone in catalog.zones.items()}
        self._shapes: dict[bytes, _Shape] = {}
        self._remembered: dict[bytes, bytes] = {}
        self._parents: dict[bytes, tuple[_Denials, bool]] = {}

    def answer(self, data: bytes) -> bytes | None:
        """The reply to a query; None: not by this way."""
        end = data.find(0, 12) + 3
        shape = self._shapes.get(data[2:12] + data[end:])
        if shape is None:
            return None
        name, rdtype = data[12 : end - 2].lower(), data[end - 2 : end]
        packed = self._answers.get(name + rdtype)
        additional = shape.extra
        if packed is not None:
            head, counts, records = shape.head, packed[:2] + b"\0\0", packed[2:]
        elif (packed := self._remembered.get(name + rdtype)) is not None:
            head, counts, records = shape.head, packed[:4], packed[6:]
            additional += int.from_bytes(packed[4:6])
        else:
            denied = self._deny(name, rdtype)
            if denied is None:
                return None
            exists, records = denied
            head, counts = shape.head if exists else shape.missing, b"\0\0\0\1"
        reply = b"".join((data[:2], head, counts, additional.to_bytes(2), data[12:end], b"\0\1", records, shape.opt))
        return reply if len(reply) <= shape.limit else None

    def _deny(self, name: bytes, rdtype: bytes) -> tuple[bool, bytes] | None:
        """Does the name exist, and the SOA record that says what there is not; None: not to be denied here."""
        if not name or rdtype in _NOT_DENIED or len(name) > wire.MAX_NAME or name[0] > 63 or self._is_reserved(name):
            return None
        if name in self._zones:  # maybe not delegated by the zone above
            return None
        parent = self._parents.get(name[name[0] + 1 :])
        if parent is None:
            parent = self._find_parent(name)
            if parent is None:
                return None
        denials, wildcard = parent
        zone = denials.zone
        kinds = zone.names.get(name)
        if kinds is None:
            if wildcard:
                return None
        elif name in denials.leaving or any(kinds[at : at + 2] in (rdtype, _CNAME) for at in range(0, len(kinds), 2)):
            return None
        return kinds is not None, denials.record(wire.HEADER.size + len(name) - len(zone.origin))

    def _find_parent(self, name: bytes) -> tuple[_Denials, bool] | None:
        """Where the names exist that `name` ends with: its zone, and has the next one above a wildcard?

        Only where no delegation or DNAME is on the way.  Names that exist are remembered as parents.
        """
        if not _is_whole(name):
            return None
        origin = self._catalog.covers(name)
        denials = None if origin is None else self._zones[origin]
        if denials is None:
            return None
        above = wire.parent(name)
        while above not in denials.zone.names:
            above = wire.parent(above)
        for suffix in wire.suffixes(above):
            if suffix in denials.leaving:
                return None
            if suffix == origin:
                break
        found = denials, b"\1*" + above in denials.zone.names
        if above == wire.parent(name) and len(self._parents) < MAX_REMEMBERED:
            self._parents[above] = found
        return found

    def learn(self, query: Query, data: bytes, size: int, reply: Reply) -> None:
        """Remember what the long way has worked out: the shape of a query that was parsed from `data`, and its answer.

        `size` is the largest UDP answer.
        """
        edns = query.edns
        end = wire.HEADER.size + len(query.question)
        plain = query.rdclass == wire.IN and not query.problem and not query.tsig
        # An OPT record without options is 11 bytes, and stands alone.
        if not plain or len(data) != end + (11 if edns else 0):
            return
        if reply.complete:
            self._remember(query, reply.data)
        if len(self._shapes) >= MAX_SHAPES:
            return
        flags = wire.QR | wire.AA | query.flags & wire.ECHOED
        self._shapes[data[2:12] + data[end - 2 :]] = _Shape(
            flags.to_bytes(2) + b"\0\1",
            (flags | wire.NXDOMAIN).to_bytes(2) + b"\0\1",
            1 if edns else 0,
            wire.opt_record(size, 0, edns.dnssec_ok) if edns else b"",
            min(edns.size, size) if edns else wire.PLAIN_UDP,
        )

    def _remember(self, query: Query, reply: bytes) -> None:
        """Counts and records of a positive answer; its pointers hold for each spelling of the same name."""
        name = query.name
        positive = reply[6:8] != b"\0\0" and reply[2:4] == (wire.QR | wire.AA | query.flags & wire.ECHOED).to_bytes(2)
        key = name + query.rdtype.to_bytes(2)
        if not positive or key in self._answers or self._is_reserved(name):
            return
        origin = self._catalog.covers(name)
        zone = None if origin is None else self._catalog.zones[origin]
        # Names that a wildcard makes up are without number.
        if zone is None or name not in zone.names:
            return
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        size = len(reply)
        additional = int.from_bytes(reply[10:12])
        if query.edns is not None:
            size, additional = size - 11, additional - 1
        records = reply[wire.HEADER.size + len(query.question) : size]
        self._remembered[key] = reply[6:10] + additional.to_bytes(2) + records

    def _is_reserved(self, name: bytes) -> bool:
        return bool(self._reserved) and (name in self._reserved or name.endswith(b"\4arpa\0"))


def _is_whole(name: bytes) -> bool:
    """Is it a name from its first label to the root?"""
    at = 0
    while at < len(name) and 0 < name[at] <= 63:
        at += name[at] + 1
    return at == len(name) - 1
