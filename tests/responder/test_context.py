"""What a plugin's `prepare` reads its files through."""

from __future__ import annotations

from pathlib import Path

import pytest

from responder import ConfigError, Context
from responder.files import stamp_of


def test_a_file_is_read_and_noted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    context = Context("one", tmp_path)
    assert context.read_text("a.txt") == "text"
    assert context.files == {tmp_path / "a.txt": stamp_of(tmp_path / "a.txt")}


def test_a_missing_file_is_noted_too(tmp_path: Path) -> None:
    context = Context("one", tmp_path)
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        context.read_bytes("a.txt", key="key")
    assert context.files == {tmp_path / "a.txt": None}


def test_a_name_that_no_file_can_have_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    """A null character makes a ValueError of every system call; a file may name another one so ($INCLUDE)."""
    context = Context("one", tmp_path)
    assert context.path("a\0b") == tmp_path / "a\0b"
    with pytest.raises(ConfigError, match="no null character"):
        context.read_text("a\0b")
