"""Sockets that the service manager has bound and passes on: socket activation, sd_listen_fds(3).

    LISTEN_PID      for which process they are
    LISTEN_FDS      how many, from descriptor 3 on
    LISTEN_FDNAMES  their names, between colons, for messages

A platform that opens a port claims a matching one first.  It gets a duplicate: the manager holds the port bound for as
long as it likes, so a port that one reload gives up and a later one wants again could not be bound anew.

What is neither a UDP socket nor a listening TCP socket is refused.  The platform sets options on what it claims.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterable, MutableMapping
from ipaddress import ip_address

from ..datagram import IPAddress, unscoped
from ..errors import BindError, ConfigError

FIRST = 3
"""SD_LISTEN_FDS_START: after standard input, output and error."""

_TRANSPORTS = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}


class Inherited:
    """The bound sockets that were passed on; a platform claims them by their place.  `close` closes them."""

    def __init__(self, sockets: Iterable[socket.socket] = ()) -> None:
        self._sockets = tuple(sockets)
        self._unclaimed = list(self._sockets)

    def claim(self, kind: int, port: int, address: IPAddress | None, interface: int) -> socket.socket | None:
        """A duplicate, non-blocking, of the socket of that kind (SOCK_DGRAM, SOCK_STREAM) and place, if there is one.

        `address` None is the wildcard of both families, `interface` the scope of a link-local one.  Raises BindError
        where only a wildcard of one family was passed on: beside it the other can't be had by the same socket.
        """
        for sock in self._bound():
            its_address, its_port, its_scope = _place(sock)
            if sock.type != kind or its_port != port:
                continue
            if address is None and its_address.is_unspecified:
                if not _serves_every_family(sock):
                    raise BindError(
                        errno.EADDRINUSE,
                        f"{_describe(sock)} comes from the service manager for one family only: pass one for both "
                        f"(systemd: ListenDatagram={port}, ListenStream={port}, BindIPv6Only=both)",
                        port=port,
                    )
            elif its_address != address or (its_address.is_link_local and its_scope != interface):
                continue
            duplicate = sock.dup()
            duplicate.setblocking(False)
            if sock in self._unclaimed:
                self._unclaimed.remove(sock)
            return duplicate
        return None

    def _bound(self) -> Iterable[socket.socket]:
        """What may be claimed, in this order."""
        return self._sockets

    def unclaimed(self) -> list[str]:
        """The sockets that nothing has claimed so far, in words: the manager binds them, and nobody answers there."""
        return [_describe(sock) for sock in self._unclaimed]

    def close(self) -> None:
        """Close them all.  What was claimed is a duplicate, and stays open."""
        for sock in self._sockets:
            sock.close()


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> Inherited:
    """The sockets that were passed to this process; none where the variables are unset, or meant for another process.

    The variables are removed, and the descriptors made close-on-exec: they are not meant for programs that we start.
    Raises ConfigError for what is passed on that can't be used.
    """
    given = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if given["LISTEN_PID"] != str(os.getpid()):
        return Inherited()
    if not re.fullmatch(r"[0-9]{1,6}", given["LISTEN_FDS"]):
        raise ConfigError(f"expected a number of sockets, got {given['LISTEN_FDS'][:20]!r}", path="LISTEN_FDS")
    names = dict(enumerate(given["LISTEN_FDNAMES"].split(":"), FIRST))
    with contextlib.ExitStack() as on_failure:
        sockets = []
        for descriptor in range(FIRST, FIRST + int(given["LISTEN_FDS"])):
            try:
                sock = on_failure.enter_context(socket.socket(fileno=descriptor))
            except OSError as error:
                raise ConfigError(f"no usable socket: {error.strerror}", path=_path(descriptor, names)) from error
            sock.set_inheritable(False)
            if (reason := _unusable(sock)) is not None:
                raise ConfigError(reason, path=_path(descriptor, names))
            sockets.append(sock)
        on_failure.pop_all()
    return Inherited(sockets)


def _path(descriptor: int, names: dict[int, str]) -> str:
    name = names.get(descriptor)
    return f"LISTEN_FDS: descriptor {descriptor}" + (f" ({name})" if name else "")


def _unusable(sock: socket.socket) -> str | None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type not in _TRANSPORTS:
        return "neither a UDP nor a TCP socket"
    if sock.type == socket.SOCK_STREAM and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "a TCP socket that does not listen (systemd: Accept=no is needed)"
    if _place(sock)[1] == 0:
        return "not bound to a port"
    return None


def _place(sock: socket.socket) -> tuple[IPAddress, int, int]:
    """(address, port, scope_id)"""
    name = sock.getsockname()
    return unscoped(ip_address(name[0])), name[1], name[3] if sock.family == socket.AF_INET6 else 0


def _describe(sock: socket.socket) -> str:
    address, port, _ = _place(sock)
    return f"{_TRANSPORTS[socket.SocketKind(sock.type)]} port {port} on {address}"


def _serves_every_family(sock: socket.socket) -> bool:
    """Does this wildcard socket get the datagrams of every family that the host has?"""
    if sock.family == socket.AF_INET6:
        return not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return True
    return False
