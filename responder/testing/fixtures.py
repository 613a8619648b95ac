"""pytest fixtures, found through the entry-point group `pytest11` by every project that has responderd installed.

    async def test_it(fake_network, autojump_clock): ...

Async tests and fake clocks are pytest-trio's: `trio_mode = true` and the fixture `autojump_clock`.
"""

from __future__ import annotations

import pytest

from .. import net
from ..errors import NetworkError
from .multihomed import MultihomedNetwork
from .network import FakeNetwork
from .sockets import to_address


@pytest.fixture
def fake_network() -> FakeNetwork:
    """An empty `responder.testing.FakeNetwork`."""
    return FakeNetwork()


@pytest.fixture
def multihomed_network() -> MultihomedNetwork:
    """A host with two links and a client on each; see `responder.testing.MultihomedNetwork`."""
    return MultihomedNetwork()


@pytest.fixture(params=["127.0.0.1", "::1"])
def loopback_address(request: pytest.FixtureRequest) -> str:
    """An address for `responder.testing.loopback`: the test runs with each that this machine has."""
    address: str = request.param
    try:
        net.platform().open_udp(0, to_address(address)).close()
    except NetworkError as error:
        pytest.skip(f"this machine has no {address}: {error.strerror}")
    return address
