"""The interfaces of macOS and FreeBSD, and the signal that they have changed.

Addresses come through ifaddr, merged by index, plus what it lacks: flags, MTU and the far end of a point-to-point link
(SIOCGIF*, netintro(4)), and which IPv6 addresses are not usable (SIOCGIFAFLAG_IN6).  It is read piece by piece, so an
interface that disappears meanwhile is left out.  A routing socket (route(4)) tells that something changed, not
reliably what: so each signal leads to a fresh enumeration in a thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio

from ...datagram import Interface, InterfaceAddress, IPAddress
from ...errors import NetworkError
from ...threads import in_thread
from ..interface_table import directed_broadcast
from ..posix.interface_flags import flag_names
from ..sockets import FailedWaits
from ..types import Changes
from .abi import AF_INET, AF_ROUTE, concerns_interfaces, without_embedded_scope

if sys.platform == "win32":  # mypy leaves out what follows
    raise ImportError("POSIX only")

import fcntl

_SIOCGIFFLAGS: Final = 0xC0206911
_SIOCGIFDSTADDR: Final = 0xC0206922
_SIOCGIFMTU: Final = 0xC0206933
_SIOCGIFAFLAG_IN6: Final = 0xC1206949

_IFF_MULTICAST: Final = 0x8000

# netinet6/in6_var.h
_IN6_IFF_TENTATIVE: Final = 0x02
_IN6_IFF_DUPLICATED: Final = 0x04
_IN6_IFF_DETACHED: Final = 0x08
_IN6_IFF_DEPRECATED: Final = 0x10

_IFREQ = struct.Struct("=16s16s")
_IN6_IFREQ = struct.Struct("=16s272s")
_SOCKADDR_IN = struct.Struct("=BBH4s8x")
_SOCKADDR_IN6 = struct.Struct("=BBHI16sI")


def usable(flags: int) -> bool:
    """Is an IPv6 address with these flags ready for use (RFC 4862)?"""
    return not flags & (_IN6_IFF_TENTATIVE | _IN6_IFF_DUPLICATED | _IN6_IFF_DETACHED)


def completed(
    address: IPAddress, prefix_length: int, flags: frozenset[str], peer: IPAddress | None
) -> InterfaceAddress:
    """An address with the far end of its link, or its directed broadcast address, as far as it has one."""
    if address.version == 6:
        return InterfaceAddress(address, prefix_length)
    if "point-to-point" in flags and peer is not None and peer != address:
        return InterfaceAddress(address, prefix_length, peer=peer)
    broadcast = directed_broadcast(address, prefix_length) if "broadcast" in flags else None
    return InterfaceAddress(address, prefix_length, broadcast=broadcast)


def enumerate_interfaces() -> list[Interface]:
    """The interfaces as they are now, by index.  Blocks for milliseconds.  Raises OSError."""
    found = []
    addresses = _addresses()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for index, name in sorted(socket.if_nameindex()):
            try:
                bits = struct.unpack_from("=H", _ask(control, _SIOCGIFFLAGS, name))[0]  # the lower 16
                flags = flag_names(bits, multicast=_IFF_MULTICAST)
                mtu = struct.unpack_from("=i", _ask(control, _SIOCGIFMTU, name))[0]
            except OSError:  # ENXIO: it is gone
                continue
            peer = _peer(control, name) if "point-to-point" in flags else None
            own = [
                completed(address, length, flags, peer) for address, length in _usable(name, addresses.get(name, ()))
            ]
            found.append(Interface(index, name, flags, mtu, own))
    return found


def _addresses() -> dict[str, list[tuple[IPAddress, int]]]:
    """By name, each with its prefix length (bits), in the system's order."""
    import ifaddr  # noqa: PLC0415 - most commands never enumerate

    found: dict[str, list[tuple[IPAddress, int]]] = {}
    try:
        adapters = list(ifaddr.get_adapters())
    except UnicodeDecodeError as error:
        raise NetworkError(errno.EILSEQ, f"an interface has a name that is not UTF-8: {error.object!r}") from error
    except (AssertionError, ValueError) as error:  # none, or one with holes
        raise NetworkError(errno.EINVAL, f"an interface's netmask can't be read: {error}") from error
    for adapter in adapters:
        for ip in adapter.ips:
            address: IPAddress
            if isinstance(ip.ip, str):
                address = IPv4Address(ip.ip)
            else:
                address = without_embedded_scope(IPv6Address(ip.ip[0].partition("%")[0]))
            found.setdefault(adapter.name, []).append((address, ip.network_prefix))
    return found


def _usable(name: str, addresses: Iterable[tuple[IPAddress, int]]) -> list[tuple[IPAddress, int]]:
    """Those that are; deprecated ones last."""
    first: list[tuple[IPAddress, int]] = []
    last: list[tuple[IPAddress, int]] = []
    for address, length in addresses:
        flags = 0 if address.version == 4 else _ipv6_flags(name, address)
        if usable(flags):
            (last if flags & _IN6_IFF_DEPRECATED else first).append((address, length))
    return first + last


def _ipv6_flags(name: str, address: IPAddress) -> int:
    """Tentative where it can't be told: the address is going."""
    index = socket.if_nametoindex(name) if address.is_link_local else 0
    asked = _SOCKADDR_IN6.pack(28, socket.AF_INET6, 0, 0, address.packed, index)
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
            answer = fcntl.ioctl(control, _SIOCGIFAFLAG_IN6, _IN6_IFREQ.pack(os.fsencode(name), asked))
    except OSError:
        return _IN6_IFF_TENTATIVE
    flags: int = struct.unpack_from("=i", answer, 16)[0]
    return flags


def _ask(control: socket.socket, request: int, name: str) -> bytes:
    """An interface request's 16 bytes of answer.  Raises OSError."""
    return fcntl.ioctl(control, request, _IFREQ.pack(os.fsencode(name), b""))[16:]


def _peer(control: socket.socket, name: str) -> IPv4Address | None:
    """The far end's IPv4 address, where there is one."""
    try:
        _length, family, _port, packed = _SOCKADDR_IN.unpack(_ask(control, _SIOCGIFDSTADDR, name))
    except OSError:
        return None
    return IPv4Address(packed) if family == AF_INET and any(packed) else None


class RouteWatch:
    """See `responder.net.types.InterfaceWatch`.  Takes a routing socket; who made it closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._failed_waits = FailedWaits("the routing socket")

    async def interfaces(self) -> Sequence[Interface]:
        return await in_thread(enumerate_interfaces)

    async def changes(self) -> Changes | None:
        await self._failed_waits.outlast(trio.lowlevel.wait_readable, self._socket)
        changed = False
        for _ in range(256):
            try:
                changed |= concerns_interfaces(self._socket.recv(2048))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # messages were lost
                    raise
                changed = True
        return None if changed else ()


@asynccontextmanager
async def watch_interfaces() -> AsyncIterator[RouteWatch]:
    """Raises OSError."""
    with socket.socket(AF_ROUTE, socket.SOCK_RAW, 0) as sock:
        sock.setblocking(False)
        yield RouteWatch(sock)
