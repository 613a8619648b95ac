"""The Windows platform: opens sockets, and knows what the system refuses.

- One AF_INET6 socket with IPV6_V6ONLY off serves both families.  Options are set before the bind: what arrives
  between would bring no pktinfo.
- A port that is not to be shared is bound with SO_EXCLUSIVEADDRUSE, or others might bind beside it; a shared one with
  SO_REUSEADDR.  They exclude each other.  Of several that share a port, any may get a unicast datagram.
- An exclusive TCP port is refused for as long as a connection of the last run lives.  So it is then bound without the
  option: another program's listener is in the way all the same, and since Windows Server 2003 another user's can't
  come beside it.
- Answers longer than the path carries go in fragments: path MTU discovery is off (IP_MTU_DISCOVER), where the system
  has that option.
- A host may lack IPv6: the socket is AF_INET then.  It may have IPv4 switched off: IPv4's options are refused then
  (WSAEINVAL), and that is passed over only if an AF_INET socket is refused too.
- ICMP errors of earlier datagrams are kept out of the socket's calls by SIO_UDP_CONNRESET and SIO_UDP_NETRESET, the
  second of which a system may not know.

The socket itself is in `udp`, interfaces in `interfaces`, the foreign functions in `winsock`.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from typing import Any

import attrs

from ...datagram import Interface, IPAddress
from ...errors import BindError
from ...log import get_logger
from ...threads import in_thread
from ..inherited import Inherited
from ..listeners import AddressHolders, Listener
from ..place import Place, SocketName
from ..types import Platform
from . import winsock_types as ws
from .interfaces import ListChange, RecentInterfaces, SignalledWatch, interfaces, watch_interfaces
from .udp import WindowsSocket
from .winsock import Winsock
from .winsock_errors import call_error

_log = get_logger(__name__)

RECEIVE_BUFFER = 4 << 20  # bytes
SEND_BUFFER = 1 << 20
BACKLOG = 1024

_TAKEN = (errno.EADDRINUSE, errno.EACCES)
"""What a bind is refused with where another socket has the port, by whether that one is of an exclusive kind."""


class WindowsPlatform:
    """A `responder.net.types.Platform`.

    It takes the border to the system: the foreign functions of a socket by its handle, the signal of a family, and, for
    tests, what opens sockets and enumerates.
    """

    def __init__(
        self,
        open_winsock: Callable[[int], Winsock],
        open_list_change: Callable[[int], ListChange],
        open_socket: Callable[[int, int], Any] = socket.socket,
        enumerate_interfaces: Callable[[], Sequence[Interface]] = interfaces,
    ) -> None:
        self._open_winsock = open_winsock
        self._open_list_change = open_list_change
        self._open_socket = open_socket
        self._enumerate = enumerate_interfaces
        self._recent = RecentInterfaces(enumerate_interfaces)

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> WindowsSocket:
        place = Place("UDP", port, address, interface, denied=_denied)
        with self._opened(socket.SOCK_DGRAM, place) as (sock, family):
            if shared and port and self._is_taken(family, place):
                _log.warning("port is shared: any of its sockets may get a unicast datagram", port=port)
            winsock = self._set_up(sock, family, shared)
            sock.bind(place.name(family))
            return WindowsSocket(sock, winsock, family, address, self._recent)

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> Listener:
        place = Place("TCP", port, address, interface, denied=_denied)
        try:
            sock = self._listen(place, exclusive=True)
        except BindError as error:
            if error.errno not in _TAKEN:
                raise
            sock = self._listen(place, exclusive=False)
        return Listener([sock], address, AddressHolders(self.interfaces).interface_of)

    def _listen(self, place: Place, *, exclusive: bool) -> socket.socket:
        with self._opened(socket.SOCK_STREAM, place) as (sock, family):
            if exclusive:
                sock.setsockopt(ws.SOL_SOCKET, ws.SO_EXCLUSIVEADDRUSE, 1)
            sock.bind(place.name(family))
            sock.listen(BACKLOG)
            opened: socket.socket = sock
            return opened

    async def interfaces(self) -> Sequence[Interface]:
        return await in_thread(self._enumerate)

    def watch_interfaces(self) -> AbstractAsyncContextManager[SignalledWatch]:
        return watch_interfaces(self._enumerate, self._open_list_change)

    @contextmanager
    def _opened(self, kind: int, place: Place) -> Iterator[tuple[Any, int]]:
        """A new socket and its family.  Where the block fails it is closed, and a refusal becomes a BindError."""
        with ExitStack() as on_failure, place.refusals_told():
            sock, family = self._new_socket(kind, place.address)
            on_failure.callback(sock.close)
            yield sock, family
            on_failure.pop_all()

    def _new_socket(self, kind: int, address: IPAddress | None) -> tuple[Any, int]:
        try:
            return self._socket_of(ws.AF_INET6, kind), ws.AF_INET6
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT or (address is not None and address.version == 6):
                raise
        return self._socket_of(ws.AF_INET, kind), ws.AF_INET

    def _socket_of(self, family: int, kind: int) -> Any:
        """A new socket; of AF_INET6, it serves both families."""
        sock = self._open_socket(family, kind)
        if family == ws.AF_INET6:
            sock.setsockopt(ws.IPPROTO_IPV6, ws.IPV6_V6ONLY, 0)
        return sock

    def _set_up(self, sock: socket.socket, family: int, shared: bool) -> Winsock:
        winsock = self._open_winsock(sock.fileno())
        sock.setblocking(False)
        sock.setsockopt(ws.SOL_SOCKET, ws.SO_REUSEADDR if shared else ws.SO_EXCLUSIVEADDRUSE, 1)
        sock.setsockopt(ws.SOL_SOCKET, ws.SO_BROADCAST, 1)
        if family == ws.AF_INET6:
            sock.setsockopt(ws.IPPROTO_IPV6, ws.IPV6_PKTINFO, 1)
            for option, value in ((ws.IPV6_HOPLIMIT, 1), (ws.IPV6_MTU_DISCOVER, ws.IP_PMTUDISC_DONT)):
                with suppress(OSError):  # a system may lack either, and goes without
                    sock.setsockopt(ws.IPPROTO_IPV6, option, value)
        try:
            sock.setsockopt(ws.IPPROTO_IP, ws.IP_PKTINFO, 1)
            for option, value in ((ws.IP_HOPLIMIT, 1), (ws.IP_MTU_DISCOVER, ws.IP_PMTUDISC_DONT)):
                with suppress(OSError):
                    sock.setsockopt(ws.IPPROTO_IP, option, value)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._ipv4_is_off():
                raise
        for option, wanted in ((ws.SO_RCVBUF, RECEIVE_BUFFER), (ws.SO_SNDBUF, SEND_BUFFER)):
            sock.setsockopt(ws.SOL_SOCKET, option, wanted)
        for control in (ws.SIO_UDP_CONNRESET, ws.SIO_UDP_NETRESET):
            code = winsock.ioctl(control, bytes(4))  # a BOOL: FALSE
            if code and control == ws.SIO_UDP_CONNRESET:
                raise call_error(code, "WSAIoctl(SIO_UDP_CONNRESET)")
        return winsock

    def _ipv4_is_off(self) -> bool:
        try:
            self._open_socket(ws.AF_INET, socket.SOCK_DGRAM).close()
        except OSError as error:
            return error.errno == errno.EAFNOSUPPORT
        return False

    def _is_taken(self, family: int, place: Place) -> bool:
        """Has another socket this port?  With SO_REUSEADDR the bind itself wouldn't tell.

        Another's wildcard socket shares with a specific address, and only a bind to the wildcard meets it.
        """
        names = {place.name(family): None, attrs.evolve(place, address=None).name(family): None}
        return any(self._refuses(family, name) for name in names)

    def _refuses(self, family: int, name: SocketName) -> bool:
        probe = self._socket_of(family, socket.SOCK_DGRAM)
        try:
            probe.setsockopt(ws.SOL_SOCKET, ws.SO_EXCLUSIVEADDRUSE, 1)
            probe.bind(name)
        except OSError as error:
            return error.errno in _TAKEN
        finally:
            probe.close()
        return False


def open_platform(_inherited: Inherited | None) -> Platform:
    """See `responder.net.PlatformModule`.  Nothing on Windows passes sockets on."""
    if sys.platform != "win32":
        raise NotImplementedError("Winsock is Windows' own")
    else:  # noqa: RET506 - without it mypy would look for the module elsewhere
        from .winsock_native import AddressListChange, NativeWinsock  # noqa: PLC0415 - exists on Windows only

        return WindowsPlatform(NativeWinsock, AddressListChange)


def _denied(place: Place) -> str:
    ranges = f"netsh int ipv4 show excludedportrange {place.transport.lower()}"
    sharing = "; Internet Connection Sharing (the service SharedAccess) takes port 53" if place.port == 53 else ""
    return f" is taken by a program that doesn't share it, or the system keeps it for itself: see `{ranges}`{sharing}"
