"""Files that a configuration names: what tells their states apart, and what is said where they can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from responder import ConfigError
from responder.files import decoded, read_file, stamp_of


def test_a_stamp_tells_states_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    assert stamp_of(file) is None
    file.write_text("one")
    first = stamp_of(file)
    assert first == stamp_of(file)
    file.write_text("four")
    assert stamp_of(file) != first


def test_the_nearest_name_is_hinted_at(tmp_path: Path) -> None:
    (tmp_path / "zone.txt").write_text("")
    with pytest.raises(ConfigError, match=r"No such file.*; did you mean 'zone\.txt'\?") as caught:
        read_file(tmp_path / "zome.txt", key="file")
    assert (caught.value.path, caught.value.file) == ("file", tmp_path / "zome.txt")
    with pytest.raises(ConfigError, match="nor is there a folder"):
        read_file(tmp_path / "gone" / "a.txt")


def test_what_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not UTF-8") as caught:
        decoded(b"one\ntwo\n\xff", file=tmp_path / "a.txt", key="file")
    assert caught.value.line == 3
