"""Lines of keys, against what a reader of the file sees."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.config.key_lines import KeyLines
from responder.config.key_paths import concatenate, join

TEXT = r"""
# [a.comment]
title = "x # no comment, = no key"  # comment
dotted . "key.s" = 1

[plugins.echo]
port = 7007
allow = [
    "192.0.2.0/24",  # ] not the end
    "2001:db8::/32",

    [1, 2], { deep = [3] },
]
born = 1979-05-27 07:32:00
text = ~~~
[no.table]
no = "key" \~~~ ""~~~
raw = '''
[nor = this'''
after = true

[plugins."a b"]
zones = { "example.test" = "a.zone", 'other' = {file = "]"}, bare = -1 }

[[device]]
uuid = 1
[[device.service]]
name = 1
[[device]]
[[device.service]]
[[device.service]]
name = 2

[plugins]
more.port = 1
""".replace("~~~", '"""')[1:]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("title", 2),
        ('dotted."key.s"', 3),
        ("plugins", 5),
        ("plugins.echo", 5),
        ("plugins.echo.port", 6),
        ("plugins.echo.allow", 7),
        ("plugins.echo.allow[0]", 8),
        ("plugins.echo.allow[1]", 9),
        ("plugins.echo.allow[2][1]", 11),
        ("plugins.echo.allow[3].deep[0]", 11),
        ("plugins.echo.born", 13),
        ("plugins.echo.text", 14),
        ("plugins.echo.raw", 17),
        ("plugins.echo.after", 19),
        ('plugins."a b".zones."example.test"', 22),
        ('plugins."a b".zones.other.file', 22),
        ('plugins."a b".zones.bare', 22),
        ("device", 24),
        ("device[0].uuid", 25),
        ("device[0].service[0].name", 27),
        ("device[1]", 28),
        ("device[1].service[0]", 29),
        ("device[1].service[1].name", 31),
        ("plugins.more.port", 34),
        # What is not there belongs to the table around it.
        ("plugins.echo.missing", 5),
        ("plugins.echo.allow[7]", 7),
        ('plugins."a b".zones."no.such".at.all', 22),
        ("nothing", None),
        ("", None),
        ("...", None),
    ],
)
def test_the_line_of_a_key(path: str, line: int | None) -> None:
    tomllib.loads(TEXT)
    assert KeyLines(TEXT).of(path) == line


def test_windows_line_ends() -> None:
    assert KeyLines(TEXT.replace("\n", "\r\n")).of("plugins.more.port") == 34


STRINGS = st.text(st.sampled_from("ab\"'[]{}#=,.\\\n"), max_size=6)
VALUES = st.recursive(
    st.one_of(STRINGS, st.integers(-9, 9), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(STRINGS, inner, max_size=3)),
    max_leaves=8,
)


class Writer:
    """Writes TOML, a value a line where there may be lines, and notes where it put each key."""

    def __init__(self) -> None:
        self.text = ""
        self.lines: dict[str, int] = {}

    def note(self, path: str) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def assignment(self, path: str, key: str, value: Any) -> None:
        path = join(path, key)
        self.note(path)
        self.text += f"{self.string(key)} = "
        self.value(path, value)

    def value(self, path: str, value: Any) -> None:
        match value:
            case str():
                self.text += self.string(value)
            case bool():
                self.text += str(value).lower()
            case int():
                self.text += str(value)
            case list():
                self.text += "[ # ]\n"
                for index, each in enumerate(value):
                    item = concatenate(path, f"[{index}]")
                    self.note(item)
                    self.value(item, each)
                    self.text += ",\n"
                self.text += "]"
            case dict():
                self.text += "{"
                for index, (key, each) in enumerate(value.items()):
                    self.text += ", " if index else ""
                    self.assignment(path, key, each)
                self.text += "}"

    def string(self, value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@given(st.dictionaries(STRINGS, st.dictionaries(STRINGS, VALUES, max_size=3), max_size=3))
def test_every_key_of_any_file_is_found(tables: dict[str, dict[str, Any]]) -> None:
    writer = Writer()
    for name, table in tables.items():
        writer.note(join("", name))
        writer.text += f"[{writer.string(name)}]  # = [\n"
        for key, value in table.items():
            writer.assignment(join("", name), key, value)
            writer.text += "  # comment\n"
    assert tomllib.loads(writer.text) == tables
    lines = KeyLines(writer.text)
    assert {path: lines.of(path) for path in writer.lines} == writer.lines
