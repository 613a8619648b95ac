"""What the tests of stun share: messages, written and read by the figures of the RFCs alone."""

from __future__ import annotations

import struct
import zlib
from ipaddress import ip_address

import attrs
from responder_plugins.stun import Stun
from responder_plugins.stun.handler import StunHandler

from responder import Context, Datagram, Interface, Peer, Via

COOKIE = bytes.fromhex("2112a442")
TRANSACTION = b"transaction!"
CLASSIC = b"16 bytes of RFC3"
"""A transaction ID of RFC 3489, which knows no cookie."""

# RFC 5769 sections 2.1 to 2.4
SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
SAMPLE_IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
SAMPLE_IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
SAMPLE_LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def attribute(kind: int, value: bytes = b"") -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(kind: int = 0x0001, attributes: bytes = b"", *, transaction: bytes = COOKIE + TRANSACTION) -> bytes:
    """A message; by default a Binding request."""
    return struct.pack("!HH", kind, len(attributes)) + transaction + attributes


def change(flags: int, *, transaction: bytes = COOKIE + TRANSACTION) -> bytes:
    """A request with CHANGE-REQUEST: 4 asks for the other address, 2 for the other port."""
    return message(attributes=attribute(0x0003, struct.pack("!I", flags)), transaction=transaction)


def with_fingerprint(data: bytes) -> bytes:
    data = data[:2] + struct.pack("!H", len(data) - 20 + 8) + data[4:]
    return data + struct.pack("!HHI", 0x8028, 4, zlib.crc32(data) ^ 0x5354554E)


@attrs.frozen
class Told:
    """A response: its type, its transaction ID with the cookie, and type -> value of its attributes, in their order."""

    type: int
    transaction: bytes
    attributes: dict[int, bytes]
    padding: bytes

    def address(self, kind: int) -> str:
        value = self.attributes[kind]
        assert value[0] == 0
        assert (value[1], len(value)) in ((1, 8), (2, 20))
        mask = self.transaction if kind == 0x0020 else bytes(16)
        port = bytes(one ^ other for one, other in zip(value[2:4], mask, strict=False))
        address = bytes(one ^ other for one, other in zip(value[4:], mask, strict=False))
        return str(Peer(ip_address(address), int.from_bytes(port)))

    @property
    def error(self) -> tuple[int, bytes]:
        value = self.attributes[0x0009]
        assert value[:2] == b"\0\0"
        return value[2] * 100 + value[3], value[4:]

    @property
    def unknown(self) -> list[int]:
        value = self.attributes[0x000A]
        return [each for (each,) in struct.iter_unpack("!H", value)]


def told(data: bytes) -> Told:
    kind, length = struct.unpack_from("!HH", data)
    assert length == len(data) - 20
    attributes: dict[int, bytes] = {}
    padding = b""
    at = 20
    while at < len(data):
        number, size = struct.unpack_from("!HH", data, at)
        assert number not in attributes
        if number == 0x8028:
            assert at + 8 == len(data)
            assert int.from_bytes(data[-4:]) == zlib.crc32(data[:at]) ^ 0x5354554E
        attributes[number] = data[at + 4 : at + 4 + size]
        end = at + 4 + size + -size % 4
        padding += data[at + 4 + size : end]
        at = end
    assert at == len(data)
    return Told(kind, data[4:20], attributes, padding)


def handler_of(**options: object) -> StunHandler:
    handler = Stun(**options).prepare(Context("stun"))  # type: ignore[arg-type] # the options' own types
    assert isinstance(handler, StunHandler)
    return handler


def request_for(payload: bytes, interface: Interface, *, via: Via = Via.UNICAST, peer: str = "10.71.0.9") -> Datagram:
    destination = "10.71.0.1" if "." in peer else "fd71::1"
    return Datagram(payload, Peer(peer, 40000), destination, interface, port=3478, via=via)
