"""Opens files that may turn out to be none: for mdns, and for what tftp and coap serve."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(file: Path) -> BinaryIO:
    """Open a file for reading.  Raises OSError, for another kind of file too: no FIFO is waited for, no device read."""
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", str(file))
    return open(handle, "rb", buffering=0)
