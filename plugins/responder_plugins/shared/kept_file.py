"""Files of the state folder, written whole or not at all: by dns, mdns, ssdp and wsd."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CHECKSUM_BYTES: Final = 4


def write_whole(file: Path, text: str) -> None:
    """Replace a small file's content.  Raises OSError; the old content is then still there."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)


def write_checked(file: Path, parts: Iterable[bytes], *, modified: float | None = None) -> None:
    """Replace a large file's content, with a checksum (CRC-32) behind it; `modified` is to be its time.

    Raises OSError; the old content is then still there.
    """
    new = file.with_name(file.name + ".new")
    checksum = 0
    with new.open("wb") as stream:
        for part in parts:
            checksum = zlib.crc32(part, checksum)
            stream.write(part)
        stream.write(checksum.to_bytes(CHECKSUM_BYTES))
        stream.flush()
        os.fsync(stream.fileno())
    if modified is not None:
        os.utime(new, (modified, modified))
    os.replace(new, file)


def end_of_checked(data: bytes, begin: bytes) -> int:
    """Where the content of such a file ends.  Raises ValueError where it does not begin so, or is not whole."""
    end = len(data) - CHECKSUM_BYTES
    if not data.startswith(begin) or zlib.crc32(memoryview(data)[:end]) != int.from_bytes(data[end:]):
        raise ValueError("it was not written to its end, or changed since")
    return end
