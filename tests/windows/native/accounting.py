"""Counts what must not grow: handles of this process, memory, and completions that nobody took."""

from __future__ import annotations

import ctypes
import gc
import os
import struct
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import attrs
import trio

from tests.responder.net.windows import overlapped
from tests.responder.net.windows.overlapped import Operations
from tests.responder.net.windows.whole_winsock import WholeWinsock

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

from .whole_native import WholeNative  # noqa: E402 - exists there only

SYSTEM_EXTENDED_HANDLE_INFORMATION = 64
ENTRY = struct.Struct("<QQQIHHII")  # SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX, 64 bit


def handles() -> int:
    """How many handles this process has."""
    kernel32, count = ctypes.WinDLL("kernel32"), ctypes.c_uint32()
    kernel32.GetProcessHandleCount(ctypes.c_void_p(-1), ctypes.byref(count))  # -1: this process
    return count.value or handles_on_wine()


def handles_on_wine() -> int:
    """The same, by all handles of the system: GetProcessHandleCount is always 0 there."""
    query = ctypes.WinDLL("ntdll").NtQuerySystemInformation
    size = 1 << 22
    buffer = ctypes.create_string_buffer(size)
    status = query(SYSTEM_EXTENDED_HANDLE_INFORMATION, buffer, size, None)
    assert status == 0, hex(status & 0xFFFFFFFF)
    (number,) = struct.unpack_from("<Q", buffer)
    owners = (ENTRY.unpack_from(buffer, 16 + index * ENTRY.size)[1] for index in range(number))
    return sum(owner == os.getpid() for owner in owners)


@attrs.define
class Counted:
    """A Winsock that counts operations: `started`, so that a completion packet must come, and `completed`."""

    real: WholeWinsock
    started: int = 0
    waiting: int = 0
    completed: int = 0
    codes: dict[int, int] = attrs.field(factory=dict)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def _count(self, code: int) -> int:
        self.codes[code] = self.codes.get(code, 0) + 1
        self.started += code in (0, 997)
        return code

    def send_message_with(self, message: int, flags: int, sent: int, overlapped: int, routine: int) -> int:
        return self._count(self.real.send_message_with(message, flags, sent, overlapped, routine))

    def receive_message_with(self, message: int, received: int, overlapped: int) -> int:
        return self._count(self.real.receive_message_with(message, received, overlapped))

    async def wait(self, overlapped: int) -> None:
        try:
            await self.real.wait(overlapped)
        finally:
            self.completed += 1


async def storm(
    handle: int,
    operate: Callable[[Any, Operations], Awaitable[object]],
    rounds: int,
    rng: Random,
    *,
    together: int = 100,
) -> Counted:
    """`rounds` times `together` operations at once, each cancelled at a random moment: before, while or after it runs.

    Checks that nothing is left under way.
    """
    counted = Counted(WholeNative(handle))
    operations = Operations(counted, lambda: None)  # type: ignore[arg-type]  # Counted has the rest by __getattr__

    async def one(scope: trio.CancelScope) -> None:
        with scope:
            await operate(counted, operations)

    async def cancel(scope: trio.CancelScope, after: int) -> None:
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    for _ in range(rounds):
        scopes = [trio.CancelScope() for _ in range(together)]
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(one, scope)
            for scope in rng.sample(scopes, len(scopes)):
                nursery.start_soon(cancel, scope, rng.randrange(4))
    assert operations.pending == 0
    assert counted.completed == counted.started
    return counted


class Flat:
    """`with Flat():` around work that was done once before: handles and memory must not have grown."""

    allowed_bytes = 64 * 1024  # what interning and caches may take; 10,000 operations would need megabytes

    def __enter__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self.memory, _ = tracemalloc.get_traced_memory()
        self.handles = handles()

    def __exit__(self, *error: object) -> None:
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - self.memory
        tracemalloc.stop()
        if error[0] is None:
            assert handles() <= self.handles
            assert grown < self.allowed_bytes
            assert not overlapped.in_flight
            assert trio.lowlevel.current_statistics().io_statistics.tasks_waiting_overlapped == 0
