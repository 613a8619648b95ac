"""The time of day at a moment of trio's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

_wall_clock: Callable[[], float] = time.time


def wall_time(moment: float | None = None) -> float:
    """Seconds since 1970, in UTC, at a moment of trio's clock such as `Datagram.arrival`; now by default.

    It is the system's real-time clock, which may be set forth and back; a test sets it by
    `responder.testing.wall_clock`.
    """
    import trio  # noqa: PLC0415 - slow to import, for those who only ask for plugins' options

    return _wall_clock() if moment is None else _wall_clock() - (trio.current_time() - moment)
