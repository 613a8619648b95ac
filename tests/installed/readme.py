"""What the README and the manual promise, taken from there, so that it is what is tried."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
README = CHECKOUT / "README.md"
QUICK_START = CHECKOUT / "docs" / "quick-start.md"


def install_command() -> str:
    """The README's first command, without what it starts at its end."""
    text = README.read_text(encoding="utf-8")
    (command,) = re.findall(r"^    (python3 -m venv \.venv .*) && \.venv/bin/responderd run$", text, re.MULTILINE)
    return str(command)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(page: Path, title: str) -> str:
    """From a heading of the second level to the next."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each command of the console blocks, and what it is said to print."""
    for block in blocks(text, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = entry.partition("\n")
            yield command, printed


def run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What a shell's command prints, to standard output or error."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout


def copy_checkout(to: Path) -> None:
    """The checkout as one who has just fetched it has it."""
    made = (".git", ".venv", "build", "dist", "generated", "*.so", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(CHECKOUT, to, ignore=shutil.ignore_patterns(*made))
