"""Reads plain lines of master files: one record of words without quotes, escapes, comments or parentheses.

Most lines of large zones are such, and cost a fraction of what an entry of `words` does.  Every line that is not, those
with mistakes included, is left to `master_file`.  A test compares both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import dns.exception

from ..message import wire
from . import rdata
from .builder import Line, ZoneBuilder
from .names import NameReader
from .record import Ttls, read_header
from .tables import node_of_one
from .words import Unreadable

NOT_PLAIN: Final = re.compile(rb'["();\\$\x00-\x08\x0b-\x1f\x7f-\xff]')
"""What a plain line has not."""

_BLANK: Final = 0x20
_LABEL_SIZES: Final = [bytes((size,)) for size in range(wire.MAX_LABEL + 1)]
_OCTETS: Final = {str(number).encode(): bytes((number,)) for number in range(256)}


@attrs.define(eq=False)
class Position:
    """What holds where the reading is."""

    names: NameReader
    owner: bytes | None
    ttls: Ttls


def read(lines: Sequence[bytes], first: int, position: Position, builder: ZoneBuilder, path: Path, number: int) -> int:
    """Read lines from the `first` on, which is line `number` of the file.

    Returns the number in `lines` of the first that is not plain, or how many there are.
    """
    nodes, spelled, zone = builder.nodes, builder.spelled, builder.origin
    names, ttls = position.names, position.ttls
    origin = names.origin
    inside = wire.is_below(origin.lower(), zone)
    owner, ttl = position.owner, ttls.current
    # A record of one line, "name A address", is most of what a large zone has: it is read here without a call.
    head = None if ttl is None or not inside else node_of_one(wire.A, ttl, bytes(4))[:-4]
    added = 0
    at = first
    for line in islice(lines, first, None):
        words = line.split()
        if len(words) == 3 and head is not None and words[1] == b"A" and line[0] > _BLANK:
            label, _, data = words
            try:
                a, b, c, d = data.split(b".")
                node = head + _OCTETS[a] + _OCTETS[b] + _OCTETS[c] + _OCTETS[d]
                if b"." in label or label == b"@" or len(label) > wire.MAX_LABEL:
                    owner = names.read(label)
                else:
                    owner = _LABEL_SIZES[len(label)] + label + origin
            except (ValueError, KeyError, dns.exception.DNSException):
                break
            name = owner.lower()
            if len(name) > wire.MAX_NAME or (label[-1] == _DOT and not wire.is_below(name, zone)):
                break
            if nodes.setdefault(name, node) is node:
                added += 1
                if name != owner:
                    spelled.setdefault(name, owner)
            else:
                builder.add(owner, wire.A, ttl or 0, node[-4:], Line(path, number + at - first))
        elif words:
            record = _read_record(words, line[0] > _BLANK, owner, names)
            if record is None:
                break
            owner, stated, rdtype, value = record
            if stated is None:
                if ttl is None:
                    break
                stated = ttl
            elif stated != ttls.last:
                ttls.last = stated
                ttl = ttls.current
                head = None if ttl is None or not inside else node_of_one(wire.A, ttl, bytes(4))[:-4]
            builder.add(owner, rdtype, stated, value, Line(path, number + at - first))
        at += 1
    position.owner = owner
    builder.count(added)
    return at


_DOT: Final = ord(".")


def _read_record(
    words: Sequence[bytes], named: bool, owner: bytes | None, names: NameReader
) -> tuple[bytes, int | None, int, bytes] | None:
    """Owner, TTL where it is stated, type and rdata; None: the line isn't plain."""
    try:
        ttl, rdtype, at = read_header(words, int(named))
        if rdtype not in rdata.FIELDS or rdtype == wire.SOA:
            return None
        written = names.read(words[0]) if named else owner
        if written is None:
            return None
        return written, ttl, rdtype, rdata.to_wire(rdtype, words[at:], names.read)
    except (Unreadable, ValueError, LookupError, OverflowError, dns.exception.DNSException):
        return None
