"""What a person reads: a table for each group, and each goal with its ratio.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparing import Goal, Result, Summary

VERDICTS = {True: "reached", False: "MISSED", None: ""}


def lines(results: Sequence[Result], *, force: bool = False) -> Iterator[str]:
    for result in results:
        yield from group(result, force=force)
        yield ""


def group(result: Result, *, force: bool = False) -> Iterator[str]:
    yield result.title
    timed = any(run.median_us for runs in result.runs.values() for run in runs)
    hidden = result.disturbed and not force
    for server, runs in result.runs.items():
        lost = sum(run.lost for run in runs)
        notes = [f"{lost} lost"] if lost else []
        if timed:
            median, p99 = result.summary(server, "median_us"), result.summary(server, "p99_us")
            figures = "busy" if hidden else f"median {measured(median)}   99th percentile {measured(p99)}"
        else:
            cost, user, kernel = (result.summary(server, field) for field in ("cpu_us", "user_us", "kernel_us"))
            rate = "          busy" if hidden else f"{result.summary(server).median:>12,.0f} /s"
            shares = f"user {user.median:.2f}, kernel {kernel.median:.2f}"
            figures = f"{rate}   CPU {cost.median:>6.2f} us ({cost.low:.2f} to {cost.high:.2f}), {shares}"
            idle = result.summary(server, "idle").median
            if idle > 0.1:
                notes.append(f"its core {idle:.0%} idle: the load is the limit")
        yield f"  {server:<24}{figures}{'  ' + ', '.join(notes) if notes else ''}"
    for server, reason in result.missing.items():
        yield f"  {server:<24}not measured: {reason}"
    for goal in result.goals:
        ratio = result.ratio(goal)
        if ratio and result.is_compared(goal, force=force):
            yield f"    {verdict(goal, ratio)}"
        elif ratio:
            yield f"    {goal.what:<56}not compared: the machine was busy"
    if result.disturbed:
        reason = next(run.disturbed for runs in result.runs.values() for run in runs if run.disturbed)
        yield f"  On a busy machine only CPU time is compared: {reason}"


def measured(summary: Summary) -> str:
    return f"{summary.median:>8.1f} us ({summary.low:.1f} to {summary.high:.1f})"


def verdict(goal: Goal, ratio: Summary) -> str:
    goal_text = f"goal {goal.bound}, {VERDICTS[goal.reached(ratio.median)]}" if goal.bound else ""
    return f"{goal.what:<55} {ratio}  {goal_text}".rstrip()
