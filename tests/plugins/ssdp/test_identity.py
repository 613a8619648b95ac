"""The boot id grows over restarts, whatever is found where it was kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from responder_plugins.ssdp.identity import MAX_BOOT_ID, BootId

from responder import ConfigError


def no_folder() -> Path:
    raise ConfigError("the state folder can't be made")


def test_it_grows_with_each_start_and_each_change(tmp_path: Path) -> None:
    first = BootId(lambda: tmp_path)
    assert first.next == first.value + 1
    first.advance()
    second = BootId(lambda: tmp_path)
    assert [first.value, second.value] == [1, 2]


@pytest.mark.parametrize("content", ["", "x", "-3", str(MAX_BOOT_ID + 1)])
def test_what_is_no_number_starts_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "boot-id").write_text(content)
    assert BootId(lambda: tmp_path).value == 0


def test_after_the_largest_comes_a_small_one(tmp_path: Path) -> None:
    (tmp_path / "boot-id").write_text(str(MAX_BOOT_ID))
    assert BootId(lambda: tmp_path).value == 1


def test_without_a_folder_the_clock_tells_restarts_apart(caplog: pytest.LogCaptureFixture) -> None:
    boot = BootId(no_folder, clock=lambda: 1_800_000_000.5)
    assert boot.value == 1_800_000_000
    boot.advance()
    assert boot.value == 1_800_000_001
    assert caplog.text.count("can't be kept") == 1


def test_a_folder_that_goes_away_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    boot = BootId(lambda: folder)
    (folder / "boot-id").unlink()
    folder.rmdir()
    boot.advance()
    boot.advance()
    assert boot.value == 2
    assert caplog.text.count("can't be kept") == 1
