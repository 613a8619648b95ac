"""The foreign functions of Winsock, for one socket each: the real `responder.net.windows.winsock.Winsock`.

This module can be imported on Windows only.

WSASendMsg and WSARecvMsg are not taken for exports: each pointer is asked of the socket's own provider through
WSAIoctl, as their pages say.  The error code is read by ctypes within the call (`use_last_error`), before anything
else can change it.

It interprets nothing: integers go in, integers come out.
"""

from __future__ import annotations

import sys

# In this form type checkers on other platforms skip the rest.
assert sys.platform == "win32"  # noqa: S101 - see above

# ruff: noqa: E402 - the imports stand below the assertion, so that only Windows needs them
import ctypes
from ctypes import wintypes
from typing import Any
from uuid import UUID

import trio

from . import winsock_types as ws
from .winsock_errors import call_error

_PTR = ctypes.c_void_p
_DWORD = wintypes.DWORD

_ws2_32 = ctypes.WinDLL("ws2_32", use_last_error=True)
_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

_WSAIoctl = _ws2_32.WSAIoctl
_WSAIoctl.argtypes = [_PTR, _DWORD, _PTR, _DWORD, _PTR, _DWORD, _PTR, _PTR, _PTR]
_WSAGetOverlappedResult = _ws2_32.WSAGetOverlappedResult
_WSAGetOverlappedResult.argtypes = [_PTR, _PTR, _PTR, wintypes.BOOL, _PTR]
_CancelIoEx = _kernel32.CancelIoEx
_CancelIoEx.argtypes = [_PTR, _PTR]

_SendMessage = ctypes.WINFUNCTYPE(ctypes.c_int, _PTR, _PTR, _DWORD, _PTR, _PTR, _PTR, use_last_error=True)
_ReceiveMessage = ctypes.WINFUNCTYPE(ctypes.c_int, _PTR, _PTR, _PTR, _PTR, _PTR, use_last_error=True)


class NativeWinsock:
    """The functions of the socket with this handle; it does not own it.  Raises WinsockError (not a socket, ...)."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        # WSAIoctl's byte count: Wine wants it for overlapped calls too, so it lives as long as any of them.
        self._returned = ctypes.pointer(_DWORD())
        self._send: Any = _SendMessage(self._extension(ws.WSAID_WSASENDMSG))
        self._receive: Any = _ReceiveMessage(self._extension(ws.WSAID_WSARECVMSG))

    def _extension(self, identifier: UUID) -> int:
        guid = identifier.bytes_le
        pointer = _PTR()
        returned = _DWORD()
        if _WSAIoctl(
            self._handle,
            ws.SIO_GET_EXTENSION_FUNCTION_POINTER,
            guid,
            len(guid),
            ctypes.byref(pointer),
            ctypes.sizeof(pointer),
            ctypes.byref(returned),
            None,
            None,
        ):
            raise call_error(ctypes.get_last_error(), "WSAIoctl(SIO_GET_EXTENSION_FUNCTION_POINTER)")
        return pointer.value or 0

    def send_message(self, message: int, sent: int) -> int:
        return ctypes.get_last_error() if self._send(self._handle, message, 0, sent, None, None) else 0

    def receive_message(self, message: int, received: int) -> int:
        return ctypes.get_last_error() if self._receive(self._handle, message, received, None, None) else 0

    def ioctl(self, code: int, data: bytes, overlapped: int) -> int:
        if _WSAIoctl(self._handle, code, data or None, len(data), None, 0, self._returned, overlapped, None):
            return ctypes.get_last_error()
        return 0

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


def try_once(handle: int) -> None:
    """Have a stream socket's connect send one SYN: Windows otherwise asks again for two seconds where it is refused.

    A system that does not know this takes its two seconds.
    """
    parameters = ws.TCP_INITIAL_RTO_ONCE
    _WSAIoctl(handle, ws.SIO_TCP_INITIAL_RTO, parameters, len(parameters), None, 0, ctypes.byref(_DWORD()), None, None)
