"""Datagrams as a pcap file that Wireshark and tcpdump open.

The payloads come without their headers, so this file makes headers from the addresses, with right checksums
(LINKTYPE_RAW: IPv4 or IPv6, UDP or TCP, payload).  It fills in what nobody saw: a hop limit of 64, no options, one
packet where fragments may have been on the wire, and for TCP a segment for what was read or written at once, whose
sequence numbers begin with 1 where the capture does.  It opens no files.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import TypeAlias

import attrs

from ..bounded import BoundedTable
from ..datagram import IPAddress

LINKTYPE_RAW = 101
SNAPLEN = 262144  # what tcpdump writes for "no limit"
UDP, TCP = 17, 6  # protocol numbers: RFC 768, RFC 9293
HOP_LIMIT = 64

SEGMENT = 1 << 15
"""Bytes of a TCP segment at most."""

MAX_CONNECTIONS = 1024
"""Connections whose sequence numbers are kept; those of one that is forgotten begin anew."""

_DONT_FRAGMENT = 0x4000
_PUSH_ACK = 0x18

Place: TypeAlias = tuple[IPAddress, int]
"""An address and a port."""

FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, LINKTYPE_RAW)
"""What a file begins with: the form with microseconds, little-endian."""


def record(
    time: float, *, source: IPAddress | None, source_port: int, to: IPAddress, to_port: int, payload: bytes
) -> bytes:
    """One packet of a file.

    `time` is in seconds of the real-time clock; a `source` that is not known is written as the unspecified address.
    Raises ValueError for a payload that fits no UDP datagram, and for a source of the other family.
    """
    if source is None:
        source = type(to)(0)
    if source.version != to.version:
        raise ValueError(f"{source} can't have sent to {to}")
    length = 8 + len(payload)
    if length + (20 if to.version == 4 else 0) > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes fit no UDP datagram")
    ports = struct.pack("!HHH", source_port, to_port, length)
    # 0 would mean "no checksum" (RFC 768).
    checksum = _checksum(_pseudo(source, to, UDP, length) + ports + payload) or 0xFFFF
    return _record(time, _packet(source, to, UDP, ports + struct.pack("!H", checksum) + payload))


@attrs.define
class Segments:
    """What TCP connections carry, as segments in their order."""

    _carried: BoundedTable[tuple[Place, Place], int] = attrs.field(
        factory=lambda: BoundedTable(2 * MAX_CONNECTIONS), init=False
    )
    """Bytes by source and destination."""

    def record(self, time: float, source: Place, to: Place, data: bytes) -> bytes:
        """The packets of a file that hold so many bytes of a connection: none where there are none."""
        return b"".join(
            _record(time, self._packet(source, to, data[start : start + SEGMENT]))
            for start in range(0, len(data), SEGMENT)
        )

    def _packet(self, source: Place, to: Place, payload: bytes) -> bytes:
        # RFC 9293 section 3.1: ports, sequence and acknowledgment number, offset and flags, window, checksum, pointer.
        number, acknowledged = self._carried.get((source, to), 0), self._carried.get((to, source), 0)
        self._carried[source, to] = number + len(payload)
        numbers = (number + 1) % 2**32, (acknowledged + 1) % 2**32
        before = struct.pack("!HHIIBBH", source[1], to[1], *numbers, 5 << 4, _PUSH_ACK, 0xFFFF)
        pseudo = _pseudo(source[0], to[0], TCP, 20 + len(payload))
        checksum = _checksum(pseudo + before + bytes(4) + payload)
        return _packet(source[0], to[0], TCP, before + struct.pack("!HH", checksum, 0) + payload)


def _record(time: float, packet: bytes) -> bytes:
    microseconds = round(time * 1_000_000)
    header = struct.pack("<IIII", microseconds // 1_000_000, microseconds % 1_000_000, len(packet), len(packet))
    return header + packet


def _pseudo(source: IPAddress, to: IPAddress, protocol: int, length: int) -> bytes:
    """The pseudo-header of RFC 768, RFC 9293 and RFC 8200 section 8.1: the sum is the same for all layouts."""
    return source.packed + to.packed + struct.pack("!HH", protocol, length)


def _packet(source: IPAddress, to: IPAddress, protocol: int, content: bytes) -> bytes:
    if isinstance(to, IPv6Address):
        # RFC 8200 section 3: version, payload length, next header, hop limit.
        header = struct.pack("!IHBB", 6 << 28, len(content), protocol, HOP_LIMIT)
        return header + source.packed + to.packed + content
    # RFC 791 section 3.1: version and header length, total length, don't fragment, time to live, protocol.
    before = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(content), 0, _DONT_FRAGMENT, HOP_LIMIT, protocol)
    addresses = source.packed + to.packed
    return before + struct.pack("!H", _checksum(before + addresses)) + addresses + content


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): the complement of the ones' complement sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
