"""What is installed here, editable as the README's second command has it, is no secret to type checkers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from typing import assert_type

from responder import Context, Handler
from responder_plugins.dns import Dns

assert_type(Dns().prepare(Context("dns")), Handler)
"""

CHECKERS = {
    "mypy": ("mypy", "--strict", "--python-executable", sys.executable),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_types_are_seen_from_another_folder(checker: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    argv = [sys.executable, "-m", *CHECKERS[checker], "program.py"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
