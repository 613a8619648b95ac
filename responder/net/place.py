"""A port to be bound: in our words, in the kernel's, and in those of a message.

Opens and binds nothing itself.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import attrs

from ..datagram import IPAddress, is_link_local, unscoped
from ..errors import BindError

SocketName: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


def low_ports(advice: str) -> Callable[[Place], str | None]:
    """For `Place.denied` where a port below 1024 takes a right that one gets by `advice`."""
    return lambda place: f": no right to bind a port below 1024: {advice}" if 0 < place.port < 1024 else None


_AS_ROOT = low_ports("run as root")


@attrs.define
class Place:
    """`transport` is "UDP" or "TCP", `address` None the wildcard, `interface` the scope of a link-local address.

    `holder_of` names the program that has the place already, where the platform can tell; `denied` says what EACCES
    means, in words that follow the place's, where it means anything in particular.
    """

    transport: str
    port: int
    address: IPAddress | None = attrs.field(converter=attrs.converters.optional(unscoped))
    interface: int = 0
    holder_of: Callable[[Place], str | None] = lambda _place: None
    denied: Callable[[Place], str | None] = _AS_ROOT

    @property
    def scope_id(self) -> int:
        return self.interface if self.address is not None and is_link_local(self.address) else 0

    def __str__(self) -> str:
        where = "" if self.address is None else f" on {self.address}"
        scope = f"%{self.scope_id}" if self.scope_id else ""
        return f"{self.transport} port {self.port}{where}{scope}"

    def name(self, family: int) -> SocketName:
        """The sockaddr to bind on a socket of that family; on one of AF_INET6 IPv4 addresses are mapped.

        Raises OSError (EAFNOSUPPORT) for an IPv6 address on an AF_INET socket.
        """
        if family == socket.AF_INET:
            if self.address is not None and self.address.version == 6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            return ("" if self.address is None else str(self.address), self.port)
        if self.address is None:
            return ("::", self.port, 0, 0)
        host = f"::ffff:{self.address}" if self.address.version == 4 else str(self.address)
        return (host, self.port, 0, self.scope_id if self.address.version == 6 else 0)

    @contextmanager
    def refusals_told(self) -> Iterator[None]:
        """What the system refuses in the block is raised as a BindError that tells an operator what to do."""
        try:
            yield
        except OSError as error:
            raise self.error(error) from error

    def error(self, error: OSError) -> BindError:
        code = error.errno or 0
        holder = None
        if code == errno.EADDRINUSE:
            holder = self.holder_of(self)
            message = f"{self} is taken by {holder or 'another program'}"
        elif code == errno.EACCES and (why := self.denied(self)):
            message = f"{self}{why}"
        elif code == errno.EADDRNOTAVAIL:
            message = f"{self}: {self.address} is not an address of this host"
        elif code == errno.EAFNOSUPPORT and self.address is not None:
            message = f"{self}: this host has no IPv{self.address.version}"
        elif code == errno.EINVAL and self.address is not None and self.address.is_link_local and not self.scope_id:
            message = f"{self}: a link-local address needs its interface"
        else:
            message = f"{self}: {error.strerror or error}"
        return BindError(code, message, port=self.port, holder=holder)
