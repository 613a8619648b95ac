"""What the whole test suite shares: Hypothesis' settings, and the skips of `tests.requirements`."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests import requirements

# How long an example takes on a loaded machine says nothing about the code.
settings.register_profile("responder", deadline=None)
settings.load_profile("responder")


def pytest_configure(config: pytest.Config) -> None:
    requirements.required()
    # They are ours and taken by now: a pytest that a test runs has other folders.
    os.environ.pop("PYTEST_ADDOPTS", None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    requirements.check(item)
