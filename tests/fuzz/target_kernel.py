"""What the kernel says, as if it lied: control messages in each layout, rtnetlink messages, a datagram's sender.

What the interfaces are then asked about a peer must be answered too.
"""

from __future__ import annotations

import contextlib
import struct
from ipaddress import ip_address

from responder.net import cmsg
from responder.net.bsd import abi as bsd
from responder.net.interface_table import InterfaceTable
from responder.net.linux.interfaces import RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, Mirror, messages
from responder.net.linux.udp import decode_raw_flow, told_by

PEERS = tuple(map(ip_address, ("10.71.0.9", "169.254.0.1", "2001:db8::1", "fe80::9")))
ABIS = (cmsg.LINUX_64, cmsg.LINUX_32, cmsg.WINDOWS_64, cmsg.WINDOWS_32)


def _message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust((7 + len(value)) & ~3, b"\0")


LINK = _message(
    RTM_NEWLINK,
    struct.pack("=BxHiII", 0, 1, 2, 0x1043, 0)
    + _attribute(3, b"eth0\0")
    + _attribute(4, struct.pack("=I", 1500))
    + _attribute(1, bytes(6)),
)
ADDRESS = _message(
    RTM_NEWADDR,
    struct.pack("=BBBBI", 2, 24, 0, 0, 2) + _attribute(2, b"\x0a\x47\0\1") + _attribute(1, b"\x0a\x47\0\1"),
)
ADDRESS6 = _message(
    RTM_NEWADDR,
    struct.pack("=BBBBI", 10, 64, 0, 0, 2) + _attribute(1, bytes(15) + b"\1") + _attribute(8, struct.pack("=I", 0x80)),
)
CONTROL = cmsg.LINUX_64.encode(
    [
        (0, 8, struct.pack("=i4s4s", 2, b"\x0a\x47\0\1", b"\x0a\x47\0\1")),
        (0, 2, struct.pack("=i", 64)),
        (1, 35, bytes(16)),
    ]
)
SEEDS = (
    LINK,
    ADDRESS,
    ADDRESS6,
    LINK + ADDRESS + _message(RTM_DELADDR, ADDRESS[16:]) + _message(RTM_DELLINK, LINK[16:]),
    CONTROL,
    cmsg.WINDOWS_32.encode([(41, 19, bytes(20))]),
)


def answered(data: bytes) -> bytes | None:
    """The interfaces that it tells of, as text."""
    mirror = Mirror()
    for kind, _flags, payload in messages(data):
        mirror.take(kind, payload)
    table = InterfaceTable(mirror.interfaces())
    for interface in table:
        for peer in PEERS:
            table.is_own(peer, interface.index)
            assert not interface.on_link(peer) or interface.addresses or peer.is_link_local
            interface.source_for(peer)
    for abi in ABIS:
        for _level, _kind, value in abi.parse(data):
            assert len(value) <= len(data)
    control = list(cmsg.LINUX_64.parse(data))
    for system in (bsd.DARWIN, bsd.FREEBSD):
        bsd.decode_flow(system, "192.0.2.1", 0, control)
        bsd.hop_limit(system, control)
    told = told_by(control)
    if len(told[0]) in (12, 20):
        decode_raw_flow(data[:20].ljust(20, b"\0") + told[0])
    for unpack in (cmsg.unpack_in_pktinfo_posix, cmsg.unpack_in_pktinfo_windows, cmsg.unpack_in6_pktinfo):
        with contextlib.suppress(struct.error):
            unpack(data)
    return repr(mirror.interfaces()).encode() if len(table) else None
