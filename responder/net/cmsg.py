"""Control messages, encoded and decoded as Linux and Windows lay them out.  Pure: each layout is tested on any machine.

Where Python's own `sendmsg` and `recvmsg` are used (macOS, FreeBSD), it lays them out.

A control buffer is a row of messages, each a header (length, level, type), padding, data, padding:

    |<- header size ->|pad|<-  data  ->|pad|      the next header starts at a multiple of `alignment`
    |<----- length, without the last padding --->|

                        header            size  data at  next message at
    Linux 64 / 32 bit   size_t, int, int  16/12  16/12    multiples of 8/4   CMSG_ALIGN to long
    Windows 64 / 32     SIZE_T, INT, INT  16/12  16/12    multiples of 8/4   WSA_CMSGHDR_ALIGN, WSA_CMSGDATA_ALIGN

The pktinfo structures differ too: Linux's `in_pktinfo` is (index, spec_dst, addr), Windows' is (addr, index); macOS has
Linux's, FreeBSD none.  `in6_pktinfo` is (addr, index) everywhere (RFC 3542 section 6.1).

Received data is the kernel's, but is parsed as if it were not: a length that lies ends the walk, silently.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

import attrs

ControlMessage: TypeAlias = tuple[int, int, bytes]
"""(level, type, data)"""


@attrs.frozen(eq=False)
class Abi:
    """A platform's layout.  `header` packs (length, level, type); sizes in bytes."""

    name: str
    header: struct.Struct
    alignment: int

    def aligned(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    @property
    def data_offset(self) -> int:
        """CMSG_LEN(0)"""
        return self.aligned(self.header.size)

    def length(self, data_size: int) -> int:
        """CMSG_LEN: what the header's length field says."""
        return self.data_offset + data_size

    def encode(self, messages: Iterable[ControlMessage]) -> bytes:
        """The control buffer of these messages, each with its padding, the last one too."""
        parts: list[bytes] = []
        for level, kind, data in messages:
            head = self.header.pack(self.length(len(data)), level, kind).ljust(self.data_offset, b"\0")
            parts.append(head + data.ljust(self.aligned(len(data)), b"\0"))
        return b"".join(parts)

    def parse(self, buffer: bytes | memoryview) -> Iterator[ControlMessage]:
        """The messages of a control buffer, up to the first whose length doesn't fit."""
        offset = 0
        while offset + self.header.size <= len(buffer):
            length, level, kind = self.header.unpack_from(buffer, offset)
            if length < self.data_offset or offset + length > len(buffer):
                return
            yield level, kind, bytes(buffer[offset + self.data_offset : offset + length])
            offset += self.aligned(length)


LINUX_64 = Abi("linux-64", struct.Struct("=Qii"), 8)
LINUX_32 = Abi("linux-32", struct.Struct("=Iii"), 4)
WINDOWS_64 = Abi("windows-64", struct.Struct("<Qii"), 8)
WINDOWS_32 = Abi("windows-32", struct.Struct("<Iii"), 4)

_IN_PKTINFO_POSIX = struct.Struct("=i4s4s")
_IN_PKTINFO_WINDOWS = struct.Struct("<4sI")
_IN6_PKTINFO = struct.Struct("=16sI")
_INT = struct.Struct("=i")


def pack_in_pktinfo_posix(source: IPv4Address | None, interface: int) -> bytes:
    """Linux and macOS: the source goes into `ipi_spec_dst`; `ipi_addr` is ignored on a send."""
    return _IN_PKTINFO_POSIX.pack(interface, source.packed if source else bytes(4), bytes(4))


def unpack_in_pktinfo_posix(data: bytes) -> tuple[int, IPv4Address, IPv4Address]:
    """(interface, ipi_spec_dst, ipi_addr).  Raises struct.error for another size."""
    interface, spec_dst, addr = _IN_PKTINFO_POSIX.unpack(data)
    return interface, IPv4Address(spec_dst), IPv4Address(addr)


def pack_in_pktinfo_windows(source: IPv4Address, interface: int) -> bytes:
    """Never without a source: Windows would send from 0.0.0.0."""
    return _IN_PKTINFO_WINDOWS.pack(source.packed, interface)


def unpack_in_pktinfo_windows(data: bytes) -> tuple[int, IPv4Address]:
    """(interface, address).  Raises struct.error for another size."""
    addr, interface = _IN_PKTINFO_WINDOWS.unpack(data)
    return interface, IPv4Address(addr)


def pack_in6_pktinfo(source: IPv6Address | None, interface: int) -> bytes:
    """Every platform: RFC 3542 section 6.1."""
    return _IN6_PKTINFO.pack(source.packed if source else bytes(16), interface)


def unpack_in6_pktinfo(data: bytes) -> tuple[int, IPv6Address]:
    """(interface, address, which may be IPv4-mapped).  Raises struct.error for another size."""
    addr, interface = _IN6_PKTINFO.unpack(data)
    return interface, IPv6Address(addr)


def pack_int(value: int) -> bytes:
    return _INT.pack(value)


def unpack_int(data: bytes) -> int:
    """Raises struct.error for another size."""
    value: int = _INT.unpack(data)[0]
    return value
