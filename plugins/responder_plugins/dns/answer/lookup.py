"""What a question's answer is: RFC 1034 section 4.3.2, plainly.

With wildcards (RFC 4592), DNAME (RFC 6672), negative answers (RFC 2308), the rcode at the end of a chain (RFC 6604),
glue (RFC 9471) and one RRset for ANY (RFC 8482 section 4.1).  Every answer comes from here, unless `compiled` has it; a
test compares the two.

Of a signed zone it adds, for who wants them, signatures and what proves a denial (RFC 4035 section 3.1; `zone.denial`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import attrs

from ..message import wire
from ..message.wire import RRset
from ..zone.catalog import Catalog
from ..zone.tables import Zone

MAX_CHAIN: Final = 16
"""Names that one answer goes through by CNAME and DNAME; the client can go on from the last one."""

NOT_READY, NOT_AUTHORITATIVE = 14, 20  # RFC 8914 section 4

_ADDRESSED: Final = {wire.NS: 0, wire.MX: 2, wire.SRV: 6, wire.SVCB: 2, wire.HTTPS: 2}
"""Types whose targets' addresses are added: bytes in front of the name (RFC 1035 section 3.3, RFC 2782, RFC 9460)."""

_FOR_OTHERS: Final = frozenset({wire.RRSIG, wire.NSEC})

_CNAME_STOPS: Final = frozenset({wire.CNAME, wire.ANY, wire.RRSIG, wire.NSEC})  # RFC 4034 section 2.5


@attrs.define(eq=False)
class Found:
    """An answer by its sections.

    glue   how many of `additional`, from the first, the answer is of no use without
    error  an extended one (RFC 8914), where it tells something
    kind   the name that answers of this kind share: what rate limiting counts
    varies another client may get another answer
    dnssec signatures and proofs of a signed zone belong to it (RFC 4035 section 3.1)
    """

    rcode: int = wire.NOERROR
    aa: bool = True
    answer: list[RRset] = attrs.field(factory=list)
    authority: list[RRset] = attrs.field(factory=list)
    additional: list[RRset] = attrs.field(factory=list)
    glue: int = 0
    error: int | None = None
    kind: bytes = b""
    varies: bool = False
    dnssec: bool = False

    def add(self, section: list[RRset], zone: Zone, rrset: RRset, source: bytes | None = None) -> None:
        """An RRset with its signatures; `source` is the name that it stands at, where a wildcard makes it up."""
        section.append(rrset)
        if self.dnssec and zone.chain is not None:
            section += zone.signature(rrset, source)


@attrs.frozen
class LocalData:
    """Data of our own that comes before what the zones say; see `host_names`.

    existing  they and the names above them, in lower case
    answer    the RRsets of a name as it is written and a type, and whether another client may get others; no RRsets
              where it has none of that type, None where the zones have to say
    """

    existing: Collection[bytes] = ()
    answer: Callable[[bytes, int], tuple[list[RRset] | None, bool]] = lambda _name, _rdtype: (None, False)


NONE: Final = LocalData()


def look_up(catalog: Catalog, written: bytes, rdtype: int, local: LocalData = NONE, *, dnssec: bool = False) -> Found:
    """The answer to a question of class IN; `written` is the name as the client wrote it.

    `dnssec`: the client wants the signatures of signed zones.
    """
    found = Found(dnssec=dnssec)
    seen: set[bytes] = set()
    following: bytes | None = written
    existing = catalog.within.union(local.existing) if local.existing else catalog.within
    while following is not None and len(seen) < MAX_CHAIN:
        name = following.lower()
        origin = catalog.origin_for(name, rdtype)
        zone = None if origin is None else catalog.zones[origin]
        own, varies = local.answer(following, rdtype)
        found.varies |= varies
        if own is not None:
            found.answer += own
            found.kind = found.kind or name
            if not own and zone is not None:
                found.authority.append(zone.negative)
            break
        if zone is None:
            if not seen:
                found.aa = False
                found.rcode = wire.REFUSED if origin is None else wire.SERVFAIL
                found.error = NOT_AUTHORITATIVE if origin is None else NOT_READY
            break
        if name in seen:
            break
        seen.add(name)
        following = _in_zone(zone, following, name, rdtype, found, existing)
    _add_addresses(catalog, found, local)
    return found


def _in_zone(
    zone: Zone, written: bytes, name: bytes, rdtype: int, found: Found, existing: Collection[bytes]
) -> bytes | None:
    """Add what this zone says about a name; the name to go on with, if it says so."""
    encloser = zone.origin
    for above in reversed(list(_down_to(zone.origin, name))):
        if above in zone.cuts and not (above == name and rdtype == wire.DS):
            _refer(zone, above, found)
            return None
        if above not in zone.nodes and above not in existing:
            break
        encloser = above
        if above != name and above in zone.dnames:
            target = _redirect(zone, above, written, found)
            return None if rdtype == wire.CNAME else target
    source = name
    chain = zone.chain if found.dnssec else None
    if encloser == name and name not in zone.nodes:
        _deny(zone, found, () if chain is None else chain.no_data(name, name))
        return None
    if encloser != name:
        source = b"\1*" + encloser
        if source not in zone.nodes:
            found.rcode = wire.NXDOMAIN
            _deny(zone, found, () if chain is None else chain.no_name(name, encloser))
            return None
    has_data, following = _from_node(zone, source, written, rdtype, found)
    if not has_data:
        _deny(zone, found, () if chain is None else chain.no_data(name, encloser))
    elif chain is not None and source != name:
        found.authority += zone.proof(chain.expanded(name, encloser))
    return following


def _down_to(origin: bytes, name: bytes) -> Iterator[bytes]:
    for suffix in wire.suffixes(name):
        yield suffix
        if suffix == origin:
            return


def _from_node(zone: Zone, source: bytes, written: bytes, rdtype: int, found: Found) -> tuple[bool, bytes | None]:
    """Was there something to add, and the name to go on with?

    `source` is the name that exists: the one asked for, or a wildcard.
    """
    alias = None if rdtype in _CNAME_STOPS else zone.rrset(source, wire.CNAME, written)
    if alias is not None and not zone.has(source, rdtype):  # SkyDNS' layout has SRV records beside an alias
        found.add(found.answer, zone, alias, source)
        found.kind = found.kind or source
        return True, alias.rdatas[0]
    if rdtype == wire.ANY:
        # The smallest, and none that brings addresses with it, or is there for another's sake: who asks for ANY wants
        # to see that the name is there, or a large answer for someone else.
        every = sorted(
            zone.all_of(source, written),
            key=lambda each: (each.rdtype in _FOR_OTHERS, each.rdtype in _ADDRESSED, sum(map(len, each.rdatas))),
        )
        rrsets = every[:1]
    else:
        rrsets = zone.rrsets_of(source, rdtype, written)
    for rrset in rrsets:
        found.add(found.answer, zone, rrset, source)
        found.kind = found.kind or source
    return bool(rrsets), None


def _deny(zone: Zone, found: Found, proof: Iterable[bytes] = ()) -> None:
    """`proof`: owners of the records that show it."""
    found.add(found.authority, zone, zone.negative)
    if proof:
        found.authority += zone.proof(proof)
    found.kind = found.kind or zone.origin


def _refer(zone: Zone, cut: bytes, found: Found) -> None:
    if not found.answer:  # RFC 1035 section 4.1.1: AA is about the name that was asked
        found.aa = False
    servers = zone.rrset(cut, wire.NS)
    assert servers is not None  # noqa: S101 - the caller has seen it
    found.authority.append(servers)
    if found.dnssec and zone.chain is not None:  # RFC 4035 section 3.1.4: is the other zone signed, and by which key?
        keys = zone.rrset(cut, wire.DS)
        if keys is not None:
            found.add(found.authority, zone, keys)
        else:
            found.authority += zone.proof(zone.chain.no_ds(cut))
    found.kind = found.kind or cut
    needed: list[RRset] = []
    others: list[RRset] = []
    for target in servers.rdatas:
        # RFC 9471 section 2: without the addresses of servers below the cut nobody can go on.
        for rrset in _addresses(zone, target):
            if wire.is_below(target.lower(), cut):
                needed.append(rrset)
            else:
                found.add(others, zone, rrset)
    found.additional += needed + others
    found.glue = len(needed)


def _redirect(zone: Zone, above: bytes, written: bytes, found: Found) -> bytes | None:
    """RFC 6672 section 3.1: the DNAME record, and a CNAME made of it with the same TTL."""
    rule = zone.rrset(above, wire.DNAME, written[-len(above) :])
    assert rule is not None  # noqa: S101 - the caller has seen it
    found.add(found.answer, zone, rule)
    found.kind = found.kind or above
    target = written[: -len(above)] + rule.rdatas[0]
    if len(target) > wire.MAX_NAME:
        found.rcode = wire.YXDOMAIN
        return None
    found.answer.append(RRset(written, wire.CNAME, rule.ttl, (target,)))
    return target


def _addresses(zone: Zone, target: bytes) -> Iterator[RRset]:
    name = target.lower()
    for rdtype in (wire.A, wire.AAAA):
        rrset = zone.rrset(name, rdtype, target)
        if rrset is not None:
            yield rrset


def _add_addresses(catalog: Catalog, found: Found, local: LocalData) -> None:
    """Addresses that the answer's own names lead to (RFC 1034 section 4.3.2 step 6), each once.

    For SVCB and HTTPS the target's own records of the type too (RFC 9460 section 4.1).
    """
    present = {(rrset.name.lower(), rrset.rdtype) for rrset in found.answer + found.additional}
    for rrset in found.answer:
        if rrset.rdtype not in _ADDRESSED:
            continue
        for rdata in rrset.rdatas:
            target, rdtypes = _target(rrset, rdata)
            origin = catalog.covers(target.lower())
            zone = None if origin is None else catalog.zones[origin]
            for rdtype in rdtypes:
                key = (target.lower(), rdtype)
                if key in present:
                    continue
                present.add(key)
                own, varies = local.answer(target, rdtype)
                found.varies |= varies
                if own is not None:
                    found.additional += own
                elif zone is not None:
                    rrset_added = zone.rrset(target.lower(), rdtype, target)
                    if rrset_added is not None:
                        found.add(found.additional, zone, rrset_added)


def _target(rrset: RRset, rdata: bytes) -> tuple[bytes, Collection[int]]:
    """The name that a record leads to, and the types to be added of it."""
    at = _ADDRESSED[rrset.rdtype]
    target = rdata[at : wire.name_end(rdata, at)]
    if rrset.rdtype not in {wire.SVCB, wire.HTTPS}:
        return target, (wire.A, wire.AAAA)
    if target == wire.ROOT and rdata[:2] != b"\0\0":
        target = rrset.name  # RFC 9460 section 2.5.2: "." is the owner itself; not of an alias, section 2.5.1
    return target, (wire.A, wire.AAAA, rrset.rdtype)
