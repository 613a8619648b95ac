"""Queries about example.test.zone, generated: all types, odd names, combinations of EDNS; always the same ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import dns.name
import dns.zone

ZONE = Path(__file__).with_name("example.test.zone")
ORIGIN = dns.name.from_text("example.test.")

QUIET_TYPES = [1, 2, 5, 6, 12, 15, 16, 28, 33, 39]
"""What is asked of every name; other types of some."""

ALL_TYPES = [*range(1, 41), *range(42, 66), *range(99, 110), *range(252, 262), 32768, 32769, 65280, 65534, 65535]

LABELS = [b"x", b"*", b"www", b"nothing", b"\0", b"a.b", b"\xff\xfe", b"A" * 63, b"_sip", b"-", b"0", b"\\", b'"']


def names() -> list[dns.name.Name]:
    """The zone's, those between them and the origin, below and beside them, and some outside."""
    zone = dns.zone.from_file(str(ZONE), ORIGIN, relativize=False)
    found = dict.fromkeys(zone.nodes)
    for name in list(found):
        for above in range(len(ORIGIN.labels), len(name.labels)):
            found[dns.name.Name(name.labels[-above:])] = None
    rng = random.Random(1035)  # noqa: S311 - the same ones each time
    result = list(found)
    for name in list(found):
        for label in rng.sample(LABELS, 4):
            result += _below(name, label)
        for below in _below(name, b"a"):
            result += _below(below, rng.choice(LABELS))
    for text in (".", "test.", "elsewhere.invalid.", "xexample.test.", "example.test.invalid."):
        result.append(dns.name.from_text(text))
    return result


def _below(name: dns.name.Name, label: bytes) -> list[dns.name.Name]:
    try:
        return [dns.name.Name((label, *name.labels))]
    except dns.name.NameTooLong:
        return []


def _mixed(rng: random.Random, name: bytes) -> bytes:
    return bytes(byte ^ 0x20 if 65 <= byte & 0xDF <= 90 and rng.random() < 0.4 else byte for byte in name)


OPTIONS = [b"", struct.pack("!HH", 65001, 3) + b"abc", struct.pack("!HH", 3, 0), struct.pack("!HH", 12, 8) + bytes(8)]
"""None, an unknown one, NSID, and padding."""


def _opt(rng: random.Random) -> bytes:
    """An OPT record, or none."""
    if rng.random() < 0.4:
        return b""
    size = rng.choice([0, 511, 512, 513, 1232, 4096, 65535])
    version = 1 if rng.random() < 0.03 else 0
    options = rng.choice(OPTIONS)
    return b"\0" + struct.pack("!HHBBHH", 41, size, 0, version, rng.choice([0, 0x8000]), len(options)) + options


def queries() -> Iterator[bytes]:
    """Whole queries, their IDs from 0 on and around again."""
    rng = random.Random(2136)  # noqa: S311 - the same ones each time
    number = 0
    for name in names():
        plain = name.to_wire() or b""
        for rdtype in QUIET_TYPES + rng.sample(ALL_TYPES, 34):
            # Many of the zone's own types, at least once without anything that could hide a difference.
            flags = rng.choice([0, 0x0100, 0x0010, 0x0020, 0x0130])
            rdclass = rng.choice([1] * 40 + [3, 4, 254])
            opt = _opt(rng)
            header = struct.pack("!HHHHHH", number & 0xFFFF, flags, 1, 0, 0, 1 if opt else 0)
            yield header + _mixed(rng, plain) + struct.pack("!HH", rdtype, rdclass) + opt
            number += 1
    for opcode in range(1, 16):
        question = (ORIGIN.to_wire() or b"") + struct.pack("!HH", 6, 1)
        yield struct.pack("!HHHHHH", number & 0xFFFF, opcode << 11, 1, 0, 0, 0) + question
        number += 1
