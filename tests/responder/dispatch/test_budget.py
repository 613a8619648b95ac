from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.dispatch.budget import MAX_CREDIT, Budget, source_prefix


def prefix(address: str) -> int:
    return source_prefix(ip_address(address))


def test_prefixes_are_what_one_customer_has() -> None:
    assert prefix("192.0.2.1") == prefix("192.0.2.254") != prefix("192.0.3.1")
    assert prefix("2001:db8:0:ff::1") == prefix("2001:db8:0:1::1") != prefix("2001:db8:0:100::1")
    assert prefix("0.0.2.1") != prefix("::2")


class TestRate:
    def test_a_burst_of_as_many_then_the_rate(self) -> None:
        budget = Budget(rate=10, amplification=None)
        one = prefix("192.0.2.1")
        assert [budget.may_answer(one, 1, 0.0) for _ in range(12)] == [None] * 10 + ["rate"] * 2
        assert [budget.may_answer(one, 1, 0.35) for _ in range(4)] == [None] * 3 + ["rate"]
        assert [budget.may_answer(one, 1, 100.0) for _ in range(11)] == [None] * 10 + ["rate"]

    def test_less_than_one_a_second(self) -> None:
        budget = Budget(rate=0.5, amplification=None)
        assert [budget.may_answer(1, 1, now) for now in (0.0, 1.0, 2.0, 3.0, 4.0)] == [None, "rate", None, "rate", None]

    def test_other_prefixes_have_their_own(self) -> None:
        budget = Budget(rate=1, amplification=None)
        assert budget.may_answer(prefix("192.0.2.1"), 1, 0.0) is None
        assert budget.may_answer(prefix("192.0.2.2"), 1, 0.0) == "rate"
        assert budget.may_answer(prefix("192.0.3.1"), 1, 0.0) is None

    @given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.floats(0.1, 50))
    def test_never_more_than_rate_times_time_and_a_burst(self, times: list[float], rate: float) -> None:
        budget = Budget(rate=rate, amplification=None)
        allowed = sum(budget.may_answer(1, 1, now) is None for now in sorted(times))
        assert allowed <= max(1.0, rate) + rate * (max(times) - min(times)) + 1e-6


class TestAmplification:
    def test_bytes_out_against_bytes_in(self) -> None:
        budget = Budget(rate=None, amplification=3.0)
        budget.asked(1, 20, 0.0)
        assert budget.may_answer(1, 61, 0.0) == "amplification"
        assert budget.may_answer(1, 60, 0.0) is None
        assert budget.may_answer(1, 1, 0.0) == "amplification"

    def test_what_is_saved_up_is_bounded(self) -> None:
        budget = Budget(rate=None, amplification=1000.0)
        for _ in range(100):
            budget.asked(1, 60_000, 0.0)
        assert budget.may_answer(1, MAX_CREDIT + 1, 0.0) == "amplification"
        assert budget.may_answer(1, MAX_CREDIT, 0.0) is None

    @given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 4000)), max_size=100), st.floats(1, 10))
    def test_never_more_than_the_factor(self, exchanges: list[tuple[int, int]], factor: float) -> None:
        budget = Budget(rate=None, amplification=factor)
        received = sent = 0
        for request, answer in exchanges:
            budget.asked(1, request, 0.0)
            received += request
            if budget.may_answer(1, answer, 0.0) is None:
                sent += answer
            assert sent <= received * factor + 1e-6


def test_a_refused_answer_costs_nothing() -> None:
    budget = Budget(rate=1, amplification=1.0)
    budget.asked(1, 10, 0.0)
    assert budget.may_answer(1, 11, 0.0) == "amplification"
    assert budget.may_answer(1, 10, 0.0) is None


@pytest.mark.parametrize("victims_asked_between", [1, 5])
def test_a_flood_of_prefixes_neither_grows_the_table_nor_renews_the_victims_bucket(victims_asked_between: int) -> None:
    budget = Budget(rate=2, amplification=None, limit=100)
    answered = 0
    for number in range(10_000):
        budget.may_answer(number + 10, 1, 0.0)
        if number % victims_asked_between == 0:
            answered += budget.may_answer(1, 1, 0.0) is None
    assert len(budget) == 100
    assert answered == 2


def test_a_victim_asked_in_bursts_between_floods_gets_no_more_than_its_rate() -> None:
    budget = Budget(rate=10, amplification=None, limit=100)
    answered, now, others = 0, 0.0, 10
    while now < 10:
        answered += sum(budget.may_answer(1, 1, now) is None for _ in range(20))
        for _ in range(150):  # more than the table holds
            now += 1 / 3000
            others += 1
            budget.may_answer(others, 1, now)
    assert answered <= 10 * 10 + 10
