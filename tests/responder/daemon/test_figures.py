"""Times, rates and sizes as people read them."""

from __future__ import annotations

import pytest

from responder.daemon.figures import bars, duration, rate, rates, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000_05, "50 us"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (1, "1 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (86400 * 3 + 3600 * 5 + 59, "3 d 5 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("a_second", "text"), [(0, "0"), (0.04, "0.0"), (0.5, "0.5"), (9.96, "10.0"), (12.4, "12"), (1234567, "1,234,567")]
)
def test_rate(a_second: float, text: str) -> None:
    assert rate(a_second) == text


def test_rates_without_one() -> None:
    assert rates({"rate": 4.0, "answered": 3.0, "denied": 0.5}, but="answered") == "rate 4.0, denied 0.5"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (3e9, "3 GB")]
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


def test_bars() -> None:
    assert bars([]) == ""
    assert bars([0, 0]) == "▁▁"
    assert bars([0, 1, 4, 8]) == "▁▂▅█"
