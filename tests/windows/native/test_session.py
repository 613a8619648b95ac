"""The window that Windows tells of the end of a session."""

from __future__ import annotations

import ctypes
import sys

import pytest
import trio  # noqa: F401 - what loads user32.dll, as in a daemon

from responder.net.windows.session_window import (
    CLASS,
    ENDSESSION_LOGOFF,
    WM_ENDSESSION,
    window_told,
)

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

WM_QUERYENDSESSION = 0x0011

user32 = ctypes.WinDLL("user32")
user32.FindWindowW.argtypes = ctypes.c_wchar_p, ctypes.c_wchar_p
user32.FindWindowW.restype = ctypes.c_void_p
user32.SendMessageW.argtypes = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_ssize_t
user32.SendMessageW.restype = ctypes.c_ssize_t


def test_trio_loads_user32_so_console_handlers_are_not_told() -> None:
    loaded = ctypes.WinDLL("kernel32").GetModuleHandleW
    loaded.restype = ctypes.c_void_p
    assert loaded("user32")


@pytest.mark.parametrize("_time", [1, 2])
def test_it_answers_and_is_gone_with_the_context(_time: int) -> None:
    ended: list[str] = []
    with window_told(ended.append):
        window = user32.FindWindowW(CLASS, None)
        assert window
        assert user32.SendMessageW(window, WM_QUERYENDSESSION, 0, 0) == 1
        assert user32.SendMessageW(window, WM_ENDSESSION, 0, ENDSESSION_LOGOFF) == 0
        assert ended == []
    assert not user32.FindWindowW(CLASS, None)


def test_the_message_is_answered_when_the_end_has_come() -> None:
    ended: list[str] = []
    with window_told(ended.append):
        user32.SendMessageW(user32.FindWindowW(CLASS, None), WM_ENDSESSION, 1, ENDSESSION_LOGOFF)
        assert ended == ["ENDSESSION_LOGOFF"]
