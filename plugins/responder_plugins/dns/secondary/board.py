"""A file that several processes share: some append lines, others read on from where they were."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LARGEST: Final = 2**20
"""Bytes beyond which a file is begun anew."""


class Board:
    """Each reader has one of its own.  Lines have no end of line in them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._at = 0

    def begin(self) -> None:
        """Begin anew; readers see that.  Raises OSError."""
        new = self._path.with_name(self._path.name + ".new")
        new.write_bytes(b"")
        new.replace(self._path)

    def add(self, lines: Iterable[str]) -> None:
        """Raises OSError."""
        with self._path.open("ab") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            is_large = file.tell() > LARGEST
        if is_large:
            self.begin()

    def read(self) -> tuple[list[str], bool]:
        """The lines since the last time; and whether others may have been missed, as at the first time.

        Raises OSError.
        """
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                missed = inode != self._inode
                if missed:
                    self._inode, self._at = inode, 0
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            missed, self._inode = self._inode != 0, 0
            return [], missed
        end = data.rfind(b"\n") + 1
        self._at += end
        return data[:end].decode().splitlines(), missed
