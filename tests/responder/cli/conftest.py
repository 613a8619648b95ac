"""The plugins, the config file and the daemon of `support`, for one test."""

from __future__ import annotations

from pathlib import Path

import pytest

from responder.cli.daemon_address import CONTROL_VARIABLE
from responder.daemon import control_client

from ..conftest import Install
from .support import PLUGINS, FakeDaemon, Write


@pytest.fixture
def alpha(install: Install) -> None:
    """The distribution alpha with the plugins sign and two."""
    install("alpha", PLUGINS, sign="Sign", two="Two")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_config(text: str) -> Path:
        file = tmp_path / "a.toml"
        file.write_text(text)
        return file

    return write_config


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    fake = FakeDaemon()
    monkeypatch.setattr(control_client, "ask", fake)
    monkeypatch.delenv(CONTROL_VARIABLE, raising=False)
    return fake
