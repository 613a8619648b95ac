"""The fixture `world`: each test of this folder runs in all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from responder.testing import MultihomedNetwork, instances
from tests.lab.daemon import daemon
from tests.lab.multihomed import Multihomed
from tests.windows.wine import WindowsPython

from .worlds import CONFIG, FakeWorld, RealWorld, World

WORLDS = [
    "fake",
    pytest.param("linux", marks=pytest.mark.lab),
    pytest.param("windows", marks=[pytest.mark.lab, pytest.mark.windows]),
]


@pytest.fixture(scope="module", params=WORLDS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Multihomed | None]:
    """A real network with a server on it; None: the fake one is meant."""
    if request.param == "fake":
        yield None
        return
    config: Path = tmp_path_factory.mktemp("everywhere") / "everywhere.toml"
    config.write_text(CONFIG)
    with Multihomed() as network:
        if request.param == "linux":
            with daemon(network.host, config, folder=config.parent):
                yield network
        else:
            with WindowsPython.build().machine(network.host) as machine, machine.daemon(config):
                yield network


@pytest.fixture
async def world(real: Multihomed | None) -> AsyncIterator[World]:
    if real is not None:
        yield RealWorld(real)
        return
    network = MultihomedNetwork()
    async with network.server.serve(*instances(CONFIG)):
        yield FakeWorld(network)
