"""`responderd new NAME`: what it writes, and what it refuses.  That it works once installed is in tests/installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from responder.cli import main


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(name: str) -> Result:
    return CliRunner().invoke(main, ["new", name])


def test_it_writes_a_project(tmp_path: Path) -> None:
    result = new("my-protocol")
    assert result.exit_code == 0
    assert "pip install -e 'my-protocol[test]'" in result.output
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert written == [
        "my-protocol/README.md",
        "my-protocol/my-protocol.toml",
        "my-protocol/pyproject.toml",
        "my-protocol/responder_my_protocol/__init__.py",
        "my-protocol/responder_my_protocol/py.typed",
        "my-protocol/tests/test_my_protocol.py",
    ]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "$" in path.read_text()]
    assert "class MyProtocol(Plugin):" in (tmp_path / "my-protocol/responder_my_protocol/__init__.py").read_text()


@pytest.mark.parametrize("name", ["hello", "my-protocol2"])
def test_its_tests_pass_and_its_code_is_clean(name: str, tmp_path: Path) -> None:
    assert new(name).exit_code == 0
    project = tmp_path / name
    for command in (
        ["pytest", "-q", "-p", "no:cacheprovider", str(project)],
        ["ruff", "format", "--line-length=120", "--check", str(project)],
        ["ruff", "check", "--line-length=120", "--select=E,F,I,UP,B", str(project)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, cwd=project, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    result = new("hello")
    assert (result.exit_code, result.stderr) == (2, "error: hello exists, and is left as it is\n")
    assert list((tmp_path / "hello").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    assert new("file").exit_code == 2
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["Hello", "my_protocol", "-x", "1st", "a--b", "..", "none", "grüß"])
def test_a_name_that_no_plugin_can_have(name: str, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["new", "--", name]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_another_plugin_has(tmp_path: Path) -> None:
    result = new("echo")
    assert (result.exit_code, result.stderr) == (2, "error: there is a plugin 'echo' already, of responderd\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_further_down_is_made(tmp_path: Path) -> None:
    assert new("some/where/hello").exit_code == 0
    assert (tmp_path / "some/where/hello/hello.toml").exists()


def test_what_the_system_refuses_is_status_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = new("file/hello")
    assert result.exit_code == 1
    assert "error: file/hello: Not a directory" in result.stderr
