"""The example programs run as they are, and say what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

EXPECTED = {
    "embedding.py": r"listening on port \d+\n1 players, at 127\.0\.0\.1\nstopped; 0 players left\n",
    "in_asyncio.py": r"listening on port \d+\nthe client hears: number 1\n"
    r"the program hears of: 127\.0\.0\.1\nstopped\n",
}


def test_every_program_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("program", EXPECTED)
def test_program(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[program], done.stdout)
