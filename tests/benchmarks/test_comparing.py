"""What is made of runs: pure, so tested; timings are never tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .comparing import Goal, Result, Run, Summary, alternate


def runs(*rates: float) -> list[Run]:
    return [Run(rate=rate, cpu_us=1e6 / rate) for rate in rates]


GOAL = Goal("ours against theirs", "ours", "theirs", field="rate", at_least=0.9)


def result(ours: list[Run], theirs: list[Run]) -> Result:
    return Result("echo", "Echo", {"ours": ours, "theirs": theirs}, [GOAL])


def test_a_summary_has_median_and_extremes_and_their_distance() -> None:
    summary = Summary.of([90.0, 110.0, 100.0])
    assert summary == Summary(100.0, 90.0, 110.0)
    assert summary.spread == pytest.approx(0.2)


def test_the_ratio_is_the_median_of_those_within_each_round() -> None:
    # Ours is twice as fast in each round, though the machine was ten times slower in the second.
    found = result(runs(200, 20, 180), runs(100, 10, 90)).ratio(GOAL)
    assert found == Summary(2.0, 2.0, 2.0)


def test_a_round_in_which_the_peer_answered_nothing_has_no_ratio() -> None:
    assert result(runs(200, 100), [Run(rate=0.0), *runs(100)]).ratio(GOAL) == Summary(1.0, 1.0, 1.0)


def test_a_goal_whose_peer_was_not_measured_has_no_ratio() -> None:
    alone = Result("echo", "Echo", {"ours": runs(100)}, [GOAL], {"theirs": "not installed"})
    assert alone.ratio(GOAL) is None
    assert alone.to_json()["goals"] == []
    assert alone.to_json()["missing"] == {"theirs": "not installed"}


def test_by_cpu_the_peer_that_needs_more_time_makes_ours_better() -> None:
    by_cpu = Goal("ours against theirs", "ours", "theirs")
    assert result(runs(200), runs(100)).ratio(by_cpu) == Summary(2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("goal", "ratio", "reached", "bound"),
    [
        (Goal("", "a", "b", at_least=0.9), 0.9, True, ">= 0.9"),
        (Goal("", "a", "b", at_least=0.9), 0.89, False, ">= 0.9"),
        (Goal("", "a", "b", at_most=1.5), 1.5, True, "<= 1.5"),
        (Goal("", "a", "b", at_most=1.5), 1.51, False, "<= 1.5"),
        (Goal("", "a", "b"), 0.1, None, ""),
    ],
)
def test_a_goal_is_reached_at_its_bound(goal: Goal, ratio: float, reached: bool | None, bound: str) -> None:
    assert goal.reached(ratio) is reached
    assert goal.bound == bound


def test_one_disturbed_run_marks_the_result() -> None:
    assert not result(runs(1), runs(1)).disturbed
    marked = result([*runs(1), Run(rate=1.0, disturbed="a compiler")], runs(1, 1))
    assert marked.disturbed
    assert marked.to_json()["disturbed"] is True


def test_each_round_asks_all_and_begins_with_another() -> None:
    asked: list[str] = []

    def measure(name: str) -> Callable[[], Run]:
        def run() -> Run:
            asked.append(name)
            return Run(rate=float(len(asked)))

        return run

    found = alternate({name: measure(name) for name in "abc"}, rounds=2)
    assert asked == ["a", "b", "c", "b", "c", "a"]
    assert [run.rate for run in found["a"]] == [1.0, 6.0]
