"""What Linux says of its real-time clock: adjtimex(2), read and never set."""

from __future__ import annotations

import ctypes
from typing import Final

from ..clock import KernelClock

TIME_INS: Final = 1
TIME_DEL: Final = 2
TIME_ERROR: Final = 5
"""What the call returns (<linux/timex.h>): a leap second is to come, or one is to be left out; not synchronised."""

STA_UNSYNC: Final = 0x0040


class Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


def read() -> KernelClock | None:
    """See `responder.kernel_clock`."""
    timex = Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError):  # a C library without it
        return None
    return clock_of(state, timex)


def clock_of(state: int, timex: Timex) -> KernelClock | None:
    """What the call's result means; -1 is a refusal, as by a filter of system calls."""
    if state in (-1, TIME_ERROR) or timex.status & STA_UNSYNC:
        return None
    return KernelClock(timex.maxerror / 1e6, {TIME_INS: 1, TIME_DEL: -1}.get(state, 0))
