"""The records that sign a zone, from bytes to bytes: RRSIG, NSEC, NSEC3, DNSKEY, CDS, CDNSKEY (RFC 4034, 5155, 7344).

Names are in wire form.
"""

from __future__ import annotations

import base64
import hashlib
import random
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs

from ..message import wire
from ..zone.rdata import bitmap, folded
from .key import UNSIGN_DS, UNSIGN_KEY, Key, ds
from .timeline import requests_ds

SKEW: Final = 3600
"""Seconds by which a signature begins before it is made: a resolver's clock may be late."""

FRAME: Final = struct.Struct("!HBBIIIH")
"""An RRSIG record's data in front of the signer's name (RFC 4034 section 3.1)."""

_CANONICAL_IN_LOWER_CASE: Final = frozenset(
    {wire.NS, 3, 4, wire.CNAME, wire.SOA, 7, 8, 9, wire.PTR, 14, wire.MX, 17, 18, 21, wire.SIG, 26, wire.NXT}
    | {wire.SRV, 35, 36, wire.DNAME, wire.RRSIG}
)
"""Types whose names in the rdata are signed in lower case (RFC 4034 section 6.2, RFC 6840 section 5.1)."""

LED: Final = frozenset({wire.DNSKEY, wire.CDS, wire.CDNSKEY})
"""Types that a KSK signs (RFC 4035 section 2.2, RFC 7344 section 4.1)."""

_NSEC3_FIXED: Final = bytes((0, 0, 0))
"""Iterations and length of the salt: none of both (RFC 9276 section 3.1)."""

_OPT_OUT: Final = 1
_SHA1: Final = 1


@attrs.define(eq=False)
class RecordSigner:
    """Signs RRsets of one zone at one time.

    keys      that sign its records; `kept` those whose signatures stay until they are near their end
    leading   that sign DNSKEY, CDS and CDNSKEY records
    now       seconds of the real-time clock
    lifetime  seconds after which a signature ends, and up to `jitter` seconds before, so that not all end at once
    refresh   seconds before its end from which a signature is replaced
    """

    origin: bytes
    keys: Sequence[Key]
    kept: Sequence[Key]
    leading: Sequence[Key]
    now: int
    lifetime: int
    refresh: int
    jitter: int
    _random: random.Random = attrs.field(factory=random.Random)

    def sign(self, name: bytes, rdtype: int, ttl: int, rdatas: Iterable[bytes]) -> list[bytes]:
        """The rdata of an RRset's RRSIG records; `name` in lower case."""
        keys = self.leading if rdtype in LED else self.keys
        end = self.now + self.lifetime - int(self._random.random() * self.jitter)
        labels = label_count(name)
        owner = name + struct.pack("!HHI", rdtype, wire.IN, ttl)
        canonical = sorted((folded(rdtype, each) for each in rdatas) if rdtype in _CANONICAL_IN_LOWER_CASE else rdatas)
        covered = b"".join([owner + len(each).to_bytes(2) + each for each in canonical])
        made = []
        for key in keys:
            head = FRAME.pack(
                *(rdtype, key.algorithm, labels, ttl, end % 2**32, (self.now - SKEW) % 2**32, key.tag),
            )
            made.append(head + self.origin + key.signing.sign(head + self.origin + covered))
        return made

    def holds(self, rrsigs: Collection[bytes], rdtype: int) -> bool:
        """Do these signatures do for an RRset that hasn't changed since: of the keys in use, and not near their end?"""
        needed, kept = (self.leading, self.leading) if rdtype in LED else (self.keys, self.kept)
        tags = {key.tag for key in kept}
        return len(rrsigs) == len(needed) and all(
            remaining(rrsig, self.now) > self.refresh and tag_of(rrsig) in tags for rrsig in rrsigs
        )


def tag_of(rrsig: bytes) -> int:
    return int.from_bytes(rrsig[16:18])


def remaining(rrsig: bytes, now: int) -> int:
    """Seconds until a signature ends, by serial number arithmetic (RFC 4034 section 3.1.5)."""
    return (int.from_bytes(rrsig[8:12]) - now + 2**31) % 2**32 - 2**31


def label_count(name: bytes) -> int:
    """RFC 4034 section 3.1.3: without the root, and without a wildcard's `*`."""
    count = at = 0
    while name[at]:
        count += 1
        at += name[at] + 1
    return count - name.startswith(b"\1*")


def at_apex(keys: Iterable[Key], now: float, cds: str) -> dict[int, list[bytes]]:
    """The rdatas of DNSKEY, CDS and CDNSKEY records, by type.

    `cds`: "always" asks the parent for the DS record of the key that is ready, "delete" for none (RFC 8078 section 4),
    "none" for nothing.
    """
    keys = [key for key in keys if key.published(now)]
    rdatas = {wire.DNSKEY: sorted(key.dnskey for key in keys)}
    wanted = requests_ds(keys, now)
    if cds == "delete":
        rdatas |= {wire.CDS: [UNSIGN_DS], wire.CDNSKEY: [UNSIGN_KEY]}
    elif cds == "always" and wanted is not None:
        rdatas |= {wire.CDS: [ds(wanted)], wire.CDNSKEY: [wanted.dnskey]}
    return rdatas


# Chains


def nsec(following: bytes, rdtypes: Iterable[int]) -> bytes:
    """RFC 4034 section 4.1: the next name, and the types at this one, of which NSEC and RRSIG are two."""
    return following + bitmap({*rdtypes, wire.NSEC, wire.RRSIG})


def nsec3(following: bytes, rdtypes: Iterable[int], *, opt_out: bool) -> bytes:
    """RFC 5155 section 3.2; `following` is the next hash."""
    head = bytes((_SHA1, _OPT_OUT if opt_out else 0)) + _NSEC3_FIXED
    return head + bytes((len(following),)) + following + bitmap(rdtypes)


NSEC3PARAM_RDATA: Final = bytes((_SHA1, 0)) + _NSEC3_FIXED
"""RFC 5155 section 4.1.2: the flags are 0, whatever those of the NSEC3 records."""


def hash_of(name: bytes) -> bytes:
    """RFC 5155 section 5, without salt and with no further iteration."""
    return hashlib.sha1(name, usedforsecurity=False).digest()


def hashed_owner(digest: bytes, origin: bytes) -> bytes:
    label = base64.b32hexencode(digest).lower()
    return bytes((len(label),)) + label + origin


def label_of(owner: bytes) -> bytes:
    """The first label of a name."""
    return owner[1 : owner[0] + 1]


def denied_types(present: Mapping[int, bytes] | Collection[int], *, at_cut: bool) -> set[int]:
    """Of the types at a name those that its NSEC or NSEC3 record tells: at a cut what is this zone's (RFC 4035 2.3)."""
    return {rdtype for rdtype in present if not at_cut or rdtype in (wire.NS, wire.DS)}
