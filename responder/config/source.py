"""The files of a configuration: the texts, the tables that they hold, and on which line each key stands.

    include = ["conf.d/*.toml"]       more files, each with [plugins.NAME] tables, in the order of their names
    text = "${NAME} and $${NAME}"     an environment variable's value, and a dollar sign that is one
    -                                 as a file's name: standard input

`responder.config.reading` knows what the tables mean.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from glob import has_magic, iglob
from pathlib import Path
from typing import Any, TextIO

import attrs

from ..errors import ConfigError, ConfigErrors
from ..files import decoded, read_stream
from ..plugin import Context
from .key_lines import KeyLines
from .key_paths import concatenate, join
from .option_types import LARGEST, mismatch

STANDARD_INPUT = Path("-")
INCLUDE = "include"

MAX_PARTS = 128
"""Parts of a dotted key: a parser's time grows with their square."""

MAX_DEPTH = 64
"""Arrays and tables within each other: more than any option has, and than a recursive reader can go down."""

_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]*+\.[ \t]*+){{{MAX_PARTS}}}")

_VARIABLE = re.compile(r"\$?\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen(eq=False)
class Source:
    """One file of a configuration.

    file    for messages; None where the text comes from none
    folder  what relative names in it start from
    table   what it holds, with environment variables in place
    errors  what was wrong with those
    """

    text: str
    file: Path | None
    folder: Path
    table: dict[str, Any]
    errors: tuple[ConfigError, ...] = ()

    @classmethod
    def parse(cls, text: str, *, file: Path | None, folder: Path | None = None) -> Source:
        """Raises ConfigErrors where it is not TOML."""
        errors: list[ConfigError] = []
        table = parse_toml(text, file)
        if _depth(table) > MAX_DEPTH:
            raise ConfigErrors([ConfigError(_TOO_DEEP, file=file)])
        table = _expanded(table, "", errors)
        return cls(text, file, folder or (file or Path()).absolute().parent, table, tuple(errors))

    @classmethod
    def read(cls, file: Path) -> Source:
        """Raises ConfigErrors where the file can't be read, or is not TOML."""
        try:
            text = _standard_input(sys.stdin) if file == STANDARD_INPUT else Context("").read_text(file)
        except ConfigError as error:
            raise ConfigErrors([ConfigError(error.message, file=file, line=error.line)]) from error
        return cls.parse(text, file=file)

    def included(self) -> tuple[list[Source], list[ConfigError]]:
        """The files that this one includes, and what is wrong with those that are left out."""
        sources: dict[Path, Source] = {}
        errors: list[ConfigError] = []
        patterns = self.table.get(INCLUDE, [])
        if not isinstance(patterns, list):
            return [], [ConfigError(str(mismatch("an array of file names", patterns)), path=INCLUDE)]
        for index, pattern in enumerate(patterns):
            if not isinstance(pattern, str):
                errors.append(ConfigError(str(mismatch("a file name", pattern)), path=f"{INCLUDE}[{index}]"))
                continue
            for file in _matching(self.folder, pattern):
                try:
                    sources.setdefault(file, Source.read(file))
                except ConfigErrors as several:
                    errors += several.errors
        return list(sources.values()), errors

    @cached_property
    def lines(self) -> KeyLines:
        return KeyLines(self.text)

    def located(self, error: ConfigError) -> ConfigError:
        """The error with its place in this file, unless it has one already."""
        if error.file is not None:
            return error
        return ConfigError(error.message, path=error.path, file=self.file, line=error.line or self.lines.of(error.path))


def parse_toml(text: str, file: Path | None) -> dict[str, Any]:
    """Raises ConfigErrors.  No message repeats the text: it may hold a secret, which only a parser could tell."""
    import tomllib  # noqa: PLC0415 - the embedded default has no file to parse

    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigErrors([ConfigError(f"has a key of more than {MAX_PARTS} parts", file=file, line=line)])
    try:
        # Editors on Windows put a byte order mark first, which TOML does not know.
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        # tomllib tells the place only in its message.
        message, _, place = str(error).partition(" (at ")
        found = re.search(r"line (\d+), column (\d+)", place)
        line = int(found[1]) if found else text.count("\n") + 1
        column = f" (column {found[2]})" if found else " (at the end)"
        line = min(line, max(1, len(text.splitlines())))
        hint = _BACKSLASHES if "'\\'" in message or "hex value" in message else ""
        raise ConfigErrors([ConfigError(f"is not TOML: {message}{column}{hint}", file=file, line=line)]) from error
    except RecursionError:
        raise ConfigErrors([ConfigError(_TOO_DEEP, file=file)]) from None
    except ValueError:  # the others are TOMLDecodeErrors
        raise ConfigErrors([ConfigError("has a number of too many digits", file=file)]) from None


@cache
def _standard_input(stream: TextIO) -> str:
    """All of it.  It can be read once, so a reload has the same text; the files that it names may have changed."""
    return decoded(read_stream(stream.buffer, STANDARD_INPUT), file=STANDARD_INPUT)


_BACKSLASHES = r"; a path with backslashes stands in '...', as 'C:\zones', or has / instead"
"""Windows' paths: in "..." a backslash begins an escape."""

_TOO_DEEP = "is nested too deeply: arrays or tables within each other"


def _depth(value: Any) -> int:
    """How many arrays and tables are within each other; what is deeper than `MAX_DEPTH` is not looked into."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            own
            for each in level
            for own in (each.values() if isinstance(each, dict) else each)
            if isinstance(own, (dict, list))
        ]
    return depth


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    """A name without a pattern is a file that must be there."""
    if not has_magic(pattern):
        yield folder / pattern
        return
    yield from sorted(folder / name for name in iglob(pattern, root_dir=folder) if (folder / name).is_file())


def _expanded(value: Any, path: str, errors: list[ConfigError], environment: Mapping[str, str] = os.environ) -> Any:
    """The value with each `${NAME}` in its strings replaced; a string with a mistake stays as it is.

    Integers that TOML has not are mistakes too.
    """
    if isinstance(value, dict):
        return {key: _expanded(own, join(path, key), errors, environment) for key, own in value.items()}
    if isinstance(value, list):
        items = enumerate(value)
        return [_expanded(own, concatenate(path, f"[{index}]"), errors, environment) for index, own in items]
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        # Not quoted: Python writes no number of thousands of digits.
        errors.append(ConfigError("is no integer of TOML: it takes more than 64 bits", path=path))
        return LARGEST
    if not isinstance(value, str) or "${" not in value:
        return value

    def replaced(found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        name = found[1]
        if not _VARIABLE_NAME.fullmatch(name):
            # Not quoted: it may be part of a secret.
            errors.append(ConfigError("${...} names no environment variable; $${ is a plain ${", path=path))
        elif name not in environment:
            # Named only where nothing else is there: whatever stands in a longer text may be part of a secret.
            which = f"the environment variable {name}" if found[0] == value else "an environment variable in the text"
            errors.append(ConfigError(f"{which} is not set; $${{ is a plain ${{", path=path))
        return environment.get(name, found[0])

    return _VARIABLE.sub(replaced, value)
