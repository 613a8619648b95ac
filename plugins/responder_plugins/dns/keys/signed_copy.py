"""The signed zone in the state folder: its tables as they are, so that they are read in little time.

Written whole or not at all, and with a checksum; what can't be read is as if it weren't there, and the zone is signed
anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from responder import get_logger, wall_time
from responder_plugins.shared.kept_file import end_of_checked, write_checked

from ..message import wire
from ..zone.builder import name_text
from ..zone.denial import chain_of
from ..zone.signatures import FirstEnd
from ..zone.tables import Zone, blocks, unpack

FIRST_LINE: Final = b"responderd signed zone 1\n"

_SIZES: Final = struct.Struct("!BI")
_COUNT: Final = struct.Struct("!I")
_AT_ONCE: Final = 2**20

_log = get_logger(__name__)


def write(path: Path, zone: Zone) -> None:
    """Raises OSError; what was there before is then still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checked(path, _packed(zone))


def read(path: Path, origin: bytes) -> Zone | None:
    """The zone; None where there is none, or none that is whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("the copy of a signed zone can't be read", zone=name_text(origin), reason=str(error))
        return None
    try:
        return _unpacked(data, origin)
    except (ValueError, LookupError, struct.error) as error:
        _log.warning(
            "the copy of a signed zone is damaged: it is signed anew", zone=name_text(origin), reason=str(error)
        )
        return None


def _packed(zone: Zone) -> Iterator[bytes]:
    yield FIRST_LINE + bytes((len(zone.origin),)) + zone.origin
    sets: list[Mapping[bytes, bytes]] = [dict.fromkeys(names, b"") for names in (zone.cuts, zone.dnames)]
    for table in (zone.nodes, zone.hashed, zone.spelled, *sets):
        yield _COUNT.pack(len(table))
        yield from _stretches(table.items())


def _stretches(items: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for name, value in items:
        parts += [_SIZES.pack(len(name), len(value)), name, value]
        size += len(value) + 40
        if size > _AT_ONCE:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _unpacked(data: bytes, origin: bytes) -> Zone:
    """Raises ValueError, LookupError and struct.error."""
    head = FIRST_LINE + bytes((len(origin),)) + origin
    at, end = len(head), end_of_checked(data, head)
    tables: list[dict[bytes, bytes]] = []
    for _ in range(5):
        (count,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        table = {}
        for _ in range(count):
            length, size = _SIZES.unpack_from(data, at)
            at += _SIZES.size
            name = data[at : at + length]
            at += length
            table[name] = data[at : at + size]
            at += size
        tables.append(table)
    nodes, hashed, spelled, cuts, dnames = tables
    ends = FirstEnd(wall_time())
    for node in (*nodes.values(), *hashed.values()):
        for rdtype, _, _, records in blocks(node):
            if rdtype == wire.RRSIG:
                for rrsig in unpack(records)[1]:
                    ends.see(rrsig)
    chain = chain_of(origin, nodes, hashed)
    if chain is None or at != end:
        raise ValueError("it is no signed zone")
    return Zone(origin, nodes, hashed, spelled, set(cuts), set(dnames), chain=chain, ends=ends)
