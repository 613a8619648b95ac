"""The short form of `tests.disorder`: does a daemon with workers survive what happens to it, and end when it should?"""

from __future__ import annotations

import os

import pytest

from tests.disorder import GRACE, disorder

pytestmark = pytest.mark.lab

SECONDS = 20.0


def test_it_serves_what_it_should_and_ends() -> None:
    ends = [*disorder(SECONDS, seed=os.getpid())]
    assert ends
    assert max(ends) <= GRACE + 2
