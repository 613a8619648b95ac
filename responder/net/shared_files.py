"""Files that several processes share, or that nobody else may read: what plugins need of the platform for them."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

POLL: Final = 0.05
"""Seconds between two looks whether another holder has released a file on Windows."""


class FileLock:
    """A file that one holder at a time has locked, among all processes and within this one: `with FileLock(path):`.

    The file and its folder are made where they are missing; what is in the file is not touched.  A process that ends
    releases what it holds.  Waiting blocks: do it in a thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def acquire(self, *, wait: bool = True) -> bool:
        """False where another one holds it, and this does not `wait`.  Raises OSError where there can't be a file."""
        assert self._file is None  # noqa: S101 - one holder is one object
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab")
        try:
            held = _lock(file.fileno(), wait=wait)
        except BaseException:
            file.close()
            raise
        if held:
            self._file = file
        else:
            file.close()
        return held

    def release(self) -> None:
        if self._file is not None:
            _unlock(self._file.fileno())
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def private_opener(path: str, flags: int) -> int:
    """For `open(path, "x", opener=private_opener)`: a new file that only its owner may read.

    On Windows the host's administrators may, too.  Raises FileExistsError, and other OSErrors.
    """
    if sys.platform == "win32":
        from .windows.private_file import create_private  # noqa: PLC0415 - exists on Windows only

        return create_private(path)
    return os.open(path, flags, 0o600)


if sys.platform == "win32":
    import msvcrt

    HELD: Final = (errno.EACCES, 0)
    """What `locking` says where another one holds it; Wine's has no number for it."""

    def _lock(descriptor: int, *, wait: bool) -> bool:
        while True:
            os.lseek(descriptor, 0, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if error.errno not in HELD:
                    raise
                if not wait:
                    return False
                time.sleep(POLL)
            else:
                return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
