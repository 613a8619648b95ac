"""The public API's docstrings render to pages, with the command that CONTRIBUTING.md gives."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from inspect import isroutine
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_public_api_renders(tmp_path: Path) -> None:
    (command,) = re.findall(
        r"^    \.venv/bin/pdoc -o build/api (.*)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    modules = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "pdoc", "-o", str(tmp_path), *modules],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name in modules:
        page = (tmp_path / (name.replace(".", "/") + ".html")).read_text(encoding="utf-8")
        for public in getattr(import_module(name), "__all__", ()):
            assert f'id="{public}"' in page, f"{name}.{public} is not on its page"


def test_every_public_name_says_what_it_is() -> None:
    for name in ("responder", "responder.testing"):
        module = import_module(name)
        for public in module.__all__:
            value = getattr(module, public)
            if isinstance(value, type) or isroutine(value):
                assert (value.__doc__ or "").strip(), f"{name}.{public} has no docstring"
