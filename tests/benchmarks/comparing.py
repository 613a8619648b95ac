"""Runs, and what is made of them: medians, spreads, ratios, and whether a goal is reached.  Pure.

A *run* is one measurement of one server.  A *group* is a set of servers that are asked alternately, round by round, so
that whatever the machine does to one it does to all.  A *goal* compares two servers of a group: the ratio is taken
within each round, and the median of those is what counts; the spread tells how far they lie apart.

What was measured on a busy machine is called so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen
class Run:
    """One measurement of one server.

    rate       answers a second
    cpu_us     CPU microseconds of the server's processes for an answer, kernel included
    user_us    of those, outside the kernel
    idle       share of the time that the server's core had nothing to do: far from 0, the load was the limit
    lost       requests without an answer
    memory_mib  memory of the server's processes, what they share counted once
    median_us, p99_us   latency, where it was measured (an open loop, below capacity)
    others, stolen   shares of a core that other processes used and that the hypervisor took meanwhile
    disturbed  what else was at work, where that was too much for a rate or a latency to mean anything
    """

    rate: float
    cpu_us: float = 0.0
    user_us: float = 0.0
    idle: float = 0.0
    lost: int = 0
    memory_mib: float = 0.0
    median_us: float = 0.0
    p99_us: float = 0.0
    others: float = 0.0
    stolen: float = 0.0
    disturbed: str = ""

    @property
    def kernel_us(self) -> float:
        """CPU microseconds in the kernel for an answer."""
        return self.cpu_us - self.user_us

    @property
    def per_cpu(self) -> float:
        """Answers for each second of CPU time: what a busy machine leaves as it is, other than a rate."""
        return 1e6 / self.cpu_us if self.cpu_us else 0.0


@attrs.frozen
class Goal:
    """`ours` against `peer` by a field of `Run`: at least, or at most, so many times as much.  No bound: to know."""

    what: str
    ours: str
    peer: str
    field: str = "per_cpu"
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, ratio: float) -> bool | None:
        """None: there is no bound."""
        if self.at_least is not None:
            return ratio >= self.at_least
        if self.at_most is not None:
            return ratio <= self.at_most
        return None

    @property
    def bound(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"


CPU_FIELDS = frozenset({"per_cpu", "cpu_us", "user_us", "memory_mib"})


@attrs.frozen
class Summary:
    """A field over the runs of a server, or a ratio over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"

    @property
    def spread(self) -> float:
        """How far the values lie apart, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@attrs.frozen
class Result:
    """A group's runs, in the order of the rounds for each server, and the goals that they are held against."""

    name: str
    title: str
    runs: Mapping[str, Sequence[Run]]
    goals: Sequence[Goal]
    missing: Mapping[str, str] = attrs.field(factory=dict)
    """Servers that were not measured, with the reason."""

    @property
    def disturbed(self) -> bool:
        return any(run.disturbed for runs in self.runs.values() for run in runs)

    def summary(self, server: str, field: str = "rate") -> Summary:
        return Summary.of([getattr(run, field) for run in self.runs[server]])

    def ratio(self, goal: Goal) -> Summary | None:
        """None where one of the two was not measured."""
        if goal.ours not in self.runs or goal.peer not in self.runs:
            return None
        pairs = zip(self.runs[goal.ours], self.runs[goal.peer], strict=True)
        values = [getattr(ours, goal.field) / theirs for ours, peer in pairs if (theirs := getattr(peer, goal.field))]
        return Summary.of(values) if values else None

    def is_compared(self, goal: Goal, *, force: bool = False) -> bool:
        """A rate or a latency that was measured on a busy machine says nothing; CPU time does."""
        return force or not self.disturbed or goal.field in CPU_FIELDS

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "disturbed": self.disturbed,
            "missing": dict(self.missing),
            "servers": {
                server: {field: attrs.asdict(self.summary(server, field)) for field in ("rate", "cpu_us", "user_us")}
                | {"runs": [attrs.asdict(run) for run in runs]}
                for server, runs in self.runs.items()
            },
            "goals": [
                attrs.asdict(goal)
                | {
                    "ratio": attrs.asdict(ratio),
                    "reached": goal.reached(ratio.median),
                    "bound": goal.bound,
                }
                for goal in self.goals
                if (ratio := self.ratio(goal))
            ],
        }


def alternate(measures: Mapping[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Every server once a round; each round begins with the next, so that none always follows the same one."""
    names = list(measures)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            runs[name].append(measures[name]())
    return runs
