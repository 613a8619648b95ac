"""CoAP's messages (RFC 7252 section 3) as bytes and values.  Opens no sockets, and knows no resource."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, TypeAlias

import attrs

from responder import PeerError

VERSION: Final = 1
HEADER_BYTES: Final = 4
MAX_TOKEN: Final = 8
PAYLOAD_MARKER: Final = 0xFF


class Type(enum.IntEnum):
    """Section 3."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


class Code(enum.IntEnum):
    """Methods and response codes (section 12.1): the class in the upper three bits, the detail in the lower five."""

    EMPTY = 0
    GET = 1
    CONTENT = 2 << 5 | 5
    VALID = 2 << 5 | 3
    BAD_REQUEST = 4 << 5
    BAD_OPTION = 4 << 5 | 2
    FORBIDDEN = 4 << 5 | 3
    NOT_FOUND = 4 << 5 | 4
    METHOD_NOT_ALLOWED = 4 << 5 | 5
    NOT_ACCEPTABLE = 4 << 5 | 6
    INTERNAL_SERVER_ERROR = 5 << 5
    SERVICE_UNAVAILABLE = 5 << 5 | 3
    PROXYING_NOT_SUPPORTED = 5 << 5 | 5


METHODS: Final = {1: "GET", 2: "POST", 3: "PUT", 4: "DELETE", 5: "FETCH", 6: "PATCH", 7: "iPATCH"}
"""By their codes, for people (RFC 7252 section 12.1.1, RFC 8132)."""


class Number(enum.IntEnum):
    """Options: RFC 7252 section 5.10, RFC 7641 (Observe), RFC 7959 (Block2, Size2), RFC 9175 (Echo)."""

    URI_HOST = 3
    ETAG = 4
    OBSERVE = 6
    URI_PORT = 7
    URI_PATH = 11
    CONTENT_FORMAT = 12
    MAX_AGE = 14
    URI_QUERY = 15
    ACCEPT = 17
    BLOCK2 = 23
    SIZE2 = 28
    PROXY_URI = 35
    PROXY_SCHEME = 39
    ECHO = 252


Option: TypeAlias = tuple[int, bytes]
"""A number and a value."""


class Unreadable(PeerError):
    """Bytes that get no answer; `kind` is what they are counted by."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class FormatError(Unreadable):
    """A message format error (section 3); a Confirmable message with one is rejected (section 4.2)."""

    def __init__(self, message: str, type_: Type, message_id: int) -> None:
        super().__init__(message, "format-error")
        self.type = type_
        self.message_id = message_id


@attrs.frozen
class Message:
    """A message; `options` are in the order of their numbers."""

    type: Type
    code: int
    message_id: int
    token: bytes
    options: tuple[Option, ...] = ()
    payload: bytes = b""


_TYPES: Final = tuple(Type)


def read_message(data: bytes) -> Message:
    """Raises Unreadable for what is no message of this version, and FormatError."""
    if len(data) < HEADER_BYTES:
        raise Unreadable(f"{len(data)} bytes are no message", "malformed")
    if data[0] >> 6 != VERSION:
        raise Unreadable(f"version {data[0] >> 6}", "bad-version")
    type_, code, message_id = _TYPES[data[0] >> 4 & 3], data[1], data[2] << 8 | data[3]
    try:
        token, options, payload = _read_rest(data, code, data[0] & 0x0F)
    except ValueError as error:
        raise FormatError(str(error), type_, message_id) from None
    return Message(type_, code, message_id, token, options, payload)


def _read_rest(data: bytes, code: int, token_size: int) -> tuple[bytes, tuple[Option, ...], bytes]:
    """The token, the options and the payload.  Raises ValueError for a format error."""
    if token_size > MAX_TOKEN:
        raise ValueError(f"a token of {token_size} bytes")
    if code == Code.EMPTY and len(data) > HEADER_BYTES:
        raise ValueError("an empty message with something in it")
    at = HEADER_BYTES + token_size
    if at > len(data):
        raise ValueError("a token that is cut off")
    token = data[HEADER_BYTES:at]
    options, at = _read_options(data, at)
    return token, options, data[at:]


def _read_options(data: bytes, at: int) -> tuple[tuple[Option, ...], int]:
    """The options from `at` on, and where the payload begins.  Raises ValueError for a format error."""
    options: list[Option] = []
    number, end = 0, len(data)
    while at < end:
        first = data[at]
        at += 1
        if first == PAYLOAD_MARKER:
            if at == end:
                raise ValueError("no payload behind the marker")
            return tuple(options), at
        delta, size = first >> 4, first & 0x0F
        if delta > 12:
            delta, at = _extended(data, delta, at)
        if size > 12:
            size, at = _extended(data, size, at)
        number += delta
        if at + size > end:
            raise ValueError("an option that is cut off")
        options.append((number, data[at : at + size]))
        at += size
    return tuple(options), at


def _extended(data: bytes, nibble: int, at: int) -> tuple[int, int]:
    """A delta or a length that goes on behind the option's first byte (section 3.1), and where that ends."""
    if nibble == 15:
        raise ValueError("an option with a reserved delta or length")
    size = nibble - 12
    if at + size > len(data):
        raise ValueError("an option that is cut off")
    return int.from_bytes(data[at : at + size]) + (13 if size == 1 else 269), at + size


def write_message(type_: int, code: int, message_id: int, token: bytes, rest: bytes = b"") -> bytes:
    """`rest` is what `write_rest` gives."""
    head = bytes((VERSION << 6 | type_ << 4 | len(token), code, message_id >> 8, message_id & 0xFF))
    return head + token + rest


def write_rest(options: Iterable[Option], payload: bytes = b"") -> bytes:
    """What stands behind the token: options, in the order of their numbers, and a payload."""
    parts: list[bytes] = []
    last = 0
    for number, value in options:
        delta, delta_rest = _nibble(number - last)
        size, size_rest = _nibble(len(value))
        parts += (bytes((delta << 4 | size,)), delta_rest, size_rest, value)
        last = number
    if payload:
        parts += (b"\xff", payload)
    return b"".join(parts)


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    return (13, bytes((value - 13,))) if value < 269 else (14, (value - 269).to_bytes(2))


def write_empty(type_: Type, message_id: int) -> bytes:
    """An acknowledgment or a reset of that message."""
    return bytes((VERSION << 6 | type_ << 4, Code.EMPTY, message_id >> 8, message_id & 0xFF))


def uint(value: int) -> bytes:
    """An option's value: no leading zeros, and nothing for 0 (section 3.2)."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def dotted(code: int) -> str:
    """A code as people write it: 4.04."""
    return f"{code >> 5}.{code & 0x1F:02}"
