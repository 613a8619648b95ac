"""A TCP port on every platform: the loop that accepts, and what is learned of each connection.

A platform opens and binds the listening sockets (one, or one of each family) and says by an `InterfaceOf` how the
arrival interface of a connection is found.  Linux asks the kernel.  Windows and the BSDs tell no arrival interface, so
there the interface is the one that has the destination address (`AddressHolders`): Windows is a strong host by default,
and then accepts a connection only where its address belongs; on the BSDs, and where weak host receives are switched on,
it is the best guess.

The destination is the accepted socket's own name.  This file reads and writes no stream.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, TypeAlias

import trio

from ..datagram import Interface, IPAddress, Via, unscoped
from ..errors import NetworkError
from ..log import Repeated, get_logger
from . import sockets
from .types import Accepted, Flow

log = get_logger(__name__)

SHORTAGE_PAUSE = 0.1
"""Seconds to wait where the system has no descriptor or memory for a connection: it stays in the backlog.

And after every other error that neither is of a connection nor ends the socket: it may be over in a moment."""

_ENDED = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EINVAL})
"""It is no socket any more, or one that does not listen any more."""

# accept(2) passes on the errors of a connection that has died in the backlog ("treat them like EAGAIN"); EPERM is a
# firewall's.  ENONET is Linux's alone.
_CONNECTION_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPERM,
        errno.ENETDOWN,
        getattr(errno, "EPROTO", errno.ENETDOWN),
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        getattr(errno, "ENONET", errno.ENETDOWN),
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)

InterfaceOf: TypeAlias = Callable[[socket.socket], Awaitable[int]]
"""The index of the interface that an accepted connection came in on; 0 where the platform does not tell."""


class Listener:
    """See `responder.net.types.StreamListener`.  Takes listening sockets of one port, and closes them."""

    def __init__(self, socks: Sequence[socket.socket], address: IPAddress | None, interface_of: InterfaceOf) -> None:
        self._socks = list(socks)
        for sock in self._socks:
            sock.setblocking(False)
        self._interface_of = interface_of
        self._repeated = Repeated()
        self.port: int = socks[0].getsockname()[1]
        self.address = address
        self.counts = {"failed-accepts": 0}

    def __repr__(self) -> str:
        return f"<TCP listener {self.address or '*'} port {self.port}>"

    def limit_hops(self, hop_limit: int) -> None:
        for sock in self._socks:
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
            # A socket of IPv6 alone, as the BSDs have it, knows no TTL.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)

    async def accept(self) -> Accepted:
        while True:
            try:
                await sockets.wait_readable(self._socks)
            except OSError as error:
                await self._wait_out(error)
                continue
            for sock in tuple(self._socks):
                try:
                    connection, name = sock.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno not in _CONNECTION_GONE:
                        await self._wait_out(error)
                    continue
                # The other family comes first the next time.
                self._socks.append(self._socks.pop(0))
                try:
                    return await self._describe(connection, name)
                except OSError as error:
                    # Most often the connection is gone by now, and has no names any more.
                    connection.close()
                    self._complain("a connection is lost", error)
                except BaseException:
                    connection.close()
                    raise

    async def _describe(self, connection: socket.socket, name: tuple[Any, ...]) -> Accepted:
        peer, scope_id = _parse(name)
        destination, _ = _parse(connection.getsockname())
        interface = await self._interface_of(connection)
        flow = Flow(peer, scope_id, destination, interface, destination, Via.UNICAST)
        return Accepted(trio.SocketStream(trio.socket.from_stdlib_socket(connection)), flow, name[1])

    async def _wait_out(self, error: OSError) -> None:
        """Raises NetworkError where the socket has ended."""
        if error.errno in _ENDED:
            message = f"TCP port {self.port} can't accept: {error.strerror or error}"
            raise NetworkError(error.errno, message) from error
        self.counts["failed-accepts"] += 1
        self._complain("connections wait", error)
        await trio.sleep(SHORTAGE_PAUSE)

    def _complain(self, event: str, error: OSError) -> None:
        held_back = self._repeated.due((event, error.errno))
        if held_back is not None:
            log.warning(event, port=self.port, reason=error.strerror or str(error), held_back=held_back)

    def close(self) -> None:
        for sock in self._socks:
            sockets.close(sock)


class AddressHolders:
    """Finds a connection's interface by its destination address, where the platform tells no other way.

    `interfaces` enumerates the host's; the result is kept, and asked for again for an address that it lacks.
    """

    def __init__(self, interfaces: Callable[[], Awaitable[Sequence[Interface]]]) -> None:
        self._interfaces = interfaces
        self._known: Sequence[Interface] = ()

    async def interface_of(self, connection: socket.socket) -> int:
        """An `InterfaceOf`.  Raises OSError."""
        address, scope_id = _parse(connection.getsockname())
        index = scope_id or holder(address, self._known)
        if not index:
            # The address was not ours when last looked; it is now, so the interfaces have changed.
            self._known = await self._interfaces()
            index = holder(address, self._known)
        return index


def holder(address: IPAddress, interfaces: Iterable[Interface]) -> int:
    """The index of the interface that has this address, 0 for none; the whole of 127.0.0.0/8 is the loopback's."""
    for interface in interfaces:
        if interface.has(address) or (address.is_loopback and "loopback" in interface.flags):
            return interface.index
    return 0


def _parse(name: tuple[Any, ...]) -> tuple[IPAddress, int]:
    """The address of a sockaddr as Python gives it, and its scope: an interface index, 0 where it needs none."""
    address = unscoped(ip_address(name[0]))
    return address, name[3] if len(name) > 3 and address.is_link_local else 0
