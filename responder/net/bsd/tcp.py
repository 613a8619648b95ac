"""TCP on macOS and FreeBSD: a listener of each family, and the pair that acts as one.

Neither tells the arrival interface of a connection: it is taken to be the one that has the destination address, or the
scope's.  This file refuses to read or write a stream.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import trio

from ...datagram import Interface, IPAddress, Via
from ...errors import NetworkError
from ...log import Repeated, get_logger
from ..types import Accepted, Flow
from .udp import wait_readable

log = get_logger(__name__)

SHORTAGE_PAUSE = 0.1
"""Seconds to wait where the system has no descriptor or memory for a connection: it stays in the backlog."""

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# accept(2): the connection died in the backlog, or a filter refused it; getsockname then says ENOTCONN or EINVAL.
_CONNECTION_GONE = frozenset({errno.ECONNABORTED, errno.EPERM, errno.ENOTCONN, errno.EINVAL, errno.ECONNRESET})


class BsdListener:
    """See `responder.net.types.StreamListener`.  Takes listening sockets, and closes them."""

    def __init__(
        self,
        socks: Sequence[socket.socket],
        address: IPAddress | None,
        interfaces: Callable[[], Awaitable[Sequence[Interface]]],
    ) -> None:
        self._socks = list(socks)
        self._interfaces = interfaces
        self._table: Sequence[Interface] = ()
        self._repeated = Repeated()
        self.port: int = socks[0].getsockname()[1]
        self.address = address

    async def accept(self) -> Accepted:
        while True:
            await wait_readable(self._socks)
            for sock in list(self._socks):
                try:
                    connection, name = sock.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno in _SHORTAGE:
                        await self._wait_out(error)
                    elif error.errno not in _CONNECTION_GONE:
                        message = f"TCP port {self.port} can't accept: {error.strerror}"
                        raise NetworkError(error.errno, message) from error
                    continue
                # The other family comes first the next time.
                self._socks.append(self._socks.pop(0))
                try:
                    flow = await self._path(connection, name)
                    return Accepted(trio.SocketStream(trio.socket.from_stdlib_socket(connection)), flow, name[1])
                except OSError as error:
                    connection.close()
                    if error.errno not in _CONNECTION_GONE:
                        raise
                except BaseException:
                    connection.close()
                    raise

    async def _wait_out(self, error: OSError) -> None:
        held_back = self._repeated.due(error.errno)
        if held_back is not None:
            log.warning("connections wait", port=self.port, reason=error.strerror, held_back=held_back)
        await trio.sleep(SHORTAGE_PAUSE)

    async def _path(self, connection: socket.socket, name: tuple[Any, ...]) -> Flow:
        own = connection.getsockname()
        destination = ip_address(own[0].partition("%")[0])
        interface = own[3] if len(own) > 3 else 0
        if not interface:
            interface = holder(destination, self._table)
        if not interface:
            # An address that was not ours a moment ago: it is now, so the table has changed.
            self._table = await self._interfaces()
            interface = holder(destination, self._table)
        peer = ip_address(name[0].partition("%")[0])
        return Flow(peer, name[3] if len(name) > 3 else 0, destination, interface, destination, Via.UNICAST)

    def close(self) -> None:
        for sock in self._socks:
            if sock.fileno() != -1 and trio.lowlevel.in_trio_run():
                trio.lowlevel.notify_closing(sock)
            sock.close()


def holder(address: IPAddress, table: Iterable[Interface]) -> int:
    """The index of the interface that has this address, 0 for none; the whole of 127.0.0.0/8 is the loopback's."""
    for interface in table:
        if interface.has(address) or (address.is_loopback and "loopback" in interface.flags):
            return interface.index
    return 0
