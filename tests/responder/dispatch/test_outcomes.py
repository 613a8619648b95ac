from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.dispatch.outcomes import BOUNDS, Histogram


def test_a_value_on_a_bound_is_within_it() -> None:
    histogram = Histogram()
    histogram.observe(BOUNDS[3])
    assert [count for _, count in histogram.cumulative()] == [0] * 3 + [1] * (len(BOUNDS) - 3)


@given(st.lists(st.floats(0, 100)))
def test_each_bucket_counts_all_that_took_no_longer(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    assert dict(histogram.cumulative()) == {bound: sum(value <= bound for value in values) for bound in BOUNDS}
    assert sum(histogram.counts) == len(values)
    assert histogram.total == pytest.approx(sum(values))
