"""WSASendMsg and WSARecvMsg with all that their pages offer, for the tests of those pages, row by row.

`responder` sends one buffer by an unconnected socket, without flags and not overlapped.  Here there are gather buffers,
flags, connected sockets, blocking ones, operations on trio's completion port (`overlapped`, beside this file, performs
them) and completion routines.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Protocol

from responder.net.windows.winsock import ReceiveMemory, Taken, Winsock
from responder.net.windows.winsock_errors import WSA_IO_PENDING, WSAEMSGSIZE, call_error, send_error
from responder.net.windows.winsock_types import AF_INET6, NATIVE

from . import overlapped
from .overlapped import CompletionPort, Operations

MSG_OOB, MSG_PEEK, MSG_DONTROUTE, MSG_PARTIAL = 0x1, 0x2, 0x4, 0x8000


class WholeWinsock(Winsock, CompletionPort, Protocol):
    """The foreign functions of one socket with all of their parameters."""

    def send_message_with(self, message: int, flags: int, sent: int, overlapped: int, routine: int) -> int: ...

    def receive_message_with(self, message: int, received: int, overlapped: int) -> int: ...

    def routine(self, callback: Callable[[int, int, int, int], None]) -> tuple[int, object]:
        """A LPWSAOVERLAPPED_COMPLETION_ROUTINE: (its address, what keeps it alive).

        `callback` gets (error code, bytes transferred, address of the OVERLAPPED, flags).
        """


class Outgoing:
    """The memory of one WSASendMsg call, which it may be used for again once that has completed.

    `buffers` are joined to one datagram; `name` is a packed socket address, empty for a connected socket; `control` the
    packed control messages.
    """

    def __init__(self, buffers: Sequence[bytes], name: bytes = b"", control: bytes = b"") -> None:
        self._keep = tuple(buffers), name, control
        self._array = (NATIVE.WSABUF * max(1, len(buffers)))()
        for entry, data in zip(self._array, buffers, strict=False):
            entry.len, entry.buf = len(data), _address_of(data)
        self._sent = ctypes.c_uint32()
        self.message = NATIVE.WSAMSG(lpBuffers=ctypes.addressof(self._array), dwBufferCount=len(buffers))
        if name:
            self.message.name, self.message.namelen = _address_of(name), len(name)
        if control:
            self.message.Control.buf, self.message.Control.len = _address_of(control), len(control)
        self.address = ctypes.addressof(self.message)
        self.sent_address = ctypes.addressof(self._sent)

    @property
    def sent(self) -> int:
        """Bytes, after a call that was given `sent_address`."""
        return self._sent.value

    @property
    def has_control(self) -> bool:
        return bool(self._keep[2])

    def __str__(self) -> str:
        buffers, name, control = self._keep
        to = f" to {name.hex()}" if name else ""
        return f"{sum(map(len, buffers))} bytes{to} with {len(control)} bytes of control data"


def _address_of(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def send_message(
    winsock: WholeWinsock, buffers: Sequence[bytes], name: bytes = b"", control: bytes = b"", flags: int = 0
) -> int:
    """Send one datagram, not overlapped, and return its bytes.  Raises SendError."""
    outgoing = Outgoing(buffers, name, control)
    code = winsock.send_message_with(outgoing.address, flags, outgoing.sent_address, 0, 0)
    if code:
        raise send_error(code, str(outgoing), source_given=bool(control))
    return outgoing.sent


def receive_message(
    winsock: WholeWinsock, size: int = 0x10000, control: int = 512, *, flags: int = 0, family: int = AF_INET6
) -> Taken:
    """Receive one datagram, not overlapped, of at most `size` bytes.  Raises NetworkError."""

    def receive(message: int, received: int) -> int:
        NATIVE.WSAMSG.from_address(message).dwFlags = flags
        return winsock.receive_message_with(message, received, 0)

    taken = ReceiveMemory(family, size, control).take(receive)
    if isinstance(taken, int):
        raise call_error(taken, "WSARecvMsg")
    return taken


async def send(
    winsock: WholeWinsock,
    operations: Operations,
    buffers: Sequence[bytes],
    name: bytes = b"",
    control: bytes = b"",
    flags: int = 0,
) -> tuple[int, int]:
    """An overlapped WSASendMsg: (code, bytes sent)."""
    outgoing = Outgoing(buffers, name, control)
    return await operations.perform(
        lambda address: winsock.send_message_with(outgoing.address, flags, 0, address, 0), outgoing
    )


async def receive(winsock: WholeWinsock, operations: Operations, memory: ReceiveMemory) -> Taken | int:
    """An overlapped WSARecvMsg: the datagram, or the code of its failure.  A truncated datagram is no failure."""
    memory.reset()
    code, size = await operations.perform(
        lambda address: winsock.receive_message_with(memory.message, 0, address), memory
    )
    if code not in (0, WSAEMSGSIZE):
        return code
    if size or not code:  # else it is not told
        ctypes.c_uint32.from_address(memory.received).value = size
    return memory.taken(code)


def send_with_routine(
    winsock: WholeWinsock, outgoing: Outgoing, routine: Callable[[int, int], None], flags: int = 0
) -> None:
    """Start an overlapped send; `routine(code, bytes)` runs in this thread's next alertable wait, also if done at once.

    Trio's loop never enters such a wait, and on a socket that is tied to a completion port a routine is WSAEINVAL.  So
    this is for a socket of the caller's own, and a routine must make no blocking Winsock call.  Raises SendError; the
    routine does not run then.
    """

    def completed(code: int, transferred: int, _overlapped: int, _flags: int) -> None:
        del overlapped.in_flight[address]
        routine(code, transferred)

    own = NATIVE.WSAOVERLAPPED()
    address = ctypes.addressof(own)
    callback, keep = winsock.routine(completed)
    overlapped.in_flight[address] = own, (outgoing, keep)
    code = winsock.send_message_with(outgoing.address, flags, 0, address, callback)
    if code not in (0, WSA_IO_PENDING):
        del overlapped.in_flight[address]
        raise send_error(code, str(outgoing), source_given=outgoing.has_control)
