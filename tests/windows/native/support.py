"""What the tests on Windows share: sockets with the foreign functions beside them."""

from __future__ import annotations

import select
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from responder.net import cmsg
from responder.net.windows.platform import native_winsock
from responder.net.windows.udp import ABI, decode_flow
from responder.net.windows.winsock import Incoming, Message, receive_into
from responder.net.windows.winsock_types import (
    AF_INET,
    AF_INET6,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    IPV6_V6ONLY,
    pack_sockaddr,
)

WSAEWOULDBLOCK = 10035


class Socket:
    """A UDP socket with its Winsock: dual-stack, or of AF_INET.  Calls on `winsock` block if `blocking`."""

    def __init__(self, family: int = AF_INET6, bind: str | None = "", *, blocking: bool = True) -> None:
        self.family = family
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(blocking)
        if family == AF_INET6:
            self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
            self.socket.setsockopt(IPPROTO_IPV6, IPV6_PKTINFO, 1)
        self.socket.setsockopt(IPPROTO_IP, IP_PKTINFO, 1)
        if bind is not None:
            self.socket.bind((bind, 0))
        self.winsock = native_winsock(self.socket.fileno())

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def name_of(self, other: Socket, address: str) -> bytes:
        """Another socket, at one of its addresses, as a destination for this one."""
        return pack_sockaddr(ip_address(address), other.port, family=self.family)

    def message(self) -> Message:
        """The next datagram, waited for at most five seconds."""
        assert select.select([self.socket], [], [], 5)[0], "nothing came"
        code, message = receive_into(self.winsock, Incoming())
        assert message is not None, code
        return message

    def received(self) -> tuple[bytes, str, str]:
        """(payload, the sender's address, the destination) of the next datagram."""
        message = self.message()
        flow, _ = decode_flow(message.name, message.control)
        return message.payload, str(flow.peer), str(flow.destination)

    def has_nothing(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]

    def close(self) -> None:
        self.socket.close()


def from_v4(source: str, interface: int = 0) -> bytes:
    """The control data that asks for an IPv4 source."""
    return ABI.encode([(IPPROTO_IP, IP_PKTINFO, cmsg.pack_in_pktinfo_windows(IPv4Address(source), interface))])


def from_v6(source: str, interface: int = 0) -> bytes:
    """The control data that asks for an IPv6 source, or a mapped one."""
    return ABI.encode([(IPPROTO_IPV6, IPV6_PKTINFO, cmsg.pack_in6_pktinfo(IPv6Address(source), interface))])


__all__ = ["AF_INET", "AF_INET6", "WSAEWOULDBLOCK", "Socket", "from_v4", "from_v6"]
