"""No thread works beside a clock that jumps."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def jumping(no_threads: None) -> None:
    """All tests of this folder have such a clock."""
