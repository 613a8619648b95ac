"""TFTP's packets (RFC 1350 section 5, RFC 2347) as bytes and values."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from ..shared.refused import Refused

READ: Final = 1
WRITE: Final = 2
DATA: Final = 3
ACKNOWLEDGMENT: Final = 4
ERROR: Final = 5
OPTION_ACKNOWLEDGMENT: Final = 6
"""Opcodes."""

_DATA, _ERROR = DATA.to_bytes(2), ERROR.to_bytes(2)

ABBREVIATIONS: Final = {READ: "RRQ", WRITE: "WRQ", DATA: "DATA", ACKNOWLEDGMENT: "ACK", ERROR: "ERROR"} | {
    OPTION_ACKNOWLEDGMENT: "OACK"
}
"""Of the opcodes, as the standards have them."""

MAX_REQUEST: Final = 512
"""Bytes (RFC 2347)."""

BLOCK_BYTES: Final = 512
"""Of a block, where nothing else is agreed on."""

BLOCK_SIZES: Final = range(8, 65465)
"""RFC 2348."""

TIMEOUTS: Final = range(1, 61)
"""Seconds.  RFC 2349 allows 255, and a server to leave the option out; so long a silence would keep a place."""

WINDOW_SIZES: Final = range(1, 65536)
"""RFC 7440."""


MODES: Final = ("octet", "netascii")
"""Of a request; "mail" is obsolete."""


class Code(enum.IntEnum):
    """Error codes (RFC 1350, appendix)."""

    NOT_DEFINED = 0
    FILE_NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER_ID = 5


@attrs.frozen
class Request:
    """A read or write request.  `options` are by their names in lower case, those without a known meaning too."""

    opcode: int
    name: bytes
    mode: str
    options: Mapping[str, bytes]


def read_request(payload: bytes) -> Request:
    """Raises Refused for what is neither a read request nor a write request."""
    opcode = int.from_bytes(payload[:2])
    if len(payload) > MAX_REQUEST or len(payload) < 4:
        raise Refused(f"{len(payload)} bytes are no request", "malformed")
    if opcode not in (READ, WRITE):
        raise Refused(f"opcode {opcode} outside of a transfer", "stray")
    if payload[-1]:
        raise Refused("a request that does not end with a null character", "malformed")
    name, mode, *rest = (*payload[2:-1].split(b"\0"), b"")
    if not name or not mode.isalpha():
        raise Refused("a request without a name or a mode", "malformed")
    options: dict[str, bytes] = {}
    for key, value in zip(rest[::2], rest[1::2], strict=False):
        if key:  # some boot loaders fill a request up with null characters
            options.setdefault(key.decode("latin-1").lower(), value)
    return Request(opcode, name, mode.decode("ascii", "replace").lower(), options)


@attrs.frozen
class Terms:
    """What is agreed on: bytes of a block, blocks of a window, seconds until a packet is sent again (None: our own)."""

    block_size: int = BLOCK_BYTES
    window_size: int = 1
    timeout: int | None = None


def agree(
    options: Mapping[str, bytes], size: int | None, max_window: int, max_window_bytes: int
) -> tuple[Terms, Mapping[str, int]]:
    """The terms of a transfer, and the options that are acknowledged, with their values.

    `size` is the file's in bytes, None where it isn't known.  What is asked beyond the bounds of an option is left out,
    as if it had not been asked (RFC 2347); a window is made as small as it has to be (RFC 7440 section 3).
    """
    block_size = _number(options, "blksize", BLOCK_SIZES)
    timeout = _number(options, "timeout", TIMEOUTS)
    window = _number(options, "windowsize", WINDOW_SIZES)
    if window is not None:
        window = max(1, min(window, max_window, max_window_bytes // (block_size or BLOCK_BYTES)))
    told = {
        "blksize": block_size,
        "timeout": timeout,
        "tsize": size if "tsize" in options else None,
        "windowsize": window,
    }
    terms = Terms(block_size or BLOCK_BYTES, window or 1, timeout)
    return terms, {name: value for name, value in told.items() if value is not None}


def _number(options: Mapping[str, bytes], name: str, bounds: range) -> int | None:
    text = options.get(name, b"")
    if not text.isdigit() or len(text) > 5:  # of bytes: ASCII's digits alone
        return None
    return int(text) if int(text) in bounds else None


def read_acknowledgment(payload: bytes) -> int | None:
    """The number of the block that is acknowledged, modulo 2**16; None: it is no acknowledgment."""
    if len(payload) < 4 or int.from_bytes(payload[:2]) != ACKNOWLEDGMENT:
        return None
    return int.from_bytes(payload[2:4])


def is_error(payload: bytes) -> bool:
    return payload[:2] == _ERROR


def write_data(number: int, data: bytes | memoryview) -> bytes:
    """A block; numbers go on with 0 after 65535, as all implementations have it."""
    return b"".join((_DATA, (number & 0xFFFF).to_bytes(2), data))


def write_error(code: Code, text: str) -> bytes:
    return _ERROR + code.to_bytes(2) + text.encode("ascii") + b"\0"


def write_option_acknowledgment(options: Mapping[str, int]) -> bytes:
    return OPTION_ACKNOWLEDGMENT.to_bytes(2) + b"".join(
        f"{name}\0{value}\0".encode("ascii") for name, value in options.items()
    )


def words_of(request: bytes | None, answers: Iterable[bytes]) -> dict[str, str | int]:
    """What was said, by the packets' abbreviations.  Raises PeerError for what is no request."""
    words: dict[str, str | int] = {}
    if request:
        opcode = int.from_bytes(request[:2])
        words["packet"] = ABBREVIATIONS.get(opcode, opcode)
        if opcode in (READ, WRITE):
            asked = read_request(request)
            words |= {"file": asked.name.decode(errors="replace"), "mode": asked.mode}
        elif opcode in (DATA, ACKNOWLEDGMENT):
            words["block"] = int.from_bytes(request[2:4])
    for answer in answers:
        opcode = int.from_bytes(answer[:2])
        words["answer"] = ABBREVIATIONS.get(opcode, opcode)
        if opcode == ERROR:
            words["error"] = int.from_bytes(answer[2:4])
    return words
