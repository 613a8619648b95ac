"""pytest fixtures, found through the entry-point group `pytest11` by every project that has responderd installed.

    async def test_it(fake_network, autojump_clock): ...

Async tests and fake clocks are pytest-trio's: `trio_mode = true` and the fixture `autojump_clock`.
"""

from __future__ import annotations

import pytest

from .multihomed import MultihomedNetwork
from .network import FakeNetwork


@pytest.fixture
def fake_network() -> FakeNetwork:
    """An empty `responder.testing.FakeNetwork`."""
    return FakeNetwork()


@pytest.fixture
def multihomed_network() -> MultihomedNetwork:
    """A host with two links and a client on each; see `responder.testing.MultihomedNetwork`."""
    return MultihomedNetwork()
