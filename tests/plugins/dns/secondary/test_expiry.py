"""A zone is served until the second in which it is too old (EXPIRE), whatever its checks do then."""

from __future__ import annotations

import logging
import os
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from responder_plugins.dns import Secondary
from responder_plugins.dns.transfer.primary import Unanswered
from trio.testing import MockClock

from tests.plugins.dns.secondary.support import FIRST, OTHER, Primaries, records_of, running, said, secondary, zone_of


async def test_refresh_retry_and_expire(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries, {"other.test": Secondary(primaries=("192.0.2.53",))})
    async with running(handler, tmp_path):
        await trio.sleep(2_000)
        checks = [0.0, *primaries.times("SOA")]
        assert all(0.9 * 360 <= after - before <= 360 for before, after in pairwise(checks))
        assert len(checks) > 5
        last = checks[-1]
        del primaries.zones[FIRST, OTHER]
        primaries.asked.clear()
        primaries.answers_after = 10
        await trio.sleep_until(last + 8639.9)
        tries = primaries.times("SOA")
        assert 0.9 * 360 <= tries[0] - last <= 360
        assert all(0.9 * 60 <= after - before - 10 <= 60 for before, after in pairwise(tries))
        assert said(handler) == "7"
        await trio.sleep_until(last + 8640.1)
        assert said(handler) == "SERVFAIL"
        (expired,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "EXPIRE" in expired.getMessage()
        primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 8)
        await trio.sleep(71)
        assert said(handler) == "8"
        assert handler.counts()["expired"] == 1


async def test_a_copy_that_is_too_old_at_the_start(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    async with running(secondary(tmp_path, primaries), tmp_path):
        await trio.sleep(1)
    (copy,) = (tmp_path / "secondary").glob("*.copy")
    os.utime(copy, (1, 1))
    handler = secondary(tmp_path, Primaries())
    assert said(handler) == "SERVFAIL"
    assert "a zone is too old, and no longer served (EXPIRE) plugin=dns zone=other.test." in caplog.text


@pytest.mark.parametrize(("serial", "slow"), [(7, "answers_after"), (8, "answers_after"), (7, "takes"), (8, "takes")])
async def test_a_zone_that_expires_while_it_is_checked_is_taken_anew(
    autojump_clock: MockClock, tmp_path: Path, serial: int, slow: str
) -> None:
    """Whether there is another version or not; of a catalog IXFR alone is asked for, which is the second case."""
    given = {"other.test": Secondary(primaries=("192.0.2.53",), catalog=slow == "takes")}
    more = 'version TXT "2"\n'
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7, more, times="100 10 200")
    for each in (7, 8):
        primaries.known[each] = records_of(zone_of(tmp_path, each, more, times="100 10 200"))
    handler = secondary(tmp_path, primaries, given)
    async with running(handler, tmp_path):
        await trio.sleep(1)
        primaries.zones[FIRST, OTHER] = Unanswered("no answer")
        await trio.sleep(188)  # checks are at most 10 seconds apart: the next one begins before 200, and ends after it
        primaries.zones[FIRST, OTHER] = zone_of(tmp_path, serial, more, times="100 10 200")
        setattr(primaries, slow, 20.0)
        await trio.sleep(14)
        assert handler.zone(OTHER) is None
        await trio.sleep(50)
        zone = handler.zone(OTHER)
        assert zone is not None
        assert zone.serial == serial
        assert handler.counts()["expired"] == 1
        setattr(primaries, slow, 0.0)
        await trio.sleep(1000)
        assert handler.counts()["expired"] == 1


async def test_a_check_comes_before_a_zone_expires_whatever_its_refresh(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7, times="3600 60 100")
    handler = secondary(tmp_path, primaries, {"other.test": Secondary(primaries=("192.0.2.53",))})
    async with running(handler, tmp_path):
        await trio.sleep(10_000)
        assert handler.counts().get("expired", 0) == 0


async def test_many_zones_expire_on_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Though so many can't be checked at once, and their primary takes long to say nothing."""
    names = [f"z{number}.test" for number in range(300)]
    primaries = Primaries()
    for number, name in enumerate(names):
        origin = b"".join(bytes((len(label),)) + label.encode() for label in (*name.split("."), ""))
        primaries.zones[FIRST, origin] = zone_of(tmp_path, number + 1, name=name, times="100 10 1000")
    handler = secondary(tmp_path, primaries, dict.fromkeys(names, Secondary(primaries=("192.0.2.53",))))
    async with running(handler, tmp_path):
        await trio.sleep(1)
        primaries.zones.clear()
        primaries.answers_after = 30
        await trio.sleep(880)
        assert handler.counts().get("expired", 0) == 0
        await trio.sleep(120)
        assert handler.counts()["expired"] == 300
