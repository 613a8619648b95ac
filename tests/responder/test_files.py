"""Files that a configuration names: what tells their states apart, and what is said where they can't be read."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from responder import ConfigError
from responder.files import decoded, read_file, read_stream, stamp_of


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


def test_what_has_no_end_is_told(tmp_path: Path) -> None:
    """A pipe, whose writer would go on for ever."""
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb") as endless:
        writer = threading.Thread(target=_write_until_closed, args=(endless,))
        writer.start()
        with pytest.raises(ConfigError, match="no regular file, and goes on after 16 MiB") as caught:
            read_stream(stream, tmp_path / "pipe", key="file")
        stream.close()
        writer.join()
    assert (caught.value.path, caught.value.file) == ("file", tmp_path / "pipe")


def _write_until_closed(endless: BinaryIO) -> None:
    with contextlib.suppress(BrokenPipeError):
        while True:
            endless.write(bytes(1 << 16))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_a_device_without_end_is_told() -> None:
    with pytest.raises(ConfigError, match="no regular file"):
        read_file(Path("/dev/zero"))


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    with open(reading, "rb") as stream:
        assert read_stream(stream, tmp_path / "pipe") == b"text"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no FIFOs")
def test_a_pipe_into_which_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="nobody writes into this pipe"):
        read_file(tmp_path / "pipe", key="file")


class Huge(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise MemoryError


def test_what_the_memory_cannot_hold_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the memory can't hold it"):
        read_stream(Huge(), tmp_path / "huge")


def test_what_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not UTF-8") as caught:
        decoded(b"one\ntwo\n\xff", file=tmp_path / "a.txt", key="file")
    assert caught.value.line == 3
