"""On which line each key of a TOML text stands, for messages: the standard library's parser does not tell.

The text is one that the parser has read without a mistake, so this scanner looks for none.  It runs only where there is
something to tell.
"""

from __future__ import annotations

import re
import tomllib

from .key_paths import concatenate, join

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*""")
# A multi-line string may end in one or two quotes of its own, before the three that close it.
_STRING = re.compile(r""""{3}(?:[^\\]|\\.)*?"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'""", re.DOTALL)
_OTHER_VALUE = re.compile(r"[^,\]}\n#]*")
_LAST_STEP = re.compile(r"""(?:\[\d+\]|(?:^|\.)(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+))$""")


class KeyLines:
    """The lines (from 1) of a text's keys, each by its full path as messages have it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._counted = 0
        self._line = 1
        self._lines: dict[str, int] = {}
        # How many tables each array of tables has so far, by its path.
        self._tables: dict[str, int] = {}
        self._read_file()

    def of(self, path: str) -> int | None:
        """The line of the key, or of the nearest table around it: what is missing belongs there."""
        while path:
            if path in self._lines:
                return self._lines[path]
            shorter = _LAST_STEP.sub("", path)
            if shorter == path:
                return None
            path = shorter
        return None

    def _read_file(self) -> None:
        table = ""
        while self._skip_space():
            if self._text.startswith("[[", self._position):
                table = self._read_header(2)
            elif self._text[self._position] == "[":
                table = self._read_header(1)
            else:
                self._read_assignment(table)

    def _read_header(self, brackets: int) -> str:
        """The path of the table that begins here."""
        self._position += brackets
        path = ""
        keys = self._read_keys()
        for number, key in enumerate(keys, 1):
            path = join(path, key)
            if number == len(keys) and brackets == 2:
                self._note(path)
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = f"{path}[{self._tables[path] - 1}]"
            self._note(path)
        self._position += brackets
        return path

    def _read_assignment(self, path: str) -> None:
        for key in self._read_keys():
            path = join(path, key)
            self._note(path)
        self._position += 1  # the equals sign
        self._read_value(path)

    def _read_keys(self) -> list[str]:
        """A key's parts, which dots join."""
        keys = []
        while found := _KEY.match(self._text, self._position):
            text = found[1]
            keys.append(tomllib.loads(f"key = {text}")["key"] if text[0] in "\"'" else text)
            self._position = found.end()
            if not self._text.startswith(".", self._position):
                break
            self._position += 1
        return keys

    def _read_value(self, path: str) -> None:
        self._skip_space()
        match self._text[self._position : self._position + 1]:
            case "[":
                self._position += 1
                index = 0
                while self._skip_space() and not self._ends_with("]"):
                    item = concatenate(path, f"[{index}]")
                    self._note(item)
                    self._read_value(item)
                    index += 1
            case "{":
                self._position += 1
                while self._skip_space() and not self._ends_with("}"):
                    self._read_assignment(path)
            case _:
                found = _STRING.match(self._text, self._position) or _OTHER_VALUE.match(self._text, self._position)
                assert found is not None  # noqa: S101 - the latter matches anything
                self._position = found.end()

    def _ends_with(self, bracket: str) -> bool:
        """Does the array or table end here?  Otherwise its next value begins, behind a comma if not the first."""
        if self._text.startswith(",", self._position):
            self._position += 1
            self._skip_space()
        if not self._text.startswith(bracket, self._position):
            return False
        self._position += 1
        return True

    def _skip_space(self) -> bool:
        """To the next character that means something; is there one?"""
        found = _SPACE.match(self._text, self._position)
        if found is not None:
            self._position = found.end()
        return self._position < len(self._text)

    def _note(self, path: str) -> None:
        """The key begins on the line that has been reached; a table that is continued keeps its first line."""
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        self._lines.setdefault(path, self._line)
