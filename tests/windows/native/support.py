"""What the tests on Windows share: sockets with the foreign functions beside them."""

from __future__ import annotations

import ctypes
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from responder.net import cmsg
from responder.net.windows.udp import ABI, decode_control, decode_flow
from responder.net.windows.winsock import Taken
from responder.net.windows.winsock_types import (
    AF_INET,
    AF_INET6,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    IPV6_V6ONLY,
    NATIVE,
    pack_sockaddr,
)
from tests.responder.net.windows.whole_winsock import receive_message

from .whole_native import WholeNative

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

WSAEWOULDBLOCK = 10035


ON_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
only_on_wine = pytest.mark.skipif(not ON_WINE, reason="shows what the kit's WSASendMsg does, not Windows'")


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
        self.winsock = WholeNative(self.socket.fileno())

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def name_of(self, other: Socket, address: str) -> bytes:
        """Another socket, at one of its addresses, as a destination for this one."""
        return pack_sockaddr(ip_address(address), other.port, family=self.family)

    def taken(self) -> Taken:
        """The next datagram, waited for at most five seconds."""
        assert select.select([self.socket], [], [], 5)[0], "nothing came"
        return receive_message(self.winsock, family=self.family)

    def received(self) -> tuple[bytes, str, str]:
        """(payload, the sender's address, the destination) of the next datagram."""
        payload, address, _, control, _ = self.taken()
        flow = decode_flow(address + decode_control(control)[0])
        return payload, str(flow.peer), str(flow.destination)

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


@contextmanager
def overlapped_with_event() -> Iterator[tuple[ctypes.Structure, Callable[[], bool]]]:
    """An OVERLAPPED that names an event, and what waits for that at most 10 s: has it been set?"""
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.CreateEventW.restype = ctypes.c_void_p
    event = kernel32.CreateEventW(None, True, False, None)
    own = NATIVE.WSAOVERLAPPED()
    own.hEvent = event
    try:
        yield own, lambda: kernel32.WaitForSingleObject(ctypes.c_void_p(event), 10_000) == 0
    finally:
        kernel32.CloseHandle(ctypes.c_void_p(event))


__all__ = [
    "AF_INET",
    "AF_INET6",
    "ON_WINE",
    "WSAEWOULDBLOCK",
    "Socket",
    "from_v4",
    "from_v6",
    "only_on_wine",
    "overlapped_with_event",
]
