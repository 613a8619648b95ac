"""Times in words."""

from __future__ import annotations

import pytest

from responder.cli.output import duration


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
