"""STUN's messages (RFC 8489 section 5) as bytes and values: requests are read, responses written.

A message without the magic cookie is one of RFC 3489, "classic" STUN: its transaction ID is four bytes longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Final
from zlib import crc32

import attrs

from responder import IPAddress

from ..shared.refused import Refused

HEADER_BYTES: Final = 20
COOKIE: Final = 0x2112A442
COOKIE_BYTES: Final = COOKIE.to_bytes(4)
FINGERPRINT_XOR: Final = 0x5354554E
FINGERPRINT_BYTES: Final = 8

MAX_ATTRIBUTES: Final = 64
"""Of a request; more than that are no request's."""


class Type(IntEnum):
    """Message types: the method "Binding" with each class (RFC 8489 figure 3)."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    SUCCESS = 0x0101
    ERROR = 0x0111


class Attribute(IntEnum):
    """Attribute types (RFC 8489 section 18.3, RFC 5780 section 9.1, RFC 3489 section 11.2)."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    SOURCE_ADDRESS = 0x0004
    CHANGED_ADDRESS = 0x0005
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    REALM = 0x0014
    NONCE = 0x0015
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C


UNDERSTOOD: Final = frozenset(
    {
        Attribute.MAPPED_ADDRESS,
        Attribute.CHANGE_REQUEST,
        Attribute.USERNAME,
        Attribute.MESSAGE_INTEGRITY,
        Attribute.ERROR_CODE,
        Attribute.UNKNOWN_ATTRIBUTES,
        Attribute.REALM,
        Attribute.NONCE,
        Attribute.MESSAGE_INTEGRITY_SHA256,
        Attribute.PASSWORD_ALGORITHM,
        Attribute.USERHASH,
        Attribute.XOR_MAPPED_ADDRESS,
        Attribute.PADDING,
        Attribute.RESPONSE_PORT,
    }
)
"""Comprehension-required attributes that make no request a bad one; credentials are passed over, since none are asked
for (RFC 8489 section 6.3.1)."""

OPTIONAL: Final = 0x8000
"""Types from here on need not be understood (RFC 8489 section 14)."""

CHANGE_IP: Final = 4
CHANGE_PORT: Final = 2
"""The flags of CHANGE-REQUEST (RFC 5780 section 7.2)."""


class Code(IntEnum):
    """Error codes (RFC 8489 section 14.8)."""

    BAD_REQUEST = 400
    UNKNOWN_ATTRIBUTE = 420


REASONS: Final = {Code.BAD_REQUEST: b"Bad Request", Code.UNKNOWN_ATTRIBUTE: b"Unknown Attribute"}

_HEADER: Final = Struct("!HH")
_IPV4: Final = Struct("!HHHHI")
_IPV6: Final = Struct("!HHHHQQ")
_HALF: Final = (1 << 64) - 1
_PORT_MASK: Final = COOKIE >> 16
_XOR_MAPPED: Final = int(Attribute.XOR_MAPPED_ADDRESS)
"""As a plain number, which is packed faster than a member."""


@attrs.frozen
class Message:
    """A message that was read.

    transaction      16 bytes: the cookie and the transaction ID
    attributes       type -> value, of each type the first
    has_fingerprint  and it is right
    """

    type: int
    transaction: bytes
    attributes: Mapping[int, bytes]
    has_fingerprint: bool = False

    @property
    def is_classic(self) -> bool:
        return self.transaction[:4] != COOKIE_BYTES

    @property
    def unknown(self) -> list[int]:
        """The comprehension-required attributes that are not understood."""
        return [each for each in self.attributes if each < OPTIONAL and each not in UNDERSTOOD]

    @property
    def change(self) -> int:
        """The flags of CHANGE-REQUEST.  Raises Refused."""
        value = self.attributes.get(Attribute.CHANGE_REQUEST)
        if value is None:
            return 0
        if len(value) != 4:
            raise Refused(f"a CHANGE-REQUEST of {len(value)} bytes", "malformed")
        return value[3] & (CHANGE_IP | CHANGE_PORT)

    @property
    def response_port(self) -> int | None:
        """The port that RESPONSE-PORT names; None: there is none.  Raises Refused."""
        value = self.attributes.get(Attribute.RESPONSE_PORT)
        if value is None:
            return None
        # The draft had 2 bytes, the RFC has 4, of which the last two say nothing.
        if len(value) not in (2, 4) or not any(value[:2]):
            raise Refused("a RESPONSE-PORT of another size, or of port 0", "malformed")
        return int.from_bytes(value[:2])


def read_message(data: bytes) -> Message:
    """A whole message.  Raises Refused for what is no STUN message, also where its fingerprint is wrong."""
    if len(data) < HEADER_BYTES:
        raise Refused(f"{len(data)} bytes are no header", "malformed")
    kind, length = _HEADER.unpack_from(data)
    # RFC 8489 section 6.3: the first two bits are 0, and the length is sensible.
    if kind > 0x3FFF or length % 4 or length != len(data) - HEADER_BYTES:
        raise Refused(f"{len(data)} bytes that are no message", "malformed")
    transaction = data[4:HEADER_BYTES]
    attributes, fingerprint = _read_attributes(data)
    has_fingerprint = fingerprint is not None and transaction[:4] == COOKIE_BYTES
    if has_fingerprint and fingerprint != fingerprint_of(data[:-FINGERPRINT_BYTES]):
        raise Refused("a FINGERPRINT that is wrong", "bad-fingerprint")
    return Message(kind, transaction, attributes, has_fingerprint)


def _read_attributes(data: bytes) -> tuple[dict[int, bytes], bytes | None]:
    """The attributes but FINGERPRINT, and the value of that one.  Raises Refused."""
    found: dict[int, bytes] = {}
    at, end, is_signed, count = HEADER_BYTES, len(data), False, 0
    while at < end:
        if count == MAX_ATTRIBUTES:
            raise Refused(f"more than {MAX_ATTRIBUTES} attributes", "malformed")
        count += 1
        kind, size = _HEADER.unpack_from(data, at)
        value, at = data[at + 4 : at + 4 + size], at + 4 + (size + 3 & ~3)
        if at > end:
            raise Refused(f"an attribute of {size} bytes that is cut", "malformed")
        if kind == Attribute.FINGERPRINT:
            # RFC 8489 section 14.7: the last attribute.
            if size != 4 or at != end:
                raise Refused("a FINGERPRINT that is not at the end", "malformed")
            return found, value
        # RFC 8489 section 14.5: what stands behind MESSAGE-INTEGRITY is passed over.
        if not is_signed or kind == Attribute.MESSAGE_INTEGRITY_SHA256:
            found.setdefault(kind, value)
        is_signed = is_signed or kind in (Attribute.MESSAGE_INTEGRITY, Attribute.MESSAGE_INTEGRITY_SHA256)
    return found, None


def fingerprint_of(data: bytes) -> bytes:
    """The value of the FINGERPRINT behind a message whose length counts it already (RFC 8489 section 14.7)."""
    return (crc32(data) ^ FINGERPRINT_XOR).to_bytes(4)


def write_message(kind: int, transaction: bytes, attributes: bytes, *, fingerprint: bool = False) -> bytes:
    """A message with those attributes, and a FINGERPRINT where it is to have one."""
    if not fingerprint:
        return _HEADER.pack(kind, len(attributes)) + transaction + attributes
    message = _HEADER.pack(kind, len(attributes) + FINGERPRINT_BYTES) + transaction + attributes
    return message + _HEADER.pack(Attribute.FINGERPRINT, 4) + fingerprint_of(message)


def write_attribute(kind: int, value: bytes) -> bytes:
    return _HEADER.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def write_address(kind: int, address: IPAddress, port: int) -> bytes:
    """MAPPED-ADDRESS (RFC 8489 section 14.1), or another attribute of its form."""
    number = int(address)
    if address.version == 4:
        return _IPV4.pack(kind, 8, 1, port, number)
    return _IPV6.pack(kind, 20, 2, port, number >> 64, number & _HALF)


def write_xor_mapped_address(address: IPAddress, port: int, transaction: bytes) -> bytes:
    """XOR-MAPPED-ADDRESS (RFC 8489 section 14.2)."""
    if address.version == 4:
        return _IPV4.pack(_XOR_MAPPED, 8, 1, port ^ _PORT_MASK, int(address) ^ COOKIE)
    number = int(address) ^ int.from_bytes(transaction)
    return _IPV6.pack(_XOR_MAPPED, 20, 2, port ^ _PORT_MASK, number >> 64, number & _HALF)


def write_error_code(code: Code, unknown: Sequence[int] = (), *, is_classic: bool = False) -> bytes:
    """ERROR-CODE, and UNKNOWN-ATTRIBUTES where there are such (RFC 8489 sections 14.8 and 14.9).

    RFC 3489 has no padding: a reason then ends with spaces (section 11.2.9), and of an odd number of types one comes
    twice (section 11.2.10).
    """
    reason = REASONS[code]
    if is_classic:
        reason += b" " * (-len(reason) % 4)
        unknown = [*unknown, *unknown[: len(unknown) % 2]]
    written = write_attribute(Attribute.ERROR_CODE, bytes([0, 0, code // 100, code % 100]) + reason)
    if unknown:
        types = b"".join(each.to_bytes(2) for each in unknown)
        written += write_attribute(Attribute.UNKNOWN_ATTRIBUTES, types)
    return written
