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

The socket itself is in `udp`, interfaces in `interfaces`, the foreign functions in `winsock`.  This file refuses to
send and receive.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import trio

from ...datagram import Interface, IPAddress
from ...errors import BindError
from ...log import get_logger
from ..inherited import Inherited
from ..listeners import AddressHolders, Listener
from ..place import SocketName
from ..types import Platform
from . import winsock_types as ws
from .interfaces import SignalledWatch, interfaces, watch_interfaces
from .udp import SocketLike, WindowsSocket
from .winsock import Winsock
from .winsock_errors import (
    WSAEACCES,
    WSAEADDRINUSE,
    WSAEADDRNOTAVAIL,
    WSAEAFNOSUPPORT,
    WSAEINVAL,
    call_error,
    error_code,
)

_log = get_logger(__name__)

RECEIVE_BUFFER = 4 << 20  # bytes
SEND_BUFFER = 1 << 20
BACKLOG = 1024


def native_winsock(handle: int) -> Winsock:
    """The foreign functions of a socket.  Raises OSError; on other systems there are none."""
    winsock: Winsock | None = None
    if sys.platform == "win32":
        from .winsock_native import NativeWinsock  # noqa: PLC0415 - exists on Windows only

        winsock = NativeWinsock(handle)
    if winsock is None:
        raise NotImplementedError("Winsock is Windows' own")
    return winsock


class WindowsPlatform:
    """A `responder.net.types.Platform`.  The arguments are for tests: what opens sockets, calls Winsock, enumerates."""

    def __init__(
        self,
        open_socket: Callable[[int, int], Any] = socket.socket,
        open_winsock: Callable[[int], Winsock] = native_winsock,
        enumerate_interfaces: Callable[[], Sequence[Interface]] = interfaces,
    ) -> None:
        self._open_socket = open_socket
        self._open_winsock = open_winsock
        self._enumerate = enumerate_interfaces

    def open_udp(
        self, port: int, address: IPAddress | None = None, *, interface: int = 0, shared: bool = False
    ) -> WindowsSocket:
        what = f"UDP port {port}"
        sock, family = self._new_socket(socket.SOCK_DGRAM, what, port, address)
        try:
            if shared and port and self._is_taken(family, port, address, interface):
                _log.warning("port is shared: any of its sockets may get a unicast datagram", port=port)
            try:
                winsock = self._set_up(sock, family, shared)
                sock.bind(_name(family, port, address, interface))
            except OSError as error:
                raise _bind_error(error, what, port, address) from error
            return WindowsSocket(sock, winsock, family, address, self._enumerate)
        except BaseException:
            sock.close()
            raise

    def open_tcp(self, port: int, address: IPAddress | None = None, *, interface: int = 0) -> Listener:
        try:
            sock = self._listen(port, address, interface, exclusive=True)
        except BindError as error:
            if error.errno not in (WSAEADDRINUSE, errno.EACCES):
                raise
            sock = self._listen(port, address, interface, exclusive=False)
        return Listener([sock], address, AddressHolders(self.interfaces).interface_of)

    def _listen(self, port: int, address: IPAddress | None, interface: int, *, exclusive: bool) -> socket.socket:
        what = f"TCP port {port}"
        sock, family = self._new_socket(socket.SOCK_STREAM, what, port, address)
        try:
            if exclusive:
                sock.setsockopt(ws.SOL_SOCKET, ws.SO_EXCLUSIVEADDRUSE, 1)
            if family == ws.AF_INET6:
                sock.setsockopt(ws.IPPROTO_IPV6, ws.IPV6_V6ONLY, 0)
            sock.bind(_name(family, port, address, interface))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise _bind_error(error, what, port, address) from error
        opened: socket.socket = sock
        return opened

    async def interfaces(self) -> Sequence[Interface]:
        return await trio.to_thread.run_sync(self._enumerate)

    def watch_interfaces(self) -> AbstractAsyncContextManager[SignalledWatch]:
        return watch_interfaces(self._enumerate, self._open_winsock)

    def _new_socket(self, kind: int, what: str, port: int, address: IPAddress | None) -> tuple[Any, int]:
        """(socket, family).  Raises BindError."""
        families = (ws.AF_INET6,) if address is not None and address.version == 6 else (ws.AF_INET6, ws.AF_INET)
        for family in families:
            try:
                return self._open_socket(family, kind), family
            except OSError as error:
                if error_code(error) != WSAEAFNOSUPPORT or family == families[-1]:
                    raise _bind_error(error, what, port, address) from error
        raise AssertionError("unreachable: the last family returns or raises")

    def _set_up(self, sock: SocketLike, family: int, shared: bool) -> Winsock:
        winsock = self._open_winsock(sock.fileno())
        sock.setblocking(False)
        sock.setsockopt(ws.SOL_SOCKET, ws.SO_REUSEADDR if shared else ws.SO_EXCLUSIVEADDRUSE, 1)
        sock.setsockopt(ws.SOL_SOCKET, ws.SO_BROADCAST, 1)
        if family == ws.AF_INET6:
            sock.setsockopt(ws.IPPROTO_IPV6, ws.IPV6_V6ONLY, 0)
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
            if error_code(error) != WSAEINVAL or not self._ipv4_is_off():
                raise
        for option, wanted in ((ws.SO_RCVBUF, RECEIVE_BUFFER), (ws.SO_SNDBUF, SEND_BUFFER)):
            sock.setsockopt(ws.SOL_SOCKET, option, wanted)
            got = sock.getsockopt(ws.SOL_SOCKET, option)
            if got < wanted:
                name = "receive" if option == ws.SO_RCVBUF else "send"
                _log.info("a socket buffer is smaller than asked", buffer=name, asked=wanted, got=got)
        for control in (ws.SIO_UDP_CONNRESET, ws.SIO_UDP_NETRESET):
            code = winsock.ioctl(control, bytes(4), 0)  # a BOOL: FALSE
            if code and control == ws.SIO_UDP_CONNRESET:
                raise call_error(code, "WSAIoctl(SIO_UDP_CONNRESET)")
        return winsock

    def _ipv4_is_off(self) -> bool:
        try:
            self._open_socket(ws.AF_INET, socket.SOCK_DGRAM).close()
        except OSError as error:
            return error_code(error) == WSAEAFNOSUPPORT
        return False

    def _is_taken(self, family: int, port: int, address: IPAddress | None, interface: int) -> bool:
        """Has another socket this port?  With SO_REUSEADDR the bind itself wouldn't tell.

        Another's wildcard socket shares with a specific address, and only a bind to the wildcard meets it.
        """
        names = dict.fromkeys(_name(family, port, place, interface) for place in (address, None))
        return any(self._refuses(family, name) for name in names)

    def _refuses(self, family: int, name: SocketName) -> bool:
        probe = self._open_socket(family, socket.SOCK_DGRAM)
        try:
            probe.setsockopt(ws.SOL_SOCKET, ws.SO_EXCLUSIVEADDRUSE, 1)
            if family == ws.AF_INET6:
                probe.setsockopt(ws.IPPROTO_IPV6, ws.IPV6_V6ONLY, 0)
            probe.bind(name)
        except OSError as error:
            return error_code(error) in (WSAEADDRINUSE, WSAEACCES)
        finally:
            probe.close()
        return False


def open_platform(_inherited: Inherited | None) -> Platform:
    """See `responder.net.PlatformModule`.  Nothing on Windows passes sockets on."""
    return WindowsPlatform()


def _name(family: int, port: int, address: IPAddress | None, interface: int) -> SocketName:
    """What Python's `bind` wants."""
    if family == ws.AF_INET:
        return ("0.0.0.0" if address is None else str(address)), port  # noqa: S104 - every address, on purpose
    if address is None:
        return "::", port, 0, 0
    if address.version == 4:
        return f"::ffff:{address}", port, 0, 0
    return str(address), port, 0, interface if address.is_link_local else 0


def _bind_error(error: OSError, what: str, port: int, address: IPAddress | None) -> BindError:
    code = error_code(error)
    if code == WSAEADDRINUSE:
        message = f"{what} is taken by another program"
    elif code == WSAEACCES:
        transport = what[:3].lower()
        message = (
            f"{what} is taken by a program that doesn't share it, or the system keeps it for itself: see"
            f" `netsh int ipv4 show excludedportrange {transport}`"
        )
        if port == 53:
            message += "; Internet Connection Sharing (the service SharedAccess) takes port 53"
    elif code == WSAEADDRNOTAVAIL:
        message = f"{what}: {address} is not an address of this host"
    elif code == WSAEAFNOSUPPORT:
        message = f"{what}: this host has no IPv{6 if address is not None and address.version == 6 else 4}"
    else:
        message = f"{what}: {error.strerror or error}"
    return BindError(error.errno or code, message, port=port)
