"""Linux's links and addresses through rtnetlink (rtnetlink(7)): dumped as a whole, and followed message by message.

`Mirror` is pure: it takes messages and has the interfaces that they tell of.  `enumerate_interfaces` fills one from a
dump of RTM_GETLINK and RTM_GETADDR; `NetlinkWatch` goes on from its dump with what the kernel sends to the groups of
links and addresses.  The watch's socket is opened before the dump, so what changes during the dump is told twice, never
not at all: each message has an object's whole state, so that telling it again does no harm.

Where the watch's socket has no room the kernel drops messages and the next receive is ENOBUFS (netlink(7)): then only a
new dump is right.

    nlmsghdr   length, type, flags, sequence, port         then, by type:
    ifinfomsg  family, type, index, flags, change          RTM_*LINK, then attributes IFLA_*
    ifaddrmsg  family, prefix length, flags, scope, index  RTM_*ADDR, then attributes IFA_*
    rtattr     length, type, value, each padded to 4 bytes

Numbers are the kernel's own (linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, net/if.h).  What a change means is
decided in `responder.server.interfaces`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Final

import attrs
import trio

from ...datagram import Interface, InterfaceAddress
from ...errors import NetworkError
from ...threads import in_thread
from ..posix.interface_flags import flag_names
from ..sockets import FailedWaits
from ..types import Changes

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

from .constants import SO_RCVBUFFORCE

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes: some 1,500 messages, each of which takes up to 2.5 KiB there."""

BURST = 256
"""Messages taken in one go, so that a storm of them leaves the others their turn."""

MAX_DUMPS = 8
"""Attempts at a dump that changes meanwhile keep interrupting; the last is taken as it is, and messages correct it."""

_READ_SIZE = 64 * 1024  # more than the kernel puts into one datagram of a dump (32 KiB)

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST: Final = 0x01
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_DUMP: Final = 0x300

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
_GROUPS: Final = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_EXT_MASK: Final = 29
_RTEXT_FILTER_SKIP_STATS: Final = 8

_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_BROADCAST: Final = 4
_IFA_FLAGS: Final = 8
# The flag of an IPv4 secondary address and of an IPv6 temporary one (RFC 8981) is the same.
_IFA_F_SECONDARY: Final = 0x01
_IFA_F_OPTIMISTIC: Final = 0x04
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_DEPRECATED: Final = 0x20
_IFA_F_TENTATIVE: Final = 0x40

_IFF_MULTICAST: Final = 0x1000

_ADDRESS_SIZES: Final = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}
"""Bytes, by family."""

_NLMSGHDR = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_RTATTR = struct.Struct("=HH")
_UNSIGNED = struct.Struct("=I")


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, what follows the header) of each message in a datagram, up to the first whose length lies."""
    offset = 0
    while offset + _NLMSGHDR.size <= len(data):
        length, kind, flags, _sequence, _port = _NLMSGHDR.unpack_from(data, offset)
        if length < _NLMSGHDR.size or offset + length > len(data):
            return
        yield kind, flags, data[offset + _NLMSGHDR.size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes by type, from `offset` up to the first whose length lies."""
    found: dict[int, bytes] = {}
    while offset + _RTATTR.size <= len(data):
        length, kind = _RTATTR.unpack_from(data, offset)
        if length < _RTATTR.size or offset + length > len(data):
            break
        found[kind] = data[offset + _RTATTR.size : offset + length]
        offset += (length + 3) & ~3
    return found


@attrs.frozen
class _Address:
    """An address as the kernel has it, usable or not; `peer` is its own address where there is no far end."""

    local: bytes
    peer: bytes
    prefix_length: int
    scope: int
    flags: int
    broadcast: bytes

    @property
    def usable(self) -> bool:
        if self.flags & _IFA_F_DADFAILED:
            return False
        # RFC 4429: an optimistic address may be used while it is tentative.
        return not self.flags & _IFA_F_TENTATIVE or bool(self.flags & _IFA_F_OPTIMISTIC)

    @property
    def rank(self) -> tuple[int, bool, bool, int, bytes]:
        """The order of a link's addresses, the same for a dump as for message after message.

        IPv4 first, deprecated ones last (RFC 4862 section 5.5.4), then secondary and temporary ones, the narrower scope
        first as the kernel has it (inet_insert_ifa).  What is left keeps its order for IPv4, where the kernel's is that
        of configuration, and is by number for IPv6, where the kernel's has no meaning.
        """
        ipv6 = len(self.local) == 16
        return (
            len(self.local),
            bool(self.flags & _IFA_F_DEPRECATED),
            bool(self.flags & _IFA_F_SECONDARY),
            0 if ipv6 else -self.scope,
            self.local if ipv6 else b"",
        )

    def on(self, flags: frozenset[str]) -> InterfaceAddress:
        """As plugins see it, on a link with these flags."""
        address = ip_address(self.local)
        if self.peer != self.local:
            return InterfaceAddress(address, self.prefix_length, peer=ip_address(self.peer))
        # RFC 3021: there is no broadcast on a link of two.
        if not isinstance(address, IPv4Address) or "broadcast" not in flags or self.prefix_length > 30:
            return InterfaceAddress(address, self.prefix_length)
        if any(self.broadcast):
            broadcast = IPv4Address(self.broadcast)
        else:  # not set: the kernel takes the prefix's all the same (fib_add_ifaddr)
            broadcast = IPv4Network((address, self.prefix_length), strict=False).broadcast_address
        return InterfaceAddress(address, self.prefix_length, broadcast=broadcast)


@attrs.define
class _Link:
    name: str = ""
    flags: frozenset[str] = frozenset()
    mtu: int = 0
    link_address: bytes = b""
    addresses: dict[tuple[bytes, bytes, int], _Address] = attrs.field(factory=dict)


class Mirror:
    """The kernel's links and addresses, as messages told of them."""

    def __init__(self) -> None:
        self._links: dict[int, _Link] = {}

    def interfaces(self) -> list[Interface]:
        """By index."""
        return [interface for index in sorted(self._links) if (interface := self.interface(index)) is not None]

    def interface(self, index: int) -> Interface | None:
        """The interface of that index as it is now, or None."""
        link = self._links.get(index)
        if link is None or not link.name:  # addresses of a link that was not told of yet
            return None
        usable = sorted((entry for entry in link.addresses.values() if entry.usable), key=lambda entry: entry.rank)
        addresses = [entry.on(link.flags) for entry in usable]
        return Interface(index, link.name, link.flags, link.mtu, addresses, link.link_address)

    def take(self, kind: int, payload: bytes) -> int:
        """Take a message in: the index that it is about, 0 for one that tells nothing of interfaces.

        One that can't be right (an address of another size than its family's, say) changes nothing.
        """
        try:
            if kind in (RTM_NEWLINK, RTM_DELLINK):
                return self._take_link(kind, payload)
            if kind in (RTM_NEWADDR, RTM_DELADDR):
                return self._take_address(kind, payload)
        except struct.error:  # shorter than its own header, or a number of another size
            pass
        return 0

    def _take_link(self, kind: int, payload: bytes) -> int:
        family, _type, index, bits, _change = _IFINFOMSG.unpack_from(payload)
        # AF_BRIDGE messages are about a bridge's port: RTM_DELLINK says that it left the bridge, not that it is gone.
        if family != socket.AF_UNSPEC or index < 1:
            return 0
        if kind == RTM_DELLINK:
            self._links.pop(index, None)
            return int(index)
        found = attributes(payload, _IFINFOMSG.size)
        # What is missing stays: a wireless event (wext-core.c) tells the name alone.
        link = self._links.get(index) or _Link()
        if _IFLA_MTU in found:
            (link.mtu,) = _UNSIGNED.unpack(found[_IFLA_MTU])
        if _IFLA_IFNAME in found:  # it may be of any bytes; in this form it can be shown everywhere
            link.name = found[_IFLA_IFNAME].partition(b"\0")[0].decode("utf-8", "backslashreplace")
        if _IFLA_ADDRESS in found:
            link.link_address = found[_IFLA_ADDRESS] if any(found[_IFLA_ADDRESS]) else b""
        link.flags = flag_names(bits, multicast=_IFF_MULTICAST)
        self._links[index] = link
        return int(index)

    def _take_address(self, kind: int, payload: bytes) -> int:
        family, prefix_length, flags, scope, index = _IFADDRMSG.unpack_from(payload)
        found = attributes(payload, _IFADDRMSG.size)
        # IFA_LOCAL is one's own and IFA_ADDRESS the far end's; without a far end IPv6 has IFA_ADDRESS alone.
        peer = found.get(_IFA_ADDRESS, b"")
        local = found.get(_IFA_LOCAL, peer)
        broadcast = found.get(_IFA_BROADCAST, b"")
        sizes = {len(each or local) for each in (local, peer, broadcast)}
        if sizes != {_ADDRESS_SIZES.get(family)} or prefix_length > 8 * len(local) or index < 1:
            return 0
        key = local, peer, prefix_length
        if kind == RTM_DELADDR:
            if index in self._links:
                self._links[index].addresses.pop(key, None)
            return int(index)
        if _IFA_FLAGS in found:
            (flags,) = _UNSIGNED.unpack(found[_IFA_FLAGS])
        link = self._links.setdefault(index, _Link())
        link.addresses[key] = _Address(local, peer or local, prefix_length, scope, flags, broadcast)
        return int(index)


def _open(groups: int = 0) -> socket.socket:
    try:
        with ExitStack() as stack:
            sock = stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
            sock.bind((0, groups))
            stack.pop_all()
    except OSError as error:  # EAFNOSUPPORT: a sandbox that forbids AF_NETLINK, as glibc's getifaddrs needs it too
        raise NetworkError(error.errno, f"the interfaces can't be read by AF_NETLINK: {error.strerror}") from error
    return sock


def dump(sock: socket.socket) -> Mirror:
    """The links and addresses of a socket's network namespace.  Blocks for milliseconds.  Raises OSError."""
    mask = _RTATTR.pack(8, _IFLA_EXT_MASK) + _UNSIGNED.pack(_RTEXT_FILTER_SKIP_STATS)
    for _ in range(MAX_DUMPS):
        mirror = Mirror()
        whole = _ask(sock, mirror, RTM_GETLINK, _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + mask)
        whole &= _ask(sock, mirror, RTM_GETADDR, _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        if whole:
            break
    return mirror


def _ask(sock: socket.socket, mirror: Mirror, request: int, body: bytes) -> bool:
    """Put a dump's messages into the mirror; False where a change in the midst of it may have been missed."""
    sock.send(_NLMSGHDR.pack(_NLMSGHDR.size + len(body), request, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0) + body)
    whole = True
    while True:
        for kind, flags, payload in messages(sock.recv(_READ_SIZE)):
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                raise NetworkError(code, f"the interfaces can't be read: {os.strerror(code)}")
            if flags & _NLM_F_DUMP_INTR:
                whole = False
            if kind == _NLMSG_DONE:
                return whole
            mirror.take(kind, payload)


def enumerate_interfaces() -> list[Interface]:
    """The interfaces as they are now, by index.  Raises OSError."""
    with _open() as sock:
        return dump(sock).interfaces()


class NetlinkWatch:
    """See `responder.net.types.InterfaceWatch`.  It follows the network namespace that it is made in.

    `receive_buffer` in bytes.  Raises OSError.
    """

    def __init__(self, receive_buffer: int = RECEIVE_BUFFER) -> None:
        with ExitStack() as stack:
            self._socket = stack.enter_context(_open(_GROUPS))
            self._requests = stack.enter_context(_open())
            self._socket.setblocking(False)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
            except PermissionError:  # it takes CAP_NET_ADMIN; the kernel cuts what follows to net.core.rmem_max
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._sockets = stack.pop_all()
        self._mirror = Mirror()
        self._failed_waits = FailedWaits("the netlink socket")

    def close(self) -> None:
        self._sockets.close()

    async def interfaces(self) -> Sequence[Interface]:
        self._mirror = await in_thread(dump, self._requests)
        return self._mirror.interfaces()

    async def changes(self) -> Changes | None:
        await self._failed_waits.outlast(trio.lowlevel.wait_readable, self._socket)
        told: list[tuple[int, Interface | None]] = []
        touched: dict[int, None] = {}
        for _ in range(BURST):
            try:
                data, (sender, _groups) = self._socket.recvfrom(_READ_SIZE)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._discard()
                return None
            for kind, _flags, payload in messages(data) if sender == 0 else ():  # 0 is the kernel
                index = self._mirror.take(kind, payload)
                if index and kind == RTM_DELLINK:
                    told.append((index, None))
                    touched.pop(index, None)
                elif index:
                    touched[index] = None
        return [*told, *((index, self._mirror.interface(index)) for index in touched)]

    def _discard(self) -> None:
        """Empty the queue: what stands there is older than the dump that follows."""
        while True:
            try:
                self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


@asynccontextmanager
async def watch_interfaces() -> AsyncIterator[NetlinkWatch]:
    """Watch the network namespace of this thread."""
    with closing(NetlinkWatch()) as watch:
        yield watch
