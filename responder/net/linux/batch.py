"""Many datagrams a system call: recvmmsg and sendmmsg, with the memory that they work in.

All of it is laid out once and shared by the sockets of a platform, since each call is over before the next begins:

    payloads   a row of slots; received ones are copied out, answers are put in place of them
    heads      for each slot the sender's name and the control messages, as received
    replies    for each slot the name and the control messages, to send
    headers    a row of `struct mmsghdr` that point into the above, one row for each direction

The slots are no power of two apart: the first bytes of all payloads would otherwise share a few places of the
processor's caches.

Only for 64-bit Linux and AF_INET6 sockets; anything else keeps to one system call a datagram (`udp.py`).  This
file refuses to know what control messages mean.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

if sys.platform != "linux":  # mypy leaves out what follows
    raise ImportError("Linux only")

from ..posix.udp import PAYLOAD_SIZE

SLOTS: Final = 64
"""Datagrams a call."""

NAME_SIZE: Final = 28
"""Bytes of a sockaddr_in6."""

_FAMILY_SIZE: Final = 2

CONTROL_AT: Final = 32
"""Where the control messages of a slot begin: behind the name, at a multiple of 8."""

HEAD_SIZE: Final = 256
"""Bytes of a slot's name and control messages; what we ask the kernel for takes 184 of them."""

CONTROL_SIZE: Final = HEAD_SIZE - CONTROL_AT

REPLY_SIZE: Final = 96
"""Bytes of a reply's name and control messages: an in6_pktinfo and a hop limit end there."""

_PAYLOAD_STRIDE: Final = PAYLOAD_SIZE + 192

# (msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags, msg_len)
_MMSGHDR: Final = struct.Struct("@PIPNPNi4xI4x")
_IOVEC: Final = struct.Struct("@PN")

RECEIVED: Final = struct.Struct("=40xQi4xI4x")
"""Of a `struct mmsghdr`: msg_controllen, msg_flags, msg_len."""


@cache
def system_calls() -> tuple[Callable[..., int], Callable[..., int]] | None:
    """(recvmmsg, sendmmsg), or None where there are none, or where structures have another layout."""
    if struct.calcsize("P") != 8 or RECEIVED.size != _MMSGHDR.size:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        recvmmsg, sendmmsg = libc.recvmmsg, libc.sendmmsg
    except AttributeError:
        return None
    recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    recvmmsg.restype = sendmmsg.restype = ctypes.c_int
    return recvmmsg, sendmmsg


def _address(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


class Batch:
    """The memory, and the two calls on it.

    What `send` sends is put into the first slots before it: into `payloads` and `replies`, and the sizes of payload and
    control messages into `sizes` and `control_sizes`.  `places` says for each slot where it begins in each of the four;
    in `replies` behind the address family, which is always AF_INET6.  `slots`: their numbers and places in `payloads`.
    """

    def __init__(self, calls: tuple[Callable[..., int], Callable[..., int]]) -> None:
        self._recvmmsg, self._sendmmsg = calls
        self.payloads = mmap.mmap(-1, SLOTS * _PAYLOAD_STRIDE)
        payload_at = range(0, SLOTS * _PAYLOAD_STRIDE, _PAYLOAD_STRIDE)
        self._heads = bytearray(SLOTS * HEAD_SIZE)
        self.replies = bytearray(SLOTS * REPLY_SIZE)
        iovecs_in, iovecs_out = bytearray(SLOTS * _IOVEC.size), bytearray(SLOTS * _IOVEC.size)
        self._headers_in, headers_out = bytearray(SLOTS * _MMSGHDR.size), bytearray(SLOTS * _MMSGHDR.size)
        payloads, heads, replies = _address(self.payloads), _address(self._heads), _address(self.replies)
        for slot, at in enumerate(payload_at):
            struct.pack_into("=H", self.replies, slot * REPLY_SIZE, socket.AF_INET6)
            for iovecs in (iovecs_in, iovecs_out):
                _IOVEC.pack_into(iovecs, slot * _IOVEC.size, payloads + at, PAYLOAD_SIZE)
            for headers, iovecs, name, control_size in (
                (self._headers_in, iovecs_in, heads + slot * HEAD_SIZE, CONTROL_SIZE),
                (headers_out, iovecs_out, replies + slot * REPLY_SIZE, 0),
            ):
                iovec = _address(iovecs) + slot * _IOVEC.size
                header = (name, NAME_SIZE, iovec, 1, name + CONTROL_AT, control_size, 0, 0)
                _MMSGHDR.pack_into(headers, slot * _MMSGHDR.size, *header)
        self._fresh = bytes(self._headers_in)
        self._pointed_to = iovecs_in  # nothing else keeps it alive
        self._used = 0
        self._received = memoryview(self._headers_in)
        self._address_in, self._address_out = _address(self._headers_in), _address(headers_out)
        self.sizes = memoryview(iovecs_out).cast("Q")
        self.control_sizes = memoryview(headers_out).cast("Q")
        self.slots = tuple(enumerate(payload_at))
        self.places = tuple(
            (at, slot * REPLY_SIZE + _FAMILY_SIZE, 2 * slot + 1, slot * _MMSGHDR.size // 8 + 5)
            for slot, at in self.slots
        )

    def receive(self, descriptor: int, limit: int) -> int:
        """How many datagrams are in the slots now, from the first; -1: ctypes.get_errno() says why."""
        if self._used:  # the kernel has written over sizes and flags
            size = self._used * _MMSGHDR.size
            self._headers_in[:size] = self._fresh[:size]
        self._used = 0
        count = self._recvmmsg(descriptor, self._address_in, min(limit, SLOTS), 0, None)
        if count > 0:
            self._used = count
        return count

    def heads(self, count: int) -> bytes:
        """Names and control messages of the first `count` slots, in a copy that stays."""
        return bytes(memoryview(self._heads)[: count * HEAD_SIZE])

    def received(self, count: int) -> Iterator[tuple[Any, ...]]:
        """For each slot msg_controllen, msg_flags, msg_len."""
        return RECEIVED.iter_unpack(self._received[: count * _MMSGHDR.size])

    def send(self, descriptor: int, count: int) -> int:
        """How many of the first `count` slots went; -1: ctypes.get_errno() says why the first did not."""
        return self._sendmmsg(descriptor, self._address_out, count, 0)
