"""The command `responderd` itself: its help, its version, and what its command line may be."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from .support import call

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("arguments", [["serve"], ["check"], ["run", "a", "b"], ["interfaces", "--jsn"]])
def test_usage_errors_have_status_2(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


def test_version_and_help() -> None:
    assert version("responderd") in call("--version").stdout
    assert {"run", "check", "plugins", "interfaces"} <= set(call("--help").stdout.split())


def test_python_m_responder_is_the_command_and_help_imports_little() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        "import runpy, sys\n"
        "sys.argv = ['responderd', '--help']\n"
        "try: runpy.run_module('responder', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "heavy = {'cattrs', 'rich', 'structlog', 'dns', 'trio', 'ifaddr', 'responder.daemon.daemon'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith("Usage: responderd ")
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "plugins", "plugins --json", "plugins echo --example"])
def test_a_full_output_is_one_line_of_error(arguments: str) -> None:
    with open("/dev/full", "w") as full:
        argv = [sys.executable, "-m", "responder", *arguments.split()]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: the output can't be written: No space left on device\n")


@pytest.mark.parametrize("arguments", ["plugins", "--help"])
def test_a_closed_output_is_nobodys_error(arguments: str) -> None:
    closed = f"{sys.executable} -m responder {arguments}"
    for redirected in (f"{closed} >&-", f"{closed} | true"):
        done = subprocess.run(redirected, shell=True, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S602 - ours
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("limit", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("command", ["run", "check"])
def test_few_files_are_told_without_a_traceback(command: str, limit: int, tmp_path: Path) -> None:
    """Python and trio need two more than three to start: fewer are their matter.  With more than nine it may serve."""
    config = tmp_path / "config.toml"
    config.write_text("[plugins.echo]\nport = 0\n")
    code = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        "from responder.cli import main\n"
        "main()\n"
    )
    argv = [sys.executable, "-c", code, command, str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
