"""The number grows over restarts, whatever is found where it was kept, and whatever the clock says."""

from __future__ import annotations

from pathlib import Path

import pytest
from responder_plugins.shared.boot_number import MAX, BootNumber

from responder import ConfigError

NOW = 1_800_000_000


def boot_at(folder: Path, now: float = NOW) -> BootNumber:
    return BootNumber("boot-id", lambda: folder, lambda: now)


def no_folder() -> Path:
    raise ConfigError("the state folder can't be made")


def test_it_grows_with_each_start_and_each_change(tmp_path: Path) -> None:
    first = boot_at(tmp_path)
    assert first.value == NOW
    assert first.next == first.value + 1
    first.advance()
    assert first.value == NOW + 1
    assert boot_at(tmp_path).value == NOW + 2, "within the same second"
    assert boot_at(tmp_path, NOW + 60.5).value == NOW + 60


def test_a_clock_that_went_back(tmp_path: Path) -> None:
    values = [boot_at(tmp_path, now).value for now in (NOW, NOW - 1_000_000, 0, 0, NOW - 5)]
    assert values == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4]


@pytest.mark.parametrize("content", ["", "x", "-3", str(MAX + 1), None])
def test_what_was_kept_is_lost(tmp_path: Path, content: str | None) -> None:
    """Such as by a power cut, or in a container whose state folder is new each time."""
    before = boot_at(tmp_path).value
    (tmp_path / "boot-id").unlink()
    if content is not None:
        (tmp_path / "boot-id").write_text(content)
    assert boot_at(tmp_path, NOW + 1).value > before


def test_after_the_largest_comes_a_small_one(tmp_path: Path) -> None:
    (tmp_path / "boot-id").write_text(str(MAX))
    assert boot_at(tmp_path, 0).value == 1


def test_after_2038_it_still_grows(tmp_path: Path) -> None:
    before = boot_at(tmp_path).value
    assert boot_at(tmp_path, 2**31 + 5).value == before + 1


def test_without_a_folder_the_clock_tells_restarts_apart(caplog: pytest.LogCaptureFixture) -> None:
    boot = BootNumber("boot-id", no_folder, clock=lambda: 1_800_000_000.5)
    assert boot.value == 1_800_000_000
    boot.advance()
    assert boot.value == 1_800_000_001
    assert caplog.text.count("cannot_be_kept=boot-id") == 1


def test_a_folder_that_goes_away_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    boot = boot_at(folder)
    (folder / "boot-id").unlink()
    folder.rmdir()
    boot.advance()
    boot.advance()
    assert boot.value == NOW + 2
    assert caplog.text.count("cannot_be_kept=boot-id") == 1
