"""The fixture `windows`: the Windows Python under Wine, built on first use."""

from __future__ import annotations

import pytest

from .wine import WindowsPython


@pytest.fixture(scope="session")
def windows() -> WindowsPython:
    return WindowsPython.build()
