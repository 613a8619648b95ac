"""Small files of the state folder, written whole or not at all: by ssdp, wsd and mdns."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Replace the file's content.  Raises OSError; the old content is then still there."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)
