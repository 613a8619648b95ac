"""The files that peers may read: what a name means, and a file's bytes as blocks.

A name never leads out of the root.  Names that mean something else to Windows are refused everywhere, so that a folder
is served alike on every system.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

import attrs

from ..shared.regular_file import open_regular

CHUNK: Final = 128 * 1024
"""Bytes that are read at a time, in a thread."""

RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?")
"""Devices, wherever they are and whatever their suffix (Windows, "Naming Files, Paths, and Namespaces")."""


class Outside(Exception):
    """A name that may not be read, whether there is such a file or not."""


def path_of(root: Path, name: bytes) -> Path:
    """The file that a peer's name means below `root`, which is an absolute path without links.

    A name that begins with a slash begins at the root; a backslash is a slash.  Links are followed, and must not lead
    out.  Raises Outside, and OSError where there is no such file.
    """
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise Outside("a name that is not UTF-8") from None
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    for part in parts:
        if part == ".." or not part.isprintable() or set(part) & set(':*?"<>|') or part[-1] in ". ":
            raise Outside(f"a name with the part {part!r}")
        if RESERVED.fullmatch(part):
            raise Outside(f"a name that is a device's: {part!r}")
    if not parts:
        raise Outside("no name")
    try:
        path = root.joinpath(*parts).resolve(strict=True)
    except (RuntimeError, ValueError) as error:  # links in a circle, before Python 3.13
        raise Outside(str(error)) from None
    if not path.is_relative_to(root):
        raise Outside("a link that leads out of the root")
    return path


@attrs.define(eq=False)
class Blocks:
    """A file's blocks from one number on; earlier ones are forgotten.

    file         open for reading, without a buffer
    size         bytes of a block
    is_netascii  line ends are to be translated (RFC 764's NVT, as RFC 1350 section 1 has it)
    """

    file: BinaryIO
    size: int
    is_netascii: bool
    _begin: int = attrs.field(default=0, init=False)
    """Where `_data` begins in the file as it is sent."""
    _data: bytes = attrs.field(default=b"", init=False)
    _has_ended: bool = attrs.field(default=False, init=False)

    def has(self, first: int, count: int) -> bool:
        """Are `count` blocks from number `first` on (counted from 1) read already?"""
        return self._has_ended or (first - 1 + count) * self.size <= self._begin + len(self._data)

    def read(self, first: int, count: int) -> None:
        """Read until `has`, and at least CHUNK bytes.  It may block.  Raises OSError."""
        start = (first - 1) * self.size - self._begin
        pieces = [self._data[start:]]
        self._begin += start
        wanted = max(CHUNK, count * self.size) - len(pieces[0])
        while wanted > 0 and not self._has_ended:
            piece = self.file.read(wanted)
            self._has_ended = not piece
            wanted -= len(piece)
            # A line end stays one byte of its own each, so a file can be translated piece by piece.
            pieces.append(piece.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n") if self.is_netascii else piece)
        self._data = b"".join(pieces)

    def get(self, first: int, count: int) -> list[memoryview]:
        """`count` blocks from `first` on, which `has` says are here; fewer at the end, whose last block is shorter."""
        begin = (first - 1) * self.size - self._begin
        data = memoryview(self._data)
        found = []
        for at in range(begin, begin + count * self.size, self.size):
            found.append(data[at : at + self.size])
            if len(found[-1]) < self.size:
                break
        return found


def open_file(root: Path, name: bytes) -> tuple[BinaryIO, int]:
    """The file open for reading, and its bytes.  It may block.  Raises Outside and OSError."""
    file = open_regular(path_of(root, name))
    return file, os.fstat(file.fileno()).st_size


@attrs.define(eq=False)
class Opening:
    """Opens a file in a thread; where nobody waits for that any more, the file is closed."""

    root: Path
    name: bytes
    _lock: Lock = attrs.field(factory=Lock, init=False)
    _file: BinaryIO | None = attrs.field(default=None, init=False)
    _is_given_up: bool = attrs.field(default=False, init=False)

    def open(self) -> tuple[BinaryIO, int]:
        """As `open_file`, in a thread."""
        file, size = open_file(self.root, self.name)
        with self._lock:
            self._file = file
            if self._is_given_up:
                file.close()
        return file, size

    def give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._file is not None:
                self._file.close()
