"""What Linux says of its real-time clock."""

from __future__ import annotations

import sys

import pytest

from responder import KernelClock, kernel_clock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")

if sys.platform == "linux":
    from responder.net.linux.clock import Timex, clock_of


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        (0, 0x2001, KernelClock(0.5)),
        (1, 0x2001, KernelClock(0.5, 1)),
        (2, 0x2001, KernelClock(0.5, -1)),
        (5, 0x0001, None),
        (0, 0x0041, None),
        (-1, 0, None),
    ],
)
def test_what_the_call_says(state: int, status: int, expected: KernelClock | None) -> None:
    timex = Timex()
    timex.status, timex.maxerror = status, 500_000
    assert clock_of(state, timex) == expected


def test_the_kernel_is_asked() -> None:
    told = kernel_clock()
    assert told is None or told.max_error >= 0
