"""NTP's messages (RFC 5905 section 7.3) as bytes and values: the header, and what may stand behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Final

import attrs

from ..shared.refused import Refused

HEADER_BYTES: Final = 48
MAC_BYTES: Final = 4 + 16
"""A key's number and a digest of 128 bits: the only ones here."""

CLIENT: Final = 3
SERVER: Final = 4
"""Modes (figure 10)."""

UNSYNCHRONISED: Final = 3
"""A leap indicator (figure 9)."""

VERSIONS: Final = range(1, 5)

UNIX_EPOCH: Final = 2_208_988_800
"""1970 in seconds of NTP's first era, which began in 1900."""

FRACTION: Final = 1 << 32
ERA_MASK: Final = (1 << 64) - 1
"""A timestamp counts 2**-32 s, modulo 2**32 s: in 2036 it begins anew (figure 4)."""

KISS_RATE: Final = b"RATE"
KISS_INIT: Final = b"INIT"
"""Kiss codes (figure 13): you ask too often; the clock was not synchronised yet."""

_REST: Final = Struct("!bII4sQ")
_pack: Final = Struct("!QQ").pack
_FIELD: Final = Struct("!HH")

MIN_FIELD: Final = 16
"""Bytes of an extension field (RFC 7822 section 7.5)."""


def refusal_of(payload: bytes) -> Refused:
    """Why a message that is no client's request is none."""
    if len(payload) < HEADER_BYTES:
        return Refused(f"{len(payload)} bytes are no NTP header", "malformed")
    if payload[0] & 7 != CLIENT:
        return Refused(f"mode {payload[0] & 7}", "bad-mode")
    return Refused(f"version {payload[0] >> 3 & 7}", "bad-version")


def timestamp(seconds: float) -> int:
    """Seconds since 1970 in NTP's format (figure 3)."""
    return int((seconds + UNIX_EPOCH) * FRACTION) & ERA_MASK


def words_of(request: bytes | None, answers: Iterable[bytes]) -> dict[str, str | int]:
    """What was asked, in RFC 5905's words, and what was told: a stratum, and where that is 0 why there is no time."""
    words: dict[str, str | int] = {}
    if request:
        words = {"version": request[0] >> 3 & 7, "mode": request[0] & 7}
    for answer in answers:
        if len(answer) >= HEADER_BYTES:
            words["stratum"] = answer[1]
            if not answer[1]:
                words["kiss"] = answer[12:16].decode("ascii", "replace")
    return words


@attrs.frozen
class Clock:
    """What an answer says of the clock that it was made by.

    leap            the leap indicator (figure 9)
    stratum         0: there is no time to tell; `reference` is then a kiss code
    precision       as a power of 2 in seconds
    dispersion      seconds that it may be wrong by
    reference       4 bytes: what the clock is kept right by
    reference_time  a timestamp: when it was last known to be right
    """

    leap: int
    stratum: int
    precision: int
    dispersion: float
    reference: bytes
    reference_time: int

    def heads(self) -> Mapping[int, tuple[bytes, bytes]]:
        """By the first byte of a request, for each that a client's request may have: an answer's first bytes.

        They are the two before the poll exponent, and the 21 behind it; the version is the request's.
        """
        dispersion = min(0xFFFF_FFFF, int(self.dispersion * 0x10000))
        rest = _REST.pack(self.precision, 0, dispersion, self.reference, self.reference_time)
        return {
            leap << 6 | version << 3 | CLIENT: (bytes([self.leap << 6 | version << 3 | SERVER, self.stratum]), rest)
            for leap in range(4)
            for version in VERSIONS
        }


def write_answer(request: bytes, head: tuple[bytes, bytes], receive: int, transmit: int) -> bytes:
    """The answer to a request, by one of `Clock.heads` and the timestamps of its arrival and of now."""
    return head[0] + request[2:3] + head[1] + request[40:48] + _pack(receive, transmit)


def read_mac(payload: bytes) -> tuple[int, bytes, bytes] | None:
    """What stands behind the header: a key's number, the digest, and what it is of; None: no MAC.

    Extension fields before it are passed over.  Raises Refused where neither follows.
    """
    at = HEADER_BYTES
    # RFC 7822 section 7.5.1.4: what is left is a MAC where it is as long as one.
    while len(payload) - at > MAC_BYTES:
        _, size = _FIELD.unpack_from(payload, at)
        if size < MIN_FIELD or size % 4 or at + size > len(payload):
            raise Refused(f"an extension field of {size} bytes", "malformed")
        at += size
    if at == len(payload):
        return None
    if len(payload) - at != MAC_BYTES:
        raise Refused(f"{len(payload) - at} bytes that are no MAC", "bad-mac")
    return int.from_bytes(payload[at : at + 4]), payload[at + 4 :], payload[:at]
