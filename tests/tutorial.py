"""The tutorial's code, section by section."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "docs" / "writing-a-plugin.md"
SECTIONS = TUTORIAL.read_text(encoding="utf-8").split("\n## ")[1:]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def is_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")


def step(number: int) -> str:
    """A module: the code up to a section (counted from 0), and that section's tests."""
    earlier = [
        node
        for section in SECTIONS[:number]
        for block in blocks(section, "python")
        for node in ast.parse(block).body
        if not is_test(node)
    ]
    return "\n".join([*map(ast.unparse, earlier), *blocks(SECTIONS[number], "python")])


def plugin_of(word: str) -> str:
    """The module without tests as the first section has it whose code has that word."""
    number = next(
        number for number, section in enumerate(SECTIONS) if any(word in b for b in blocks(section, "python"))
    )
    return "\n".join(ast.unparse(node) for node in ast.parse(step(number)).body if not is_test(node))
