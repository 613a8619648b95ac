"""The end of the session that a program runs in, where the system announces it other than by a signal: on Windows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def session_end(stop: Callable[[str], None]) -> Iterator[None]:
    """Have `stop` called with what ends the session.  It runs in another thread; the process has some seconds left."""
    if sys.platform == "win32":
        from .windows.console import EndHandler, handling  # noqa: PLC0415 - exists on Windows only
        from .windows.session_window import window_told  # noqa: PLC0415 - the same

        handler = EndHandler(stop)
        with handling(handler, handler.no_longer_needed), window_told(handler.end):
            yield
    else:
        yield
