"""What proves that a name or a type is not there: NSEC (RFC 4034, 4035) or NSEC3 records (RFC 5155) of a signed zone.

A proof is a list of owners; each has its NSEC or NSEC3 record and the signatures of it in the zone.  Both kinds of
chain answer the same questions:

    no_name      the name isn't there, nor a wildcard that would make it up
    no_data      the name is there, or a wildcard makes it up, but not with this type
    expanded     a wildcard made the name up, since no closer name is there
    no_ds        a delegation has no DS records

`encloser` is the closest name above that is there.  Names are in wire form and lower case.
"""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from ..cache import BoundedCache
from ..message import wire
from .tables import blocks, unpack

MAX_HASHES: Final = 10_000
"""Hashes of names that are remembered, twice (see `BoundedCache`)."""


FEW: Final = 32
"""Names that come or go in place: moving the others costs 0.3 ms each in a list of a million."""


class Chain(Protocol):
    """See the module's docstring; `rdtype` is that of the records."""

    rdtype: int

    def change(self, nodes: Mapping[bytes, bytes], hashed: Mapping[bytes, bytes], names: Iterable[bytes]) -> None:
        """Of these names the nodes, or of these owners the hashed ones, have become others."""

    def no_name(self, name: bytes, encloser: bytes) -> list[bytes]: ...
    def no_data(self, name: bytes, encloser: bytes) -> list[bytes]: ...
    def expanded(self, name: bytes, encloser: bytes) -> list[bytes]: ...
    def no_ds(self, cut: bytes) -> list[bytes]: ...


def chain_of(
    origin: bytes, nodes: Mapping[bytes, bytes], hashed: Mapping[bytes, bytes], ordered: list[bytes] | None = None
) -> Chain | None:
    """The chain of a zone that is signed as a whole; None: it is not, or in a way that is not known here.

    `ordered` are its names, or the labels of hashes, in their order, where that is known.
    """
    apex = nodes.get(origin, b"")
    present = {(rdtype, covered) for rdtype, covered, _, _ in blocks(apex)}
    if not {(wire.DNSKEY, 0), (wire.RRSIG, wire.SOA), (wire.RRSIG, wire.DNSKEY)} <= present:
        return None
    for rdtype, _, _, records in blocks(apex):
        if rdtype == wire.NSEC3PARAM:
            for params in unpack(records)[1]:
                chain = Nsec3Chain(origin, hashed, params, ordered)
                # RFC 5155 section 4: algorithm 1 is SHA-1, flags are 0.
                if params[:2] == b"\1\0" and chain.label_of(origin) in chain.labels:
                    return chain
    return NsecChain(nodes, ordered) if (wire.NSEC, 0) in present else None


def unique(owners: Iterable[bytes]) -> list[bytes]:
    return list(dict.fromkeys(owners))


def canonical(name: bytes) -> tuple[bytes, ...]:
    """What sorts names as RFC 4034 section 6.1 has it: by their labels from the last to the first."""
    labels = []
    at = 0
    while name[at]:
        end = at + name[at] + 1
        labels.append(name[at + 1 : end])
        at = end
    labels.reverse()
    return tuple(labels)


def _has(node: bytes, rdtype: int) -> bool:
    return any(each[0] == rdtype for each in blocks(node))


def _edited(entries: list[bytes], wanted: Mapping[bytes, bool], key: Callable[[bytes], Any]) -> list[bytes]:
    """A sorted list, with or without each of some entries: a few in place, many by one copy of the list."""
    edits = []
    for entry in sorted(wanted, key=key):
        place = bisect_left(entries, key(entry), key=key)
        present = entries[place : place + 1] == [entry]
        if present != wanted[entry]:
            edits.append((place, entry, present))
    if len(edits) <= FEW:
        for place, entry, present in reversed(edits):
            entries[place : place + present] = [] if present else [entry]
        return entries
    edited: list[bytes] = []
    at = 0
    for place, entry, present in edits:
        edited += entries[at:place]
        if not present:
            edited.append(entry)
        at = place + present
    return edited + entries[at:]


class NsecChain:
    rdtype = wire.NSEC

    def __init__(self, nodes: Mapping[bytes, bytes], names: list[bytes] | None = None) -> None:
        self.names = names or sorted((name for name, node in nodes.items() if _has(node, wire.NSEC)), key=canonical)

    def change(self, nodes: Mapping[bytes, bytes], hashed: Mapping[bytes, bytes], names: Iterable[bytes]) -> None:
        self.names = _edited(self.names, {name: _has(nodes.get(name, b""), wire.NSEC) for name in names}, canonical)

    def _covering(self, name: bytes) -> bytes:
        """The owner at the name, or the last one in front of it."""
        return self.names[bisect_right(self.names, canonical(name), key=canonical) - 1]

    def no_name(self, name: bytes, encloser: bytes) -> list[bytes]:
        return unique([self._covering(name), self._covering(b"\1*" + encloser)])

    def no_data(self, name: bytes, encloser: bytes) -> list[bytes]:
        if name == encloser:  # an empty non-terminal has no NSEC: the one in front of it shows that
            return [self._covering(name)]
        return unique([self._covering(name), self._covering(b"\1*" + encloser)])

    def expanded(self, name: bytes, encloser: bytes) -> list[bytes]:
        return [self._covering(name)]

    def no_ds(self, cut: bytes) -> list[bytes]:
        return [self._covering(cut)]


class Nsec3Chain:
    """`labels`: the hashes that are there, in base32hex as their owners have it, sorted."""

    rdtype = wire.NSEC3

    def __init__(
        self, origin: bytes, hashed: Mapping[bytes, bytes], params: bytes, labels: list[bytes] | None = None
    ) -> None:
        self._origin = origin
        self._iterations = int.from_bytes(params[2:4])
        self._salt = params[5 : 5 + params[4]]
        self._in_use = params[2:5] + self._salt
        self.labels = labels or sorted(
            owner[1 : owner[0] + 1] for owner, node in hashed.items() if self._is_in_use(node)
        )
        self._hashes: BoundedCache[bytes, bytes] = BoundedCache(MAX_HASHES)

    def _is_in_use(self, node: bytes) -> bool:
        return any(
            rdtype == wire.NSEC3 and any(rdata[2:].startswith(self._in_use) for rdata in unpack(records)[1])
            for rdtype, _, _, records in blocks(node)
        )

    def change(self, nodes: Mapping[bytes, bytes], hashed: Mapping[bytes, bytes], names: Iterable[bytes]) -> None:
        present = {owner[1 : owner[0] + 1]: self._is_in_use(hashed.get(owner, b"")) for owner in names}
        self.labels = _edited(self.labels, present, bytes)

    def label_of(self, name: bytes) -> bytes:
        """The first label of the owner of a name's NSEC3 record (RFC 5155 section 5)."""
        label = self._hashes.get(name)
        if label is None:
            digest = name
            for _ in range(self._iterations + 1):
                digest = hashlib.sha1(digest + self._salt, usedforsecurity=False).digest()
            label = base64.b32hexencode(digest).lower()
            self._hashes.put(name, label)
        return label

    def _at_or_before(self, name: bytes) -> tuple[bytes, bool]:
        """The owner of the name's own record, or of the one that covers it, and which it is."""
        label = self.label_of(name)
        found = self.labels[bisect_right(self.labels, label) - 1]
        return bytes((len(found),)) + found + self._origin, found == label

    def _closest(self, name: bytes, encloser: bytes) -> tuple[bytes, list[bytes]]:
        """RFC 5155 section 7.2.1: the closest provable encloser, and the proof that the next closer name is not there.

        With opt-out an encloser may have no record of its own: then one above it is proven.
        """
        above = list(wire.suffixes(name))
        at = above.index(encloser)
        while not self._at_or_before(above[at])[1] and above[at] != self._origin:
            at += 1
        owners = [self._at_or_before(above[at])[0]]
        if at:
            owners.append(self._at_or_before(above[at - 1])[0])
        return above[at], owners

    def no_name(self, name: bytes, encloser: bytes) -> list[bytes]:
        proven, owners = self._closest(name, encloser)
        return unique([*owners, self._at_or_before(b"\1*" + proven)[0]])

    def no_data(self, name: bytes, encloser: bytes) -> list[bytes]:
        return self.no_ds(name) if name == encloser else self.no_name(name, encloser)

    def expanded(self, name: bytes, encloser: bytes) -> list[bytes]:
        above = list(wire.suffixes(name))
        return [self._at_or_before(above[above.index(encloser) - 1])[0]]

    def no_ds(self, cut: bytes) -> list[bytes]:
        owner, is_own = self._at_or_before(cut)
        if is_own:
            return [owner]
        return unique(self._closest(cut, cut)[1])  # opt-out (RFC 5155 section 7.2.7)
