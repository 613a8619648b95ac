"""The files that a configuration names: read so that an error says which file and option, and stamped."""

from __future__ import annotations

import io
import os
import stat
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from .errors import ConfigError

Stamp: TypeAlias = tuple[int, int, int] | None
"""What tells one state of a file from another: modification time (ns), size (bytes), inode; None: it is missing."""


MAX_STREAM: Final = 1 << 24
"""Bytes that are read of what is no regular file, such as a pipe: it may have no end."""


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
        with open(path, "rb", opener=_open_at_once) as file:
            data = read_stream(file, path, key=key)
            if not data and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raise ConfigError("can't be read: nobody writes into this pipe", path=key, file=path)
            return data
    except ValueError as error:
        raise ConfigError("can't be read: a file's name has no null character", path=key, file=path) from error
    except OSError as error:
        message = f"can't be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            message += _nearest_file(path)
        raise ConfigError(message, path=key, file=path) from error


def _open_at_once(path: str, flags: int) -> int:
    """As `os.open`, but it does not wait until somebody opens a FIFO for writing."""
    if not hasattr(os, "O_NONBLOCK"):  # nor FIFOs with a name in a folder
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    getattr(os, "set_blocking")(descriptor, True)  # noqa: B009 - Windows, which does not come here, lacks it; who writes may take a while
    return descriptor


def read_stream(stream: BinaryIO, path: Path, *, key: str = "") -> bytes:
    """All that an open file holds; `path` is for messages.  Raises OSError, and ConfigError where it is too much."""
    try:
        if _is_regular(stream):
            return stream.read()
        data = stream.read(MAX_STREAM + 1)
    except MemoryError as error:
        raise ConfigError("can't be read: the memory can't hold it", path=key, file=path) from error
    if len(data) > MAX_STREAM:
        message = f"can't be read: it is no regular file, and goes on after {MAX_STREAM >> 20} MiB"
        raise ConfigError(message, path=key, file=path)
    return data


def _is_regular(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except io.UnsupportedOperation:  # it is no file of the system
        return False


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
