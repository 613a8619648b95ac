"""The public API from a user's point of view: mypy strict and pyright, beside what the README installs.

The checkers are this environment's; what they look at is the other's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .readme import CHECKOUT
from .venv import BOUND, Venv

pytestmark = pytest.mark.index

PROJECTS = sorted(file.parent for file in (CHECKOUT / "examples").glob("*/pyproject.toml"))

PYRIGHT = """
[tool.pyright]
typeCheckingMode = "strict"
enableTypeIgnoreComments = false
reportUnnecessaryTypeIgnoreComment = "error"
executionEnvironments = [{ root = "typed-user" }, { root = "." }]
"""


@pytest.fixture(scope="module")
def user(venv: Venv) -> Path:
    """A user's folder: tests/typed, the examples and a new project, away from the checkout's sources."""
    folder = venv.work / "user"
    folder.mkdir()
    for file in (CHECKOUT / "tests" / "typed" / "user.py", *(CHECKOUT / "examples").glob("*.py")):
        shutil.copy(file, folder)
    for project in PROJECTS:
        (package,) = project.glob("responder_*/")
        shutil.copytree(package, folder / package.name)
        for file in project.glob("tests/test_*.py"):
            shutil.copy(file, folder)
    assert venv.run("responderd", "new", "typed-user", cwd=folder).returncode == 0
    venv.pip("install", "pytest", "pytest-trio", "hypothesis")  # which the tests there import
    (folder / "pyproject.toml").write_text(PYRIGHT)
    return folder


def check(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *argv], capture_output=True, text=True, cwd=cwd, check=False, timeout=BOUND
    )


def test_mypy_strict(venv: Venv, user: Path) -> None:
    mypy = ("mypy", "--strict", "--warn-unused-ignores", "--no-incremental", "--python-executable")
    files = sorted(path.name for path in (*user.glob("*.py"), *user.glob("responder_*")))
    done = check(*mypy, venv.program("python"), *files, cwd=user)
    assert done.returncode == 0, done.stdout + done.stderr
    done = check(*mypy, venv.program("python"), "responder_typed_user", "tests", cwd=user / "typed-user")
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright(venv: Venv, user: Path) -> None:
    done = check("pyright", "--outputjson", "--pythonpath", venv.program("python"), cwd=user)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}" for each in found] == []
    assert done.returncode == 0, done.stderr
