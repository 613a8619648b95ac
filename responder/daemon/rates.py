"""Rates: datagrams a second, and how long answers took, from statuses that somebody looks at from time to time.

Nothing happens between two looks, so that not being looked at costs nothing.  What is remembered is bounded: the
counters of the last look, and each plugin's rates in the last two minutes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

from ..dispatch.outcomes import ANSWERED, OTHER
from .status import CountsByInterface, LatencyStatus, Status

WINDOW = 120.0
"""Seconds that are remembered."""

MAX_POINTS = 150

LEAST = 0.5
"""Seconds between two looks: who looks sooner, as a second viewer does, sees what the last one saw."""

ByOutcome: TypeAlias = dict[str, float]
"""Datagrams a second by outcome, the highest first, without zeros."""

MOST = 0.99
"""The part of a service's calls that `Times.most` speaks of."""


@attrs.frozen
class Point:
    """Rates of a moment, which is in seconds since the daemon's start; by plugin, all outcomes together."""

    at: float
    by_plugin: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.by_plugin.values())


@attrs.frozen
class Times:
    """How long a service's `respond` took: so many calls a second, and seconds.

    most  of 99 in a hundred calls no longer than this, as far as the histogram tells; infinite where it is longer than
          all bounds
    """

    plugin: str
    service: str
    calls: float
    mean: float
    most: float


@attrs.frozen
class Rates:
    """What happened a second in the `span` seconds before a look.

    since_start   it is the first look, so `span` began when the daemon did
    received      bytes a second that came in
    sent          bytes a second that went out
    times         the slowest first; none where nobody times them, as a daemon without `metrics` does not
    history       the looks of the last two minutes, the oldest first; not the first one
    """

    span: float
    since_start: bool
    by_plugin: dict[str, ByOutcome]
    by_interface: dict[str, ByOutcome]
    by_outcome: ByOutcome
    received: float
    sent: float
    times: tuple[Times, ...]
    history: tuple[Point, ...]


@attrs.define
class Looks:
    """What was seen of one daemon: give each status to `look`."""

    _history: deque[Point] = attrs.field(factory=lambda: deque(maxlen=MAX_POINTS), init=False)
    _before: Status | None = attrs.field(default=None, init=False)
    _last: Rates | None = attrs.field(default=None, init=False)

    def look(self, status: Status) -> Rates:
        """The rates since the status before."""
        before = self._before
        since = 0.0 if before is None else before.uptime
        if self._last is not None and status.uptime - since < LEAST:
            return self._last
        span = max(status.uptime - since, 1e-3)
        by_plugin, by_interface, by_outcome = _grown({} if before is None else before.counters, status.counters, span)
        if before is not None:
            self._history.append(Point(status.uptime, {name: sum(each.values()) for name, each in by_plugin.items()}))
        while self._history and status.uptime - self._history[0].at > WINDOW:
            self._history.popleft()
        received, sent = _traffic(status)
        received_before, sent_before = (0, 0) if before is None else _traffic(before)
        self._before = status
        self._last = Rates(
            span=span,
            since_start=before is None,
            by_plugin=by_plugin,
            by_interface=by_interface,
            by_outcome=by_outcome,
            received=(received - received_before) / span,
            sent=(sent - sent_before) / span,
            times=tuple(sorted(_times(before, status, span), key=lambda each: -each.mean)),
            history=tuple(self._history),
        )
        return self._last


def _traffic(status: Status) -> tuple[int, int]:
    return sum(each.received for each in status.traffic), sum(each.sent for each in status.traffic)


def _times(before: Status | None, now: Status, span: float) -> Iterator[Times]:
    known = {} if before is None else {(each.plugin, each.service): each for each in before.latencies}
    for each in now.latencies:
        last = known.get((each.plugin, each.service))
        if last is None or last.count > each.count:  # a binding that a reload has replaced counts anew
            last = LatencyStatus(each.plugin, each.service, tuple((bound, 0) for bound, _ in each.buckets), 0, 0.0)
        calls = each.count - last.count
        if calls:
            within = zip(each.buckets, last.buckets, strict=True)
            most = next((bound for (bound, count), (_, old) in within if count - old >= MOST * calls), math.inf)
            yield Times(each.plugin, each.service, calls / span, (each.total - last.total) / calls, most)


def _grown(
    before: CountsByInterface, now: CountsByInterface, span: float
) -> tuple[dict[str, ByOutcome], dict[str, ByOutcome], ByOutcome]:
    """By plugin, by interface, and by outcome alone."""
    plugins: dict[str, ByOutcome] = {}
    interfaces: dict[str, ByOutcome] = {}
    outcomes: ByOutcome = {}
    for plugin, interfaces_now in now.items():
        for interface, outcome, count in _differences(before.get(plugin, {}), interfaces_now):
            for sums in (plugins.setdefault(plugin, {}), interfaces.setdefault(interface, {}), outcomes):
                sums[outcome] = sums.get(outcome, 0.0) + count / span
    return (
        {name: _highest_first(each) for name, each in plugins.items()},
        {name: _highest_first(each) for name, each in interfaces.items()},
        _highest_first(outcomes),
    )


def _differences(
    before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[str, str, int]]:
    """(interface, outcome, count) for each that has grown.

    What was counted for an interface that is gone is by now counted for `OTHER` (`Counters.forget`).
    """
    gone: dict[str, int] = {}
    for interface, outcomes in before.items():
        if interface not in now:
            for outcome, count in outcomes.items():
                gone[outcome] = gone.get(outcome, 0) + count
    for interface, outcomes in now.items():
        known = before.get(interface, {})
        for outcome, count in outcomes.items():
            count -= known.get(outcome, 0) + (gone.get(outcome, 0) if interface == OTHER else 0)  # noqa: PLW2901
            if count > 0:
                yield interface, outcome, count


def _highest_first(rates: ByOutcome) -> ByOutcome:
    return dict(sorted(rates.items(), key=lambda each: -each[1]))


def answered(rates: Mapping[str, float]) -> float:
    return rates.get(ANSWERED, 0.0)
