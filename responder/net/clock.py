"""This host's real-time clock: the time of day, and whether it is right, as far as the kernel says so."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable

import attrs

_wall_clock: Callable[[], float] = time.time


def wall_time(moment: float | None = None) -> float:
    """Seconds since 1970, in UTC, at a moment of trio's clock such as `Datagram.arrival`; now by default.

    The clock may be set forth and back; a test sets it by `responder.testing.wall_clock`.
    """
    return _wall_clock() if moment is None else _wall_clock() - (_trios_clock()() - moment)


@functools.cache
def _trios_clock() -> Callable[[], float]:
    import trio  # noqa: PLC0415 - slow to import, for those who only ask for plugins' options

    return trio.current_time


@attrs.frozen
class KernelClock:
    """What a kernel says of a real-time clock that is kept right.

    max_error    seconds that it may be wrong by
    leap_second  1: the last minute of this UTC day has a second more; -1: it has one less; 0: neither
    """

    max_error: float
    leap_second: int = 0


def kernel_clock() -> KernelClock | None:
    """What the kernel says of the real-time clock; None where it is not kept right, or nothing tells.

    Linux tells (adjtimex(2)), while a program such as chronyd keeps the clock right; no other system is asked.
    """
    if sys.platform != "linux":
        return None
    from .linux.clock import read  # noqa: PLC0415 - only the package of the platform that runs is imported

    return read()
