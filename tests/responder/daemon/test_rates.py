"""Rates from statuses: what a second brought, since the last look."""

from __future__ import annotations

import math

import attrs
import pytest

from responder.daemon.rates import LEAST, MAX_POINTS, WINDOW, Looks, Times
from responder.daemon.status import BuildStatus, CountsByInterface, LatencyStatus, ReloadStatus, Status, TrafficStatus

EMPTY = Status(
    build=BuildStatus("1", "3", "Linux"),
    pid=7,
    uptime=0.0,
    config=None,
    ready=True,
    failed=False,
    lingering=(),
    instances=(),
    ports=(),
    groups=(),
    group_failures=0,
    counters={},
    latencies=(),
    errors=(),
    traffic=(),
    reload=ReloadStatus(0.0, True, 0.0),
)


def at(uptime: float, counters: CountsByInterface, received: int = 0, sent: int = 0) -> Status:
    traffic = (TrafficStatus(53, "udp", received, sent), TrafficStatus(53, "tcp", 0, 0))
    return attrs.evolve(EMPTY, uptime=uptime, counters=counters, traffic=traffic)


def test_the_first_look_is_about_all_the_time() -> None:
    rates = Looks().look(at(10.0, {"dns": {"lan": {"answered": 50, "denied": 100}}}, received=1000, sent=20))
    assert (rates.span, rates.since_start, rates.history) == (10.0, True, ())
    assert rates.by_plugin == {"dns": {"denied": 10.0, "answered": 5.0}}
    assert [*rates.by_outcome] == ["denied", "answered"]
    assert (rates.received, rates.sent) == (100.0, 2.0)


def test_a_later_one_is_about_the_time_since_the_last() -> None:
    looks = Looks()
    looks.look(at(10.0, {"dns": {"lan": {"answered": 50}}}, received=1000, sent=20))
    now: CountsByInterface = {"dns": {"lan": {"answered": 54}, "vpn": {"rate": 8}}, "echo": {"lan": {"answered": 2}}}
    rates = looks.look(at(12.0, now, received=1400, sent=30))
    assert (rates.span, rates.since_start) == (2.0, False)
    assert rates.by_plugin == {"dns": {"rate": 4.0, "answered": 2.0}, "echo": {"answered": 1.0}}
    assert rates.by_interface == {"lan": {"answered": 3.0}, "vpn": {"rate": 4.0}}
    assert rates.by_outcome == {"rate": 4.0, "answered": 3.0}
    assert (rates.received, rates.sent) == (200.0, 5.0)
    assert [(point.at, point.by_plugin, point.total) for point in rates.history] == [
        (12.0, {"dns": 6.0, "echo": 1.0}, 7.0)
    ]


def test_what_an_interface_had_that_is_gone_happened_before() -> None:
    looks = Looks()
    looks.look(at(1.0, {"dns": {"lan": {"answered": 5}, "vpn": {"answered": 900}, "other": {"answered": 10}}}))
    rates = looks.look(at(2.0, {"dns": {"lan": {"answered": 6}, "other": {"answered": 912}}}))
    assert rates.by_interface == {"lan": {"answered": 1.0}, "other": {"answered": 2.0}}


def test_a_second_viewer_sees_what_the_first_one_saw() -> None:
    looks = Looks()
    looks.look(at(1.0, {}))
    first = looks.look(at(2.0, {"dns": {"lan": {"answered": 5}}}))
    assert looks.look(at(2.0 + LEAST / 2, {"dns": {"lan": {"answered": 500}}})) is first
    # What came meanwhile is not lost.
    assert looks.look(at(3.0, {"dns": {"lan": {"answered": 505}}})).by_outcome == {"answered": 500.0}


def test_the_history_is_bounded_in_time_and_number() -> None:
    looks = Looks()
    for second in range(1000):
        rates = looks.look(at(1.0 + second, {"dns": {"lan": {"answered": second}}}))
    assert rates.history[-1].at - rates.history[0].at == WINDOW
    for second in range(1000):
        rates = looks.look(at(2000.0 + second * LEAST, {"dns": {"lan": {"answered": 2000 + second}}}))
    assert len(rates.history) == MAX_POINTS


def latency(count: int, total: float, *within: int) -> LatencyStatus:
    return LatencyStatus("dns", "default", tuple(zip((0.001, 0.1, 1.0), within, strict=True)), count, total)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (latency(300, 1.2, 299, 300, 300), Times("dns", "default", 100.0, 0.001, 0.001)),
        (latency(300, 1.2, 250, 297, 300), Times("dns", "default", 100.0, 0.001, 1.0)),
        (latency(300, 1.2, 200, 200, 200), Times("dns", "default", 100.0, 0.001, math.inf)),
        (latency(100, 1.0, 100, 100, 100), None),
        (latency(10, 0.2, 10, 10, 10), Times("dns", "default", 5.0, 0.02, 0.001)),  # replaced by a reload
    ],
)
def test_how_long_calls_took(now: LatencyStatus, expected: Times | None) -> None:
    looks = Looks()
    looks.look(attrs.evolve(EMPTY, uptime=5.0, latencies=(latency(100, 1.0, 100, 100, 100),)))
    rates = looks.look(attrs.evolve(EMPTY, uptime=7.0, latencies=(now,)))
    assert len(rates.times) == (expected is not None)
    for each in rates.times:
        assert attrs.evolve(each, mean=round(each.mean, 9)) == expected
