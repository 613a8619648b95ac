"""A folder with files."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "boot"
    folder.mkdir()
    (folder / "file").write_bytes(content(5_000))
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_bytes(b"one\ntwo\r\nthree\r")
    return folder
