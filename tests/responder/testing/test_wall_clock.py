from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from responder import Datagram, Plugin, Service, wall_time
from responder.testing import bench, wall_clock

NEW_YEAR = datetime(2036, 1, 1)  # noqa: DTZ001 - without a zone, on purpose
SECONDS = 2082758400.0


@attrs.frozen
class Times(Plugin):
    """Tells when a request came."""

    services: ClassVar = (Service(port=7007),)

    async def respond(self, request: Datagram) -> bytes:
        await trio.sleep(5)
        return f"{wall_time(request.arrival):.1f} {wall_time():.1f}".encode()


@pytest.mark.parametrize("start", [SECONDS, NEW_YEAR, datetime(2036, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))])
async def test_it_follows_the_fake_clock_from_where_it_is_put(
    start: datetime | float, autojump_clock: MockClock
) -> None:
    async with bench(Times()) as at:
        with wall_clock(start):
            await trio.sleep(100)
            heard = await at.ask(b"", within=10)
        assert heard.payload == f"{SECONDS + 100:.1f} {SECONDS + 105:.1f}".encode()


async def test_without_a_test_it_is_the_systems() -> None:
    before = time.time()
    moment = trio.current_time()
    assert before <= wall_time() <= time.time()
    assert wall_time(moment - 60) == pytest.approx(before - 60, abs=1)
    assert datetime.fromtimestamp(wall_time(), UTC).year >= 2024
