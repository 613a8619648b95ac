"""`responderd completion`, asked by real shells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .support import call

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(not (BIN / "responderd").exists(), reason="responderd is not installed here")


def run(*argv: str, stdin: str = "") -> str:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return done.stdout


@pytest.mark.clients("bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("responderd pl", "plugins"),
        ("responderd plugins who", "whoami"),
        ("responderd trace --pe", "--peer"),
        ("responderd completion z", "zsh"),
    ],
)
def test_bash_completes(line: str, expected: str) -> None:
    words = " ".join(line.split())
    script = (
        f"{call('completion', 'bash').stdout}\n"
        f"COMP_WORDS=({words}) COMP_CWORD={len(line.split()) - 1}\n"
        "_responderd_completion responderd\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    assert run("bash", stdin=script) == f"{expected}\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_are_click_s(shell: str) -> None:
    assert "_RESPONDERD_COMPLETE" in call("completion", shell).stdout


def test_another_shell_is_a_usage_error() -> None:
    assert call("completion", "csh").exit_code == 2
