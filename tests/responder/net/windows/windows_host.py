"""A Windows host of fakes at the foreign-function border, and the control messages that its tests speak in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from responder.datagram import Interface, InterfaceAddress
from responder.net import cmsg
from responder.net.windows.interfaces import ListChange, RecentInterfaces
from responder.net.windows.platform import WindowsPlatform
from responder.net.windows.udp import WindowsSocket
from responder.net.windows.winsock_types import AF_INET, AF_INET6, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO

from .fake_winsock import FakeSocket, FakeWinsock, winsock_error

LINK = Interface(3, "Ethernet", addresses=(InterfaceAddress("10.71.0.1", 24), InterfaceAddress("fe80::1", 64)))
PEER4, PEER6 = ip_address("::ffff:10.71.0.9"), ip_address("fe80::9")


class Host(WindowsPlatform):
    """A Windows host of fakes.  `families` are those that it has; `now` is its clock, in seconds.

    `enumerations` counts how often its interfaces were asked for on behalf of peers.
    """

    def __init__(self, families: tuple[int, ...] = (AF_INET6, AF_INET), **socket: Any) -> None:
        super().__init__(lambda _handle: self.winsock, self._no_signal, self._open, lambda: self.table)
        self._recent = RecentInterfaces(self._enumerated, lambda: self.now)
        self.now = 0.0
        self.enumerations = 0
        self.table = [LINK]
        self.winsock = FakeWinsock()
        self.families = families
        self.template = socket
        self.sockets: list[FakeSocket] = []

    def _open(self, family: int, _kind: int) -> FakeSocket:
        if family not in self.families:
            raise winsock_error(10047)
        self.sockets.append(FakeSocket(family=family, **self.template))
        return self.sockets[-1]

    def _no_signal(self, _family: int) -> ListChange:
        raise winsock_error(10045)

    def _enumerated(self) -> list[Interface]:
        self.enumerations += 1
        return self.table

    def open(self) -> tuple[WindowsSocket, FakeWinsock]:
        return self.open_udp(7007), self.winsock


def pktinfo4(address: str, index: int) -> cmsg.ControlMessage:
    return IPPROTO_IP, IP_PKTINFO, cmsg.pack_in_pktinfo_windows(IPv4Address(address), index)


def pktinfo6(address: str, index: int) -> cmsg.ControlMessage:
    return IPPROTO_IPV6, IPV6_PKTINFO, cmsg.pack_in6_pktinfo(IPv6Address(address), index)
