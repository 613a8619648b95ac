"""The time of day in tests: `responder.wall_time` on a clock that stands where the test puts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from unittest import mock

import trio

from ..net import clock as host_clock


@contextmanager
def wall_clock(start: datetime | float) -> Iterator[None]:
    """Let `responder.wall_time` begin at `start` and go on with trio's clock, also a fake one.

    `start` is in seconds since 1970, or a datetime; one without a time zone is in UTC.
    """
    if isinstance(start, datetime):
        start = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
    clock = trio.lowlevel.current_clock()  # which `prepare` can ask in its thread too
    offset = start - clock.current_time()

    def wall_clock() -> float:
        return offset + clock.current_time()

    with mock.patch.object(host_clock, "_wall_clock", wall_clock):
        yield
