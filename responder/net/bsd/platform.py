"""macOS and FreeBSD: opens sockets, and hears of the interfaces' changes.

A port is a socket of each family that the host has (`abi` says why); port 0 is chosen by the first, and the other
takes the same number.  Groups are shared by SO_REUSEPORT, which lets others bind beside it, so it is set only for a
service that is `shared`.  Options are set before bind: a datagram that arrives between would tell no destination.

    abi.py          what is said in options and control messages, pure
    udp.py          the UDP socket
    interfaces.py   the interfaces and their changes

Its pure parts are tested on any system; nothing of it has been run on macOS or FreeBSD yet.  This file reads and writes
no datagram.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import attrs

from ...datagram import Interface, IPAddress
from ...errors import NetworkError
from ...log import Repeated, get_logger
from ...threads import in_thread
from ..inherited import Inherited
from ..listeners import AddressHolders, Listener
from ..place import Place
from ..types import Platform

if sys.platform == "win32":  # mypy leaves out what follows
    raise ImportError("POSIX only")


from .abi import SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SOL_SOCKET, System, families, system_of
from .interfaces import RouteWatch, enumerate_interfaces, watch_interfaces
from .udp import BsdSocket, FamilySocket

log = get_logger(__name__)

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes; asked for, and halved until the system's limit (kern.ipc.maxsockbuf) allows it."""

SEND_BUFFER = 128 * 1024
"""Bytes: room for the longest datagram with its control messages (FreeBSD's `sosend_dgram`, XNU's `sosendcheck`).

No datagram waits there: it goes to the neighbour's queue or the interface's, and what has no room is refused (ENOBUFS).
"""

_SMALL_BUFFER_COSTS = {
    "receive": "more of what comes in a burst is lost",
    "send": "longer answers can't be sent",
}

BACKLOG = 1024

PORT_ATTEMPTS = 16
"""How often a port that the system chose for one family may turn out to be taken for the other."""


class BsdPlatform:
    """See `responder.net.types.Platform`."""

    def __init__(self, system: System) -> None:
        self._system = system
        # Buffers that are too small are told once: a conversation opens a socket for each request.
        self._told = Repeated(interval=math.inf)

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> BsdSocket:
        """Open, set up and bind.  Raises BindError."""
        place = Place("UDP", port, address, interface)
        socks = self._open(socket.SOCK_DGRAM, place, shared)
        return BsdSocket([FamilySocket(self._system, sock, place.address) for sock in socks], place.address)

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> Listener:
        """Open, set up, bind and listen.  Raises BindError."""
        place = Place("TCP", port, address, interface)
        socks = self._open(socket.SOCK_STREAM, place, shared=False)
        for sock in socks:
            sock.listen(BACKLOG)
        return Listener(socks, place.address, AddressHolders(self.interfaces).interface_of)

    async def interfaces(self) -> Sequence[Interface]:
        return await in_thread(enumerate_interfaces)

    def watch_interfaces(self) -> AbstractAsyncContextManager[RouteWatch]:
        return watch_interfaces()

    def _open(self, kind: int, place: Place, shared: bool) -> list[socket.socket]:
        versions = families(place.address, has_ipv4=_has(socket.AF_INET), has_ipv6=_has(socket.AF_INET6))
        for attempt in range(PORT_ATTEMPTS):
            with place.refusals_told(), contextlib.ExitStack() as on_failure:
                if not versions:
                    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
                chosen, socks = place, []
                try:
                    for version in versions:
                        sock = on_failure.enter_context(self._new_socket(kind, version, shared))
                        sock.bind(chosen.name(sock.family))
                        chosen = attrs.evolve(place, port=sock.getsockname()[1])
                        socks.append(sock)
                except OSError as error:
                    # The second family's port of a number that the system chose for the first.
                    if error.errno == errno.EADDRINUSE and not place.port and socks and attempt < PORT_ATTEMPTS - 1:
                        continue
                    raise
                on_failure.pop_all()
                return socks
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _new_socket(self, kind: int, version: int, shared: bool) -> socket.socket:
        sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
        try:
            sock.setblocking(False)
            if kind == socket.SOCK_DGRAM:
                for level, option, value in self._system.options(version):
                    sock.setsockopt(level, option, value)
                for which, option, asked in (("receive", SO_RCVBUF, RECEIVE_BUFFER), ("send", SO_SNDBUF, SEND_BUFFER)):
                    given = _size_buffer(sock, option, asked)
                    if given < asked and self._told.due(which) is not None:
                        event, cost = f"the kernel gives less {which} buffer than asked", _SMALL_BUFFER_COSTS[which]
                        log.info(event, asked=asked, given=given, cost=cost, raise_it_by=_raise_by(asked))
                if shared:
                    sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            else:
                # TCP's own meaning: bind while connections of a former listener are in TIME_WAIT.
                sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                if version == 6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        except BaseException:
            sock.close()
            raise
        return sock


def open_platform(_inherited: Inherited | None) -> Platform:
    """See `responder.net.PlatformModule`.  No service manager there passes sockets on as systemd does."""
    system = system_of(sys.platform)
    if system is None:
        raise NetworkError(errno.ENOSYS, f"{sys.platform}: not supported")
    return BsdPlatform(system)


def _has(family: int) -> bool:
    """Does the host have the family?"""
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
        raise
    return True


def _size_buffer(sock: socket.socket, option: int, size: int) -> int:
    """Ask for `size` bytes, and for less where that is refused (ENOBUFS): how many it has in the end."""
    wanted = size
    while wanted > sock.getsockopt(SOL_SOCKET, option):
        try:
            sock.setsockopt(SOL_SOCKET, option, wanted)
        except OSError:
            wanted //= 2
        else:
            break
    return sock.getsockopt(SOL_SOCKET, option)


def _raise_by(size: int) -> str:
    """What allows a buffer of `size` bytes: of each 2,304 of the limit, `sbreserve` counts 256 as the kernel's own."""
    return f"sysctl kern.ipc.maxsockbuf={size * (256 + 2048) // 2048}"
