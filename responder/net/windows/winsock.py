"""WSASendMsg and WSARecvMsg with all that their pages offer, over a border that a test can stand in for.

`Winsock` is the border: the foreign functions of one socket, each taking plain addresses and returning 0 or the error
code.  `responder.net.windows.winsock_native` is the real one; what it can't be made to do on a test machine, a fake
does. On this side of it stand three ways to call, with gather buffers, flags, connected (no name) or not, and control
data in each:

    send_message, receive_message     at once; on a blocking socket they wait, else would-block is an error code
    Operations.send / .receive        overlapped, on trio's completion port
    send_with_routine                 overlapped, with a completion routine

The rules of overlapped calls, and how they are kept:

- Everything that a call points at stays alive and unchanged until its completion (the page promises capture of the
  WSABUF array only).  `wait_overlapped` cancels with CancelIoEx and still waits for the completion, so the awaiting
  frame can't end before; were trio itself to die, `_in_flight` keeps the memory.
- Each operation in flight has its own OVERLAPPED.  After a late cancellation trio has a packet of its own under way
  that names the address, and nothing keeps the address from being used again: see `_Quarantine`.
- 0 and WSA_IO_PENDING both lead to a completion packet, every other code to none; and a packet that nobody awaits ends
  trio's run.  So between the call and the wait there is no checkpoint.
- A handle is not closed while operations are under way, for cancelling one on a closed handle ends trio's run too:
  `Operations.close` cancels them all, and closes when the last has completed.
- The byte count pointer is NULL (row 11 of the page); the count, like the code, comes from WSAGetOverlappedResult.

A completion routine runs only in an alertable wait of the thread that started the operation.  Trio's loop never enters
one, and on a socket that is tied to a completion port a routine is WSAEINVAL.  So `send_with_routine` is for callers
that have such a wait and a socket of their own; they must not make a blocking Winsock call inside a routine.

This file refuses to choose addresses and knows no interfaces.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from .winsock_errors import WSA_IO_PENDING, WSAEMSGSIZE, call_error, error_for
from .winsock_types import MSG_CTRUNC, MSG_TRUNC, NATIVE


class Winsock(Protocol):
    """The foreign functions of one socket.  Addresses are integers, 0 for NULL; results are 0 or the error code."""

    def send_message(self, message: int, flags: int, sent: int, overlapped: int, routine: int) -> int:
        """WSASendMsg."""

    def receive_message(self, message: int, received: int, overlapped: int, routine: int) -> int:
        """WSARecvMsg."""

    def ioctl(self, code: int, data: bytes, overlapped: int) -> int:
        """WSAIoctl with an input and no output."""

    def overlapped_result(self, overlapped: int) -> tuple[int, int]:
        """WSAGetOverlappedResult without waiting: (code, bytes transferred)."""

    def cancel_all(self) -> None:
        """CancelIoEx for every operation of this handle."""

    def register(self) -> None:
        """Tie the handle to the running trio's completion port: once in its life."""

    async def wait(self, overlapped: int) -> None:
        """trio's `wait_overlapped`: returns, or raises, when the completion packet has come."""

    def routine(self, callback: Callable[[int, int, int, int], None]) -> tuple[int, object]:
        """A LPWSAOVERLAPPED_COMPLETION_ROUTINE: (its address, what keeps it alive).

        `callback` gets (error code, bytes transferred, address of the OVERLAPPED, flags).
        """


@attrs.frozen
class WinsockMessage:
    """A received datagram: `name` is the sender's socket address, `control` the control messages, `flags` the MSG_*
    set.

    `truncated` says that the payload is not whole; with MSG_CTRUNC alone it is, and only control messages are missing.
    """

    payload: bytes
    name: bytes
    control: bytes
    flags: int
    truncated: bool


class Outgoing:
    """The memory of one WSASendMsg call, which it may be used for again once that has completed.

    `buffers` are joined to one datagram; `name` is a packed socket address, empty for a connected socket; `control` the
    packed control messages.
    """

    def __init__(self, buffers: Sequence[bytes], name: bytes = b"", control: bytes = b"") -> None:
        self._array = (NATIVE.WSABUF * max(1, len(buffers)))()
        self._sent = ctypes.c_uint32()
        self.message = NATIVE.WSAMSG(lpBuffers=ctypes.addressof(self._array), dwBufferCount=len(buffers))
        self.address = ctypes.addressof(self.message)
        self.sent_address = ctypes.addressof(self._sent)
        self.fill(buffers, name, control)

    def fill(self, buffers: Sequence[bytes], name: bytes, control: bytes) -> None:
        """Point at another datagram of as many buffers."""
        self._keep = (tuple(buffers), name, control)
        for index, data in enumerate(buffers):
            entry = self._array[index]
            entry.len, entry.buf = len(data), _address_of(data)
        message = self.message
        # NULL goes with 0 and 0 with NULL: a pointer to nothing is refused for the name, and disliked for the control.
        message.name, message.namelen = (_address_of(name), len(name)) if name else (0, 0)
        message.Control.buf, message.Control.len = (_address_of(control), len(control)) if control else (0, 0)

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


class Incoming:
    """The memory of one WSARecvMsg call, for one datagram after another: `size` bytes of payload, `control` of
    messages.
    """

    def __init__(self, size: int = 0x10000, control: int = 512) -> None:
        self._payload = ctypes.create_string_buffer(size)
        self._name = ctypes.create_string_buffer(128)  # a SOCKADDR_STORAGE
        self._control = ctypes.create_string_buffer(control)
        self._buffer = NATIVE.WSABUF(len=size, buf=ctypes.addressof(self._payload))
        self._received = ctypes.c_uint32()
        self.message = NATIVE.WSAMSG(
            name=ctypes.addressof(self._name), lpBuffers=ctypes.addressof(self._buffer), dwBufferCount=1
        )
        self.message.Control.buf = ctypes.addressof(self._control)
        self.address = ctypes.addressof(self.message)
        self.received_address = ctypes.addressof(self._received)

    def prepare(self, flags: int = 0) -> None:
        """Before each call, for the last one has written into the lengths; `flags` is 0 or MSG_PEEK."""
        self.message.namelen = len(self._name)
        self.message.Control.len = len(self._control)
        self.message.dwFlags = flags
        # More than fits, so that a count that is left unwritten (as some do with WSAEMSGSIZE) reads as "all".
        self._received.value = 0xFFFFFFFF

    def result(self, code: int, size: int | None = None) -> WinsockMessage:
        """The datagram of a call that returned 0 or WSAEMSGSIZE; `size` in bytes where the call told no count."""
        flags = self.message.dwFlags
        room = len(self._payload)
        told = self._received.value if size is None else size
        return WinsockMessage(
            payload=ctypes.string_at(self._payload, min(told, room)),
            name=ctypes.string_at(self._name, min(max(self.message.namelen, 0), len(self._name))),
            control=ctypes.string_at(self._control, min(self.message.Control.len, len(self._control))),
            flags=flags,
            # Both kinds of truncation come as WSAEMSGSIZE, and the flags tell them apart; not every system sets them.
            truncated=bool(flags & MSG_TRUNC) or (code == WSAEMSGSIZE and not flags & MSG_CTRUNC),
        )


def _address_of(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def send_message(
    winsock: Winsock, buffers: Sequence[bytes], name: bytes = b"", control: bytes = b"", flags: int = 0
) -> int:
    """Send one datagram, not overlapped, and return its bytes.  Raises the class of `_winsock_errors` for the code."""
    outgoing = Outgoing(buffers, name, control)
    code = winsock.send_message(outgoing.address, flags, outgoing.sent_address, 0, 0)
    if code:
        raise error_for(code, str(outgoing), source_given=bool(control))
    return outgoing.sent


def receive_into(winsock: Winsock, incoming: Incoming, flags: int = 0) -> tuple[int, WinsockMessage | None]:
    """Receive one datagram, not overlapped: (code, the datagram or None).  Truncation is no failure: its code is 0."""
    incoming.prepare(flags)
    code = winsock.receive_message(incoming.address, incoming.received_address, 0, 0)
    if code in (0, WSAEMSGSIZE):
        return 0, incoming.result(code)
    return code, None


def receive_message(winsock: Winsock, size: int = 0x10000, control: int = 512, flags: int = 0) -> WinsockMessage:
    """Receive one datagram, not overlapped, of at most `size` bytes.  Raises WinsockError."""
    code, message = receive_into(winsock, Incoming(size, control), flags)
    if message is None:
        raise call_error(code, "WSARecvMsg")
    return message


# What the system may still write to or read from; see the rules above.
_in_flight: set[_Operation] = set()


@attrs.frozen(eq=False)
class _Operation:
    overlapped: ctypes.Structure
    memory: object


class _Quarantine:
    """Keeps OVERLAPPEDs alive for as long as a packet in one run's completion port may name their addresses.

    Packets come in the order in which they were queued.  trio queues its own, if at all, before the wait returns; so
    once an operation that was *started* later has completed, that packet is through.  What is kept is bounded by the
    most operations that were ever under way together.
    """

    def __init__(self) -> None:
        self._started = 0
        self._kept: deque[tuple[int, ctypes.Structure]] = deque()

    def start(self) -> int:
        """The number of an operation that is being started."""
        self._started += 1
        return self._started

    def release(self, number: int, overlapped: ctypes.Structure) -> None:
        """Operation `number` has completed: free what was released before its start, and keep its own."""
        while self._kept and self._kept[0][0] < number:
            self._kept.popleft()
        self._kept.append((self._started, overlapped))

    def __len__(self) -> int:
        return len(self._kept)


_quarantine_of_run: trio.lowlevel.RunVar[_Quarantine] = trio.lowlevel.RunVar("responder.net.windows.winsock.quarantine")


def _quarantine() -> _Quarantine:
    try:
        return _quarantine_of_run.get()
    except LookupError:
        _quarantine_of_run.set(quarantine := _Quarantine())
        return quarantine


class Operations:
    """The overlapped operations of one socket on trio's completion port, and the socket's end.

    `close` is called once, when nothing is under way any more.
    """

    def __init__(self, winsock: Winsock, close: Callable[[], None]) -> None:
        self._winsock = winsock
        self._close = close
        self._registered = False
        self._pending = 0
        self._closed = False

    @property
    def pending(self) -> int:
        """How many are under way."""
        return self._pending

    async def perform(self, start: Callable[[int], int], memory: object) -> tuple[int, int]:
        """Start an operation by `start(address of an OVERLAPPED)` and wait for its end: (code, bytes transferred).

        `memory` is kept alive until then.  A checkpoint unless it raises; a cancelled operation may have been done all
        the same.  Raises trio.ClosedResourceError where the socket is closed before or meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise trio.ClosedResourceError("this socket is closed")
        if not self._registered:
            self._winsock.register()
            self._registered = True
        operation = _Operation(NATIVE.WSAOVERLAPPED(), memory)
        address = ctypes.addressof(operation.overlapped)
        code = start(address)
        if code not in (0, WSA_IO_PENDING):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return code, 0
        quarantine = _quarantine()
        number = quarantine.start()
        _in_flight.add(operation)
        self._pending += 1
        completed = True
        try:
            with suppress(OSError):  # a Win32 code that several Winsock codes map to: the result has the right one
                await self._winsock.wait(address)
            return self._winsock.overlapped_result(address)
        except GeneratorExit:
            completed = False  # trio died and destroys its tasks: no completion was seen, so the memory stays
            raise
        finally:
            if completed:
                _in_flight.discard(operation)
                quarantine.release(number, operation.overlapped)
                self._pending -= 1
                self._close_if_due()

    async def send(
        self, buffers: Sequence[bytes], name: bytes = b"", control: bytes = b"", flags: int = 0
    ) -> tuple[int, int]:
        """WSASendMsg: (code, bytes sent).  See `perform`."""
        outgoing = Outgoing(buffers, name, control)
        return await self.perform(
            lambda overlapped: self._winsock.send_message(outgoing.address, flags, 0, overlapped, 0), outgoing
        )

    async def receive(self, incoming: Incoming, flags: int = 0) -> tuple[int, WinsockMessage | None]:
        """WSARecvMsg: (code, the datagram or None), truncation as in `receive_into`.  See `perform`."""
        incoming.prepare(flags)
        code, size = await self.perform(
            lambda overlapped: self._winsock.receive_message(incoming.address, 0, overlapped, 0), incoming
        )
        if code == WSAEMSGSIZE:
            return 0, incoming.result(code, size or None)
        return (code, None) if code else (0, incoming.result(0, size))

    def close(self) -> None:
        """Cancel what is under way, and close the socket once that has ended: at once where nothing is."""
        if self._closed:
            return
        self._closed = True
        if self._pending:
            self._winsock.cancel_all()
        self._close_if_due()

    def _close_if_due(self) -> None:
        if self._closed and not self._pending:
            self._close()


def send_with_routine(
    winsock: Winsock, outgoing: Outgoing, routine: Callable[[int, int], None], flags: int = 0
) -> None:
    """Start an overlapped send; `routine(code, bytes)` runs in this thread's next alertable wait, also if done at once.

    The socket must not be registered with trio.  Raises the class of `_winsock_errors` for the code; the routine does
    not run then.
    """
    operation: _Operation

    def completed(code: int, transferred: int, _overlapped: int, _flags: int) -> None:
        _in_flight.discard(operation)
        routine(code, transferred)

    address, keep = winsock.routine(completed)
    operation = _Operation(NATIVE.WSAOVERLAPPED(), (outgoing, keep))
    _in_flight.add(operation)
    code = winsock.send_message(outgoing.address, flags, 0, ctypes.addressof(operation.overlapped), address)
    if code not in (0, WSA_IO_PENDING):
        _in_flight.discard(operation)
        raise error_for(code, str(outgoing), source_given=outgoing.has_control)
