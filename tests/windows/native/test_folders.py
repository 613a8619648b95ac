"""Where the daemon's files are on Windows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from responder.net import folders


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_path_with_a_drive_is_one_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", r"C:\ProgramData\x")
    assert folders.state_folder() == Path(r"C:\ProgramData\x")
    monkeypatch.setenv("STATE_DIRECTORY", r"D:\one;E:\two")
    assert folders.state_folder() == Path(r"D:\one")


def test_a_users_state_is_in_local_app_data() -> None:
    assert folders.state_folder() == Path(os.environ["LOCALAPPDATA"], "responderd")


def test_everybodys_is_in_program_data() -> None:
    assert folders.windows_folder(for_all_users=True) == Path(os.environ["PROGRAMDATA"], "responderd")


def test_commands_look_for_a_service_and_then_for_the_users_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        folders, "windows_folder", lambda *, for_all_users: tmp_path / ("all" if for_all_users else "me")
    )
    for name in ("all", "me"):
        (tmp_path / name).mkdir()
    service, own = tmp_path / "all" / "control", tmp_path / "me" / "control"
    assert folders.control_path() == service
    own.touch()
    assert folders.control_path() == own
    service.touch()
    assert folders.control_path() == service
    assert folders.control_path().drive == tmp_path.drive  # not the current drive's \run
