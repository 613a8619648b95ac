"""What a person reads: a table for each group, and each goal with its ratio.  Pure.

This file refuses to measure, and to print.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparing import Goal, Result, Summary

VERDICTS = {True: "reached", False: "MISSED", None: ""}


def lines(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        yield from group(result)
        yield ""


def group(result: Result) -> Iterator[str]:
    yield result.title
    timed = any(run.median_us for runs in result.runs.values() for run in runs)
    for server, runs in result.runs.items():
        lost = sum(run.lost for run in runs)
        notes = [f"{lost} lost"] if lost else []
        if timed:
            median, p99 = result.summary(server, "median_us"), result.summary(server, "p99_us")
            figures = f"median {measured(median)}   99th percentile {measured(p99)}"
        else:
            cost = result.summary(server, "cpu_us")
            figures = (
                f"{result.summary(server).median:>10,.0f} /s  spread {result.summary(server).spread:>5.1%}"
                f"  CPU {cost.median:>7.2f} us each"
            )
            idle = result.summary(server, "idle").median
            if idle > 0.1:
                notes.append(f"its core {idle:.0%} idle: the load is the limit")
        yield f"  {server:<24}{figures}{'  ' + ', '.join(notes) if notes else ''}"
    for server, reason in result.missing.items():
        yield f"  {server:<24}not measured: {reason}"
    for goal in result.goals:
        if ratio := result.ratio(goal):
            yield f"    {verdict(goal, ratio, result.cost_ratio(goal))}"
    if result.disturbed:
        yield "  MEASURED ON A BUSY MACHINE (--force): these ratios show nothing"


def measured(summary: Summary) -> str:
    return f"{summary.median:>8.1f} us ({summary.low:.1f} to {summary.high:.1f})"


def verdict(goal: Goal, ratio: Summary, cost: float | None) -> str:
    goal_text = f"goal {goal.bound}, {VERDICTS[goal.reached(ratio.median)]}" if goal.bound else ""
    by_cost = f"  by CPU {cost:.2f}" if cost else ""
    return f"{goal.what:<40}{ratio.median:>7.2f}  ({ratio.low:.2f} to {ratio.high:.2f}){by_cost}  {goal_text}".rstrip()
