"""WSASendMsg and WSARecvMsg: the border to the foreign functions, and the memory that their calls point at.

`Winsock` is the border: the foreign functions of one socket.  `responder.net.windows.winsock_native` has the real ones;
in tests a fake stands there, for what no test machine can be made to do.

The memory is laid out once.  A socket has one `ReceiveMemory`, filled by one WSARecvMsg after another, and one
`SendMemory` for the payload that goes next; a `RouteMessage`, kept with its route, is the WSAMSG with the name (all but
the port) and the control messages of that route.  So a datagram costs two copies of its payload and a few numbers.

These calls are not overlapped: the system has read or written the memory when they return.  This file chooses no
addresses and knows no interfaces.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Protocol, TypeAlias

from .winsock_errors import WSAEMSGSIZE
from .winsock_types import AF_INET6, MSG_CTRUNC, MSG_TRUNC, NATIVE, SOCKADDR_IN6_SIZE, SOCKADDR_IN_SIZE


class Winsock(Protocol):
    """The foreign functions of one socket.  Addresses are integers, 0 for NULL; results are 0 or the error code."""

    def send_message(self, message: int, sent: int) -> int:
        """WSASendMsg of a WSAMSG, without flags and not overlapped; the byte count is written at `sent`."""

    def receive_message(self, message: int, received: int) -> int:
        """WSARecvMsg into a WSAMSG, not overlapped; the byte count is written at `received`."""

    def ioctl(self, code: int, data: bytes) -> int:
        """WSAIoctl with an input and no output."""


class Block:
    """Zeroed bytes that don't move: the system has the `address`, we have the `view`."""

    def __init__(self, size: int) -> None:
        owner = (ctypes.c_uint64 * -(-size // 8))()  # of these, so that it is aligned for every structure
        self.address = ctypes.addressof(owner)
        self.view = memoryview(owner).cast("B")  # keeps the owner alive


Taken: TypeAlias = tuple[bytes, bytes, int, bytes, bool]
"""A received datagram: (payload, address, port, control, truncated).

`address` is the sender's: 16 bytes and a scope id (4, little-endian), or on an AF_INET socket 4 bytes; empty where the
system told none.  `truncated`: the payload is not whole; where only control messages are missing, it is.
"""


_WSAMSG_SIZE = ctypes.sizeof(NATIVE.WSAMSG)
_COUNT = _WSAMSG_SIZE  # the byte count stands behind the WSAMSG, so that one copy resets both
_NO_COUNT = 0xFFFFFFFF


class ReceiveMemory:
    """The memory of one socket's WSARecvMsg calls, for `size` bytes of payload and `control` of control messages."""

    def __init__(self, family: int, size: int = 0x10000, control: int = 512) -> None:
        buffer = -(-(_COUNT + 4) // 8) * 8
        # The name ends where the control messages begin, which are aligned to 8 bytes.
        self._control = buffer + ctypes.sizeof(NATIVE.WSABUF) + 32
        self._name_size = SOCKADDR_IN6_SIZE if family == AF_INET6 else SOCKADDR_IN_SIZE
        self._name = self._control - self._name_size
        # The name is family (2 bytes), port (2), then for AF_INET6 a flow label (4), the address and a scope id; for
        # AF_INET the address and 8 bytes of nothing.
        own = (8, 28) if family == AF_INET6 else (4, 8)
        self._address = slice(self._name + own[0], self._name + own[1])
        self._payload = payload = self._control + control
        memory = Block(payload + size)
        self._view = memory.view[: payload + size]
        self.message = memory.address
        self.received = memory.address + _COUNT
        message = NATIVE.WSAMSG.from_address(self.message)
        message.name, message.namelen = memory.address + self._name, self._name_size
        message.lpBuffers, message.dwBufferCount = memory.address + buffer, 1
        message.Control.buf, message.Control.len = memory.address + self._control, control
        wsabuf = NATIVE.WSABUF.from_address(memory.address + buffer)
        wsabuf.buf, wsabuf.len = memory.address + payload, size
        self._head = self._view[: _COUNT + 4]
        # More than fits, so that a count that is left unwritten (as Wine does with WSAEMSGSIZE) reads as "all".
        self._view[_COUNT : _COUNT + 4] = _NO_COUNT.to_bytes(4, "little")
        self._ready = bytes(self._head)
        self._written = _reader(self._name + 2)

    def reset(self) -> None:
        """Before each call, for the last one has written into the lengths and the flags."""
        self._head[:] = self._ready

    def take(self, receive_message: Callable[[int, int], int]) -> Taken | int:
        """The next datagram by the border's `receive_message`, or the code of its failure."""
        self.reset()
        code = receive_message(self.message, self.received)
        if code and code != WSAEMSGSIZE:
            return code
        return self.taken(code)

    def taken(self, code: int) -> Taken:
        """The datagram of a call that returned 0 or WSAEMSGSIZE."""
        view = self._view
        name_size, control_size, flags, count, high, low = self._written.unpack_from(view)
        payload, control = self._payload, self._control
        return (
            view[payload : payload + count].tobytes(),  # no more than there is room for, since it stands at the end
            view[self._address].tobytes() if name_size == self._name_size else b"",
            high << 8 | low,
            view[control : control + control_size if control_size < payload - control else payload].tobytes(),
            # Both kinds of truncation come as WSAEMSGSIZE, and the flags tell them apart; not every system sets them.
            flags & MSG_TRUNC != 0 or (code != 0 and not flags & MSG_CTRUNC),
        )


def _reader(port: int) -> struct.Struct:
    """Reads what a call has written: lengths of name and control messages, flags, count, the two bytes of the port."""
    message = NATIVE.WSAMSG
    text, end = "<", 0
    for offset in (
        message.namelen.offset,
        message.Control.offset + NATIVE.WSABUF.len.offset,
        message.dwFlags.offset,
        _COUNT,
    ):
        text += f"{offset - end}xI"
        end = offset + 4
    return struct.Struct(f"{text}{port - end}xBB")


class SendMemory:
    """The memory of one socket's WSASendMsg calls, for one payload after another of at most `size` bytes."""

    def __init__(self, size: int = 0x10000) -> None:
        start = ctypes.sizeof(NATIVE.WSABUF) + 8
        memory = Block(start + size)
        self.buffer = memory.address
        self.sent = memory.address + start - 8
        self._size = size
        self._payload = memory.view[start : start + size]
        wsabuf = NATIVE.WSABUF.from_address(self.buffer)
        wsabuf.buf = memory.address + start
        offset = NATIVE.WSABUF.len.offset
        self._length = memory.view[offset : offset + 4].cast("I")

    def send(self, send_message: Callable[[int, int], int], message: RouteMessage, payload: bytes, port: int) -> int:
        """Send a datagram by the border's `send_message`, and return its code."""
        size = len(payload)
        if size > self._size:
            return WSAEMSGSIZE
        if message.port != port:
            message.set_port(port)
        self._payload[:size] = payload
        self._length[0] = size
        return send_message(message.address, self.sent)


class RouteMessage:
    """A WSAMSG that sends by one route: the packed socket address `name`, whatever its port, and `control` messages.

    Its payload is what stands in `memory` when it is sent.  `interface_tried` is its user's note: the index of the
    interface that it was tried with though the route has none, or 0.
    """

    __slots__ = ("_port", "address", "interface_tried", "port")

    def __init__(self, memory: SendMemory, name: bytes, control: bytes) -> None:
        start = -(-_WSAMSG_SIZE // 8) * 8
        place = start + len(control)
        own = Block(place + len(name))
        own.view[start:place] = control
        own.view[place : place + len(name)] = name
        self.address = own.address
        self._port = own.view[place + 2 : place + 4]
        self.port = int.from_bytes(name[2:4], "big")
        self.interface_tried = 0
        message = NATIVE.WSAMSG.from_address(self.address)
        message.name, message.namelen = own.address + place, len(name)
        message.lpBuffers, message.dwBufferCount = memory.buffer, 1
        if control:  # else NULL, since a pointer to nothing is disliked
            message.Control.buf, message.Control.len = own.address + start, len(control)

    def set_port(self, port: int) -> None:
        self._port[:] = port.to_bytes(2, "big")
        self.port = port

    def become(self, other: RouteMessage) -> None:
        """Send as another one does from now on."""
        self.address, self._port, self.port = other.address, other._port, other.port
