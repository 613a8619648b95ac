"""The records of one link: what a host and its services are found by there (RFC 6762, RFC 6763).

A *claim* is a name that this host wants for itself on the link: its own, a service instance's, that of a host that a
service is on.  An *entry* is a record; it can be seen once one of the claims that it hangs on is established, and is
unique where no other host may have a record of its name and type (RFC 6762 section 2).  `Zone` finds what answers a
question.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Final

import attrs

from responder import Interface, IPAddress
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.delays import Uniform
from responder_plugins.shared.dns_message import RRset

from .names import SERVICE_TYPES, local, numbered_host, numbered_instance, reverse, type_labels
from .options import Offer, ServiceOptions

FLUSH: Final = 0x8000
"""The bit of a record's class that says: forget what else you have of this name and type (RFC 6762 section 10.2)."""

HOST_TTL: Final = 120
"""Seconds for records that hold a host's name or address (RFC 6762 section 10)."""

OTHER_TTL: Final = 4500
"""Seconds for the others (section 10)."""

NEVER: Final = float("-inf")

IN_ORDER: Final = 10
LAST_NUMBER: Final = 999
"""A name's numbers are tried in order up to one, and at random up to the other."""

HOST: Final = "host"
"""The key of the claim of this host's own name."""


@attrs.define(eq=False)
class Claim:
    """A name that is wanted, and how far it is.

    key          what it is called where its number is kept
    number       1: the name as configured; 2: `lab-2`; and so on
    fixed        the name of one that can take no other: an address' reverse name
    is_given_up  another has it; only for one that can take no other
    due          when its next probe is to be sent, or, after three, when it is established (seconds)
    probes       how many were sent
    told         the number that was told last, which at first is 1: another is told at each start
    """

    key: str
    label: str
    rest: tuple[str, ...]
    number: int = 1
    fixed: bytes = b""
    is_given_up: bool = False
    is_established: bool = False
    due: float = 0.0
    probes: int = 0
    name: bytes = attrs.field(init=False)
    told: int = attrs.field(default=1, init=False)

    def __attrs_post_init__(self) -> None:
        self.take(self.number)

    @property
    def is_asked_for(self) -> bool:
        """Was a probe sent, and is it not over?"""
        return self.probes > 0 and not self.is_established

    def give_up(self, until: float) -> None:
        """Leave it to another until then (seconds); inf: for ever."""
        self.is_given_up, self.is_established, self.probes, self.due = True, False, 0, until

    def take(self, number: int) -> None:
        """Be the `number`th of the name."""
        self.number = number
        self.name = self.fixed or local(self.text, *self.rest)

    def take_next(self, taken: Set[bytes], uniform: Uniform) -> None:
        """Be the next that is not among the names (in lower case) that are taken.

        Behind the first few they come at random: so one of hundreds of like devices finds a name soon, and a host that
        denies each name does not know the next.
        """
        number = self.number if self.number < IN_ORDER else int(uniform(0, LAST_NUMBER))
        for _ in range(LAST_NUMBER):
            number = number % LAST_NUMBER + 1
            self.take(number)
            if self.name.lower() not in taken:
                return

    @property
    def text(self) -> str:
        """The label as it is now."""
        return (numbered_instance if self.rest else numbered_host)(self.label, self.number)

    @property
    def is_host(self) -> bool:
        return not self.rest and not self.fixed


@attrs.define(eq=False)
class Entry:
    """A record.  `same` is its rdata in the form in which equal ones are equal; `sent` when it was last multicast, by
    family (seconds)."""

    name: bytes
    rdtype: int
    ttl: int
    rdata: bytes
    unique: bool
    claims: tuple[Claim, ...]
    order: int = 0
    key: bytes = attrs.field(init=False)
    same: bytes = attrs.field(init=False)
    sent: dict[int, float] = attrs.field(factory=lambda: {4: NEVER, 6: NEVER}, init=False)
    rrset: RRset = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.key = self.name.lower()
        self.same = comparable(self.rdtype, self.rdata)
        self.rrset = RRset(self.name, self.rdtype, self.ttl, (self.rdata,), dns.IN | (FLUSH if self.unique else 0))

    @property
    def identity(self) -> tuple[bytes, int, bytes]:
        """What it shares with the record of a message that says the same."""
        return self.key, self.rdtype, self.same

    @property
    def is_visible(self) -> bool:
        return not self.claims or any(claim.is_established for claim in self.claims)


def comparable(rdtype: int, rdata: bytes) -> bytes:
    """Rdata as it is compared: names in it are the same in any case (RFC 4343)."""
    return rdata.lower() if rdtype in dns.COMPRESSED_BY_MDNS else rdata


def claims_of(offer: Offer, interface: Interface, number_of: Callable[[str], int]) -> dict[str, Claim]:
    """The claims that an offer makes on an interface; `number_of` gives each one's number by its key."""
    wanted: dict[str, tuple[str, tuple[str, ...]]] = {}
    if offer.host:
        wanted[HOST] = offer.host, ()
    for service in offer.services:
        wanted[service.key] = service.name, tuple(type_labels(service.type))
        if service.host and service.addresses:
            wanted[host_key(service.host)] = service.host_label, ()
    claims = {key: Claim(key, label, rest, number_of(key)) for key, (label, rest) in wanted.items()}
    for each in interface.addresses if offer.host else ():
        key = reverse_key(each.address)
        claims[key] = Claim(key, str(each.address), (), fixed=reverse(each.address))
    return claims


def reverse_key(address: IPAddress) -> str:
    return f"reverse {address}"


def host_key(host: str) -> str:
    return f"host {host.lower().removesuffix('.')}"


def entries_of(offer: Offer, claims: Mapping[str, Claim], interface: Interface) -> list[Entry]:
    """All records of a link, seen or not yet."""
    return [attrs.evolve(entry, order=order) for order, entry in enumerate(_entries(offer, claims, interface))]


def _entries(offer: Offer, claims: Mapping[str, Claim], interface: Interface) -> Iterator[Entry]:
    own = claims.get(HOST)
    if own is not None:
        addresses = [each.address for each in interface.addresses]
        yield from _host(own, addresses)
        for address in addresses:
            claim = claims[reverse_key(address)]
            yield Entry(claim.name, dns.PTR, HOST_TTL, own.name, True, (claim,))
            yield _nsec(claim.name, [dns.PTR], claim)
    others: dict[str, list[IPAddress]] = {}
    for service in offer.services:
        if service.host and service.addresses:
            known = others.setdefault(host_key(service.host), [])
            known += [address for address in service.addresses if address not in known]
    for key, addresses in others.items():
        yield from _host(claims[key], addresses)
    # Records that several services have in common, each with all the claims that it hangs on.
    shared: dict[tuple[bytes, bytes], list[Claim]] = {}
    for service in offer.services:
        claim = claims[service.key]
        yield from _instance(service, claim, _target(service, claims))
        type_name = local(*type_labels(service.type))
        shared.setdefault((SERVICE_TYPES, type_name), []).append(claim)
        shared[type_name, claim.name] = [claim]
        for subtype in service.subtypes:
            shared[local(subtype, "_sub", *type_labels(service.type)), claim.name] = [claim]
    for (name, target), hung in shared.items():
        yield Entry(name, dns.PTR, OTHER_TTL, target, False, tuple(hung))


def _host(claim: Claim, addresses: Sequence[IPAddress]) -> Iterator[Entry]:
    types = []
    for address in addresses:
        rdtype = dns.A if address.version == 4 else dns.AAAA
        types.append(rdtype)
        yield Entry(claim.name, rdtype, HOST_TTL, address.packed, True, (claim,))
    yield _nsec(claim.name, types, claim)


def _target(service: ServiceOptions, claims: Mapping[str, Claim]) -> bytes:
    """The host that a service is on."""
    if not service.host:
        return claims[HOST].name
    claim = claims.get(host_key(service.host))
    return service.host_name if claim is None else claim.name


def _instance(service: ServiceOptions, claim: Claim, target: bytes) -> Iterator[Entry]:
    srv = struct.pack("!HHH", 0, 0, service.port) + target
    yield Entry(claim.name, dns.SRV, HOST_TTL, srv, True, (claim,))
    yield Entry(claim.name, dns.TXT, OTHER_TTL, service.txt_rdata, True, (claim,))
    yield _nsec(claim.name, [dns.SRV, dns.TXT], claim)


def _nsec(name: bytes, types: Iterable[int], claim: Claim) -> Entry:
    """Says which types the name has, in the restricted form of RFC 6762 section 6.1: one block, the name itself."""
    bits = bytearray(32)
    for rdtype in types:
        bits[rdtype // 8] |= 0x80 >> rdtype % 8
    bitmap = bytes(bits).rstrip(b"\0")
    block = bytes([0, len(bitmap)]) + bitmap if bitmap else b""
    return Entry(name, dns.NSEC, HOST_TTL, name + block, True, (claim,))


@attrs.frozen(eq=False)
class NameRecords:
    """What there is at a name: by type without NSEC, and what says that there is nothing else."""

    by_type: dict[int, tuple[Entry, ...]]
    everything: tuple[Entry, ...]
    denial: tuple[Entry, ...]


class Zone:
    """The entries of a link that are told, by name."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = {entry.identity: entry for entry in entries}
        at: dict[bytes, list[Entry]] = {}
        for entry in self.entries.values():
            at.setdefault(entry.key, []).append(entry)
        self._names = {key: _records_at(found) for key, found in at.items()}
        self._additionals: dict[Entry, tuple[Entry, ...]] = {}

    def find(self, key: bytes, rdtype: int, rdclass: int) -> tuple[Entry, ...]:
        """What answers a question; `key` is its name in lower case."""
        records = self._names.get(key)
        if records is None or rdclass not in (dns.IN, dns.CLASS_ANY):
            return ()
        if rdtype == dns.ANY:
            return records.everything or records.denial
        return records.by_type.get(rdtype) or records.denial

    def of(self, key: bytes, rdtype: int) -> tuple[Entry, ...]:
        """The records of a name and type."""
        records = self._names.get(key)
        return () if records is None else records.by_type.get(rdtype, ())

    def additionals(self, entry: Entry) -> tuple[Entry, ...]:
        """What the asker of `entry` will ask next (RFC 6763 section 12, RFC 6762 sections 6.1 and 7.1)."""
        found = self._additionals.get(entry)
        if found is None:
            found = self._additionals[entry] = tuple(dict.fromkeys(self._related(entry)))
        return found

    def _related(self, entry: Entry) -> Iterator[Entry]:
        if entry.rdtype == dns.PTR and not entry.unique:
            target = entry.rdata.lower()
            for related in (*self.of(target, dns.SRV), *self.of(target, dns.TXT)):
                yield related
                yield from self._related(related)
        elif entry.rdtype == dns.SRV:
            target = entry.rdata[6:].lower()
            yield from (*self.of(target, dns.A), *self.of(target, dns.AAAA))
            yield from self._denies_family(target)
        elif entry.rdtype in (dns.A, dns.AAAA):
            yield from self.of(entry.key, dns.AAAA if entry.rdtype == dns.A else dns.A)
            yield from self._denies_family(entry.key)
        elif entry.rdtype == dns.NSEC:
            yield from (*self.of(entry.key, dns.A), *self.of(entry.key, dns.AAAA))

    def _denies_family(self, key: bytes) -> Iterator[Entry]:
        """A host without addresses of a family says so unasked."""
        if bool(self.of(key, dns.A)) != bool(self.of(key, dns.AAAA)):
            yield from self._names[key].denial


def _records_at(entries: Sequence[Entry]) -> NameRecords:
    by_type: dict[int, tuple[Entry, ...]] = {}
    for entry in entries:
        by_type[entry.rdtype] = (*by_type.get(entry.rdtype, ()), entry)
    denial = by_type.pop(dns.NSEC, ())
    return NameRecords(by_type, tuple(entry for found in by_type.values() for entry in found), denial)
