"""Linux: opens sockets, sets their options and binds them.

One AF_INET6 socket with IPV6_V6ONLY=0 serves both families; where the kernel refuses AF_INET6 it is an AF_INET socket.
Every option is set before bind: a datagram that arrives between the two would carry no pktinfo, or index 0.  On a
socket that the service manager has bound they are set as soon as it is opened; what came before is answered from the
address in its header, where the instance asks for no interface (systemd's PassPacketInfo=yes tells it from the start).

    udp.py          the UDP socket: receive, send
    compiled.py     the same by the C module, where it was built
    memberships.py  its multicast memberships
    tcp.py          the interface that a TCP connection came in on
    host.py         which process holds a port
    interfaces.py   the interfaces, and their changes
    capabilities.py the rights that a change of user gives up
    constants.py    what Python's `socket` lacks

This file reads and writes no datagram.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from ...datagram import Interface, IPAddress
from ...log import Repeated, get_logger
from ...threads import in_thread

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

from .constants import (
    IP_MTU_DISCOVER,
    IP_MULTICAST_ALL,
    IP_PKTINFO,
    IP_PMTUDISC_OMIT,
    IP_RECVERR,
    IP_RECVTTL,
    IPV6_MTU_DISCOVER,
    IPV6_MULTICAST_ALL,
    IPV6_PMTUDISC_OMIT,
    IPV6_RECVERR,
    SO_RCVBUFFORCE,
    SO_RXQ_OVFL,
    SO_SNDBUFFORCE,
    SO_TIMESTAMPNS,
)

try:
    from . import compiled
except ImportError:  # the module was not built
    compiled = None  # type: ignore[assignment, unused-ignore] # what stands for it
else:
    if compiled.is_stale():
        compiled = None  # type: ignore[assignment, unused-ignore] # the same
from ..handover import Shares
from ..inherited import Inherited
from ..listeners import Listener
from ..place import Place, low_ports
from ..types import Platform
from .host import port_holder
from .interfaces import NetlinkWatch, enumerate_interfaces, watch_interfaces
from .tcp import arrival_interface
from .udp import LinuxSocket

log = get_logger(__name__)

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes: at 150,000 small datagrams a second, which take some 768 bytes each there, room for 35 ms."""

SEND_BUFFER = 4 * 1024 * 1024
"""Bytes: room for 10,000 small answers that wait for neighbours that can't be found, each for some three seconds."""

_SMALL_BUFFER_COSTS = {
    "receive": "more of what comes in a burst is lost",
    "send": "fewer answers that wait for neighbours that can't be found fill it, and then others are lost",
}

BACKLOG = 1024
"""Connections; the kernel cuts it to net.core.somaxconn."""

_UDP_OPTIONS = (
    (socket.SOL_SOCKET, SO_TIMESTAMPNS, 1),
    (socket.SOL_SOCKET, SO_RXQ_OVFL, 1),
    (socket.SOL_SOCKET, socket.SO_BROADCAST, 1),
)

# On an AF_INET6 socket too: it is these that IPv4 datagrams follow there.
_UDP_OPTIONS_IPV4 = (
    (socket.IPPROTO_IP, IP_PKTINFO, 1),
    (socket.IPPROTO_IP, IP_RECVTTL, 1),
    # An ICMP error that one peer caused must not fail the next send to another.
    (socket.IPPROTO_IP, IP_RECVERR, 0),
    # Otherwise the socket gets what other sockets of the host have joined.
    (socket.IPPROTO_IP, IP_MULTICAST_ALL, 0),
    # Answers go out in fragments; forged ICMP can't shrink what we believe of the flow.
    (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT),
)

_UDP_OPTIONS_IPV6 = (
    (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1),
    (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1),
    (socket.IPPROTO_IPV6, IPV6_RECVERR, 0),
    (socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0),
    (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT),
)

_TCP_OPTIONS = (
    # TCP's own meaning: bind while connections of a former listener are in TIME_WAIT.  Two listeners it never allows.
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
)
_TCP_OPTIONS_IPV4 = ((socket.IPPROTO_IP, IP_PKTINFO, 1),)
_TCP_OPTIONS_IPV6 = ((socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1),)


class LinuxPlatform:
    """See `responder.net.types.Platform`.  `inherited` are sockets to open before any other is bound.

    `use_compiled`: with the compiled module, where it was built; None: unless RESPONDER_COMPILED is "off".
    """

    def __init__(self, inherited: Inherited | None = None, *, use_compiled: bool | None = None) -> None:
        self._inherited = inherited or Inherited()
        # Each buffer that is too small is told once: a conversation opens a socket for each request.
        self._told = Repeated(interval=math.inf)
        if use_compiled is None:
            use_compiled = os.environ.get("RESPONDER_COMPILED") != "off"
        self._memory_for = compiled.shared_memory() if use_compiled and compiled is not None else None

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> LinuxSocket:
        """Open, set up and bind.  Raises BindError."""
        place = _place("UDP", port, address, interface)
        with _opened(socket.SOCK_DGRAM, place, self._inherited) as sock:
            raise_send_buffer_by = self._set_up_udp(sock)
            _bind_udp(sock, place, shared=shared)
            opened = LinuxSocket(sock, place.address, raise_send_buffer_by)
            if sock.family == socket.AF_INET6 and self._memory_for is not None:
                opened.answer = compiled.Answering(opened, self._memory_for)
            return opened

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> Listener:
        """Open, set up, bind and listen.  Raises BindError."""
        place = _place("TCP", port, address, interface)
        with _opened(socket.SOCK_STREAM, place, self._inherited) as sock:
            _set_up_tcp(sock)
            if not _is_bound(sock):
                sock.bind(place.name(sock.family))
            sock.listen(BACKLOG)
            return Listener([sock], place.address, arrival_interface)

    def open_shares(
        self,
        count: int,
        port: int,
        address: IPAddress | None = None,
        *,
        interface: int = 0,
        tcp: bool = False,
        beside_own: bool = False,
    ) -> Shares:
        """See `responder.net.handover.SharingPlatform`.  Raises BindError."""
        place = _place("UDP", port, address, interface)
        with contextlib.ExitStack() as on_failure:
            sockets: list[socket.socket] = []
            for _ in range(count):
                with _opened(socket.SOCK_DGRAM, place, Inherited()) as sock:
                    self._set_up_udp(sock)
                    _bind_for_sharing(sock, place, beside_own=bool(sockets) or beside_own)
                on_failure.callback(sock.close)
                sockets.append(sock)
                place.port = sock.getsockname()[1]  # where the system chose it, the others take the same
            listener = None
            if tcp:
                place = _place("TCP", place.port, address, interface)
                with _opened(socket.SOCK_STREAM, place, Inherited()) as listener:
                    _set_up_tcp(listener)
                    _bind_for_sharing(listener, place, beside_own=beside_own)
                    listener.listen(BACKLOG)
                place.port = listener.getsockname()[1]
            on_failure.pop_all()
            return Shares(place.port, tuple(sockets), listener)

    def _set_up_udp(self, sock: socket.socket) -> str | None:
        """What raises the send buffer, where it is smaller than asked."""
        raise_by: dict[str, str] = {}
        _set_options(sock, _UDP_OPTIONS, _UDP_OPTIONS_IPV4, _UDP_OPTIONS_IPV6)
        for which, force, option, asked, limit in (
            ("receive", SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER, "net.core.rmem_max"),
            ("send", SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER, "net.core.wmem_max"),
        ):
            given = _size_buffer(sock, force, option, asked)
            if given >= asked:
                continue
            raise_by[which] = f"sysctl {limit}={asked}, responderd.socket, or CAP_NET_ADMIN"
            if self._told.due(limit) is not None:
                event = f"the kernel gives less {which} buffer than asked"
                cost = _SMALL_BUFFER_COSTS[which]
                log.info(event, asked=asked, given=given, cost=cost, raise_it_by=raise_by[which])
        return raise_by.get("send")

    async def interfaces(self) -> Sequence[Interface]:
        """The interfaces as they are now, by index."""
        return await in_thread(enumerate_interfaces)

    def watch_interfaces(self) -> AbstractAsyncContextManager[NetlinkWatch]:
        """Follow the interfaces of this network namespace."""
        return watch_interfaces()


def open_platform(inherited: Inherited | None) -> Platform:
    """See `responder.net.PlatformModule`."""
    return LinuxPlatform(inherited)


_DENIED = low_ports("run as root, give CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start")


def _place(transport: str, port: int, address: IPAddress | None, interface: int) -> Place:
    return Place(transport, port, address, interface, port_holder, _DENIED)


@contextlib.contextmanager
def _opened(kind: int, place: Place, inherited: Inherited) -> Iterator[socket.socket]:
    """An inherited socket, which is bound, or a new one.

    Where the block fails it is closed, and the system's refusal becomes a BindError.
    """
    given = inherited.claim(kind, place.port, place.address, place.interface)
    with contextlib.ExitStack() as on_failure, place.refusals_told():
        # Python makes every socket close-on-exec.
        yield on_failure.enter_context(given or _new_socket(kind | socket.SOCK_NONBLOCK))
        on_failure.pop_all()


def _new_socket(kind: int) -> socket.socket:
    """Of AF_INET6 for both families, or of AF_INET where the host has no IPv6 (`ipv6.disable=1`, a seccomp filter)."""
    try:
        sock = socket.socket(socket.AF_INET6, kind)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return socket.socket(socket.AF_INET, kind)
    # Here and not with the other options, since a bound socket refuses it.  It can't fail on a new one.
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return sock


def _is_bound(sock: socket.socket) -> bool:
    return bool(sock.getsockname()[1])


def _bind_for_sharing(sock: socket.socket, place: Place, *, beside_own: bool) -> None:
    """Bind a socket that others of ours may share the port with: on the same address (UDP), or on other addresses."""
    # The first binds alone, so that no other program is found to share the port with, and shares after that: the check
    # at another's bind reads the flag of both as it is then (udp_lib_lport_inuse, inet_csk_bind_conflict).
    if beside_own:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(place.name(sock.family))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _set_up_tcp(sock: socket.socket) -> None:
    # Before bind, which SO_REUSEADDR is for, and before listen: a connection takes its options from the listener when
    # its SYN arrives.
    _set_options(sock, _TCP_OPTIONS, _TCP_OPTIONS_IPV4, _TCP_OPTIONS_IPV6)


_Options: TypeAlias = tuple[tuple[int, int, int], ...]


def _set_options(sock: socket.socket, common: _Options, ipv4: _Options, ipv6: _Options) -> None:
    for level, option, value in common + ipv4 + (ipv6 if sock.family == socket.AF_INET6 else ()):
        sock.setsockopt(level, option, value)


def _size_buffer(sock: socket.socket, force: int, option: int, size: int) -> int:
    """Ask for `size` bytes, past the system's limit where we may: how many the kernel gives."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:  # it takes CAP_NET_ADMIN
        # One that was opened for us by somebody with more rights may have more than we get: asking would take it away.
        with _new_socket(socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, option, size)
            is_more = probe.getsockopt(socket.SOL_SOCKET, option) > sock.getsockopt(socket.SOL_SOCKET, option)
        if is_more:
            sock.setsockopt(socket.SOL_SOCKET, option, size)
    # The kernel doubles what is asked, for its own bookkeeping, and tells the doubled value (socket(7)).
    return sock.getsockopt(socket.SOL_SOCKET, option) // 2


def _bind_udp(sock: socket.socket, place: Place, *, shared: bool) -> None:
    """Bind alone where possible, since a unicast datagram reaches only the last of the sockets that share a port."""
    name = place.name(sock.family)
    try:
        if not _is_bound(sock):
            sock.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not shared:
            raise
        holder = port_holder(place)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        log.warning("port is shared: of unicast datagrams one program gets all", port=place.port, holder=holder)
    else:
        if shared:
            # The check at another's bind reads the flag of both sockets as it is then (udp_lib_lport_inuse).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
