"""Linux's TCP listener: connections with their peer, destination and arrival interface.

The destination is the accepted socket's own name.  The arrival interface is asked of it: with IPV6_RECVPKTINFO (on an
AF_INET socket IP_PKTINFO) set on the listener, getsockopt(IPV6_PKTOPTIONS) (IP_PKTOPTIONS) gives a pktinfo message with
the interface that the SYN came in on, for IPv4 connections of an AF_INET6 socket too.

This file refuses to read or write a stream.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from ipaddress import ip_address

import trio

from ...datagram import IPAddress, Via, unscoped
from ...errors import NetworkError
from ...log import Repeated, get_logger
from .. import cmsg
from ..types import Accepted, Flow

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

from .constants import IP_PKTINFO, IP_PKTOPTIONS, IPV6_2292PKTOPTIONS

log = get_logger(__name__)

SHORTAGE_PAUSE = 0.1
"""Seconds to wait where the system has no descriptor or memory for a connection: it stays in the backlog."""

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# accept(2) passes on the errors of a connection that has died in the backlog ("treat them like EAGAIN"); EPERM is a
# firewall's.
_CONNECTION_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)

_ABI = cmsg.LINUX_64 if struct.calcsize("@P") == 8 else cmsg.LINUX_32
_PKTOPTIONS_SIZE = 512


class LinuxListener:
    """See `responder.net.types.StreamListener`.  Takes a listening socket, and closes it."""

    def __init__(self, sock: socket.socket, address: IPAddress | None) -> None:
        self._socket = sock
        self._repeated = Repeated()
        self.port: int = sock.getsockname()[1]
        self.address = address

    def __repr__(self) -> str:
        return f"<TCP listener {self.address or '*'} port {self.port}>"

    async def accept(self) -> Accepted:
        while True:
            if self._socket.fileno() == -1:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            try:
                connection, name = self._socket.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _SHORTAGE:
                    await self._wait_out(error)
                elif error.errno not in _CONNECTION_GONE:
                    raise NetworkError(error.errno, f"TCP port {self.port} can't accept: {error.strerror}") from error
                continue
            try:
                flow = connection_path(connection, name)
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
            except BaseException:
                connection.close()
                raise
            return Accepted(stream, flow, name[1])

    async def _wait_out(self, error: OSError) -> None:
        held_back = self._repeated.due(error.errno)
        if held_back is not None:
            log.warning("connections wait", port=self.port, reason=error.strerror, held_back=held_back)
        await trio.sleep(SHORTAGE_PAUSE)

    def close(self) -> None:
        if self._socket.fileno() != -1 and trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


def connection_path(connection: socket.socket, name: tuple[str, int, int, int] | tuple[str, int]) -> Flow:
    """The flow of an accepted connection; `name` is its peer's sockaddr.  Raises OSError."""
    destination = unscoped(ip_address(connection.getsockname()[0]))
    scope_id = name[3] if len(name) == 4 else 0
    return Flow(
        unscoped(ip_address(name[0])), scope_id, destination, arrival_interface(connection), destination, Via.UNICAST
    )


def arrival_interface(connection: socket.socket) -> int:
    """The interface index that the connection came in on; 0 where the kernel does not tell."""
    if connection.family == socket.AF_INET:
        options = connection.getsockopt(socket.IPPROTO_IP, IP_PKTOPTIONS, _PKTOPTIONS_SIZE)
    else:
        options = connection.getsockopt(socket.IPPROTO_IPV6, IPV6_2292PKTOPTIONS, _PKTOPTIONS_SIZE)
    for level, kind, data in _ABI.parse(options):
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return cmsg.unpack_in6_pktinfo(data)[0]
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return cmsg.unpack_in_pktinfo_posix(data)[0]
    return 0
