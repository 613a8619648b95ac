"""A UDP socket on Windows: WSARecvMsg for what came in, WSASendMsg for what goes out.

What the system wants, and what is done about it:

- An IPv4 datagram on a dual-stack socket may bring `in_pktinfo`, a mapped `in6_pktinfo`, both, or (short of memory)
  none.
- The destination decides the form of the source: `in_pktinfo` for an IPv4 one, `in6_pktinfo` for any other, while the
  name is always a SOCKADDR_IN6.  `in_pktinfo` without an address would send from 0.0.0.0, so it is always filled.
- An earlier datagram's ICMP error (WSAECONNRESET, WSAENETRESET) may come out of any call: it is passed over.
- Any other failed receive, but of a handle that is no socket any more, may be over in a moment (WSAENOBUFS,
  WSAENETDOWN, an installed filter driver): the socket is asked again after a pause.
- A routed datagram (a source, and no interface) is refused by some hosts (WSAEINVAL), which take it once the interface
  of the source is named.
- There is no control message for the hop limit of a send, so it is a socket option, set when it changes.

A send is not overlapped: where there is no room, it waits until the socket is writable, and is tried again.

This file opens and binds nothing, and chooses no source address, save the one that `in_pktinfo` must have where only an
interface was given.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import trio

from ...bounded import Memory
from ...datagram import Interface, IPAddress, Peer, Via, is_link_scope_group, unscoped
from ...errors import SendError
from ...log import Repeated, get_logger
from .. import cmsg, sockets
from ..marks import mark_of_route
from ..types import Flow, Membership, Message, Received, Route
from . import winsock_types as ws
from .memberships import WindowsMemberships
from .winsock import ReceiveMemory, RouteMessage, SendMemory, Winsock
from .winsock_errors import (
    STALE,
    STALE_RECEIVE,
    WSAEADDRNOTAVAIL,
    WSAEAFNOSUPPORT,
    WSAEINVAL,
    WSAEMSGSIZE,
    WSAENOTSOCK,
    WSAEWOULDBLOCK,
    call_error,
    error_code,
    send_error,
)

ABI = cmsg.WINDOWS_64 if ws.NATIVE.pointer == 8 else cmsg.WINDOWS_32

_TABLE_LIMIT = 4096  # flows and routes remembered by a socket: spoofed senders must not grow memory
_TRIES = range(4)  # of one send: each but the last may meet the error of an earlier datagram

FIRST_PAUSE, LAST_PAUSE = 0.01, 1.0
"""Seconds to wait after a failed receive; doubled with each in a row."""

_log = get_logger(__name__)


_HOP_LIMITS = frozenset(
    {(ws.IPPROTO_IP, ws.IP_TTL), (ws.IPPROTO_IP, ws.IP_HOPLIMIT), (ws.IPPROTO_IPV6, ws.IPV6_HOPLIMIT)}
)


def decode_control(control: bytes) -> tuple[bytes, int | None]:
    """(pktinfo, hop limit) of a datagram's control messages.

    Whichever form or forms of pktinfo came, here it is one `in6_pktinfo`, mapped for IPv4; empty where none came.
    """
    pktinfo, hop_limit = b"", None
    for level, kind, data in ABI.parse(control):
        with suppress(struct.error):  # of another size than it must have: as if it weren't there
            if (level, kind) == (ws.IPPROTO_IP, ws.IP_PKTINFO):
                interface, destination = cmsg.unpack_in_pktinfo_windows(data)
                pktinfo = cmsg.pack_in6_pktinfo(IPv6Address(f"::ffff:{destination}"), interface)
            elif (level, kind) == (ws.IPPROTO_IPV6, ws.IPV6_PKTINFO):
                cmsg.unpack_in6_pktinfo(data)
                pktinfo = data
            elif (level, kind) in _HOP_LIMITS:
                hop_limit = cmsg.unpack_int(data)
    return pktinfo, hop_limit


def decode_flow(key: bytes) -> Flow:
    """The flow of a sender's address, as `winsock.Taken` has it, with the pktinfo of `decode_control` behind it."""
    address, pktinfo = (key[:4], key[4:]) if len(key) in (4, 24) else (key[:20], key[20:])
    peer = unscoped(IPv4Address(address) if len(address) == 4 else IPv6Address(address[:16]))
    scope_id = int.from_bytes(address[16:], "little") if peer.version == 6 and peer.is_link_local else 0
    if not pktinfo:
        return Flow(peer, scope_id, None, 0)
    interface, told = cmsg.unpack_in6_pktinfo(pktinfo)
    destination = unscoped(told)
    return Flow(peer, scope_id, destination, interface, via=_via(destination))


def _via(destination: IPAddress) -> Via | None:
    if destination.is_multicast:
        return Via.MULTICAST
    if destination.version == 6:
        return Via.UNICAST
    # MSG_BCAST is also set for a link-layer broadcast of a unicast datagram, so the interface table decides.
    return Via.BROADCAST if destination.packed == b"\xff\xff\xff\xff" else None


class WindowsSocket:
    """One bound UDP socket: a `responder.net.types.DatagramSocket`.

    It takes a socket that is non-blocking, set up and bound.  `family` is Windows' ws.AF_INET6 (dual-stack) or AF_INET.
    `interfaces` is called when peers will, so it must not enumerate each time (`interfaces.RecentInterfaces`).
    """

    answer = None

    def __init__(
        self,
        sock: socket.socket,
        winsock: Winsock,
        family: int,
        address: IPAddress | None,
        interfaces: Callable[[], Sequence[Interface]],
    ) -> None:
        self._socket = sock
        self._winsock = winsock
        self._family = family
        self._interfaces = interfaces
        self.address = address
        self.port: int = sock.getsockname()[1]
        self.kernel_drops = 0  # Windows doesn't tell
        self.counts = {"failed-receives": 0, "named-sources": 0}
        # What SO_RCVBUF and SO_SNDBUF tell there is what was asked for, not what there is.
        self.receive_buffer = None
        self.raise_send_buffer_by = None
        self._received = ReceiveMemory(family)
        self._sent = SendMemory()
        self._control = Memory(decode_control, _TABLE_LIMIT)
        self._flows = Memory(decode_flow, _TABLE_LIMIT)
        self._routes = Memory(self._encode, _TABLE_LIMIT, mark_of_route)
        self._hop_limits: dict[tuple[int, int], tuple[int, int]] = {}
        self._groups = WindowsMemberships(sock)
        self._repeated = Repeated()
        self._pause = 0.0
        self._writable_turn = trio.Lock()  # trio allows one waiter a direction
        self._closed = False

    # Receiving

    async def wait_readable(self) -> None:
        if self._pause:  # the failure may well leave it readable
            await trio.sleep(self._pause)
        if self._closed:
            raise trio.ClosedResourceError
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except OSError as error:
            if error_code(error) == WSAENOTSOCK:
                raise call_error(WSAENOTSOCK, "waiting for datagrams") from error
            self._receive_failed(error_code(error))
            await trio.lowlevel.checkpoint()  # trio raises this without one; the pause is the next call's

    def receive(self, limit: int) -> Sequence[Received]:
        if self._closed:  # a closed handle may be another socket's by now
            raise call_error(WSAENOTSOCK, "WSARecvMsg of a closed socket")
        take, receive_message = self._received.take, self._winsock.receive_message
        found: list[Received] = []
        for _ in range(limit):
            taken = take(receive_message)
            if isinstance(taken, int):
                if taken in STALE_RECEIVE:
                    continue
                if taken == WSAENOTSOCK and not found:  # else it will be met again by the next call
                    raise call_error(taken, "WSARecvMsg")
                if taken not in (WSAEWOULDBLOCK, WSAENOTSOCK):
                    self._receive_failed(taken)
                    return found
                break
            payload, address, port, control, truncated = taken
            if not address:
                continue
            pktinfo, hop_limit = self._control.find(control)
            # By pktinfo alone: the control messages have the hop limit and padding too.
            flow = self._flows.find(address + pktinfo)
            found.append(Received(payload, flow, port, truncated, hop_limit))
        if found:  # nothing to be had is what follows a failed wait, too
            self._pause = 0.0
        return found

    def _receive_failed(self, code: int) -> None:
        self.counts["failed-receives"] += 1
        self._pause = min(LAST_PAUSE, self._pause * 2 or FIRST_PAUSE)
        held_back = self._repeated.due(("receive", code))
        if held_back is not None:
            what, failed = "a receive failed, and is tried again", self.counts["failed-receives"]
            _log.warning(what, port=self.port, error=code, failed=failed, held_back=held_back)

    # Sending

    def send(self, batch: Sequence[Message]) -> int:
        return sockets.send_each(self._send_now, batch)

    async def send_when_ready(self, message: Message) -> None:
        await sockets.send_in_turn(self._socket, self._writable_turn, lambda: self._send_now(message))

    def _send_now(self, message: Message) -> bool:
        """False where there is no room.  Raises SendError."""
        if self._closed:  # as above
            raise self._refused(WSAENOTSOCK, message)
        payload, route, port = message
        encoded = self._routes.find(route)
        if route.hop_limit is not None or self._hop_limits:
            self._set_hop_limit(route)
        send_message = self._winsock.send_message
        for _ in _TRIES:
            code = self._sent.send(send_message, encoded, payload, port)
            if code not in STALE:
                break
        if code == WSAEINVAL and route.source is not None and not route.interface:
            code = self._name_interface(encoded, message)
        if code and code != WSAEWOULDBLOCK:
            raise self._refused(code, message)
        return code == 0

    def _name_interface(self, refused: RouteMessage, message: Message) -> int:
        """Try once more with the interface of the route's source, and stay with it where that helps."""
        payload, route, port = message
        source = route.source
        assert source is not None  # noqa: S101 - the caller's condition
        owner = next((entry.index for entry in self._interfaces() if entry.has(source)), 0)
        if owner == refused.interface_tried:  # 0: nobody has that address
            return WSAEINVAL
        refused.interface_tried = owner
        encoded = self._encode(route, owner)
        code = self._sent.send(self._winsock.send_message, encoded, payload, port)
        if code == 0:
            self.counts["named-sources"] += 1
            refused.become(encoded)
            held_back = self._repeated.due("interface")
            if held_back is not None:
                what = "Windows wants the interface of a source address, and is told it"
                _log.warning(what, source=str(source), interface=owner, held_back=held_back)
        return code

    def _encode(self, route: Route, interface: int = 0) -> RouteMessage:
        """The route's message.  `interface` goes into pktinfo where the route names none.  Raises SendError."""
        to, source, interface = route.to, route.source, route.interface or interface
        if isinstance(to, IPv6Address) and self._family != ws.AF_INET6:
            raise send_error(WSAEAFNOSUPPORT, f"a datagram to {to} by an IPv4 socket")
        if to.version == 4 and source is None and interface:
            source = next((entry.source_for(to) for entry in self._interfaces() if entry.index == interface), None)
            if source is None:
                what = f"a datagram to {to} on interface {interface}, which has no IPv4 address"
                raise send_error(WSAEADDRNOTAVAIL, what, source_given=True)
        if source is not None and source.version != to.version:
            raise send_error(WSAEADDRNOTAVAIL, f"a datagram to {to} from {source}", source_given=True)
        # A group of link scope has its zone in the name, as a link-local address has (RFC 4007).
        scope_id = route.scope_id or (interface if is_link_scope_group(to) else 0)
        name = ws.pack_sockaddr(to, 0, scope_id, family=self._family)
        messages: list[cmsg.ControlMessage] = []
        if isinstance(source, IPv4Address):
            messages.append((ws.IPPROTO_IP, ws.IP_PKTINFO, cmsg.pack_in_pktinfo_windows(source, interface)))
        elif source is not None or (to.version == 6 and interface):
            messages.append((ws.IPPROTO_IPV6, ws.IPV6_PKTINFO, cmsg.pack_in6_pktinfo(source, interface)))
        return RouteMessage(self._sent, name, ABI.encode(messages))

    def _set_hop_limit(self, route: Route) -> None:
        multicast = route.to.is_multicast
        if route.to.version == 4:
            option = ws.IPPROTO_IP, ws.IP_MULTICAST_TTL if multicast else ws.IP_TTL
        else:
            option = ws.IPPROTO_IPV6, ws.IPV6_MULTICAST_HOPS if multicast else ws.IPV6_UNICAST_HOPS
        try:
            default, current = self._hop_limits.get(option) or (self._socket.getsockopt(*option),) * 2
            wanted = default if route.hop_limit is None else route.hop_limit
            if wanted != current:
                self._socket.setsockopt(*option, wanted)
        except OSError as error:
            raise send_error(error_code(error), f"a datagram to {route.to} with hop limit {route.hop_limit}") from error
        self._hop_limits[option] = default, wanted

    def _refused(self, code: int, message: Message) -> SendError:
        payload, route, port = message
        source = f" from {route.source}" if route.source is not None else ""
        what = f"{len(payload)} bytes to {Peer(route.to, port, route.scope_id)}{source}"
        if code == WSAEMSGSIZE:
            what += f" (the longest is {self._socket.getsockopt(ws.SOL_SOCKET, ws.SO_MAX_MSG_SIZE)} bytes)"
        return send_error(code, what, source_given=route.source is not None)

    # Memberships

    def join(self, membership: Membership, interface: Interface) -> None:
        self._groups.join(membership, interface)

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        self._groups.leave(membership)

    # The end

    def close(self) -> None:
        self._closed = True
        sockets.close(self._socket)
