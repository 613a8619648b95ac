"""A UDP socket on Windows: WSARecvMsg for what came in, WSASendMsg for what goes out.

What the system wants, and what is done about it:

- An IPv4 datagram on a dual-stack socket may bring `in_pktinfo`, a mapped `in6_pktinfo`, both, or (short of memory)
  none.
- The destination decides the form of the source: `in_pktinfo` for an IPv4 one, `in6_pktinfo` for any other, while the
  name is always a SOCKADDR_IN6.  `in_pktinfo` without an address would send from 0.0.0.0, so it is always filled.
- An earlier datagram's ICMP error (WSAECONNRESET, WSAENETRESET) may come out of any call: it is passed over.
- There is no control message for the hop limit of a send, so it is a socket option, set when it changes.  (An
  overlapped send that waits takes the value of the moment when it goes.)

A send is tried at once, and is overlapped only where it would block: what is refused is refused before there is an
operation, for which some systems (Wine 8) would queue a completion packet all the same.

This file refuses to choose source addresses, save the one that `in_pktinfo` must have where only an interface was
given, and to open or bind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol, TypeVar

import attrs
import trio

from ...datagram import Interface, IPAddress, Peer, Via, unscoped
from ...errors import NetworkError
from .. import cmsg
from ..types import Flow, Membership, Message, Received, Route
from .memberships import WindowsMemberships
from .winsock import Incoming, Operations, Outgoing, Winsock, receive_into
from .winsock_errors import (
    STALE,
    WSAEADDRNOTAVAIL,
    WSAEAFNOSUPPORT,
    WSAEHOSTUNREACH,
    WSAEMSGSIZE,
    WSAENETUNREACH,
    WSAENOTSOCK,
    WSAEWOULDBLOCK,
    NotASocket,
    WinsockError,
    call_error,
    error_code,
    error_for,
)
from .winsock_types import (
    AF_INET6,
    IP_HOPLIMIT,
    IP_MULTICAST_TTL,
    IP_PKTINFO,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_HOPLIMIT,
    IPV6_MULTICAST_HOPS,
    IPV6_PKTINFO,
    IPV6_UNICAST_HOPS,
    NATIVE,
    SO_MAX_MSG_SIZE,
    SOL_SOCKET,
    pack_sockaddr,
    unpack_sockaddr,
)

ABI = cmsg.WINDOWS_64 if NATIVE.pointer == 8 else cmsg.WINDOWS_32

_TABLE_LIMIT = 4096  # flows and routes remembered by a socket: spoofed senders must not grow memory
_STALE_TRIES = 4  # at most so many earlier errors are passed over in one send


_K = TypeVar("_K")
_V = TypeVar("_V")


class SocketLike(Protocol):
    """What is used of `socket.socket`; options have Windows' numbers."""

    def fileno(self) -> int: ...
    def getsockname(self) -> Any: ...
    def getsockopt(self, level: int, option: int, /) -> int: ...
    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...
    def setblocking(self, flag: bool, /) -> None: ...
    def bind(self, address: Any, /) -> None: ...
    def close(self) -> None: ...


class WindowsReceived(Received):
    """See `responder.net.types.Received`; Windows tells no time of arrival."""

    __slots__ = ("told_hop_limit",)

    told_hop_limit: int | None

    def read_hop_limit(self) -> int | None:
        return self.told_hop_limit


@attrs.frozen
class _Encoded:
    """A route as WSASendMsg wants it: the name before and after its port, and the control messages."""

    head: bytes
    tail: bytes
    control: bytes

    def name(self, port: int) -> bytes:
        return self.head + port.to_bytes(2, "big") + self.tail


def decode_flow(name: bytes, control: bytes) -> tuple[Flow, int | None]:
    """(flow, hop limit) of a datagram by its sender's socket address and its control messages.

    Raises ValueError where the socket address is none.
    """
    address, _, scope_id = unpack_sockaddr(name)
    destination: IPAddress | None = None
    interface, hop_limit = 0, None
    for level, kind, data in ABI.parse(control):
        with suppress(struct.error):  # of another size than it must have: as if it weren't there
            if (level, kind) == (IPPROTO_IP, IP_PKTINFO):
                interface, destination = cmsg.unpack_in_pktinfo_windows(data)
            elif (level, kind) == (IPPROTO_IPV6, IPV6_PKTINFO):
                interface, in6_address = cmsg.unpack_in6_pktinfo(data)
                destination = unscoped(in6_address)
            elif (level, kind) in _HOP_LIMITS:
                hop_limit = cmsg.unpack_int(data)
    peer = unscoped(address)
    scope_id = scope_id if peer.version == 6 and peer.is_link_local else 0
    return Flow(peer, scope_id, destination, interface, via=_via(destination)), hop_limit


_HOP_LIMITS = frozenset({(IPPROTO_IP, IP_TTL), (IPPROTO_IP, IP_HOPLIMIT), (IPPROTO_IPV6, IPV6_HOPLIMIT)})


def _via(destination: IPAddress | None) -> Via | None:
    if destination is None:
        return None
    if destination.is_multicast:
        return Via.MULTICAST
    if destination.version == 6:
        return Via.UNICAST
    # MSG_BCAST is also set for a link-layer broadcast of a unicast datagram, so the interface table decides.
    return Via.BROADCAST if destination.packed == b"\xff\xff\xff\xff" else None


class WindowsSocket:
    """One bound UDP socket: a `responder.net.types.DatagramSocket`.

    It takes a socket that is non-blocking, set up and bound.  `family` is Windows' AF_INET6 (dual-stack) or AF_INET;
    `source_on` gives an interface's own address to speak to another from.
    """

    def __init__(
        self,
        sock: SocketLike,
        winsock: Winsock,
        family: int,
        address: IPAddress | None,
        source_on: Callable[[int, IPAddress], IPAddress | None],
    ) -> None:
        self._socket = sock
        self._winsock = winsock
        self._family = family
        self._source_on = source_on
        self.address = address
        self.port: int = sock.getsockname()[1]
        self.kernel_drops = 0  # Windows doesn't tell
        self.receive_buffer = None  # what SO_RCVBUF tells there is what was asked for, not what there is
        self._handle = sock.fileno()
        self._operations = Operations(winsock, sock.close)
        self._incoming = Incoming()
        self._outgoing = Outgoing([b""])
        self._flows: dict[tuple[bytes, bytes], tuple[Flow, int | None]] = {}
        self._routes: dict[Route, _Encoded] = {}
        self._hop_limits: dict[tuple[int, int], tuple[int, int]] = {}
        self._groups = WindowsMemberships(sock)
        self._writable_turn = trio.Lock()  # trio allows one waiter a direction
        self._closed = False

    # Receiving

    async def wait_readable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this socket is closed")
        await trio.lowlevel.wait_readable(self._handle)

    def receive(self, limit: int) -> Sequence[WindowsReceived]:
        self._check_open()
        found: list[WindowsReceived] = []
        passed_over = 0
        while len(found) < limit and passed_over < limit:
            code, message = receive_into(self._winsock, self._incoming)
            if message is None:
                if code == WSAEWOULDBLOCK:
                    break
                if code in STALE or code in (WSAENETUNREACH, WSAEHOSTUNREACH):
                    passed_over += 1
                    continue
                if found:
                    break  # it will be met again by the next call
                raise call_error(code, "WSARecvMsg")
            key = (message.name[:2] + message.name[4:], message.control)  # all of the name but the port
            known = self._flows.get(key)
            if known is None:
                try:
                    known = decode_flow(message.name, message.control)
                except ValueError:
                    passed_over += 1
                    continue
                _remember(self._flows, key, known)
            flow, hop_limit = known
            port = int.from_bytes(message.name[2:4], "big")
            one = WindowsReceived.of(message.payload, flow, port, truncated=message.truncated)
            one.told_hop_limit = hop_limit
            found.append(one)
        return found

    # Sending

    def send(self, batch: Sequence[Message]) -> int:
        self._check_open()
        for sent, message in enumerate(batch):
            try:
                code = self._send_now(message)
            except NetworkError:
                if sent:
                    return sent
                raise
            if code and (sent or code == WSAEWOULDBLOCK):
                return sent
            if code:
                raise self._refused(code, message)
        return len(batch)

    def _send_now(self, message: Message) -> int:
        payload, route, port = message
        encoded, outgoing = self._prepare(route), self._outgoing
        outgoing.fill((payload,), encoded.name(port), encoded.control)
        code = 0
        for _ in range(_STALE_TRIES):
            code = self._winsock.send_message(outgoing.address, 0, outgoing.sent_address, 0, 0)
            if code not in STALE:
                break
        return code

    async def send_when_ready(self, message: Message) -> None:
        stale = 0
        payload, route, port = message
        while True:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this socket is closed")
            code = self._send_now(message)
            if code == WSAEWOULDBLOCK:
                encoded = self._prepare(route)
                code, _ = await self._operations.send((payload,), encoded.name(port), encoded.control)
            if code == 0:
                return
            if code == WSAEWOULDBLOCK:  # too many overlapped operations, or a provider that doesn't let them wait
                async with self._writable_turn:
                    if not self._closed:
                        await trio.lowlevel.wait_writable(self._handle)
            elif code in STALE and stale < _STALE_TRIES:
                stale += 1
            else:
                raise self._refused(code, message)

    def _prepare(self, route: Route) -> _Encoded:
        """The route's encoded form, with the socket's hop limit set to what it asks.  Raises SendError."""
        encoded = self._routes.get(route)
        if encoded is None:
            encoded = self._encode(route)
            _remember(self._routes, route, encoded)
        if route.hop_limit is not None or self._hop_limits:
            self._set_hop_limit(route)
        return encoded

    def _encode(self, route: Route) -> _Encoded:
        to, source = route.to, route.source
        if isinstance(to, IPv6Address) and self._family != AF_INET6:
            raise error_for(WSAEAFNOSUPPORT, f"a datagram to {to} by an IPv4 socket")
        if to.version == 4 and source is None and route.interface:
            source = self._source_on(route.interface, to)
            if source is None:
                raise error_for(
                    WSAEADDRNOTAVAIL,
                    f"a datagram to {to} on interface {route.interface}, which has no IPv4 address",
                    source_given=True,
                )
        if source is not None and source.version != to.version:
            raise error_for(WSAEADDRNOTAVAIL, f"a datagram to {to} from {source}", source_given=True)
        name = pack_sockaddr(to, 0, route.scope_id, family=self._family)
        messages: list[cmsg.ControlMessage] = []
        if isinstance(source, IPv4Address):
            messages.append((IPPROTO_IP, IP_PKTINFO, cmsg.pack_in_pktinfo_windows(source, route.interface)))
        elif source is not None or (to.version == 6 and route.interface):
            messages.append((IPPROTO_IPV6, IPV6_PKTINFO, cmsg.pack_in6_pktinfo(source, route.interface)))
        return _Encoded(name[:2], name[4:], ABI.encode(messages))

    def _set_hop_limit(self, route: Route) -> None:
        multicast = route.to.is_multicast
        if route.to.version == 4:
            option = IPPROTO_IP, IP_MULTICAST_TTL if multicast else IP_TTL
        else:
            option = IPPROTO_IPV6, IPV6_MULTICAST_HOPS if multicast else IPV6_UNICAST_HOPS
        try:
            default, current = self._hop_limits.get(option) or (self._socket.getsockopt(*option),) * 2
            wanted = default if route.hop_limit is None else route.hop_limit
            if wanted != current:
                self._socket.setsockopt(*option, wanted)
        except OSError as error:
            raise error_for(error_code(error), f"a datagram to {route.to} with hop limit {route.hop_limit}") from error
        self._hop_limits[option] = default, wanted

    def _refused(self, code: int, message: Message) -> WinsockError:
        payload, route, port = message
        source = f" from {route.source}" if route.source is not None else ""
        what = f"{len(payload)} bytes to {Peer(route.to, port, route.scope_id)}{source}"
        if code == WSAEMSGSIZE:
            what += f" (the longest is {self._socket.getsockopt(SOL_SOCKET, SO_MAX_MSG_SIZE)} bytes)"
        return error_for(code, what, source_given=route.source is not None)

    # WindowsMemberships

    def join(self, membership: Membership, interface: Interface) -> None:
        self._check_open()
        self._groups.join(membership, interface)

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        self._check_open()
        self._groups.leave(membership)

    # The end

    def close(self) -> None:
        """What is under key is cancelled, and the handle closed when the system has answered to that."""
        if self._closed:
            return
        self._closed = True
        with suppress(RuntimeError):  # outside of trio's run, where nobody waits
            trio.lowlevel.notify_closing(self._handle)
        self._operations.close()

    def _check_open(self) -> None:
        """Raises what WSASendMsg itself would: a closed handle may be another socket's by now."""
        if self._closed:
            raise NotASocket(WSAENOTSOCK, "this socket is closed")


def _remember(table: dict[_K, _V], key: _K, value: _V) -> None:
    while len(table) >= _TABLE_LIMIT:
        del table[next(iter(table))]
    table[key] = value
