"""macOS and FreeBSD: opens sockets, and hears of the interfaces' changes.

A port is a socket of each family that the host has (`abi` says why); port 0 is chosen by the first, and the other
takes the same number.  Groups are shared by SO_REUSEPORT, which lets others bind beside it, so it is set only for a
service that is `shared`.  Options are set before bind: a datagram that arrives between would tell no destination.

    abi.py          what is said in options and control messages, pure
    udp.py          the UDP socket
    tcp.py          the TCP listener
    interfaces.py   the interfaces and their changes

Its pure parts are tested on any system; nothing of it has been run on macOS or FreeBSD yet.  This file refuses to read
or write a datagram.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from ...datagram import Interface, IPAddress, unscoped
from ...errors import BindError
from ...log import get_logger

if sys.platform == "win32":  # mypy leaves out what follows
    raise ImportError("POSIX only")


from .abi import SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SOL_SOCKET, System, families
from .interfaces import RouteWatch, enumerate_interfaces, watch_interfaces
from .tcp import BsdListener
from .udp import BsdSocket, FamilySocket

log = get_logger(__name__)

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes; asked for, and halved until the system's limit (kern.ipc.maxsockbuf) allows it."""

SEND_BUFFER = 1024 * 1024
"""Bytes."""

BACKLOG = 1024

PORT_ATTEMPTS = 16
"""How often a port that the system chose for one family may turn out to be taken for the other."""


class BsdPlatform:
    """See `responder.net.types.Platform`."""

    def __init__(self, system: System) -> None:
        self._system = system

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> BsdSocket:
        """Open, set up and bind.  Raises BindError."""
        plain = None if address is None else unscoped(address)
        socks = self._open(socket.SOCK_DGRAM, port, plain, interface, shared)
        return BsdSocket([FamilySocket(self._system, sock, plain) for sock in socks], plain)

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> BsdListener:
        """Open, set up, bind and listen.  Raises BindError."""
        plain = None if address is None else unscoped(address)
        socks = self._open(socket.SOCK_STREAM, port, plain, interface, shared=False)
        for sock in socks:
            sock.listen(BACKLOG)
        return BsdListener(socks, plain, self.interfaces)

    async def interfaces(self) -> Sequence[Interface]:
        return await trio.to_thread.run_sync(enumerate_interfaces)

    def watch_interfaces(self) -> AbstractAsyncContextManager[RouteWatch]:
        return watch_interfaces()

    def _open(
        self, kind: int, port: int, address: IPAddress | None, interface: int, shared: bool
    ) -> list[socket.socket]:
        versions = families(address, has_ipv4=_has(socket.AF_INET), has_ipv6=_has(socket.AF_INET6))
        what = f"{'UDP' if kind == socket.SOCK_DGRAM else 'TCP'} port {port}" + (f" on {address}" if address else "")
        if not versions:
            raise BindError(errno.EAFNOSUPPORT, f"{what}: {os.strerror(errno.EAFNOSUPPORT)}", port=port)
        for attempt in range(PORT_ATTEMPTS):
            with _refused(what, port), contextlib.ExitStack() as on_failure:
                number, socks = port, []
                try:
                    for version in versions:
                        sock = on_failure.enter_context(self._new_socket(kind, version, shared))
                        _bind(sock, version, number, address, interface)
                        number = sock.getsockname()[1]
                        socks.append(sock)
                except OSError as error:
                    # The second family's port of a number that the system chose for the first.
                    if error.errno == errno.EADDRINUSE and not port and socks and attempt < PORT_ATTEMPTS - 1:
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
                _size_buffer(sock, SO_RCVBUF, RECEIVE_BUFFER)
                _size_buffer(sock, SO_SNDBUF, SEND_BUFFER)
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


def _has(family: int) -> bool:
    """Does the host have the family?"""
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
        raise
    return True


def _bind(sock: socket.socket, version: int, port: int, address: IPAddress | None, interface: int) -> None:
    host = "" if address is None else str(address)
    sock.bind((host, port) if version == 4 else (host or "::", port, 0, interface))


def _size_buffer(sock: socket.socket, option: int, size: int) -> None:
    """Ask for `size` bytes, and for less where that is refused (ENOBUFS)."""
    wanted = size
    while wanted > 64 * 1024:
        try:
            sock.setsockopt(SOL_SOCKET, option, wanted)
        except OSError:
            wanted //= 2
        else:
            break
    if wanted < size:
        log.info("socket buffer is smaller than asked", asked=size, given=wanted, raise_it_by="kern.ipc.maxsockbuf")


@contextlib.contextmanager
def _refused(what: str, port: int) -> Iterator[None]:
    """The system's refusal becomes a BindError that says what to do."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        reason = {
            errno.EADDRINUSE: "is taken by another program",
            errno.EACCES: "no right to bind a port below 1024: run as root",
            errno.EADDRNOTAVAIL: "is not at an address of this host",
        }.get(code, error.strerror or str(error))
        raise BindError(code, f"{what}: {reason}", port=port) from error
