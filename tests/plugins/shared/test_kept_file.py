"""Files of the state folder: whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from responder_plugins.shared.kept_file import end_of_checked, write_checked, write_whole

BEGIN = b"a kept file 1\n"


def test_a_small_one_is_replaced(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_whole(tmp_path / "file", text)
        assert (tmp_path / "file").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_checked_one_is_whole(tmp_path: Path) -> None:
    write_checked(tmp_path / "file", [BEGIN, b"", b"content"], modified=1e9)
    data = (tmp_path / "file").read_bytes()
    assert data[: end_of_checked(data, BEGIN)] == BEGIN + b"content"
    assert (tmp_path / "file").stat().st_mtime == 1e9


@pytest.mark.parametrize("damage", [slice(0, -1), slice(1, None), slice(0, len(BEGIN)), slice(0, 0)])
def test_what_is_damaged_is_told(tmp_path: Path, damage: slice) -> None:
    write_checked(tmp_path / "file", [BEGIN, b"content"])
    with pytest.raises(ValueError, match="not written to its end, or changed since"):
        end_of_checked((tmp_path / "file").read_bytes()[damage], BEGIN)


def test_what_could_not_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield BEGIN
        raise OSError(28, "no space left on device")

    write_checked(tmp_path / "file", [BEGIN, b"before"])
    with pytest.raises(OSError, match="no space"):
        write_checked(tmp_path / "file", parts())
    data = (tmp_path / "file").read_bytes()
    assert data[: end_of_checked(data, BEGIN)] == BEGIN + b"before"
