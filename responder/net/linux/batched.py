"""Linux's UDP socket with many datagrams a system call: what `udp.py` does one by one, for AF_INET6 sockets.

What a datagram costs here:

- Receiving copies its payload out and looks up its `Path` by the raw bytes of sender and pktinfo.  They stand at the
  same place in every slot, since the kernel writes the control messages in the same order; a datagram whose messages
  have another length than expected is parsed one message after the other.
- Sending puts payload and name into the slot that a request came out of; the control messages of a `Route` are encoded
  once.

This file refuses to know addresses: `udp.decode_way` and `encode_name` do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs

from ...bounded import Memory
from ...datagram import IPAddress
from ...errors import MessageTooLong, NetworkError, SendError
from .. import cmsg
from ..types import Message, Path, Received, Route

if sys.platform != "linux":  # mypy leaves out what follows
    raise ImportError("Linux only")

from ..posix.udp import PASSED_OVER, PAYLOAD_SIZE, TABLE_SIZE, refusal
from .batch import CONTROL_AT, HEAD_SIZE, NAME_SIZE, REPLY_SIZE, SLOTS, Batch
from .constants import IP_PKTINFO
from .udp import LinuxSocket, decode_way, drops_told, encode_name, hop_limit_of, is_drops, pktinfo_of, timestamp_of

_ABI = cmsg.LINUX_64
_MSG_TRUNC: Final = int(socket.MSG_TRUNC)

_TIME, _DROPS, _PKTINFO_6, _PKTINFO_4, _HOP_LIMIT = (_ABI.space(size) for size in (16, 4, 20, 12, 4))
_INFO_6, _INFO_4 = _ABI.length(20), _ABI.length(12)
_IS_INFO_6 = _ABI.header.pack(_INFO_6, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
_IS_INFO_4 = _ABI.header.pack(_INFO_4, socket.IPPROTO_IP, IP_PKTINFO)


@attrs.frozen(eq=False)
class _Layout:
    """Where the kernel puts what we need of a slot's name and control messages.

    heads     (port, address and scope, IPV6_PKTINFO, IP_PKTINFO) of each slot
    size_4/6  the length of an IPv4 or IPv6 datagram's messages where they are the expected ones
    """

    heads: struct.Struct
    size_4: int
    size_6: int

    @classmethod
    def after(cls, first: int) -> _Layout:
        """The one where the pktinfo messages begin after `first` bytes of others."""
        used = CONTROL_AT + first + _PKTINFO_6 + _PKTINFO_4
        return cls(
            struct.Struct(
                f"!2xH4x20s{CONTROL_AT - 28 + first}x{_INFO_6}s{_PKTINFO_6 - _INFO_6}x{_INFO_4}s"
                f"{_PKTINFO_4 - _INFO_4 + HEAD_SIZE - used}x"
            ),
            first + _PKTINFO_6 + _PKTINFO_4 + _HOP_LIMIT,
            first + _PKTINFO_6 + _HOP_LIMIT,
        )


# The drop counter comes with each datagram that was queued after the first drop.
_LAYOUTS = (_Layout.after(_TIME), _Layout.after(_TIME + _DROPS))

_Key: TypeAlias = tuple[bytes, bytes]
"""Address and scope as in sockaddr_in6; in_pktinfo or in6_pktinfo with or without its header.

Nothing at all stands for what has to be looked for among the control messages; it gives no path."""


class _OtherLayout(Exception):
    """What stands where pktinfo should is something else."""


def _path_of(key: _Key) -> Path:
    sender, info = key
    if not info:
        raise _OtherLayout
    if len(info) in (_INFO_4, _INFO_6):
        if not info.startswith((_IS_INFO_4, _IS_INFO_6)):
            raise _OtherLayout
        info = info[_ABI.data_offset :]
    return decode_way(sender, info)


class BatchReceived(Received):
    """See `responder.net.types.Received`."""

    __slots__ = ("_heads", "_size", "_slot")

    _heads: bytes
    """Names and control messages of the whole batch; this one's stand in slot `_slot` and are `_size` bytes long."""
    _slot: int
    _size: int

    def control(self) -> list[cmsg.Message]:
        """Its control messages."""
        begin = self._slot * HEAD_SIZE + CONTROL_AT
        return list(_ABI.parse(self._heads[begin : begin + self._size]))

    def read_hop_limit(self) -> int | None:
        return hop_limit_of(self.control())

    def read_timestamp(self) -> float | None:
        return timestamp_of(self.control())


@attrs.frozen(eq=False)
class _Encoded:
    """A route: what stands behind the port in a slot of `Batch.replies`, and how long the control messages are."""

    rest: bytes
    control_size: int


_REPLY = struct.Struct(f"!H{REPLY_SIZE - 4}s")
"""Behind the family, which never changes: the port, and the rest."""


def _encode(route: Route) -> _Encoded:
    """Raises SourceUnavailable, see `encode_name`."""
    name, control = encode_name(route, _ABI)
    return _Encoded(name + bytes(CONTROL_AT - NAME_SIZE) + control, len(control))


class BatchedSocket(LinuxSocket):
    """A dual-stack socket.  `batch` may be shared with others of the same thread."""

    def __init__(self, sock: socket.socket, address: IPAddress | None, batch: Batch) -> None:
        super().__init__(sock, address)
        self._batch = batch
        self._layout = _LAYOUTS[0]
        self._ways: Memory[_Key, Path] = Memory(_path_of, TABLE_SIZE)
        self._encoded: Memory[Route, _Encoded] = Memory(_encode, TABLE_SIZE)

    def receive(self, limit: int) -> Sequence[Received]:
        """See `DatagramSocket.receive`."""
        batch, count = self._batch, self._fill(limit)
        if not count:
            return ()
        received: list[BatchReceived] = []
        heads, payloads, layout, known = batch.heads(count), batch.payloads, self._layout, self._ways.known
        size_4, size_6 = layout.size_4, layout.size_6
        slots = zip(batch.slots, layout.heads.iter_unpack(heads), batch.received(count), strict=False)
        for (slot, at), (port, sender, info_6, info_4), (control_size, flags, size) in slots:
            one = BatchReceived()  # type: ignore[call-arg, unused-ignore] # see Received
            one.payload = payloads[at : at + size]  # type: ignore[misc, unused-ignore] # see Received
            one.peer_port = port
            one.truncated = flags != 0 and flags & _MSG_TRUNC != 0
            one._heads = heads
            one._slot = slot
            one._size = control_size
            way = sender, info_4 if control_size == size_4 else info_6 if control_size == size_6 else b""
            try:
                one.path = known[way]
            except KeyError:
                one.path = self._path(way, one)
            received.append(one)
        if self._layout is not _LAYOUTS[0]:
            self.kernel_drops = drops_told(received[-1].control(), self.kernel_drops)
        return received

    def _fill(self, limit: int) -> int:
        descriptor, batch = self._socket.fileno(), self._batch
        for _ in range(limit):
            count = batch.receive(descriptor, limit)
            if count >= 0:
                return count
            code = ctypes.get_errno()
            if code == errno.EAGAIN:
                break
            if code not in PASSED_OVER:
                raise NetworkError(code, f"UDP port {self.port} can't receive: {os.strerror(code)}")
        return 0

    def _path(self, way: _Key, received: BatchReceived) -> Path:
        """The path of a datagram whose way is new, or whose control messages are not the expected ones."""
        try:
            return self._ways.missed(way)
        except _OtherLayout:
            pass
        sender, control = way[0], received.control()
        # Also the next datagrams, most likely: the kernel has dropped one, and tells so from now on.
        self._layout = _LAYOUTS[any(is_drops(message) for message in control)]
        pktinfo = pktinfo_of(control)
        return self._ways.find((sender, pktinfo)) if pktinfo else decode_way(sender, pktinfo)

    def send(self, batch: Sequence[Message]) -> int:
        """See `DatagramSocket.send`."""
        if len(batch) == 1:
            return super().send(batch)  # costs less
        sent = 0
        while sent < len(batch):
            part = batch[sent : sent + SLOTS]
            try:
                count = self._send(part)
            except SendError:
                if sent:
                    break
                raise
            sent += count
            if count < len(part):
                break
        return sent

    def _send(self, part: Sequence[Message]) -> int:
        memory, routes, known, pack = self._batch, self._encoded, self._encoded.known, _REPLY.pack_into
        payloads, sizes, replies, control_sizes = memory.payloads, memory.sizes, memory.replies, memory.control_sizes
        filled, longest = 0, PAYLOAD_SIZE
        try:
            for (payload, route, port), (at, reply_at, size_at, control_size_at) in zip(
                part, memory.places, strict=False
            ):
                try:
                    encoded = known[route]
                except KeyError:
                    encoded = routes.missed(route)
                size = len(payload)
                if size > longest:
                    raise MessageTooLong(errno.EMSGSIZE, f"to {route.to}: {size} bytes")
                payloads[at : at + size] = payload
                sizes[size_at] = size
                pack(replies, reply_at, port, encoded.rest)
                control_sizes[control_size_at] = encoded.control_size
                filled += 1
        except (SendError, TypeError, ValueError, struct.error):
            # A value that can't be sent: those before it go, and the next call meets it again.
            if not filled:
                raise
        count = memory.send(self._socket.fileno(), filled)
        if count >= 0:
            return count
        code = ctypes.get_errno()
        if code == errno.EAGAIN:
            return 0
        raise refusal(OSError(code, os.strerror(code)), part[0])
