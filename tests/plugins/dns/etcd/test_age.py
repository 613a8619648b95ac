"""How long etcd was away is told now and then, and ends what is served."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from responder_plugins.dns import Etcd
from responder_plugins.dns.etcd.client import EtcdError
from responder_plugins.dns.etcd.follower import Follower
from responder_plugins.dns.zone.tables import Zone
from trio.testing import MockClock

from responder import Context
from tests.plugins.dns.etcd.test_skydns import wire

HOUR = 3600.0


class Kept:
    """Where a follower's zones go."""

    def __init__(self) -> None:
        self.zones: dict[bytes, Zone | None] = {}

    def replace(self, origin: bytes, zone: Zone | None) -> None:
        self.zones[origin] = zone

    def changed(self, origin: bytes) -> None:
        raise AssertionError("nothing changes here")


def told(text: str) -> list[int]:
    """The ages, to within the ten seconds between two looks."""
    ages = re.findall(r"etcd is away for (\d+) s: what it said last is served", text)
    return [int(age) // 10 * 10 for age in ages]


async def test_the_age_is_told(autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    origin = wire("cluster.test")
    follower = Follower(Etcd(zones=("cluster.test",), stale=30 * HOUR), [origin], Context("dns", tmp_path))
    state, kept = follower._state, Kept()
    zone = kept.zones[origin] = state.zones[origin] = state.services.zone_of(origin, 7)
    follower._note_contact()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower._watch_age, kept)
        await trio.sleep(40 * HOUR)
        assert told(caplog.text) == []  # it is not away
        follower._note_contact()
        follower._note_failure("http://127.0.0.1:2379", EtcdError("no answer"))
        await trio.sleep(700)
        assert told(caplog.text) == [60, 600]
        follower._note_contact()
        await trio.sleep(HOUR)
        assert told(caplog.text) == [60, 600]
        caplog.clear()
        follower._note_failure("http://127.0.0.1:2379", EtcdError("no answer"))
        began = trio.current_time() - HOUR
        await trio.sleep(29 * HOUR - 30)
        assert [round(age / HOUR) for age in told(caplog.text)] == [1, 6, 24]
        assert kept.zones == {origin: zone}
        await trio.sleep(60)
        assert kept.zones == follower.served() == {origin: None}
        assert "etcd is away for too long" in caplog.text
        assert trio.current_time() - began == pytest.approx(30 * HOUR, abs=60)
        nursery.cancel_scope.cancel()


async def test_an_endpoints_failure_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(Etcd(zones=("cluster.test",)), [wire("cluster.test")], Context("dns", tmp_path))
    for reason in ("refused", "refused", "no leader", "no leader"):
        follower._note_failure("http://127.0.0.1:2379", EtcdError(reason))
    assert caplog.text.count("an endpoint of etcd fails") == 2
    follower._note_contact()
    follower._note_failure("http://127.0.0.1:2379", EtcdError("no leader"))
    assert caplog.text.count("an endpoint of etcd fails") == 3
    assert follower.counts["etcd-failures"] == 5
