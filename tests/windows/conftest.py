"""Fixtures: `windows` is the Windows Python under Wine, built on first use; `machine` a Windows that it runs on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .wine import Machine, WindowsPython


@pytest.fixture(scope="session")
def windows() -> WindowsPython:
    return WindowsPython.build()


@pytest.fixture(scope="session")
def machine(windows: WindowsPython) -> Iterator[Machine]:
    """On the host's own network, of which tests use the loopback only."""
    with windows.machine() as machine:
        yield machine
