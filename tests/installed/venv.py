"""A virtual environment and what a user does in it.  It sees nothing of the checkout's environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs

BOUND = 300.0
"""Seconds for one command: generous, since pip may build and a machine be loaded; never waited out when all is well."""


@attrs.frozen
class Venv:
    """`folder` is its own, `work` where commands run."""

    folder: Path
    work: Path

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def environment(self) -> dict[str, str]:
        kept = self.without_ours(os.environ)
        return {**kept, "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    @staticmethod
    def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
        """Without what points to the environment that the tests run in."""
        ours = ("PYTHON", "PYTEST", "RESPONDER", "VIRTUAL_ENV")
        return {name: value for name, value in environment.items() if not name.startswith(ours)}

    def run(self, *argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of its programs to the end."""
        return subprocess.run(
            [self.program(str(argv[0])), *argv[1:]],
            capture_output=True,
            text=True,
            cwd=cwd or self.work,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=BOUND,
        )

    def pip(self, *arguments: str) -> None:
        """Raises AssertionError with what pip said where it fails."""
        done = self.run("python", "-m", "pip", "--disable-pip-version-check", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
