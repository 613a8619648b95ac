"""A hidden window, by which Windows tells that the user logs off or that the system shuts down.

Since Windows 7 it tells that to no console handler of a program that has loaded user32.dll (SetConsoleCtrlHandler's
page).  Every Python that has imported `ssl` has, since OpenSSL's library needs it, and trio imports `ssl`.  The page's
remedy is a window of our own, not shown, but one of the top level: others are not told.

Windows may end the process as soon as the window has answered WM_ENDSESSION, or after five seconds.  WM_CLOSE, which
taskkill sends, is an order to stop as well.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from ...errors import ThreadUnavailable
from ...log import get_logger
from ...threads import start

_log = get_logger(__name__)

WM_DESTROY, WM_CLOSE, WM_ENDSESSION, _WM_APP = 0x0002, 0x0010, 0x0016, 0x8000
ENDSESSION_CLOSEAPP, ENDSESSION_LOGOFF = 0x1, 0x80000000

CLASS = "responderd session"
_PATIENCE = 1.0  # seconds for the window's thread to end


def end_in_words(message: int, w_param: int, l_param: int) -> str | None:
    """What ends, if the message says that something does: a name for the log."""
    if message == WM_CLOSE:
        return "WM_CLOSE"
    if message != WM_ENDSESSION or not w_param:  # 0: another program had the session go on
        return None
    if l_param & ENDSESSION_LOGOFF:
        return "ENDSESSION_LOGOFF"
    return "ENDSESSION_CLOSEAPP" if l_param & ENDSESSION_CLOSEAPP else "WM_ENDSESSION"


@contextmanager
def window_told(end: Callable[[str], None]) -> Iterator[None]:
    """Have `end` called, in a thread of its own, with what ends; Windows waits for it to return.

    Where no window can be made, as on a Windows without user32.dll, or no thread be had, the log says so.
    """
    opened: Future[int] = Future()
    ending = threading.Event()

    def told(reason: str) -> None:
        ending.set()
        end(reason)

    thread = threading.Thread(target=_serve, args=(told, opened), name="session window", daemon=True)
    try:
        start(thread)
    except ThreadUnavailable as error:
        opened.set_exception(error)
    try:
        opened.result()
    except OSError as error:
        _log.info("the end of a session is not told to this process", reason=str(error))
    try:
        yield
    finally:
        if sys.platform == "win32" and not opened.exception():
            ctypes.WinDLL("user32").PostMessageW(ctypes.c_void_p(opened.result()), _WM_APP, None, None)
        if thread.is_alive() and not ending.is_set():  # else it waits for the end of this process
            thread.join(_PATIENCE)


def _serve(told: Callable[[str], None], opened: Future[int]) -> None:
    """A window's thread: it makes the window, and hands it its messages for as long as there is one."""
    if sys.platform == "win32":
        try:
            user32 = ctypes.WinDLL("user32", use_last_error=True)
            instance = ctypes.WinDLL("kernel32").GetModuleHandleW
            instance.restype = ctypes.c_void_p
            procedure = _procedure(user32, told)
            window_class = _WindowClass(procedure=procedure, instance=instance(None), name=CLASS)
            user32.RegisterClassW(ctypes.byref(window_class))  # where it fails, so does what follows
            user32.CreateWindowExW.restype = ctypes.c_void_p
            place = (0,) * 4
            window = user32.CreateWindowExW(
                0, CLASS, CLASS, 0, *place, None, None, ctypes.c_void_p(window_class.instance), None
            )
            if not window:
                raise ctypes.WinError(ctypes.get_last_error())
        except OSError as error:
            opened.set_exception(error)
            return
        opened.set_result(window)
        message = ctypes.create_string_buffer(64)  # a MSG has 48 bytes
        while user32.GetMessageW(message, None, 0, 0) > 0:
            user32.DispatchMessageW(message)
        user32.UnregisterClassW(CLASS, ctypes.c_void_p(window_class.instance))
    else:
        opened.set_exception(OSError("only Windows has these windows"))


if sys.platform == "win32":
    _Procedure = ctypes.WINFUNCTYPE(
        ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_ssize_t
    )

    class _WindowClass(ctypes.Structure):
        """WNDCLASSW"""

        _fields_ = (
            ("style", ctypes.c_uint32),
            ("procedure", _Procedure),
            ("class_extra", ctypes.c_int),
            ("window_extra", ctypes.c_int),
            ("instance", ctypes.c_void_p),
            ("icon", ctypes.c_void_p),
            ("cursor", ctypes.c_void_p),
            ("background", ctypes.c_void_p),
            ("menu_name", ctypes.c_wchar_p),
            ("name", ctypes.c_wchar_p),
        )

    def _procedure(user32: Any, told: Callable[[str], None]) -> Any:
        user32.DefWindowProcW.argtypes = _Procedure._argtypes_
        user32.DefWindowProcW.restype = ctypes.c_ssize_t

        def answer(window: int, message: int, w_param: int, l_param: int) -> int:
            reason = end_in_words(message, w_param, l_param)
            if reason is not None:
                told(reason)
            elif message == _WM_APP:
                user32.DestroyWindow(ctypes.c_void_p(window))
            elif message == WM_DESTROY:
                user32.PostQuitMessage(0)
            else:
                answered: int = user32.DefWindowProcW(window, message, w_param, l_param)
                return answered
            return 0

        return _Procedure(answer)
