"""Fixtures of the lab: the multihomed network, and the daemon with the echo config on it, once a module; one host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins_for_tests import install

from .daemon import Child, daemon
from .multihomed import ECHO_CONFIG, Multihomed
from .namespaces import Lab, Namespace


@pytest.fixture(scope="module")
def network() -> Iterator[Multihomed]:
    with Multihomed() as network:
        yield network


@pytest.fixture(scope="module")
def echo_daemon(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder: Path = tmp_path_factory.mktemp("echo")
    config = folder / "echo.toml"
    config.write_text(ECHO_CONFIG)
    with daemon(network.host, config, folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("host")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where the misbehaving plugins are installed."""
    return install(tmp_path)
