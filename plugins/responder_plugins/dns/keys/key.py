"""A key of a zone: its place in the zone, and the times at which that changes.

The times are those of BIND's key files, in seconds since 1970; one that is not known yet is missing:

    Created      made
    Publish      its DNSKEY record is in the zone, which a key-signing key then signs too
    SyncPublish  CDS and CDNSKEY records ask the parent for its DS record (RFC 7344)
    DSPublish    the operator has said that the parent has the DS record
    Activate     it signs the zone's records
    Inactive     it signs no more of them; its signatures go as they are replaced
    Delete       its DNSKEY record leaves the zone
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs

from ..message import wire
from .algorithms import SigningKey

CREATED, PUBLISH, SYNC_PUBLISH, ACTIVATE, INACTIVE, DELETE = (
    "Created",
    "Publish",
    "SyncPublish",
    "Activate",
    "Inactive",
    "Delete",
)
DS_PUBLISH: Final = "DSPublish"

ZONE_KEY, SEP = 0x100, 0x1
"""Flags of a DNSKEY record (RFC 4034 section 2.1.1)."""

SHA256: Final = 2
"""The digest type of DS and CDS records (RFC 4509)."""


@attrs.frozen
class Key:
    """A key-signing key (KSK), a zone-signing key (ZSK), or both in one (CSK).

    zone   the zone's name in wire form and lower case
    flags  of its DNSKEY record
    signs  it signs the zone's records, as a ZSK does
    times  see the module's docstring
    """

    zone: bytes
    flags: int
    signs: bool
    signing: SigningKey
    times: Mapping[str, int]

    @property
    def algorithm(self) -> int:
        return self.signing.algorithm

    @property
    def leads(self) -> bool:
        """It signs the DNSKEY records, and the parent's DS record is of it, as a KSK does."""
        return bool(self.flags & SEP)

    @property
    def role(self) -> str:
        return "CSK" if self.leads and self.signs else "KSK" if self.leads else "ZSK"

    @property
    def dnskey(self) -> bytes:
        """The rdata of its DNSKEY record; protocol is 3 (RFC 4034 section 2.1.2)."""
        return self.flags.to_bytes(2) + bytes((3, self.algorithm)) + self.signing.public

    @property
    def tag(self) -> int:
        return key_tag(self.dnskey)

    def at(self, name: str, now: float) -> bool:
        """Has that time come?"""
        time = self.times.get(name)
        return time is not None and time <= now

    def published(self, now: float) -> bool:
        return self.at(PUBLISH, now) and not self.at(DELETE, now)

    def active(self, now: float) -> bool:
        """Does it sign the zone's records?"""
        return self.signs and self.published(now) and self.at(ACTIVATE, now) and not self.at(INACTIVE, now)

    def with_times(self, **times: int | None) -> Key:
        """With these times set, or where None unset."""
        changed: dict[str, int | None] = {**self.times, **times}
        return attrs.evolve(self, times={name: time for name, time in changed.items() if time is not None})


def key_tag(dnskey: bytes) -> int:
    """RFC 4034 appendix B."""
    total = sum(byte if number & 1 else byte << 8 for number, byte in enumerate(dnskey))
    return total + (total >> 16) & 0xFFFF


def ds(key: Key) -> bytes:
    """The rdata of the DS record of a key (RFC 4034 section 5.1.4)."""
    digest = hashlib.sha256(key.zone + key.dnskey).digest()
    return key.tag.to_bytes(2) + bytes((key.algorithm, SHA256)) + digest


UNSIGN_DS: Final = wire.ROOT * 5
UNSIGN_KEY: Final = b"\0\0\3\0\0"
"""CDS and CDNSKEY records that ask the parent to have no DS record (RFC 8078 section 4)."""
