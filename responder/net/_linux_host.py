"""What Linux tells of the host: its interfaces, and who holds a port.

Interfaces come from ifaddr, merged by index, plus what it lacks: flags, MTU, broadcast and point-to-point addresses
(SIOCGIF*, netdevice(7)), and which IPv6 addresses are not usable (/proc/net/if_inet6).  It is read piece by piece, so
an interface that disappears meanwhile is left out.

This file refuses to remember anything: `responder.net.interfaces` does.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

from ..datagram import Interface, InterfaceAddress, IPAddress
from ..errors import NetworkError

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

import fcntl

from ._constants import (
    IFF_BROADCAST,
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_POINTOPOINT,
    IFF_RUNNING,
    IFF_UP,
    SIOCGIFBRDADDR,
    SIOCGIFDSTADDR,
    SIOCGIFFLAGS,
    SIOCGIFMTU,
)

_FLAGS = (
    (IFF_UP, "up"),
    (IFF_RUNNING, "running"),
    (IFF_BROADCAST, "broadcast"),
    (IFF_LOOPBACK, "loopback"),
    (IFF_POINTOPOINT, "point-to-point"),
    (IFF_MULTICAST, "multicast"),
)

# linux/if_addr.h
_IFA_F_OPTIMISTIC = 0x04
_IFA_F_DADFAILED = 0x08
_IFA_F_DEPRECATED = 0x20
_IFA_F_TENTATIVE = 0x40

_IFREQ = struct.Struct("=16s24s")
_SOCKADDR_IN = struct.Struct("=HH4s16x")

# The thread's own: /proc/net is the main thread's network namespace.
_PROC_NET = Path("/proc/thread-self/net")


def interfaces() -> list[Interface]:
    """The interfaces as they are now, by index.  Raises NetworkError."""
    addresses = _addresses()
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for index, name in sorted(socket.if_nameindex()):
            try:
                flags = _flags(control, name)
                mtu = struct.unpack_from("=i", _ask(control, SIOCGIFMTU, name))[0]
            except OSError:  # ENODEV: it is gone
                continue
            own = [_completed(control, label, flags, entry) for label, entry in addresses.get(index, ())]
            found.append(Interface(index, name, flags, mtu, own))
    return found


def _addresses() -> dict[int, list[tuple[str, InterfaceAddress]]]:
    """Usable addresses by interface index, each with its label (netdevice(7)); deprecated ones last."""
    import ifaddr  # noqa: PLC0415 - most commands never enumerate

    try:
        adapters = list(ifaddr.get_adapters())
    except UnicodeDecodeError as error:
        raise NetworkError(errno.EILSEQ, f"an interface has a name that is not UTF-8: {error.object!r}") from error
    flags6 = _ipv6_flags()
    usable: dict[int, list[tuple[str, InterfaceAddress]]] = {}
    deprecated: dict[int, list[tuple[str, InterfaceAddress]]] = {}
    for adapter in adapters:
        if adapter.index is None:  # gone, or a label without its interface
            continue
        for ip in adapter.ips:
            address = IPv4Address(ip.ip) if isinstance(ip.ip, str) else IPv6Address(ip.ip[0].partition("%")[0])
            flags = flags6.get((adapter.index, address), 0)
            # RFC 4429: an optimistic address may be used while it is tentative.
            if flags & _IFA_F_DADFAILED or (flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC):
                continue
            kind = deprecated if flags & _IFA_F_DEPRECATED else usable
            entry = (adapter.nice_name, InterfaceAddress(address, ip.network_prefix))
            kind.setdefault(adapter.index, []).append(entry)
    for index, entries in deprecated.items():
        usable.setdefault(index, []).extend(entries)
    return usable


def _ipv6_flags() -> dict[tuple[int, IPAddress], int]:
    """(index, address) -> flags, of /proc/net/if_inet6; empty where there is no IPv6."""
    try:
        lines = (_PROC_NET / "if_inet6").read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return {}
    flags: dict[tuple[int, IPAddress], int] = {}
    for line in lines:
        address, index, _prefix, _scope, bits, *_name = line.split()
        flags[int(index, 16), IPv6Address(int(address, 16))] = int(bits, 16)
    return flags


def _ask(control: socket.socket, request: int, name: str, address: IPAddress | None = None) -> bytes:
    """An interface request's 24 bytes of answer; with an IPv4 address, about that one.  Raises OSError."""
    data = b"" if address is None else _SOCKADDR_IN.pack(socket.AF_INET, 0, address.packed)
    return fcntl.ioctl(control, request, _IFREQ.pack(os.fsencode(name), data))[16:]


def _flags(control: socket.socket, name: str) -> frozenset[str]:
    bits = struct.unpack_from("=H", _ask(control, SIOCGIFFLAGS, name))[0]
    return frozenset(flag for bit, flag in _FLAGS if bits & bit)


def _completed(control: socket.socket, label: str, flags: frozenset[str], entry: InterfaceAddress) -> InterfaceAddress:
    """An IPv4 address with its far end or its directed broadcast address; any other as it is."""
    if entry.address.version == 6:
        return entry
    peer = _related(control, SIOCGIFDSTADDR, label, entry.address)
    if peer is not None and peer != entry.address:
        return InterfaceAddress(entry.address, entry.prefix_length, peer=peer)
    # RFC 3021: there is no broadcast on a link of two.
    if "broadcast" not in flags or entry.prefix_length > 30:
        return entry
    broadcast = _related(control, SIOCGIFBRDADDR, label, entry.address)
    if broadcast is None:  # not set: the kernel takes the prefix's all the same (fib_add_ifaddr)
        broadcast = IPv4Network((entry.address, entry.prefix_length), strict=False).broadcast_address
    return InterfaceAddress(entry.address, entry.prefix_length, broadcast=broadcast)


def _related(control: socket.socket, request: int, label: str, address: IPAddress) -> IPv4Address | None:
    """The answer's address; None where there is none, or it is gone."""
    try:
        _family, _port, packed = _SOCKADDR_IN.unpack(_ask(control, request, label, address))
    except OSError:
        return None
    return IPv4Address(packed) if any(packed) else None


def port_holder(transport: str, port: int, address: IPAddress | None) -> str | None:
    """Who holds a port that `address` (None: the wildcard) would collide with: "name (pid 812)".

    `transport` is "udp" or "tcp".  None where it can't be told: without root, other users' processes are closed to us.
    """
    inodes = set(_colliding(transport, port, address))
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(os.readlink(link) in wanted for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text(errors="replace").rstrip("\n")
                return f"{name} (pid {process.name})"
        except OSError:  # another user's, or gone
            continue
    return None


def _colliding(transport: str, port: int, address: IPAddress | None) -> Iterator[str]:
    """The inodes of the sockets in /proc/net/udp, udp6, tcp, tcp6 (proc_net_tcp.rst) that have the port."""
    for table in (transport, f"{transport}6"):
        try:
            lines = (_PROC_NET / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            local, _, local_port = fields[1].partition(":")
            held = _hex_address(local)
            if int(local_port, 16) == port and (address is None or held.is_unspecified or held == address):
                yield fields[9]


def _hex_address(text: str) -> IPAddress:
    """An address as /proc/net shows it: each 32-bit word as a number of the machine."""
    packed = b"".join(struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return getattr(address, "ipv4_mapped", None) or address
