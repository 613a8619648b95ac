"""A master file's entries as words: RFC 1035 section 5.1, on bytes.

An entry is a line, or several within parentheses or quotes.  Comments end here, and so do parentheses.  Bytes above 127
are as good as others (RFC 2181 section 11).
"""

from __future__ import annotations

import re
from typing import Final

import attrs

_TOKEN = re.compile(
    rb'(?P<blank>[ \t]+|;[^\n]*)|(?P<end>\n)|(?P<paren>[()])|(?P<word>"(?:[^"\\]|\\.)*"|(?:[^ \t\n;()"\\]|\\.)+)',
    re.DOTALL,
)


class Unreadable(Exception):
    """This entry can't be read."""


class Malformed(ValueError):
    """A word or a record's data is not what it should be; the message says it in this project's own words."""


SHOWN: Final = 60
"""Characters of a file that a message repeats."""


def shown(text: str) -> str:
    """A piece of a file as a message repeats it."""
    return repr(shortened(text.strip()))


def shortened(text: str) -> str:
    """The same without quotes."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@attrs.define(eq=False)
class Entry:
    """words     a quoted one with its opening quote in front, and without its closing one
    adjoining  the numbers of the words that follow the one before without a blank
    indented   the line begins with a blank: its owner is the one before
    size       bytes of the entry in the file
    """

    words: list[bytes]
    adjoining: set[int]
    indented: bool
    size: int

    def source(self, first: int, end: int | None = None) -> bytes:
        """The words from the `first` to before `end`, as they may stand in a file."""
        parts = []
        for number, word in enumerate(self.words[first:end], first):
            closed = word + b'"' if word[:1] == b'"' else word
            parts.append(closed if number in self.adjoining else b" " + closed)
        return b"".join(parts).removeprefix(b" ")

    def text(self, first: int, *, empty_values: bool = False) -> str:
        """The words from the `first` on, for dnspython: on one line, and in ASCII but for names in UTF-8.

        empty_values: a word that ends in `=` is a key of SVCB's with an empty value, and not base64's padding.
        """
        parts = []
        for number, word in enumerate(self.words[first:], first):
            if word[:1] == b'"':
                text = '"' + _ascii(word[1:]) + '"'
            else:
                try:
                    text = word.decode()
                except UnicodeDecodeError:
                    text = _ascii(word)
            if empty_values and text.endswith("=") and number + 1 not in self.adjoining:
                text += '""'
            parts.append(text if number in self.adjoining else f" {text}")
        return "".join(parts)


def _ascii(word: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03}" for byte in word)


def entry_at(data: bytes, start: int) -> Entry:
    """The entry that begins at `start`.  Raises Unreadable."""
    words: list[bytes] = []
    adjoining: set[int] = set()
    depth = 0
    at = word_end = start
    while at < len(data):
        found = _TOKEN.match(data, at)
        if found is None:
            raise Unreadable("a quote is not closed" if data[at] == 0x22 else "an escape is not finished")
        at = found.end()
        kind = found.lastgroup
        if kind == "word":
            if found.start() == word_end and words:
                adjoining.add(len(words))
            word_end = at
            word = found[0]
            words.append(word[:-1] if word[:1] == b'"' else word)
        elif kind == "end":
            if not depth:
                break
        elif kind == "paren":
            depth += 1 if found[0] == b"(" else -1
            if depth < 0:
                raise Unreadable("a parenthesis is closed that was not opened")
    else:
        if depth:
            raise Unreadable("a parenthesis is not closed")
    return Entry(words, adjoining, data[start : start + 1] in (b" ", b"\t"), at - start)
