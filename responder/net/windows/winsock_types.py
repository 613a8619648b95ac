"""Winsock's numbers and structures, as winsock2.h, mswsock.h, ws2ipdef.h and iptypes.h give them.

A structure's layout depends on the size of a pointer and on nothing else, so `Layout.of(8)` and `Layout.of(4)` can be
made, and compared with the headers, on any machine.  A pointer is an integer here: who fills a structure keeps what
it points at alive.  The constants are Windows' own, also where Python's `socket` on this machine has others of the
same name.

This file refuses to call anything.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import uuid
from ipaddress import IPv4Address, IPv6Address

import attrs

from ...datagram import IPAddress

AF_INET, AF_INET6 = 2, 23
SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6 = 0xFFFF, 0, 41

SO_REUSEADDR, SO_EXCLUSIVEADDRUSE, SO_BROADCAST = 0x0004, ~0x0004, 0x0020
SO_SNDBUF, SO_RCVBUF, SO_MAX_MSG_SIZE = 0x1001, 0x1002, 0x2003

IP_TTL, IP_MULTICAST_TTL = 4, 10
IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 12, 13, 15, 16
IP_PKTINFO, IP_HOPLIMIT = 19, 21
IPV6_UNICAST_HOPS, IPV6_MULTICAST_HOPS, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP = 4, 10, 12, 13
IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_V6ONLY = 19, 21, 27
MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP = 41, 42, 45, 46

MSG_OOB, MSG_PEEK, MSG_DONTROUTE, MSG_TRUNC, MSG_CTRUNC, MSG_PARTIAL = 0x1, 0x2, 0x4, 0x100, 0x200, 0x8000

SIO_GET_EXTENSION_FUNCTION_POINTER = 0xC8000006
SIO_ADDRESS_LIST_CHANGE = 0x28000017
SIO_UDP_CONNRESET = 0x9800000C
SIO_UDP_NETRESET = 0x9800000F

WSAID_WSASENDMSG = uuid.UUID("a441e712-754f-43ca-84a7-0dee44cf606d")
WSAID_WSARECVMSG = uuid.UUID("f689d7c8-6f1f-436b-8a53-e54fe351c322")


@attrs.frozen
class Layout:
    """The structures for one pointer size (bytes)."""

    pointer: int
    WSABUF: type[ctypes.Structure]
    WSAMSG: type[ctypes.Structure]
    WSACMSGHDR: type[ctypes.Structure]
    WSAOVERLAPPED: type[ctypes.Structure]
    SOCKET_ADDRESS: type[ctypes.Structure]
    IP_ADAPTER_UNICAST_ADDRESS: type[ctypes.Structure]
    IP_ADAPTER_ADDRESSES: type[ctypes.Structure]

    @staticmethod
    @functools.cache
    def of(pointer: int) -> Layout:
        """The layout for pointers of 4 or 8 bytes."""
        u8, u32, i32 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_int32
        ptr = {4: ctypes.c_uint32, 8: ctypes.c_uint64}[pointer]

        def structure(name: str, *fields: tuple[str, type]) -> type[ctypes.Structure]:
            return type(name, (ctypes.Structure,), {"_fields_": list(fields), "__slots__": ()})

        wsabuf = structure("WSABUF", ("len", u32), ("buf", ptr))
        socket_address = structure("SOCKET_ADDRESS", ("lpSockaddr", ptr), ("iSockaddrLength", i32))
        return Layout(
            pointer=pointer,
            WSABUF=wsabuf,
            WSAMSG=structure(
                "WSAMSG",
                ("name", ptr),
                ("namelen", i32),
                ("lpBuffers", ptr),
                ("dwBufferCount", u32),
                ("Control", wsabuf),
                ("dwFlags", u32),
            ),
            WSACMSGHDR=structure("WSACMSGHDR", ("cmsg_len", ptr), ("cmsg_level", i32), ("cmsg_type", i32)),
            WSAOVERLAPPED=structure(
                "WSAOVERLAPPED",
                ("Internal", ptr),
                ("InternalHigh", ptr),
                ("Offset", u32),
                ("OffsetHigh", u32),
                ("hEvent", ptr),
            ),
            SOCKET_ADDRESS=socket_address,
            # The two below end where our interest does: the system makes them, and links them by pointers.
            IP_ADAPTER_UNICAST_ADDRESS=structure(
                "IP_ADAPTER_UNICAST_ADDRESS",
                ("Length", u32),
                ("Flags", u32),
                ("Next", ptr),
                ("Address", socket_address),
                ("PrefixOrigin", i32),
                ("SuffixOrigin", i32),
                ("DadState", i32),
            ),
            IP_ADAPTER_ADDRESSES=structure(
                "IP_ADAPTER_ADDRESSES",
                ("Length", u32),
                ("IfIndex", u32),
                ("Next", ptr),
                ("AdapterName", ptr),
                ("FirstUnicastAddress", ptr),
                ("FirstAnycastAddress", ptr),
                ("FirstMulticastAddress", ptr),
                ("FirstDnsServerAddress", ptr),
                ("DnsSuffix", ptr),
                ("Description", ptr),
                ("FriendlyName", ptr),
                ("PhysicalAddress", u8 * 8),
                ("PhysicalAddressLength", u32),
                ("Flags", u32),
                ("Mtu", u32),
                ("IfType", u32),
                ("OperStatus", i32),
                ("Ipv6IfIndex", u32),
            ),
        )


NATIVE = Layout.of(ctypes.sizeof(ctypes.c_void_p))

# The port is in network order, the rest in Windows', which is little-endian on every machine it runs on.
_SOCKADDR_IN = struct.Struct("<H2s4s8x")
_SOCKADDR_IN6 = struct.Struct("<H2sI16sI")

SOCKADDR_SIZE = _SOCKADDR_IN6.size


def pack_sockaddr(address: IPAddress, port: int, scope_id: int = 0, *, family: int) -> bytes:
    """A SOCKADDR_IN6, the address IPv4-mapped where it is IPv4, or with family AF_INET a SOCKADDR_IN.

    Raises ValueError for an IPv6 address on an AF_INET socket.
    """
    network_port = port.to_bytes(2, "big")
    if family == AF_INET6:
        packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
        return _SOCKADDR_IN6.pack(AF_INET6, network_port, 0, packed, scope_id)
    if address.version == 6:
        raise ValueError(f"{address} is an IPv6 address, and this socket is an IPv4 socket")
    return _SOCKADDR_IN.pack(AF_INET, network_port, address.packed)


def unpack_sockaddr(name: bytes) -> tuple[IPAddress, int, int]:
    """(address, port, scope id); the address as it stands, so it may be IPv4-mapped.  Raises ValueError."""
    family = int.from_bytes(name[:2], "little")
    if family == AF_INET6 and len(name) >= _SOCKADDR_IN6.size:
        _, port, _, packed, scope_id = _SOCKADDR_IN6.unpack_from(name)
        return IPv6Address(packed), int.from_bytes(port, "big"), scope_id
    if family == AF_INET and len(name) >= _SOCKADDR_IN.size:
        _, port, packed = _SOCKADDR_IN.unpack_from(name)
        return IPv4Address(packed), int.from_bytes(port, "big"), 0
    raise ValueError(f"a socket address of family {family} and {len(name)} bytes")


def pack_ip_mreq(group: IPv4Address, interface: IPv4Address, source: IPv4Address | None = None) -> bytes:
    """`ip_mreq`, or with a source `ip_mreq_source`; the interface is named by an address of its own."""
    return group.packed + (source.packed if source else b"") + interface.packed


def pack_ipv6_mreq(group: IPv6Address, interface: int) -> bytes:
    return group.packed + interface.to_bytes(4, "little")


def pack_group_req(interface: int, *addresses: IPAddress) -> bytes:
    """`group_req` for a group, `group_source_req` for a group and a source.

    The index, padding to 8 bytes, and a SOCKADDR_STORAGE of 128 bytes each.
    """
    storage = (
        pack_sockaddr(address, 0, family=AF_INET6 if address.version == 6 else AF_INET).ljust(128, b"\0")
        for address in addresses
    )
    return interface.to_bytes(4, "little").ljust(8, b"\0") + b"".join(storage)
