"""The files that a configuration names: read so that an error says which file and option, and stamped."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from .errors import ConfigError

Stamp: TypeAlias = tuple[int, int, int] | None
"""What tells one state of a file from another: modification time (ns), size (bytes), inode; None: it is missing."""


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file as it is now."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # a null character is in no file's name
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_file(path: Path, *, key: str = "") -> bytes:
    """The file's content.  Raises ConfigError, naming the file and `key`, the option that names it."""
    try:
        return path.read_bytes()
    except ValueError as error:
        raise ConfigError("can't be read: a file's name has no null character", path=key, file=path) from error
    except OSError as error:
        message = f"can't be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            message += _nearest_file(path)
        raise ConfigError(message, path=key, file=path) from error


def _nearest_file(path: Path) -> str:
    """A hint at a file beside it whose name is nearly the same."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; nor is there a folder {path.parent}"
    near = get_close_matches(path.name, names, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def decoded(data: bytes, *, file: Path, key: str = "") -> str:
    """A file's UTF-8 as text.  Raises ConfigError, with the line, where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"is not UTF-8: {error.reason}", path=key, file=file, line=line) from error
