"""Windows' event log, for what an operator should see there: a handler of `logging`."""

from __future__ import annotations

import ctypes
import logging
import sys

SOURCES = r"SYSTEM\CurrentControlSet\Services\EventLog\Application"
"""The registry's key of the programs that write to the log named Application."""

_ERROR, _WARNING, _INFORMATION = 1, 2, 4
_EVENT = 1  # of EventCreate.exe's, which shows the text and nothing else
_MAX_TEXT = 31_000  # characters; ReportEvent takes 31,839


class EventLogHandler(logging.Handler):
    """Writes records of warnings and above as events of a source.  Raises OSError where there is no event log."""

    def __init__(self, source: str) -> None:
        super().__init__(logging.WARNING)
        self._log = 0
        if sys.platform == "win32":
            self._advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
            self._advapi32.RegisterEventSourceW.restype = ctypes.c_void_p
            self._log = self._advapi32.RegisterEventSourceW(None, ctypes.c_wchar_p(source))
            if not self._log:
                raise ctypes.WinError(ctypes.get_last_error())

    def emit(self, record: logging.LogRecord) -> None:
        kind = _ERROR if record.levelno >= logging.ERROR else _WARNING
        self.write(self.format(record), kind)

    def write(self, text: str, kind: int = _INFORMATION) -> None:
        """One event.  What the log refuses is lost: there is the log file too."""
        if sys.platform == "win32":
            strings = (ctypes.c_wchar_p * 1)(text.replace("\0", " ")[:_MAX_TEXT])
            self._advapi32.ReportEventW(
                ctypes.c_void_p(self._log), kind, 0, _EVENT, None, 1, 0, ctypes.byref(strings), None
            )
