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
import socket
from ctypes import wintypes
from typing import Any
from uuid import UUID

import trio

from . import winsock_types as ws
from .winsock_errors import WSA_IO_PENDING, call_error

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
_CreateEvent = _kernel32.CreateEventW
_CreateEvent.argtypes = [_PTR, wintypes.BOOL, wintypes.BOOL, _PTR]
_CreateEvent.restype = _PTR
_CloseHandle = _kernel32.CloseHandle
_CloseHandle.argtypes = [_PTR]

_SendMessage = ctypes.WINFUNCTYPE(ctypes.c_int, _PTR, _PTR, _DWORD, _PTR, _PTR, _PTR, use_last_error=True)
_ReceiveMessage = ctypes.WINFUNCTYPE(ctypes.c_int, _PTR, _PTR, _PTR, _PTR, _PTR, use_last_error=True)

_ignored = ctypes.pointer(_DWORD())
"""Takes byte counts that nobody reads: Wine writes WSAIoctl's when an overlapped call completes, too."""


def ioctl(handle: int, code: int, data: bytes, output: Any = None, overlapped: int = 0) -> int:
    """WSAIoctl: 0 or the error code."""
    size = 0 if output is None else ctypes.sizeof(output)
    place = None if output is None else ctypes.byref(output)
    failed = _WSAIoctl(handle, code, data or None, len(data), place, size, _ignored, overlapped, None)
    return ctypes.get_last_error() if failed else 0


class NativeWinsock:
    """The functions of the socket with this handle; it does not own it.  Raises NetworkError (not a socket, ...)."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._send: Any = _SendMessage(self._extension(ws.WSAID_WSASENDMSG))
        self._receive: Any = _ReceiveMessage(self._extension(ws.WSAID_WSARECVMSG))

    def _extension(self, identifier: UUID) -> int:
        pointer = _PTR()
        code = ioctl(self._handle, ws.SIO_GET_EXTENSION_FUNCTION_POINTER, identifier.bytes_le, pointer)
        if code:
            raise call_error(code, "WSAIoctl(SIO_GET_EXTENSION_FUNCTION_POINTER)")
        return pointer.value or 0

    def send_message(self, message: int, sent: int) -> int:
        return ctypes.get_last_error() if self._send(self._handle, message, 0, sent, None, None) else 0

    def receive_message(self, message: int, received: int) -> int:
        return ctypes.get_last_error() if self._receive(self._handle, message, received, None, None) else 0

    def ioctl(self, code: int, data: bytes) -> int:
        return ioctl(self._handle, code, data)


class AddressListChange:
    """See `responder.net.windows.interfaces.ListChange`."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        # To be reset by hand, which each start of the operation does; one that resets itself could be missed below.
        self._event = _CreateEvent(None, True, False, None)
        self._overlapped = ws.NATIVE.WSAOVERLAPPED(hEvent=self._event)

    def arm(self) -> int:
        overlapped = ctypes.addressof(self._overlapped)
        code = ioctl(self._socket.fileno(), ws.SIO_ADDRESS_LIST_CHANGE, b"", overlapped=overlapped)
        return 0 if code == WSA_IO_PENDING else code

    async def changed(self) -> None:
        await trio.lowlevel.checkpoint()  # the wait is none where the event is set already
        await trio.lowlevel.WaitForSingleObject(self._event)

    def close(self) -> None:
        handle, overlapped = self._socket.fileno(), ctypes.addressof(self._overlapped)
        if _CancelIoEx(handle, overlapped):  # the system writes into our memory until its end, which is near
            _WSAGetOverlappedResult(handle, overlapped, _ignored, True, _ignored)
        self._socket.close()
        _CloseHandle(self._event)


def try_once(handle: int) -> None:
    """Have a stream socket's connect send one SYN: Windows otherwise asks again for two seconds where it is refused.

    A system that does not know this takes its two seconds.
    """
    ioctl(handle, ws.SIO_TCP_INITIAL_RTO, ws.TCP_INITIAL_RTO_ONCE)
