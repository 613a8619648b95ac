"""Windows' interface table, and the signals that it has changed.

`SignalledWatch` waits for the callbacks of `change_callbacks`, and for SIO_ADDRESS_LIST_CHANGE, which tells less but is
older: it is what Wine has.  What neither reports, a slow re-scan has to find.

This file keeps no table and re-scans nothing: `responder.server.interfaces` does both.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Protocol

import trio

from ...datagram import Interface, InterfaceAddress
from ...log import get_logger
from ...threads import in_thread
from ..interface_table import directed_broadcast
from ..types import Changes
from . import winsock_types as ws
from .change_callbacks import change_callbacks
from .winsock_errors import call_error

_log = get_logger(__name__)

MAX_AGE = 1.0
"""Seconds for which `RecentInterfaces` does not enumerate again."""

_ADAPTER_NO_MULTICAST = 0x10  # IP_ADAPTER_NO_MULTICAST
_ADDRESS_TRANSIENT = 0x02  # IP_ADAPTER_ADDRESS_TRANSIENT
_IF_TYPE_PPP, _IF_TYPE_LOOPBACK, _IF_TYPE_TUNNEL = 23, 24, 131
_OPER_STATUS_UP, _OPER_STATUS_TESTING, _OPER_STATUS_DORMANT = 1, 3, 5
_DAD_STATE_PREFERRED = 4  # IpDadStatePreferred; Deprecated (3) still answers, but is not for new conversations
_DAD_STATE_DEPRECATED = 3
_ADDRESS_PLACES = {ws.SOCKADDR_IN_SIZE: slice(4, 8), ws.SOCKADDR_IN6_SIZE: slice(8, 24)}  # by the sockaddr's size
_ERROR_BUFFER_OVERFLOW = 111
_ERROR_NO_DATA = 232


def parse_adapters(address: int) -> list[Interface]:
    """The interfaces of the linked list of IP_ADAPTER_ADDRESSES that begins at a memory address (0: none), by index."""
    table: dict[int, Interface] = {}
    while address:
        entry = ws.NATIVE.IP_ADAPTER_ADDRESSES.from_address(address)
        # An interface without IPv4 has 0 for its IPv4 index; with both, they are the same number.
        index = entry.IfIndex or entry.Ipv6IfIndex
        flags = _flags(entry)
        addresses = tuple(_usable_addresses(entry.FirstUnicastAddress, broadcast="broadcast" in flags))
        table[index] = Interface(index, _wide_string(entry.FriendlyName), flags, entry.Mtu, addresses)
        address = entry.Next
    return [table[index] for index in sorted(table)]


def _usable_addresses(address: int, *, broadcast: bool) -> Iterator[InterfaceAddress]:
    """Those that are no longer tentative, without a failover cluster's, which may be another host's in a moment."""
    while address:
        entry = ws.NATIVE.IP_ADAPTER_UNICAST_ADDRESS.from_address(address)
        name = ctypes.string_at(entry.Address.lpSockaddr, entry.Address.iSockaddrLength)
        place = _ADDRESS_PLACES.get(len(name))
        usable = entry.DadState in (_DAD_STATE_PREFERRED, _DAD_STATE_DEPRECATED)
        if place and usable and not entry.Flags & _ADDRESS_TRANSIENT:
            own = ip_address(name[place])
            length = min(entry.OnLinkPrefixLength, own.max_prefixlen)  # 255 is "an illegal value"
            yield InterfaceAddress(own, length, broadcast=directed_broadcast(own, length) if broadcast else None)
        address = entry.Next


def _wide_string(address: int) -> str:
    """A zero-terminated UTF-16 string: ctypes' own wide strings have 4-byte characters elsewhere."""
    units = bytearray()
    while (unit := ctypes.string_at(address + len(units), 2)) != b"\0\0":
        units += unit
    return units.decode("utf-16-le", "replace")


def _flags(adapter: ctypes.Structure) -> frozenset[str]:
    flags = set()
    if adapter.OperStatus in (_OPER_STATUS_UP, _OPER_STATUS_TESTING, _OPER_STATUS_DORMANT):
        flags.add("up")
    if adapter.OperStatus == _OPER_STATUS_UP:
        flags.add("running")
    if not adapter.Flags & _ADAPTER_NO_MULTICAST:
        flags.add("multicast")
    if adapter.IfType == _IF_TYPE_LOOPBACK:
        flags.add("loopback")
    elif adapter.IfType in (_IF_TYPE_PPP, _IF_TYPE_TUNNEL):
        flags.add("point-to-point")
    else:
        flags.add("broadcast")
    return frozenset(flags)


def interfaces() -> list[Interface]:
    """This host's interfaces as they are now, by GetAdaptersAddresses.  Takes milliseconds.  Raises OSError."""
    found: list[Interface] = []
    if sys.platform == "win32":  # in the form that type checkers elsewhere understand
        call = ctypes.WinDLL("iphlpapi").GetAdaptersAddresses
        size = ctypes.c_uint32(0x4000)
        code = _ERROR_BUFFER_OVERFLOW
        while code == _ERROR_BUFFER_OVERFLOW:  # and then the call has written the size that it needs
            buffer = ctypes.create_string_buffer(size.value)
            code = call(0, 0, None, buffer, ctypes.byref(size))  # AF_UNSPEC, no flags
        if code not in (0, _ERROR_NO_DATA):
            raise call_error(code, "GetAdaptersAddresses")
        found = parse_adapters(ctypes.addressof(buffer) if code == 0 else 0)
    return found


class RecentInterfaces:
    """The interfaces as they were a second ago at most: for what each new peer may ask for."""

    def __init__(
        self, enumerate_interfaces: Callable[[], Sequence[Interface]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._enumerate = enumerate_interfaces
        self._clock = clock
        self._until = -math.inf
        self._found: Sequence[Interface] = ()

    def __call__(self) -> Sequence[Interface]:
        now = self._clock()
        if now >= self._until:
            self._until = now + MAX_AGE
            with suppress(OSError):  # short of memory: what is known will do
                self._found = self._enumerate()
        return self._found


class SignalledWatch:
    """A `responder.net.types.InterfaceWatch` that only signals."""

    def __init__(self, enumerate_interfaces: Callable[[], Sequence[Interface]]) -> None:
        self._enumerate = enumerate_interfaces
        self._changed = trio.Event()

    async def interfaces(self) -> Sequence[Interface]:
        # The signal is armed by now, so a change from here on is not missed.
        self._changed = trio.Event()
        return await in_thread(self._enumerate)

    async def changes(self) -> Changes | None:
        await self._changed.wait()
        self._changed = trio.Event()
        return None

    async def follow(self, change: ListChange, code: int) -> None:
        """Take a signal, and arm it again, for as long as that can be done; `code` is what it was first armed with."""
        error: object = code
        while not error:
            try:
                await change.changed()
            except (OSError, RuntimeError) as failure:  # trio waits in a thread, and none could be had
                error = failure
            else:
                # Armed first, told after, so that whoever hears of it enumerates under a new signal.
                error = change.arm()
            self.changed_now()
        _log.warning("address changes are no longer signalled, only found by re-scanning", error=error)

    def changed_now(self) -> None:
        self._changed.set()


class ListChange(Protocol):
    """SIO_ADDRESS_LIST_CHANGE of one address family: signals one change each time that it is armed.

    Made by the family; raises OSError where the host lacks it.
    """

    def arm(self) -> int:
        """0, or the code of Winsock's refusal."""

    async def changed(self) -> None:
        """Return once the list has changed since `arm`.  Always a checkpoint.  Raises OSError, and RuntimeError."""

    def close(self) -> None: ...


@asynccontextmanager
async def watch_interfaces(
    enumerate_interfaces: Callable[[], Sequence[Interface]],
    open_list_change: Callable[[int], ListChange],
    callbacks: Callable[[Callable[[], None]], AbstractContextManager[None]] = change_callbacks,
) -> AsyncIterator[SignalledWatch]:
    """Watch by Windows' callbacks, which come in another thread, and by a signal for each family of this host."""
    watch = SignalledWatch(enumerate_interfaces)
    token = trio.lowlevel.current_trio_token()

    def told() -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(watch.changed_now, idempotent=True)

    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for family in (ws.AF_INET, ws.AF_INET6):
                with suppress(OSError):  # the host lacks it, so it has no changes either
                    change = open_list_change(family)
                    stack.callback(change.close)
                    nursery.start_soon(watch.follow, change, change.arm())
            with callbacks(told):
                yield watch
            nursery.cancel_scope.cancel()
