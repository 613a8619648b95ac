"""Datagrams as a pcap file that Wireshark and tcpdump open.

The payloads come without their headers, so this file makes headers from the addresses, with right checksums
(LINKTYPE_RAW: IPv4 or IPv6, UDP, payload).  It fills in what nobody saw: a hop limit of 64, no options, and one packet
where fragments may have been on the wire.  It opens no files, and does not know TCP.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from ..datagram import IPAddress

LINKTYPE_RAW = 101
SNAPLEN = 262144  # what tcpdump writes for "no limit"
UDP = 17  # protocol number, RFC 768
HOP_LIMIT = 64

_DONT_FRAGMENT = 0x4000

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
    packet = _packet(source, source_port, to, to_port, payload)
    microseconds = round(time * 1_000_000)
    header = struct.pack("<IIII", microseconds // 1_000_000, microseconds % 1_000_000, len(packet), len(packet))
    return header + packet


def _packet(source: IPAddress, source_port: int, to: IPAddress, to_port: int, payload: bytes) -> bytes:
    length = 8 + len(payload)
    if length + (20 if to.version == 4 else 0) > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes fit no UDP datagram")
    # The pseudo-header of RFC 768 and RFC 8200 section 8.1: the sum is the same for both layouts.
    pseudo = source.packed + to.packed + struct.pack("!HH", UDP, length)
    ports = struct.pack("!HHH", source_port, to_port, length)
    # 0 would mean "no checksum" (RFC 768).
    udp = ports + struct.pack("!H", _checksum(pseudo + ports + payload) or 0xFFFF) + payload
    if isinstance(to, IPv6Address):
        # RFC 8200 section 3: version, payload length, next header, hop limit.
        return struct.pack("!IHBB", 6 << 28, length, UDP, HOP_LIMIT) + source.packed + to.packed + udp
    # RFC 791 section 3.1: version and header length, total length, don't fragment, time to live, protocol.
    before = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 0, _DONT_FRAGMENT, HOP_LIMIT, UDP)
    addresses = source.packed + to.packed
    return before + struct.pack("!H", _checksum(before + addresses)) + addresses + udp


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): the complement of the ones' complement sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
