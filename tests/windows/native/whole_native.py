"""The foreign functions with all of their parameters, for `tests.responder.net.windows.whole_winsock`."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

from ctypes import wintypes  # noqa: E402 - of use there only

from responder.net.windows.winsock_native import NativeWinsock  # noqa: E402 - exists there only

_Routine = ctypes.WINFUNCTYPE(None, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD)


class WholeNative(NativeWinsock):
    """A `WholeWinsock` of the socket with this handle."""

    def send_message_with(self, message: int, flags: int, sent: int, overlapped: int, routine: int) -> int:
        failed = self._send(self._handle, message, flags, sent, overlapped, routine)
        return ctypes.get_last_error() if failed else 0

    def receive_message_with(self, message: int, received: int, overlapped: int) -> int:
        failed = self._receive(self._handle, message, received, overlapped, None)
        return ctypes.get_last_error() if failed else 0

    def routine(self, callback: Callable[[int, int, int, int], None]) -> tuple[int, object]:
        function = _Routine(callback)
        return ctypes.cast(function, ctypes.c_void_p).value or 0, function
