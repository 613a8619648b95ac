"""Magic packets (AMD publication 20213) as bytes and values: pure."""

from __future__ import annotations

import re

import attrs

SYNC = b"\xff" * 6
COPIES = 16

_ADDRESS = re.compile(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")


@attrs.frozen
class Wake:
    """Whom a packet wakes (a hardware address, 6 bytes), and what followed: a password of 6 bytes, or none."""

    machine: bytes
    password: bytes = b""


def parse(payload: bytes) -> Wake | None:
    """The first magic packet anywhere in a payload; None: there is none."""
    start = payload.find(SYNC)
    while start >= 0:
        machine = payload[start + 6 : start + 12]
        end = start + 6 + 6 * COPIES
        if len(machine) == 6 and payload[start + 6 : end] == machine * COPIES:
            password = payload[end : end + 6]
            return Wake(machine, password if len(password) == 6 else b"")
        start = payload.find(SYNC, start + 1)
    return None


def build(wake: Wake) -> bytes:
    return SYNC + wake.machine * COPIES + wake.password


def to_address(text: str) -> bytes:
    """ "02:00:5e:00:53:01" or with hyphens -> 6 bytes.  Raises ValueError."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"expected a hardware address such as '02:00:5e:00:53:01', got {text!r}")
    return bytes.fromhex(text.replace(text[2], ""))
