"""Overlapped operations on trio's completion port, for the tests of the rows of WSASendMsg's page that are about them.

The rules, and how they are kept:

- Everything that a call points at stays alive and unchanged until its completion.  `wait_overlapped` cancels with
  CancelIoEx and still waits for the completion, so the awaiting frame can't end before; were trio itself to die,
  `in_flight` keeps the memory.
- Each operation in flight has its own OVERLAPPED.  After a late cancellation trio has a packet of its own under way
  that names the address, and nothing keeps the address from being used again: see `_Quarantine`.
- 0 and WSA_IO_PENDING both lead to a completion packet, every other code to none; and a packet that nobody awaits ends
  trio's run.  So between the call and the wait there is no checkpoint.
- A handle is not closed while operations are under way, for cancelling one on a closed handle ends trio's run too:
  `Operations.close` cancels them all, and closes when the last has completed.
- The code and the byte count come from WSAGetOverlappedResult.

`responder` needs none of this: a send that finds no room waits until the socket is writable.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from responder.net.windows.winsock_errors import WSA_IO_PENDING
from responder.net.windows.winsock_types import NATIVE


class CompletionPort(Protocol):
    """What is asked of one socket for its overlapped operations; an OVERLAPPED is given by its address."""

    def register(self) -> None:
        """Tie the handle to the running trio's completion port: once in its life."""

    async def wait(self, overlapped: int) -> None:
        """trio's `wait_overlapped`: returns, or raises, when the completion packet has come."""

    def overlapped_result(self, overlapped: int) -> tuple[int, int]:
        """WSAGetOverlappedResult without waiting: (code, bytes transferred)."""

    def cancel_all(self) -> None:
        """CancelIoEx for every operation of this handle."""


in_flight: dict[int, tuple[ctypes.Structure, object]] = {}
"""By an OVERLAPPED's address: it, and all else that the system may still write to or read from."""


class _Quarantine:
    """Keeps OVERLAPPEDs alive for as long as a packet in one run's completion port may name their addresses.

    Packets come in the order in which they were queued.  trio queues its own, if at all, before the wait returns; so
    once an operation that was *started* later has completed, that packet is through.  What is kept is bounded by the
    most operations that were ever under way together.
    """

    def __init__(self) -> None:
        self.started = 0
        self.kept: deque[tuple[int, ctypes.Structure]] = deque()

    def release(self, number: int, overlapped: ctypes.Structure) -> None:
        """Operation `number` has completed: free what was released before its start, and keep its own."""
        while self.kept and self.kept[0][0] < number:
            self.kept.popleft()
        self.kept.append((self.started, overlapped))


_quarantine_of_run: trio.lowlevel.RunVar[_Quarantine] = trio.lowlevel.RunVar(f"{__name__}.quarantine")


def quarantine() -> _Quarantine:
    """The running trio's."""
    try:
        return _quarantine_of_run.get()
    except LookupError:
        _quarantine_of_run.set(made := _Quarantine())
        return made


class Operations:
    """The overlapped operations of one socket, and the socket's end.

    `close` is called once, when nothing is under way any more.  `pending`: how many are.
    """

    def __init__(self, winsock: CompletionPort, close: Callable[[], None]) -> None:
        self._winsock = winsock
        self._close = close
        self._registered = False
        self.pending = 0
        self._closed = False

    async def perform(self, start: Callable[[int], int], memory: object = None) -> tuple[int, int]:
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
        overlapped = NATIVE.WSAOVERLAPPED()
        address = ctypes.addressof(overlapped)
        code = start(address)
        if code not in (0, WSA_IO_PENDING):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return code, 0
        kept = quarantine()
        kept.started += 1
        number = kept.started
        in_flight[address] = overlapped, memory
        self.pending += 1
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
                del in_flight[address]
                kept.release(number, overlapped)
                self.pending -= 1
                if self._closed and not self.pending:
                    self._close()

    def close(self) -> None:
        """Cancel what is under way, and close the socket once that has ended: at once where nothing is."""
        if self._closed:
            return
        self._closed = True
        if self.pending:
            self._winsock.cancel_all()
        else:
            self._close()
