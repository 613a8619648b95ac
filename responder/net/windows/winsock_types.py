"""Winsock's numbers and structures, as winsock2.h, mswsock.h, ws2ipdef.h and iptypes.h give them.

A structure's layout depends on the size of a pointer and on nothing else, so `Layout(8)` and `Layout(4)` can be made,
and compared with the headers, on any machine.  A pointer is an integer here: who fills a structure keeps what it points
at alive.  The constants are Windows' own, also where Python's `socket` on this machine has others of the same name.

This file calls nothing.
"""

from __future__ import annotations

import ctypes
import struct
import uuid
from ipaddress import IPv4Address, IPv6Address
from typing import Any

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
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_PMTUDISC_DONT = 71, 71, 2
MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP = 41, 42, 45, 46

MSG_TRUNC, MSG_CTRUNC = 0x100, 0x200

SIO_GET_EXTENSION_FUNCTION_POINTER = 0xC8000006
SIO_ADDRESS_LIST_CHANGE = 0x28000017
SIO_TCP_INITIAL_RTO = 0x98000011
TCP_INITIAL_RTO_ONCE = struct.pack("<HBx", 0xFFFF, 0xFE)
"""TCP_INITIAL_RTO_PARAMETERS: the system's round-trip time, and no SYN is sent again."""
SIO_UDP_CONNRESET = 0x9800000C
SIO_UDP_NETRESET = 0x9800000F

WSAID_WSASENDMSG = uuid.UUID("a441e712-754f-43ca-84a7-0dee44cf606d")
WSAID_WSARECVMSG = uuid.UUID("f689d7c8-6f1f-436b-8a53-e54fe351c322")


class Layout:
    """The structures for one pointer size (bytes); `NATIVE` has this machine's."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        self._types: dict[str, Any] = {
            "ptr": {4: ctypes.c_uint32, 8: ctypes.c_uint64}[pointer],
            "u32": ctypes.c_uint32,
            "i32": ctypes.c_int32,
            "u8": ctypes.c_uint8,
            "u8[8]": ctypes.c_uint8 * 8,
        }
        self.WSABUF = self._structure("WSABUF", "u32 len; ptr buf")
        self.WSAMSG = self._structure(
            "WSAMSG", "ptr name; i32 namelen; ptr lpBuffers; u32 dwBufferCount; WSABUF Control; u32 dwFlags"
        )
        self.WSAOVERLAPPED = self._structure(
            "WSAOVERLAPPED", "ptr Internal InternalHigh; u32 Offset OffsetHigh; ptr hEvent"
        )
        self.SOCKET_ADDRESS = self._structure("SOCKET_ADDRESS", "ptr lpSockaddr; i32 iSockaddrLength")
        # The two below end where our interest does: the system makes them, and links them by pointers.
        self.IP_ADAPTER_UNICAST_ADDRESS = self._structure(
            "IP_ADAPTER_UNICAST_ADDRESS",
            "u32 Length Flags; ptr Next; SOCKET_ADDRESS Address; i32 PrefixOrigin SuffixOrigin DadState;"
            "u32 ValidLifetime PreferredLifetime LeaseLifetime; u8 OnLinkPrefixLength",
        )
        self.IP_ADAPTER_ADDRESSES = self._structure(
            "IP_ADAPTER_ADDRESSES",
            "u32 Length IfIndex; ptr Next AdapterName FirstUnicastAddress FirstAnycastAddress FirstMulticastAddress"
            " FirstDnsServerAddress DnsSuffix Description FriendlyName; u8[8] PhysicalAddress;"
            "u32 PhysicalAddressLength Flags Mtu IfType; i32 OperStatus; u32 Ipv6IfIndex",
        )

    def _structure(self, name: str, declarations: str) -> type[ctypes.Structure]:
        """As in C: "type field field; type field"."""
        fields = [
            (field, self._types[kind]) for kind, *names in map(str.split, declarations.split(";")) for field in names
        ]
        made = type(name, (ctypes.Structure,), {"_fields_": fields, "__slots__": ()})
        self._types[name] = made
        return made


NATIVE = Layout(ctypes.sizeof(ctypes.c_void_p))

# The port is in network order, the rest in Windows', which is little-endian on every machine it runs on.
_SOCKADDR_IN = struct.Struct("<H2s4s8x")
_SOCKADDR_IN6 = struct.Struct("<H2sI16sI")

SOCKADDR_IN_SIZE, SOCKADDR_IN6_SIZE = _SOCKADDR_IN.size, _SOCKADDR_IN6.size


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
