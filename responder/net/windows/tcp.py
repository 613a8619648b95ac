"""A TCP port on Windows: connections with the address that each came to, and the interface that has that address.

Windows tells no arrival interface for a connection, but as a strong host it takes one only where its address belongs,
so the interface is the one that has the address (a link-local one brings its scope).

This file refuses to open or bind.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import trio

from ...datagram import Interface, IPAddress, Via, unscoped
from ..types import Accepted, Flow
from .winsock_errors import WSAECONNRESET, WSAEMFILE, WSAENOBUFS

_SHORTAGE = frozenset({WSAEMFILE, WSAENOBUFS})
_SHORTAGE_PAUSE = 0.1  # seconds


class WindowsListener:
    """One bound TCP port: a `responder.net.types.StreamListener`.  `interfaces` enumerates them."""

    def __init__(
        self, sock: socket.socket, address: IPAddress | None, interfaces: Callable[[], Awaitable[Sequence[Interface]]]
    ) -> None:
        self._listening = sock
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._interfaces = interfaces
        self._table: Sequence[Interface] = ()
        self.address = address
        self.port: int = sock.getsockname()[1]

    async def accept(self) -> Accepted:
        while True:
            try:
                connection, peer = await self._socket.accept()
            except OSError as error:
                if self._listening.fileno() == -1:
                    raise trio.ClosedResourceError("this listener is closed") from error
                code = getattr(error, "winerror", None)
                if code in _SHORTAGE:
                    await trio.sleep(_SHORTAGE_PAUSE)
                elif code != WSAECONNRESET:  # else it was gone before it was taken
                    raise
                continue
            try:
                return await self._describe(connection, peer)
            except OSError:
                connection.close()  # gone meanwhile: it has no names any more
            except BaseException:
                connection.close()
                raise

    async def _describe(self, connection: trio.socket.SocketType, peer: tuple[Any, ...]) -> Accepted:
        own = connection.getsockname()
        destination = unscoped(ip_address(own[0]))
        scope_id = own[3] if len(own) > 3 and destination.is_link_local else 0
        other = unscoped(ip_address(peer[0]))
        flow = Flow(
            peer=other,
            scope_id=peer[3] if len(peer) > 3 and other.is_link_local else 0,
            destination=destination,
            interface=scope_id or await self._interface_of(destination),
            via=Via.UNICAST,
        )
        return Accepted(trio.SocketStream(connection), flow, peer[1])

    async def _interface_of(self, address: IPAddress) -> int:
        index = _holder(address, self._table)
        if not index:
            # An address that was not ours a moment ago: it is now, so the table has changed.
            self._table = await self._interfaces()
            index = _holder(address, self._table)
        return index

    def close(self) -> None:
        if self._listening.fileno() == -1:
            return
        with suppress(RuntimeError):  # outside of trio's run, where nobody waits
            trio.lowlevel.notify_closing(self._listening)
        self._listening.close()


def _holder(address: IPAddress, table: Iterable[Interface]) -> int:
    """The index of the interface that has this address, 0 for none; the whole of 127.0.0.0/8 is the loopback's."""
    for interface in table:
        if interface.has(address) or (address.is_loopback and "loopback" in interface.flags):
            return interface.index
    return 0
