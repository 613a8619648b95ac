"""Linux's UDP socket: datagrams with what their control messages tell, and each sent from the address that is meant.

What a datagram costs:

- Receiving is one recvmsg.  Its sender, scope and raw pktinfo are the key of a bounded table that holds the decoded
  `Flow`, so that addresses are decoded once a flow.
- Sending is one sendmsg, also for several of one size that go one after the other to one peer: the kernel takes them
  as one and sends segments of it (udp(7), UDP_SEGMENT).  A `Route` is encoded once, into a bounded table by its
  identity.

On an AF_INET6 socket an IPv4 datagram brings two pktinfo messages, IPV6_PKTINFO with the mapped address and IP_PKTINFO;
the second is read, since it alone tells `ipi_spec_dst`.  To IPv4 peers in_pktinfo is sent, to IPv6 peers in6_pktinfo.

This file chooses no source, no interface and no hop limit: the `Route` says them (`responder.dispatch.addressing`).
"""

from __future__ import annotations

import errno
import functools
import socket
import struct
import sys
from collections.abc import Coroutine, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import Any, Final, TypeAlias

import trio

from ...bounded import Memory
from ...datagram import Interface, IPAddress, Via, unscoped
from ...errors import SourceUnavailable, Unreachable
from .. import cmsg, sockets
from ..marks import mark_of_route
from ..types import AnswerUsual, Flow, Membership, Message, Received, Route, SendFailure

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

from ..posix.udp import TABLE_SIZE, receive_each, refusal
from . import icmp
from .constants import IP_PKTINFO, SO_RXQ_OVFL, SO_TIMESTAMPNS, UDP_SEGMENT
from .memberships import LinuxMemberships

# Plain integers: an IntEnum member is slower to compare, and these are compared for every datagram.
_IPPROTO_IP: Final = int(socket.IPPROTO_IP)
_IPPROTO_IPV6: Final = int(socket.IPPROTO_IPV6)
_SOL_SOCKET: Final = int(socket.SOL_SOCKET)
_IPV6_PKTINFO: Final = int(socket.IPV6_PKTINFO)
_IPV6_HOPLIMIT: Final = int(socket.IPV6_HOPLIMIT)
_IP_TTL: Final = int(socket.IP_TTL)  # the message that IP_RECVTTL asks for is called so too
_MSG_TRUNC: Final = int(socket.MSG_TRUNC)


_IPPROTO_UDP: Final = int(socket.IPPROTO_UDP)

SEGMENT_SIZE = {4: 1472, 6: 1452}
"""Bytes of a datagram that may be a segment, by IP version: what an Ethernet frame carries.  None is fragmented."""

SEGMENTS_SIZE = 65000
"""Bytes of all the segments of one: what an IP packet carries, with room for headers."""

MAX_SEGMENTS = 64
"""Of one; Linux 6.8 has 128."""

_IN_PKTINFO_SIZE = len(cmsg.pack_in_pktinfo_posix(None, 0))
_TIMESPEC = struct.Struct("@ll")
_INT = struct.Struct("=i")
_UNSIGNED = struct.Struct("=I")
_SEGMENT = struct.Struct("=H")

ControlMessages: TypeAlias = Sequence[tuple[int, int, bytes]]


Told: TypeAlias = tuple[bytes, int | None, float | None, int | None]
"""What the control messages of a datagram say.

- the raw in_pktinfo or, of an IPv6 datagram, in6_pktinfo; empty where there is none
- its TTL or hop limit
- when the kernel got it: seconds of the real-time clock
- the kernel's 32-bit counter of drops, which comes with each datagram that it queued after it had dropped one
"""


def told_by(control: ControlMessages) -> Told:
    pktinfo, is_ipv4, hop_limit, timestamp, drops = b"", False, None, None, None
    try:
        for level, kind, data in control:
            if level == _IPPROTO_IPV6:
                if kind == _IPV6_PKTINFO:
                    pktinfo = pktinfo if is_ipv4 else data
                elif kind == _IPV6_HOPLIMIT:
                    (hop_limit,) = _INT.unpack(data)
            elif level == _IPPROTO_IP:
                if kind == IP_PKTINFO:
                    pktinfo, is_ipv4 = data, True
                elif kind == _IP_TTL:
                    (hop_limit,) = _INT.unpack(data)
            elif level == _SOL_SOCKET:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(data)
                    timestamp = seconds + nanoseconds * 1e-9
                elif kind == SO_RXQ_OVFL:
                    (drops,) = _UNSIGNED.unpack(data)
    except struct.error:
        pass  # the last message, which the kernel cut for want of room
    return pktinfo, hop_limit, timestamp, drops


_FlowKey: TypeAlias = tuple[str, int, bytes]
"""The sender as recvmsg names it, its scope, and the raw in_pktinfo or in6_pktinfo; empty where there was none."""


def decode_flow(key: _FlowKey) -> Flow:
    """Decode a datagram's sender and pktinfo."""
    host, scope_id, pktinfo = key
    return Flow(unscoped(ip_address(host)), scope_id, *_arrival(pktinfo))


def decode_raw_flow(raw: bytes) -> Flow:
    """The same for a sender's sin6_addr and sin6_scope_id, with the pktinfo behind them."""
    arrival = _arrival(raw[20:])
    if raw.startswith(_MAPPED):
        return Flow(IPv4Address(raw[12:16]), 0, *arrival)
    return Flow(IPv6Address(raw[:16]), int.from_bytes(raw[16:20], sys.byteorder), *arrival)


_MAPPED = bytes(10) + b"\xff\xff"

_Arrival: TypeAlias = tuple[IPAddress | None, int, IPAddress | None, Via | None]
"""destination, interface, local and via of a `Flow`."""


@functools.lru_cache(TABLE_SIZE)
def _arrival(pktinfo: bytes) -> _Arrival:
    """Decode a pktinfo.  Cached: however many peers there are, few pktinfos differ."""
    if len(pktinfo) == _IN_PKTINFO_SIZE:
        interface, spec_dst, destination = cmsg.unpack_in_pktinfo_posix(pktinfo)
        if not interface:
            # Queued before IP_PKTINFO was on (a socket that the service manager bound): the header's destination alone
            # is told, and ipi_spec_dst 0.0.0.0, which would make it a broadcast.
            return destination, 0, None, Via.MULTICAST if destination.is_multicast else None
        if destination.is_multicast:
            via = Via.MULTICAST
        elif spec_dst != destination:
            # fib_compute_spec_dst: for an address of the host's own that address, otherwise the one to answer from.
            via = Via.BROADCAST
        else:
            via = Via.UNICAST
        return destination, interface, None if spec_dst.is_unspecified else spec_dst, via
    if pktinfo:
        interface, destination6 = cmsg.unpack_in6_pktinfo(pktinfo)
        return unscoped(destination6), interface, None, Via.MULTICAST if destination6.is_multicast else Via.UNICAST
    return None, 0, None, None


EncodedRoute: TypeAlias = tuple[str, tuple[int, ...], ControlMessages]
"""A route as sendmsg wants it: host, the rest of the sockaddr behind the port, control messages."""


def encode_route(route: Route, *, dual_stack: bool) -> EncodedRoute:
    """Raises SourceUnavailable for a source of the other family, Unreachable for IPv6 where there is none."""
    to = route.to
    _check_family(to, route.source)
    control = control_of(to.version, route.source, route.interface, route.hop_limit)
    if to.version == 4:
        return (f"::ffff:{to}", (0, 0), control) if dual_stack else (str(to), (), control)
    if not dual_stack:
        raise Unreachable(errno.EAFNOSUPPORT, f"{to}: this host has no IPv6")
    return str(to), (0, _scope_of(route)), control


def _check_family(to: IPAddress, source: IPAddress | None) -> None:
    if source is not None and source.version != to.version:
        raise SourceUnavailable(errno.EAFNOSUPPORT, f"{source} can't be the source of a datagram to {to}")


def _scope_of(route: Route) -> int:
    # A scope in the name that contradicts in6_pktinfo's index is EINVAL, so there is one for both.
    return route.interface or route.scope_id


def control_of(version: int, source: IPAddress | None, interface: int, hop_limit: int | None) -> ControlMessages:
    """The control messages of what is sent to that family from that source, which is of the same."""
    control: list[tuple[int, int, bytes]] = []
    pinned = source is not None or interface
    if version == 4:
        assert not isinstance(source, IPv6Address)  # noqa: S101 - `_check_family`
        if pinned:
            control.append((_IPPROTO_IP, IP_PKTINFO, cmsg.pack_in_pktinfo_posix(source, interface)))
        if hop_limit is not None:
            control.append((_IPPROTO_IP, socket.IP_TTL, cmsg.pack_int(hop_limit)))
        return control
    assert not isinstance(source, IPv4Address)  # noqa: S101 - the same
    if pinned:
        control.append((_IPPROTO_IPV6, _IPV6_PKTINFO, cmsg.pack_in6_pktinfo(source, interface)))
    if hop_limit is not None:
        control.append((_IPPROTO_IPV6, socket.IPV6_HOPLIMIT, cmsg.pack_int(hop_limit)))
    return control


def encode_name(route: Route, abi: cmsg.Abi) -> tuple[bytes, bytes]:
    """A route's sockaddr_in6 behind its port, and its control messages.  Raises as `encode_route`."""
    to, source = route.to, route.source
    _check_family(to, source)
    name = _NAME.pack(0, _MAPPED + to.packed, 0) if to.version == 4 else _NAME.pack(0, to.packed, _scope_of(route))
    number = None if source is None else int(source)  # its own hash is slow
    return name, _encode_control(to.version, number, route.interface, route.hop_limit, abi)


@functools.lru_cache(TABLE_SIZE)
def _encode_control(version: int, number: int | None, interface: int, hop_limit: int | None, abi: cmsg.Abi) -> bytes:
    """What does not depend on the peer, as `_arrival`.  The source as a number."""
    source = None if number is None else IPv4Address(number) if version == 4 else IPv6Address(number)
    messages = control_of(version, source, interface, hop_limit)
    control = abi.encode(messages)
    # Without the padding of the last one the kernel needs no memory of its own for a single pktinfo.
    padding = abi.aligned(len(messages[-1][2])) - len(messages[-1][2]) if messages else 0
    return control[: len(control) - padding]


_NAME = struct.Struct("=I16sI")
"""sin6_flowinfo, sin6_addr, sin6_scope_id"""


def advance_drops(total: int, told: int) -> int:
    """The total, moved on to the kernel's 32-bit counter, which wraps.

    A counter that seems to go back (datagrams that two cores queued out of order) changes nothing.
    """
    more = (told - total) & 0xFFFFFFFF
    return total + more if more < 1 << 31 else total


def _knows_segments(sock: socket.socket) -> bool:
    """Does the kernel know UDP_SEGMENT (Linux 4.18)?  An older one would pass over it, and send one datagram."""
    try:
        sock.getsockopt(_IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


class LinuxSocket:
    """See `responder.net.types.DatagramSocket`.  Takes a bound socket, and closes it."""

    def __init__(self, sock: socket.socket, address: IPAddress | None, raise_send_buffer_by: str | None = None) -> None:
        self._socket = sock
        self._dual_stack = sock.family == socket.AF_INET6
        self._groups = LinuxMemberships(sock)
        self._flows: Memory[_FlowKey, Flow] = Memory(decode_flow, TABLE_SIZE)
        self._routes: Memory[Route, EncodedRoute] = Memory(self._encode, TABLE_SIZE, mark_of_route)
        self._writable_turn = trio.Lock()  # trio allows one waiter a direction
        self.port: int = sock.getsockname()[1]
        self.address = address
        self.raise_send_buffer_by = raise_send_buffer_by
        self.kernel_drops = 0
        self.has_segments = _knows_segments(sock)
        self.answer: AnswerUsual | None = None
        """Set where there is the compiled module: see `responder.net.linux.compiled`."""

    def __repr__(self) -> str:
        return f"<UDP socket {self.address or '*'} port {self.port}>"

    @property
    def receive_buffer(self) -> int:
        # The kernel tells the double of what it was asked for (socket(7)).
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def wait_readable(self) -> Coroutine[Any, Any, None]:
        # No coroutine of its own: each is one more to wake up through.
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError
        return trio.lowlevel.wait_readable(self._socket)  # noqa: ASYNC105 - the caller awaits it

    def _encode(self, route: Route) -> EncodedRoute:
        return encode_route(route, dual_stack=self._dual_stack)

    def receive(self, limit: int) -> Sequence[Received]:
        received: list[Received] = []
        dual_stack = self._dual_stack
        known, missed = self._flows.known, self._flows.missed
        drops: int | None = None
        for payload, control, flags, name in receive_each(self._socket, limit, self.port):
            pktinfo, hop_limit, timestamp, drops = told_by(control)
            key = name[0], name[3] if dual_stack else 0, pktinfo
            flow = known.get(key) or missed(key)
            received.append(Received(payload, flow, name[1], flags & _MSG_TRUNC != 0, hop_limit, timestamp))
        if drops is not None:
            self.kernel_drops = advance_drops(self.kernel_drops, drops)
        return received

    def send(self, batch: Sequence[Message]) -> int:
        sendmsg, known, missed = self._socket.sendmsg, self._routes.known, self._routes.missed
        sent = alone = 0  # up to `alone` the kernel refused segments: what each one's refusal means is its own
        while sent < len(batch):
            payload, route, port = batch[sent]
            count = self._segments_of(batch, sent) if sent >= alone and len(batch) - sent > 1 else 1
            try:
                host, rest, control = known.get(route) or missed(route)
                name = host, port, *rest
                if count == 1:
                    sendmsg((payload,), control, 0, name)
                else:
                    segment = _IPPROTO_UDP, UDP_SEGMENT, _SEGMENT.pack(len(payload))
                    sendmsg([each[0] for each in batch[sent : sent + count]], (*control, segment), 0, name)
            except BlockingIOError:
                break
            except OSError as error:
                if count > 1:
                    alone = sent + count
                    continue
                if sent:
                    break
                raise refusal(error, batch[0]) from error
            except (TypeError, ValueError):  # a value that no check caught
                if sent:
                    break
                raise
            sent += count
        return sent

    def _segments_of(self, batch: Sequence[Message], first: int) -> int:
        """How many messages from the first one on are segments of one: all of its size, but the last may be smaller."""
        payload, route, port = batch[first]
        size, count = len(payload), 1
        if self.has_segments and 0 < size <= SEGMENT_SIZE[route.to.version]:
            most = min(MAX_SEGMENTS, SEGMENTS_SIZE // size)
            for other, way, to in islice(batch, first + 1, first + most):
                if way is not route or to != port or not 0 < len(other) <= size:
                    break
                count += 1
                if len(other) < size:
                    break
        return count

    async def send_when_ready(self, message: Message) -> None:
        batch = (message,)
        await sockets.send_in_turn(self._socket, self._writable_turn, lambda: self.send(batch))

    def hear_errors(self) -> None:
        icmp.hear_errors(self._socket)

    def take_errors(self) -> Sequence[SendFailure]:
        return icmp.take_errors(self._socket)

    def join(self, membership: Membership, interface: Interface) -> None:
        self._groups.join(membership)

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        self._groups.leave(membership)

    def close(self) -> None:
        self._groups.close()
        sockets.close(self._socket)
        if self.answer is not None:
            self.answer.forget()
