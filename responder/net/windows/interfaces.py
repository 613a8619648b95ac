"""Windows' interface table, and the signal that it has changed.

Addresses and prefixes come through ifaddr; GetAdaptersAddresses adds what that lacks: the friendly name (ifaddr's is a
GUID), type, state, MTU, and which addresses are usable.  The two are asked one after the other, so an interface that
only one of them saw is left out: it is coming or going, and the change signal will tell.

`InterfaceWatch` waits for SIO_ADDRESS_LIST_CHANGE.  What that doesn't report, a slow re-scan has to find.

This file refuses to keep a table, and to re-scan: `responder.server.interfaces` does both.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TypeAlias

import attrs
import trio

from ...datagram import Interface, InterfaceAddress, IPAddress
from ...log import get_logger
from ..types import Changes
from .winsock import Operations, Winsock
from .winsock_errors import call_error
from .winsock_types import AF_INET, AF_INET6, NATIVE, SIO_ADDRESS_LIST_CHANGE, unpack_sockaddr

_log = get_logger(__name__)

_ADAPTER_NO_MULTICAST = 0x10  # IP_ADAPTER_NO_MULTICAST
_IF_TYPE_PPP, _IF_TYPE_LOOPBACK, _IF_TYPE_TUNNEL = 23, 24, 131
_OPER_STATUS_UP, _OPER_STATUS_TESTING, _OPER_STATUS_DORMANT = 1, 3, 5
_DAD_STATE_PREFERRED = 4  # IpDadStatePreferred; Deprecated (3) still answers, but is not for new conversations
_DAD_STATE_DEPRECATED = 3
_ERROR_BUFFER_OVERFLOW = 111
_ERROR_NO_DATA = 232


@attrs.frozen
class Adapter:
    """What GetAdaptersAddresses tells of one interface; `addresses` are those that are no longer tentative."""

    guid: str
    index: int
    name: str
    if_type: int
    flags: int
    oper_status: int
    mtu: int
    addresses: frozenset[IPAddress]


def parse_adapters(address: int) -> Iterator[Adapter]:
    """The linked list of IP_ADAPTER_ADDRESSES that begins at a memory address (0: none)."""
    while address:
        entry = NATIVE.IP_ADAPTER_ADDRESSES.from_address(address)
        yield Adapter(
            guid=ctypes.string_at(entry.AdapterName).decode("ascii", "replace"),
            # An interface without IPv4 has 0 for its IPv4 index; with both, they are the same number.
            index=entry.IfIndex or entry.Ipv6IfIndex,
            name=_wide_string(entry.FriendlyName),
            if_type=entry.IfType,
            flags=entry.Flags,
            oper_status=entry.OperStatus,
            mtu=entry.Mtu,
            addresses=frozenset(_usable_addresses(entry.FirstUnicastAddress)),
        )
        address = entry.Next


def _usable_addresses(address: int) -> Iterator[IPAddress]:
    while address:
        entry = NATIVE.IP_ADAPTER_UNICAST_ADDRESS.from_address(address)
        if entry.DadState in (_DAD_STATE_PREFERRED, _DAD_STATE_DEPRECATED):
            yield unpack_sockaddr(ctypes.string_at(entry.Address.lpSockaddr, entry.Address.iSockaddrLength))[0]
        address = entry.Next


def _wide_string(address: int) -> str:
    """A zero-terminated UTF-16 string: ctypes' own wide strings have 4-byte characters elsewhere."""
    units = bytearray()
    while (unit := ctypes.string_at(address + len(units), 2)) != b"\0\0":
        units += unit
    return units.decode("utf-16-le", "replace")


def adapters() -> list[Adapter]:
    """Ask GetAdaptersAddresses.  Raises WinsockError."""
    found: list[Adapter] = []
    if sys.platform == "win32":  # in the form that type checkers elsewhere understand
        call = ctypes.WinDLL("iphlpapi").GetAdaptersAddresses
        size = ctypes.c_uint32(0x4000)
        code = _ERROR_BUFFER_OVERFLOW
        while code == _ERROR_BUFFER_OVERFLOW:  # and then the call has written the size that it needs
            buffer = ctypes.create_string_buffer(size.value)
            code = call(0, 0, None, buffer, ctypes.byref(size))  # AF_UNSPEC, no flags
        if code not in (0, _ERROR_NO_DATA):
            raise call_error(code, "GetAdaptersAddresses")
        found.extend(parse_adapters(ctypes.addressof(buffer) if code == 0 else 0))
    return found


Prefixes: TypeAlias = Mapping[str, Sequence[tuple[IPAddress, int]]]
"""By an adapter's GUID: its addresses with their prefix lengths (bits), in the system's order."""


def prefixes() -> Prefixes:
    """Ask ifaddr."""
    import ifaddr  # noqa: PLC0415 - only who enumerates pays for it

    found: dict[str, list[tuple[IPAddress, int]]] = {}
    for adapter in ifaddr.get_adapters(include_unconfigured=True):
        entries = found.setdefault(adapter.name, [])
        for ip in adapter.ips:
            address: IPAddress = IPv4Address(ip.ip) if isinstance(ip.ip, str) else IPv6Address(ip.ip[0])
            entries.append((address, ip.network_prefix))
    return found


def merge(details: Iterable[Adapter], known: Prefixes) -> list[Interface]:
    """One `Interface` for each adapter that both know, in the order of the indexes."""
    table: dict[int, Interface] = {}
    for adapter in details:
        if adapter.guid not in known:
            continue
        flags = _flags(adapter)
        addresses = tuple(
            InterfaceAddress(address, length, broadcast=_broadcast(address, length) if "broadcast" in flags else None)
            for address, length in known[adapter.guid]
            if address in adapter.addresses
        )
        table[adapter.index] = Interface(adapter.index, adapter.name, flags, adapter.mtu, addresses)
    return [table[index] for index in sorted(table)]


def _flags(adapter: Adapter) -> frozenset[str]:
    flags = set()
    if adapter.oper_status in (_OPER_STATUS_UP, _OPER_STATUS_TESTING, _OPER_STATUS_DORMANT):
        flags.add("up")
    if adapter.oper_status == _OPER_STATUS_UP:
        flags.add("running")
    if not adapter.flags & _ADAPTER_NO_MULTICAST:
        flags.add("multicast")
    if adapter.if_type == _IF_TYPE_LOOPBACK:
        flags.add("loopback")
    elif adapter.if_type in (_IF_TYPE_PPP, _IF_TYPE_TUNNEL):
        flags.add("point-to-point")
    else:
        flags.add("broadcast")
    return frozenset(flags)


def _broadcast(address: IPAddress, prefix_length: int) -> IPv4Address | None:
    if isinstance(address, IPv6Address) or prefix_length > 30:  # RFC 3021: a /31 has none
        return None
    network = ip_network((address, prefix_length), strict=False)
    return IPv4Address(network.broadcast_address.packed)


def interfaces() -> list[Interface]:
    """This host's interfaces as they are now.  Takes milliseconds.  Raises OSError."""
    return merge(adapters(), prefixes())


class InterfaceWatch:
    """A `responder.net.types.InterfaceWatch` that only signals."""

    def __init__(self, enumerate_interfaces: Callable[[], Sequence[Interface]]) -> None:
        self._enumerate = enumerate_interfaces
        self._changed = trio.Event()

    async def interfaces(self) -> Sequence[Interface]:
        # The signal is armed by now, so a change from here on is not missed.
        self._changed = trio.Event()
        return await trio.to_thread.run_sync(self._enumerate)

    async def changes(self) -> Changes | None:
        await self._changed.wait()
        self._changed = trio.Event()
        return None

    async def follow(
        self, operations: Operations, winsock: Winsock, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take one socket's signals, one after another; "started" once the first is armed."""
        report: Callable[[], None] = task_status.started

        def arm(overlapped: int) -> int:
            # Armed first, reported after, so that whoever hears of it enumerates under a new signal.
            nonlocal report
            code = winsock.ioctl(SIO_ADDRESS_LIST_CHANGE, b"", overlapped)
            report()
            report = self._changed_now
            return code

        code = 0
        while not code:
            code, _ = await operations.perform(arm, None)
        _log.warning("address changes are no longer signalled, only found by re-scanning", error=code)

    def _changed_now(self) -> None:
        self._changed.set()


@asynccontextmanager
async def watch_interfaces(
    enumerate_interfaces: Callable[[], Sequence[Interface]],
    open_winsock: Callable[[int], Winsock],
    families: Iterable[int] = (AF_INET, AF_INET6),
) -> AsyncIterator[InterfaceWatch]:
    """Watch with a socket of each family that this host has; `open_winsock` makes the border of a handle."""
    watch = InterfaceWatch(enumerate_interfaces)
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        for family in families:
            try:
                sock = socket.socket(family, socket.SOCK_DGRAM)
            except OSError:
                continue  # the host lacks this family, so it has no changes either
            winsock = open_winsock(sock.fileno())
            operations = Operations(winsock, sock.close)
            stack.callback(operations.close)
            await nursery.start(watch.follow, operations, winsock)
        yield watch
        nursery.cancel_scope.cancel()
