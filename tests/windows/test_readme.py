"""The tables of README.md name tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
FOLDERS = (
    HERE,
    HERE / "native",
    TESTS / "responder" / "net",
    TESTS / "responder" / "net" / "windows",
    TESTS / "responder" / "server",
    TESTS / "responder" / "cli",
    TESTS / "plugins" / "ssdp",
)


def defined(file: str) -> set[str]:
    """The tests of all files of that name in the folders that the tables speak of."""
    texts = [path.read_text() for folder in FOLDERS if (path := folder / Path(file).name).exists()]
    return {name for text in texts for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)}


def test_each_named_test_is_there() -> None:
    named = 0
    for line in (HERE / "README.md").read_text().splitlines():
        file = ""
        if not line.startswith("|"):
            continue
        for own, test in re.findall(r"`(?:[\w./]*?(test_\w+\.py))?(?:::)?(test_\w+\*?)?`", line):
            file = own or file
            if file:
                assert defined(file), f"{file} is nowhere"
            if test:
                files = [file] if file else ["test_rows.py"]
                pattern = re.compile(test.replace("*", r"\w*"))
                assert any(pattern.fullmatch(name) for each in files for name in defined(each)), f"{file}::{test}"
                named += 1
    assert named > 20
