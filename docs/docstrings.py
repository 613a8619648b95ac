"""The docstrings of this project are plain text with Markdown's code and lists; autodoc wants reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import reference  # in .build, which conf.py puts on the path

_NAME = r"\*{0,2}[A-Za-z_][\w.]*\w"
ROW = re.compile(rf"({_NAME}(?:, {_NAME})*)  +(\S.*)")
ITEM = re.compile(r"(?:- |[0-9]+\. )")


def as_rst(lines: Sequence[str]) -> list[str]:
    """Paragraphs, lists, tables of "name  what it is", and indented code."""
    made: list[str] = []
    for block in re.split(r"\n[ \t]*\n", "\n".join(lines).strip("\n")):
        own = block.split("\n")
        if own[0].startswith("    "):
            made += ["::", "", *(f"    {line}" for line in own)]
        elif ROW.fullmatch(own[0]):
            made += _table(own)
        elif ITEM.match(own[0]):
            made += _items(own)
        else:
            made.append(reference.inline(" ".join(own)))
        made.append("")
    return made


def _table(lines: Sequence[str]) -> Iterator[str]:
    for name, *rest in _joined(lines, ROW):
        row = ROW.fullmatch(name)
        assert row is not None  # noqa: S101 - `_joined` splits there
        yield f"``{row[1]}``"
        yield f"    {reference.inline(' '.join([row[2], *rest]))}"


def _items(lines: Sequence[str]) -> Iterator[str]:
    for item in _joined(lines, ITEM):
        mark, text = item[0].split(" ", 1)
        yield f"{mark} {reference.inline(' '.join([text, *item[1:]]))}"


def _joined(lines: Sequence[str], start: re.Pattern[str]) -> Iterator[list[str]]:
    """Each line that begins something, with those that go on with it, without their indentation."""
    found: list[list[str]] = []
    for line in lines:
        if start.match(line) or not found:
            found.append([line])
        else:
            found[-1].append(line.strip())
    yield from found
