"""The fixture `venv`: a fresh virtual environment with this project's wheel, once a session.

pip gets what it needs from its index, as a user's would.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .venv import Venv

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
    venv = Venv(folder / "venv", folder)
    venv.pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT))
    (wheel,) = folder.glob("responderd-*.whl")
    venv.pip("install", str(wheel))
    return venv
