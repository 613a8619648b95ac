"""Where plugins keep what outlives a restart."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

from responder import ConfigError, Context, Handler, Plugin
from responder.config.daemon_options import DaemonOptions
from responder.config.instance import Instance
from responder.config.reading import Reading, prepare_reading
from responder.config.source import Source
from responder.daemon import state
from responder.daemon.state import check_state, instance_folder, known_state_root, prepare_state, state_root


def test_where_state_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert state_root(DaemonOptions()) == Path("/home/me/.local/state/responderd")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_root(DaemonOptions()) == Path("/state/responderd")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/responderd:/var/lib/other")
    assert state_root(DaemonOptions()) == Path("/var/lib/responderd")
    assert state_root(DaemonOptions(state=Path("/mine"))) == Path("/mine")


def test_the_folder_is_made_for_the_user_that_the_daemon_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(state, "give", lambda *what: given.append(what))
    options = DaemonOptions(state=tmp_path / "a" / "b", user="nobody")
    prepare_state(options)
    assert given == [("nobody", tmp_path / "a" / "b")]
    # One that is there is whose it is.
    prepare_state(options)
    assert len(given) == 1
    assert instance_folder(options, "dns").is_dir()


def test_nothing_is_made_where_the_configuration_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "other"))
    prepare_state(DaemonOptions())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^daemon\.state: the folder .*/file/x can't be made: Not a directory"):
        prepare_state(DaemonOptions(state=tmp_path / "file" / "x"))


def test_what_is_told_beforehand_is_what_making_it_tells(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("file", "file/x", "x" * 300, "a/b"):
        options = DaemonOptions(state=tmp_path / folder)
        told = check_state(options)
        assert not (tmp_path / "a").exists()
        if told is None:
            prepare_state(options)
            assert (tmp_path / "a/b").is_dir()
            assert check_state(options) is None
            continue
        with pytest.raises(ConfigError) as raised:
            prepare_state(options)
        assert str(raised.value) == str(told)


def test_a_folder_that_may_not_be_written_in_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    told = check_state(DaemonOptions(state=tmp_path / "a" / "b"))
    assert str(told) == f"daemon.state: the folder {tmp_path / 'a' / 'b'} can't be made: Permission denied"
    assert check_state(DaemonOptions(state=tmp_path)) is None
    assert check_state(DaemonOptions()) is None


async def test_a_plugin_that_prepares_is_told_the_folder_that_it_will_get(tmp_path: Path) -> None:
    """Before it is made, and as `Network.state_dir` is."""

    @attrs.frozen
    class Asks(Plugin):
        def prepare(self, context: Context) -> Handler:
            seen.append(context.state_dir)
            return self

    seen: list[Path | None] = []
    options = DaemonOptions(state=tmp_path / "state")
    reading = Reading(
        options, (Instance.of(Asks(), "one"),), (), (), (), (Source.parse("", file=None, folder=tmp_path),)
    )
    await prepare_reading(reading, state_root=known_state_root)
    assert seen == [tmp_path / "state" / "one"]
    assert not (tmp_path / "state").exists()
    assert instance_folder(options, "one") == seen[0]
