"""The ends that Windows announces to console programs: the window is closed, the user logs off, the system shuts down.

Windows ends the process as soon as its handler for one of these returns, or after some seconds (5 for a closed window).
The handler that CPython brings returns at once.  So ours orders the stop and does not return: the process ends before,
by itself, with its goodbyes said and an exit status of its own.  Ctrl-C and Ctrl-Break stay with Python's signals.

While handlers are called nobody can take one back: Windows holds a lock that SetConsoleCtrlHandler waits for.

HandlerRoutine's page has the rules.  Windows calls the handler in a thread of its own.  Of the end of a session
`responder.net.windows.session_window` hears where the handler does not.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDS = {2: "CTRL_CLOSE_EVENT", 5: "CTRL_LOGOFF_EVENT", 6: "CTRL_SHUTDOWN_EVENT"}

LIMIT = 5.0
"""Seconds that Windows waits for the handler of a closed window; a daemon that is not ended by then is ended."""


_called: list[object] = []
"""What Windows may still be calling when nobody else needs it any more."""


class EndHandler:
    """A HandlerRoutine.  `stop` gets the event's name, in Windows' thread.  `ended` lets the handler return."""

    def __init__(self, stop: Callable[[str], None], limit: float = LIMIT) -> None:
        self._stop = stop
        self._limit = limit
        self._first = threading.Lock()
        self.ended = threading.Event()

    def __call__(self, event: int) -> bool:
        """True: nobody else is asked, Windows' own handler neither."""
        if event not in ENDS:
            return False
        self.end(ENDS[event])
        return True

    def end(self, reason: str) -> None:
        """Order the stop, and don't return before the end.

        One end may be told several times, and a second order to stop would cut the goodbyes short.
        """
        if self._first.acquire(blocking=False):
            self._stop(reason)
        self.ended.wait(self._limit)

    def no_longer_needed(self) -> bool:
        """Let ends to come pass at once.  False where one is handled already, until this process has ended."""
        if not self._first.acquire(blocking=False):
            return False
        self.ended.set()
        return True


def ignore_ends(event: int) -> bool:
    """The HandlerRoutine of a service: its manager tells it of a shutdown, and of logging off it hears for anybody."""
    return event in ENDS


@contextmanager
def handling(handler: Callable[[int], bool], may_go: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Have Windows call the handler before those that are there.  `may_go` says at the end whether it is taken back."""
    if sys.platform == "win32":
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        routine = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint32)(handler)
        _called.append(routine)
        if not kernel32.SetConsoleCtrlHandler(routine, True):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            yield
        finally:
            if may_go():
                kernel32.SetConsoleCtrlHandler(routine, False)
    else:
        yield
