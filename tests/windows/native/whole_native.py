"""The foreign functions with all of their parameters, for `tests.responder.net.windows.whole_winsock`."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import trio

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

from ctypes import wintypes  # noqa: E402 - of use there only

from responder.net.windows.winsock_native import NativeWinsock  # noqa: E402 - exists there only

_PTR, _DWORD = ctypes.c_void_p, wintypes.DWORD
_Routine = ctypes.WINFUNCTYPE(None, _DWORD, _DWORD, _PTR, _DWORD)
_WSAGetOverlappedResult = ctypes.WinDLL("ws2_32", use_last_error=True).WSAGetOverlappedResult
_WSAGetOverlappedResult.argtypes = [_PTR, _PTR, _PTR, wintypes.BOOL, _PTR]
_CancelIoEx = ctypes.WinDLL("kernel32").CancelIoEx
_CancelIoEx.argtypes = [_PTR, _PTR]


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

    def overlapped_result(self, overlapped: int) -> tuple[int, int]:
        transferred, flags = _DWORD(), _DWORD()
        done = _WSAGetOverlappedResult(self._handle, overlapped, ctypes.byref(transferred), False, ctypes.byref(flags))
        return (0 if done else ctypes.get_last_error()), transferred.value

    def cancel_all(self) -> None:
        _CancelIoEx(self._handle, None)  # nothing found to cancel is no failure: it has completed

    def register(self) -> None:
        trio.lowlevel.register_with_iocp(self._handle)

    async def wait(self, overlapped: int) -> None:
        await trio.lowlevel.wait_overlapped(self._handle, overlapped)
