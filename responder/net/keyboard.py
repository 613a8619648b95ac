"""Keys pressed on the terminal that standard input is, one by one and without an echo."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

END = "\x04"
"""What is read where there will be no more keys: Ctrl-D, or a terminal that is gone."""

POLL = 0.05
"""Seconds between two looks at a Windows console, which can't be waited for."""


@contextmanager
def keys_pressed() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key: the key, or "" where none was pressed.

    One that is more than a character, as arrow keys are, comes whole.  Where standard input is no terminal the function
    only waits.  Ctrl-C raises KeyboardInterrupt as ever.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        yield _only_wait
    elif sys.platform == "win32":
        yield _from_console
    else:
        import os  # noqa: PLC0415 - with what follows, which is POSIX's
        import select  # noqa: PLC0415
        import termios  # noqa: PLC0415
        import tty  # noqa: PLC0415

        descriptor = sys.stdin.fileno()

        def from_terminal(timeout: float) -> str:
            if not select.select([descriptor], [], [], timeout)[0]:
                return ""
            return os.read(descriptor, 64).decode(errors="replace") or END

        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
        try:
            yield from_terminal
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _only_wait(timeout: float) -> str:
    time.sleep(timeout)
    return ""


if sys.platform == "win32":

    def _from_console(timeout: float) -> str:
        import msvcrt  # noqa: PLC0415 - exists on Windows only

        until = time.monotonic() + timeout
        while not msvcrt.kbhit():
            if time.monotonic() >= until:
                return ""
            time.sleep(POLL)
        key = msvcrt.getwch()
        # The first of two for those that are no character.
        return key + msvcrt.getwch() if key in "\0\xe0" else key
