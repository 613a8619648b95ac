"""Compiled answers: most queries are answered by a lookup and a copy.

All of a query but ID and name is its *shape* (flags, counts, type, class, OPT), of which honest clients have a handful.
What a shape means for the reply is learnt once, when the processor has answered a query of that shape.

    a positive answer   the node of the name, or of the wildcard that covers it, has such an RRset: ID, flags, counts,
                        the question as it came, the records that stand there, OPT
    a learnt answer     aliases, MX and the like, of names that exist: remembered once the processor has answered them
    a pattern           referrals, and aliases, MX and the like of a wildcard: worked out by `lookup` once for a
                        cut or wildcard and a length of the name, on which alone the compression pointers depend
    a denial            the name is in a zone, but neither below a delegation or DNAME nor matched by a wildcard, and
                        has no such type: the same with the zone's SOA record, which differs only by where the zone's
                        name stands
    a refusal           the name is in no zone

All else is None here, and the processor answers it.  Where a name ends is told by the length of the query, which its
shape has fixed; bytes that are no name are found neither in a table nor by their labels.  A test compares these answers
with the processor's.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, TypeAlias

import attrs

from ..cache import BoundedCache
from ..message import wire
from ..message.wire import Query, Writer
from ..zone.catalog import Catalog
from ..zone.tables import LEADING_ON, LINKING, RECORDS, Zone, blocks
from . import lookup
from .lookup import Found
from .processor import Response
from .shapes import Denials, Shape

MAX_SHAPES: Final = 2048
"""Shapes remembered: honest clients have some dozens, the rest is made up and goes to the processor."""

REMEMBERED: Final = 10_000, 2**22
"""Answers of the processor, and as many patterns, that are remembered: entries and bytes, each counting twice."""

_TAIL: Final = 4
_TAIL_WITH_OPT: Final = 15
"""Bytes behind the name of a query that has a shape: type and class, and an OPT record without options."""

_SIGNED: Final = b"+"
"""Behind name and type of what is learnt: with signatures."""

_NS: Final = wire.NS.to_bytes(2)

_Answer: TypeAlias = tuple[bytes, bytes]
"""A reply, and what limits count it by (see `Response.kind`)."""


@attrs.frozen(eq=False)
class _Parent:
    """What covers the names below one: its zone; the cut that leads out of it, or the wildcard; empty where none."""

    denials: Denials
    cut: bytes = b""
    wildcard: bytes = b""


class CompiledAnswers:
    """Answers from one catalog.

    `reserved` are names in lower case that are the processor's, and with them all PTR; `lists` the origins of zones
    that are.
    """

    def __init__(self, catalog: Catalog, reserved: Collection[bytes] = (), lists: Collection[bytes] = ()) -> None:
        self._catalog = catalog
        self._reserved = frozenset(reserved)
        self._lists = lists
        self._zones = {origin: self._denials(origin, zone) for origin, zone in catalog.zones.items()}
        self._signed_zones = {
            origin for origin, zone in catalog.zones.items() if zone is not None and zone.chain is not None
        }
        # The zone of the names right below one, but for those where another zone begins.
        self._nearest: BoundedCache[bytes, Denials] = BoundedCache(REMEMBERED[0])
        self._shapes: dict[bytes, Shape] = {}
        self._signed = bool(self._signed_zones)
        self._forget()

    def _forget(self) -> None:
        """What was worked out from any zone, whose answers may have gone through others."""
        # Where there is one zone and nothing else, no name needs to be looked at to find its zone.
        self._only = next(iter(self._zones.values()), None) if len(self._zones) == 1 and not self._reserved else None
        self._nodes = None if self._only is None else self._only.zone.nodes
        # Counts and records.
        self._remembered: BoundedCache[bytes, bytes] = BoundedCache(*REMEMBERED)
        self._patterns: BoundedCache[tuple[bytes, bytes, int], bytes] = BoundedCache(*REMEMBERED)
        self._parents: BoundedCache[bytes, _Parent] = BoundedCache(REMEMBERED[0])

    def _denials(self, origin: bytes, zone: Zone | None) -> Denials | None:
        return None if zone is None or origin in self._lists else Denials(zone)

    def renew(self, origin: bytes) -> None:
        """The zone there has changed, or another one stands in its place; others cost nothing."""
        zone = self._catalog.zones[origin]
        known = self._zones[origin]
        if zone is not None and known is not None:
            known.renew(zone)
        else:
            self._zones[origin] = self._denials(origin, zone)
            self._nearest = BoundedCache(REMEMBERED[0])
        if zone is not None and zone.chain is not None:
            self._signed_zones.add(origin)
        else:
            self._signed_zones.discard(origin)
        if self._signed != bool(self._signed_zones):
            self._signed = not self._signed
            self._shapes = {}
        self._forget()

    def answer(self, data: bytes) -> _Answer | None:
        """The reply to a query, and its `Response.kind`; None: the processor has to answer."""
        try:
            end = len(data) - (_TAIL_WITH_OPT if data[11] else _TAIL)
        except IndexError:
            return None
        shape = self._shapes.get(data[2:12] + data[end:])
        if shape is None:
            return None
        name = data[12:end].lower()
        if shape.signatures:
            packed = self._remembered.get(name + shape.packed_rdtype + _SIGNED)
            return self._packed_reply(data, end, shape, shape.positive, packed, name) if packed else None
        nodes = self._nodes
        node = nodes.get(name) if nodes is not None else self._node_of(name)
        if node:
            if node[:3] == shape.direct:
                reply = b"".join((data[:2], shape.one, data[12 : end + 4], node[RECORDS:], shape.opt))
                return (reply, name) if len(reply) <= shape.limit else None
            if node[0] != LEADING_ON and not shape.processed and shape.rdtype not in LINKING:
                for rdtype, _, count, records in blocks(node):
                    if rdtype == shape.rdtype:
                        counts = count.to_bytes(2) + shape.rest
                        return self._reply(data, end, shape, shape.positive + counts, records, shape.opt, name)
        return self._without_data(data, end, name, node, shape)

    @staticmethod
    def _reply(
        data: bytes, end: int, shape: Shape, head: bytes, records: bytes, opt: bytes, kind: bytes
    ) -> _Answer | None:
        """`head`: flags and all counts."""
        reply = b"".join((data[:2], head, data[12 : end + 4], records, opt))
        return (reply, kind) if len(reply) <= shape.limit else None

    def _packed_reply(
        self, data: bytes, end: int, shape: Shape, flags: bytes, packed: bytes, kind: bytes
    ) -> _Answer | None:
        """The same, `packed` being three counts and records."""
        additional = int.from_bytes(packed[4:6]) + bool(shape.opt)
        head = flags + packed[:4] + additional.to_bytes(2)
        return self._reply(data, end, shape, head, packed[6:], shape.opt, kind)

    def _node_of(self, name: bytes) -> bytes | None:
        """The node of a name in its nearest zone."""
        denials = self._zone_of(name)
        return None if denials is None else denials.zone.nodes.get(name)

    def _zone_of(self, name: bytes) -> Denials | None:
        """The nearest zone of a name; None: the processor has to find it, or there is none."""
        if self._is_reserved(name):
            return None
        if name in self._zones:
            return self._zones[name]
        parent = name[name[0] + 1 :] if name else b""
        denials = self._nearest.get(parent)
        if denials is None and _is_whole(name):
            origin = self._catalog.covers(name)
            denials = None if origin is None else self._zones[origin]
            if denials is not None:
                self._nearest.put(parent, denials)
        return denials

    def _without_data(self, data: bytes, end: int, name: bytes, node: bytes | None, shape: Shape) -> _Answer | None:
        """What was learnt, a referral, a wildcard's answer, a denial or a refusal; None: the processor's."""
        packed = self._remembered.get(name + shape.packed_rdtype)
        if packed is not None:
            return self._packed_reply(data, end, shape, shape.positive, packed, name)
        if shape.processed or not name or not 0 < name[0] <= wire.MAX_LABEL or len(name) > wire.MAX_NAME:
            return None
        denials = self._only or self._zone_of(name)
        if node is not None and denials is not None and (not node or node[0] != LEADING_ON):
            if node and shape.rdtype in LINKING and any(each[0] == shape.rdtype for each in blocks(node)):
                return None
            return self._reply(data, end, shape, shape.negative, denials.record(name), shape.opt, denials.zone.origin)
        if name in self._zones:  # maybe not delegated by the zone above
            return None
        if self._is_reserved(name):
            return None
        parent = self._parents.get(name[name[0] + 1 :])
        if parent is None:
            if not _is_whole(name):
                return None
            origin = self._catalog.covers(name)
            if origin is None:
                return self._reply(data, end, shape, shape.refused + b"\0\0" + shape.rest, b"", shape.refusing, b"")
            denials = self._zones[origin]
            parent = None if denials is None else self._find_parent(name, denials)
            if parent is None:
                return None
        denials = parent.denials
        zone = denials.zone
        cut = parent.cut or (name if name in zone.cuts else b"")
        if cut:
            packed = self._by_pattern(cut, _NS, name)  # the same for each type
            return self._packed_reply(data, end, shape, shape.referral, packed, cut) if packed else None
        if node is not None or name in self._catalog.within:
            return None
        if parent.wildcard:
            return self._by_wildcard(parent.wildcard, data, end, name, zone, shape)
        head = shape.missing + b"\0\0\0\1" + shape.rest[2:]
        return self._reply(data, end, shape, head, denials.record(name), shape.opt, zone.origin)

    def _find_parent(self, name: bytes, denials: Denials) -> _Parent | None:
        """What covers a whole name in a zone; None: a DNAME.  Names that exist are remembered as parents."""
        zone = denials.zone
        above = wire.parent(name)
        while above not in zone.nodes and above not in self._catalog.within:
            above = wire.parent(above)
        cut = b""
        for suffix in wire.suffixes(above):
            if suffix in zone.dnames:
                return None
            if suffix in zone.cuts:
                cut = suffix  # the last one: what is below another is not seen from outside
            if suffix == zone.origin:
                break
        wildcard = b"\1*" + above
        found = _Parent(denials, cut, wildcard if wildcard in zone.nodes else b"")
        if above == wire.parent(name):
            self._parents.put(above, found)
        return found

    # Patterns

    def _by_wildcard(
        self, wildcard: bytes, data: bytes, end: int, name: bytes, zone: Zone, shape: Shape
    ) -> _Answer | None:
        if self._reserved:  # among them may be what hides the wildcard, or what an alias leads to
            return None
        node = zone.nodes[wildcard]
        if node and node[0] != LEADING_ON and shape.rdtype not in LINKING:
            for rdtype, _, count, records in blocks(node):
                if rdtype == shape.rdtype:
                    head = shape.positive + count.to_bytes(2) + shape.rest
                    return self._reply(data, end, shape, head, records, shape.opt, wildcard)
        packed = self._by_pattern(wildcard[2:], shape.packed_rdtype, name)
        if not packed:
            return None
        kind = zone.origin if packed[:2] == b"\0\0" else wildcard
        return self._packed_reply(data, end, shape, shape.positive, packed, kind)

    def _by_pattern(self, encloser: bytes, rdtype: bytes, name: bytes) -> bytes:
        """`encloser` is a cut, or the name above a wildcard; empty where there is no pattern for it."""
        key = encloser, rdtype, len(name)
        packed = self._patterns.get(key)
        if packed is None:
            packed = self._pattern(encloser, rdtype, name)
            self._patterns.put(key, packed, len(packed))
        return packed

    def _pattern(self, encloser: bytes, rdtype: bytes, name: bytes) -> bytes:
        """Counts and records for names of this length; empty where they depend on more than that.

        Worked out for a name that stands nowhere, so that nothing points to its own labels.
        """
        stand_in = _filler(len(name) - len(encloser)) + encloser
        found = lookup.look_up(self._catalog, stand_in, int.from_bytes(rdtype))
        if not _is_general(found, self._catalog):
            return b""
        writer = Writer(stand_in + rdtype + b"\0\1", wire.STREAM)
        for section, rrsets in enumerate((found.answer, found.authority, found.additional)):
            for rrset in rrsets:
                if not writer.add(section, rrset):
                    return b""
        reply = writer.finish(0, 0)
        return reply[6:12] + reply[wire.HEADER.size + len(name) + 4 :]

    # What the processor has worked out

    def learn(self, query: Query, data: bytes, size: int, reply: Response) -> None:
        """Remember the shape of a query that was parsed from `data`, and its answer.

        `size` is the largest UDP answer.
        """
        end = wire.HEADER.size + len(query.question)
        plain = query.rdclass == wire.IN and not query.problem and not query.tsig and not query.flags & wire.OPCODE
        # An OPT record without options is 11 bytes, and stands alone.
        if not plain or len(data) != end + (11 if query.edns else 0):
            return
        if reply.complete and not reply.varies:
            self._remember(query, reply.data)
        if len(self._shapes) < MAX_SHAPES:
            self._shapes[data[2:12] + data[end - 4 :]] = Shape.of(query, size, signed=self._signed)

    def _remember(self, query: Query, reply: bytes) -> None:
        """Counts and records of a positive answer; its pointers hold for each spelling of the same name."""
        name = query.name
        positive = reply[6:8] != b"\0\0" and reply[2:4] == (wire.QR | wire.AA | query.flags & wire.ECHOED).to_bytes(2)
        key = name + query.rdtype.to_bytes(2)
        if self._signed and query.edns is not None and query.edns.dnssec_ok:
            key += _SIGNED
        if not positive or self._is_reserved(name):
            return
        origin = self._catalog.covers(name)
        zone = None if origin is None else self._catalog.zones[origin]
        # Names that a wildcard makes up are without number.
        if zone is None or name not in zone.nodes:
            return
        size = len(reply)
        additional = int.from_bytes(reply[10:12])
        if query.edns is not None:
            size, additional = size - 11, additional - 1
        packed = reply[6:10] + additional.to_bytes(2) + reply[wire.HEADER.size + len(query.question) : size]
        self._remembered.put(key, packed, len(packed))

    def _is_reserved(self, name: bytes) -> bool:
        return bool(self._reserved) and (name in self._reserved or name.endswith(b"\4arpa\0"))


def _is_general(found: Found, catalog: Catalog) -> bool:
    """Does it hold for each name below the same cut or wildcard?  Not where an alias leads into a wildcard again."""
    if found.rcode != wire.NOERROR or (found.answer and found.authority):
        return False
    for rrset in found.answer[1:]:
        name = rrset.name.lower()
        origin = catalog.covers(name)
        zone = None if origin is None else catalog.zones[origin]
        if zone is None or name not in zone.nodes:
            return False
    return True


def _filler(size: int) -> bytes:
    """Labels of zero bytes, `size` bytes with their lengths."""
    labels = b""
    while size:
        # Never one byte left: it would be the root.
        taken = size if size <= 64 else 63 if size == 65 else 64
        labels += bytes((taken - 1,)) + bytes(taken - 1)
        size -= taken
    return labels


def _is_whole(name: bytes) -> bool:
    """Is it a name from its first label to the root?"""
    at = 0
    while at < len(name) and 0 < name[at] <= 63:
        at += name[at] + 1
    return at == len(name) - 1 and not name[at]
