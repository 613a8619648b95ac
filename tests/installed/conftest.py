"""The fixture `venv`: this project in a fresh virtual environment, by the README's own command, once a session.

pip gets what it needs from its index, as a user's would.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .readme import copy_checkout, install_command, run
from .venv import Venv


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which installing may write to."""
    folder = tmp_path_factory.mktemp("copied") / "checkout"
    copy_checkout(folder)
    return folder


@pytest.fixture(scope="session")
def venv(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    venv = Venv(checkout / ".venv", tmp_path_factory.mktemp("installed"))
    said = run(install_command(), checkout, Venv.without_ours(os.environ))
    assert Path(venv.program("responderd")).exists(), said
    return venv
