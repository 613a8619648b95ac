"""A Winsock for any platform: it reads and writes the caller's memory as the real one does, and answers as it is told.

It stands at the foreign-function border (`responder.net.windows.winsock.Winsock`), for what the Windows of our tests
can't produce: resets, missing control data, a host without IPv4 or IPv6, completions at a chosen moment.
"""

from __future__ import annotations

import ctypes
import errno
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import attrs
import trio

from responder.datagram import IPAddress
from responder.net.windows.winsock_types import (
    AF_INET,
    AF_INET6,
    NATIVE,
    SO_EXCLUSIVEADDRUSE,
    SO_MAX_MSG_SIZE,
    SOCKADDR_IN6_SIZE,
    SOCKADDR_IN_SIZE,
    SOL_SOCKET,
    pack_sockaddr,
)

WSA_IO_PENDING, WSA_OPERATION_ABORTED, WSAEWOULDBLOCK, WSAEMSGSIZE = 997, 995, 10035, 10040


_ERRNO = {
    10013: errno.EACCES,
    10022: errno.EINVAL,
    10047: errno.EAFNOSUPPORT,
    10048: errno.EADDRINUSE,
    10049: errno.EADDRNOTAVAIL,
}
"""The names in `errno`, which there has Winsock's numbers for those that C lacks."""


def winsock_error(code: int) -> OSError:
    """As Python's `socket` raises it on Windows."""
    error = OSError(_ERRNO.get(code, code), f"error {code}")
    error.winerror = code  # type: ignore[attr-defined, unused-ignore]  # only Windows' OSError has it
    return error


@attrs.frozen
class Sent:
    """What a WSASendMsg was given."""

    payload: bytes
    name: bytes
    control: bytes
    flags: int
    overlapped: int
    counted: bool
    buffers: int


@attrs.frozen
class Arrived:
    """What a WSARecvMsg shall give; `count` None leaves the byte count unwritten."""

    payload: bytes = b""
    name: bytes = b""
    control: bytes = b""
    flags: int = 0
    code: int = 0
    write_count: bool = True


@attrs.define
class FakeWinsock:
    """`answers` are the codes of the sends to come (0 when there are none left), `arrivals` the receives'."""

    answers: deque[int] = attrs.field(factory=deque)
    arrivals: deque[Arrived | int] = attrs.field(factory=deque)
    sent: list[Sent] = attrs.field(factory=list)
    ioctls: list[tuple[int, bytes]] = attrs.field(factory=list)
    ioctl_answers: dict[int, int] = attrs.field(factory=dict)
    registered: int = 0
    cancelled_all: int = 0
    pending: dict[int, trio.Event] = attrs.field(factory=dict)
    results: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    addresses: list[int] = attrs.field(factory=list)
    callbacks: dict[int, Callable[[int, int, int, int], None]] = attrs.field(factory=dict)

    def send_message(self, message: int, sent: int) -> int:
        return self.send_message_with(message, 0, sent, 0, 0)

    def receive_message(self, message: int, received: int) -> int:
        return self.receive_message_with(message, received, 0)

    # With all of their parameters: see `whole_winsock`.

    def send_message_with(self, message: int, flags: int, sent: int, overlapped: int, routine: int) -> int:
        wsamsg = NATIVE.WSAMSG.from_address(message)
        # Rows 4 of WSASendMsg's page, which the real one checks too.
        if (not wsamsg.name) != (not wsamsg.namelen) or (not wsamsg.Control.buf) != (not wsamsg.Control.len):
            return 10014
        if not sent and not overlapped:
            return 10014
        array = (NATIVE.WSABUF * wsamsg.dwBufferCount).from_address(wsamsg.lpBuffers)
        payload = b"".join(ctypes.string_at(entry.buf, entry.len) for entry in array)
        name = ctypes.string_at(wsamsg.name, wsamsg.namelen) if wsamsg.name else b""
        control = ctypes.string_at(wsamsg.Control.buf, wsamsg.Control.len) if wsamsg.Control.buf else b""
        self.sent.append(Sent(payload, name, control, flags, overlapped, bool(sent), len(array)))
        code = self.answers.popleft() if self.answers else 0
        if code == 0 and sent:
            ctypes.c_uint32.from_address(sent).value = len(payload)
        self._start(code, overlapped, len(payload))
        if routine and code in (0, WSA_IO_PENDING):
            self.callbacks[routine](0, len(payload), overlapped, 0)
        return code

    def receive_message_with(self, message: int, received: int, overlapped: int) -> int:
        arrived = self.arrivals.popleft() if self.arrivals else WSAEWOULDBLOCK
        if isinstance(arrived, int):
            self._start(arrived, overlapped, 0)
            return arrived
        wsamsg = NATIVE.WSAMSG.from_address(message)
        buffer = NATIVE.WSABUF.from_address(wsamsg.lpBuffers)
        payload = arrived.payload[: buffer.len]
        ctypes.memmove(buffer.buf, payload, len(payload))
        ctypes.memmove(wsamsg.name, arrived.name, len(arrived.name))
        wsamsg.namelen = len(arrived.name)
        control = arrived.control[: wsamsg.Control.len]
        ctypes.memmove(wsamsg.Control.buf, control, len(control))
        wsamsg.Control.len = len(control)
        wsamsg.dwFlags = arrived.flags
        if received and arrived.write_count:
            ctypes.c_uint32.from_address(received).value = len(payload)
        self._start(arrived.code, overlapped, len(payload) if arrived.write_count else 0)
        return arrived.code

    def _start(self, code: int, overlapped: int, transferred: int) -> None:
        if overlapped and code in (0, WSA_IO_PENDING):
            assert overlapped not in self.pending, "an OVERLAPPED is used for two operations at once"
            self.addresses.append(overlapped)
            self.pending[overlapped] = trio.Event()
            self.results[overlapped] = 0, transferred
            if code == 0:
                self.pending[overlapped].set()

    def complete(self, overlapped: int, code: int = 0, transferred: int = 0) -> None:
        self.results[overlapped] = code, transferred
        self.pending[overlapped].set()

    def ioctl(self, code: int, data: bytes) -> int:
        self.ioctls.append((code, data))
        return self.ioctl_answers.get(code, 0)

    def overlapped_result(self, overlapped: int) -> tuple[int, int]:
        return self.results[overlapped]

    def cancel_all(self) -> None:
        self.cancelled_all += 1
        for overlapped in list(self.pending):
            self.complete(overlapped, WSA_OPERATION_ABORTED)

    def register(self) -> None:
        self.registered += 1

    async def wait(self, overlapped: int) -> None:
        """Like trio's: a cancelled operation is waited for all the same."""
        event = self.pending[overlapped]
        try:
            await event.wait()
        except trio.Cancelled:
            if not event.is_set():
                self.complete(overlapped, WSA_OPERATION_ABORTED)
            raise
        finally:
            del self.pending[overlapped]
        if self.results[overlapped][0] == WSA_OPERATION_ABORTED:
            raise trio.ClosedResourceError("another task closed this resource")
        if self.results[overlapped][0]:
            raise winsock_error(self.results[overlapped][0])

    def routine(self, callback: Callable[[int, int, int, int], None]) -> tuple[int, object]:
        self.callbacks[len(self.callbacks) + 1] = callback
        return len(self.callbacks), callback


@attrs.define(eq=False)
class FakeSocket:
    """What `responder.net.windows.platform` uses of a socket; refusals are given by (level, option)."""

    family: int = AF_INET6
    log: list[tuple[Any, ...]] = attrs.field(factory=list)
    refused: dict[tuple[int, int], int] = attrs.field(factory=dict)
    refused_level: dict[int, int] = attrs.field(factory=dict)
    bind_error: int = 0
    bind_errors: dict[Any, int] = attrs.field(factory=dict)
    """Codes by the name that is bound."""
    exclusive_error: int = 0
    """The code of an exclusive bind."""
    options: dict[tuple[int, int], int] = attrs.field(factory=lambda: {(0xFFFF, SO_MAX_MSG_SIZE): 65507})
    closed: int = 0
    dead: bool = False
    """Its handle is none of a socket any more."""

    def fileno(self) -> int:
        return -1 if self.closed else 4

    def setblocking(self, flag: bool, /) -> None:
        self.log.append(("blocking", flag))

    def getsockname(self) -> tuple[Any, ...]:
        return "::", 7007, 0, 0

    def getsockopt(self, level: int, option: int, /) -> int:
        self._must_live()
        return self.options.get((level, option), 64)

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        self._must_live()
        code = self.refused.get((level, option)) or self.refused_level.get(level)
        if code:
            raise winsock_error(code)
        self.log.append(("option", level, option, value))
        if isinstance(value, int):
            self.options[level, option] = value

    def bind(self, address: Any, /) -> None:
        self.log.append(("bind", address))
        exclusive = self.options.get((SOL_SOCKET, SO_EXCLUSIVEADDRUSE))
        code = self.bind_errors.get(address) or (self.exclusive_error if exclusive else 0) or self.bind_error
        if code:
            raise winsock_error(code)

    def listen(self, backlog: int, /) -> None:
        self.log.append(("listen", backlog))

    def close(self) -> None:
        self.closed = 1
        self._must_live()

    def detach(self) -> int:
        self.closed = 1
        return 4

    def _must_live(self) -> None:
        if self.dead:
            raise winsock_error(10038)

    def option(self, level: int, option: int) -> list[int | bytes]:
        """The values that it was set to, in order."""
        return [entry[3] for entry in self.log if entry[:3] == ("option", level, option)]


def sender(address: Any, port: int = 4000, scope_id: int = 0, family: int = AF_INET6) -> bytes:
    return pack_sockaddr(address, port, scope_id, family=family)


def unpack_sockaddr(name: bytes) -> tuple[IPAddress, int, int]:
    """(address, port, scope id) of a SOCKADDR_IN or SOCKADDR_IN6; the address may be IPv4-mapped."""
    port = int.from_bytes(name[2:4], "big")
    if name[:2] == AF_INET.to_bytes(2, "little"):
        assert len(name) == SOCKADDR_IN_SIZE
        return IPv4Address(name[4:8]), port, 0
    assert (name[:2], len(name)) == (AF_INET6.to_bytes(2, "little"), SOCKADDR_IN6_SIZE)
    return IPv6Address(name[8:24]), port, int.from_bytes(name[24:], "little")
