"""Catalog zones (RFC 9432): what one lists, and one made of the names of zones.  Pure.

    version.CATALOG         TXT  "2"
    LABEL.zones.CATALOG     PTR  a member zone; another label means that the member begins anew (section 5.6)
    coo.LABEL.zones.CATALOG PTR  the catalog that the member is about to move to (section 4.4.1)

Other properties, groups among them, are ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import attrs

from ..message import wire
from ..zone.builder import Line, ZoneBuilder, name_text
from ..zone.tables import Zone

VERSION: Final = b"\x012"
"""The schema version, as a TXT record has it (section 4.2.1)."""

REFRESH, RETRY, EXPIRE = 3600, 600, 2**31 - 1
"""Seconds, of a catalog zone that is made here: changes are told by NOTIFY; a list never gets too old."""

_INVALID: Final = b"\7invalid\0"
"""The server of a zone that nobody asks by name (section 4.1)."""


class BrokenCatalog(Exception):
    """It can't be processed (section 5.1); the text says why."""


@attrs.frozen
class Member:
    """label: in lower case, as in wire form; moves_to: the origin of the catalog that is to have it."""

    label: bytes
    moves_to: bytes | None = None


@attrs.frozen
class Listed:
    """The members by their origins, and how many records were ignored."""

    members: Mapping[bytes, Member]
    ignored: int = 0


def read(zone: Zone) -> Listed:
    """Raises BrokenCatalog."""
    version = zone.rrset(b"\7version" + zone.origin, wire.TXT)
    if version is None or version.rdatas != (VERSION,):
        raise BrokenCatalog('it has not the one version record, TXT "2" (RFC 9432 section 4.2.1)')
    zones = b"\5zones" + zone.origin
    members: dict[bytes, Member] = {}
    moves: dict[bytes, bytes] = {}
    ignored = 0
    for name, node in zone.nodes.items():
        if not node or not name.endswith(zones) or name == zones:
            continue
        first = name[: name[0] + 1]
        rest = name[len(first) :]
        pointers = zone.rrset(name, wire.PTR)
        if rest == zones and pointers is not None:
            if len(pointers.rdatas) != 1:
                raise BrokenCatalog(f"{name_text(name)} has several PTR records (RFC 9432 section 4.2.2)")
            member = pointers.rdatas[0].lower()
            if member in members:
                raise BrokenCatalog(f"it lists {name_text(member)} twice (RFC 9432 section 4.2.2)")
            members[member] = Member(first)
        elif first == b"\3coo" and rest[rest[0] + 1 :] == zones and pointers is not None and len(pointers.rdatas) == 1:
            moves[rest[: rest[0] + 1]] = pointers.rdatas[0].lower()
        else:
            ignored += 1
    if moves:
        members = {origin: attrs.evolve(member, moves_to=moves.get(member.label)) for origin, member in members.items()}
    return Listed(members, ignored)


def make(origin: bytes, members: Collection[bytes], serial: int) -> Zone:
    """The catalog zone of these origins.  A member keeps its label for as long as its name."""
    builder = ZoneBuilder(origin)
    line = Line(Path("catalog"), 0)
    numbers = b"".join(number.to_bytes(4) for number in (serial, REFRESH, RETRY, EXPIRE, 0))
    builder.add(origin, wire.SOA, 0, _INVALID + _INVALID + numbers, line)
    builder.add(origin, wire.NS, 0, _INVALID, line)
    builder.add(b"\7version" + origin, wire.TXT, 0, VERSION, line)
    for member in sorted(members):
        builder.add(label_of(member) + b"\5zones" + origin, wire.PTR, 0, member, line)
    return builder.finish(line.file, {})


def label_of(member: bytes) -> bytes:
    digest = hashlib.sha256(member).hexdigest()[:32].encode()
    return bytes((len(digest),)) + digest
