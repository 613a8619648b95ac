"""What a Windows service logs, and where: to the event log and to a file, or to the one that can be had."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from responder.daemon import daemon, windows_service
from responder.net.windows.event_log import EventLogHandler
from responder.net.windows.service import Report, ServiceLine

MISTAKE = "plugins.echo.prot"


@attrs.define
class Host:
    """A service's folder, and the events of its log, each as it was written."""

    folder: Path
    events: list[str] = attrs.field(factory=list)

    def serve(self) -> int:
        """With a configuration that has a mistake."""
        config = self.folder / "echo.toml"
        config.write_text("[plugins.echo]\nprot = 7007\n")
        reports: list[Report] = []
        return windows_service.serve("responderd", config, ServiceLine(reports.append))

    def file(self) -> str:
        return (self.folder / "logs" / "responderd.log").read_text()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    host, root = Host(tmp_path), logging.getLogger()
    before = list(root.handlers), root.level
    # What is for the whole process, which is pytest's here.
    monkeypatch.setattr(daemon, "note_signals", list)
    monkeypatch.setattr(daemon, "look_seldom", lambda: None)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setattr(windows_service, "windows_folder", lambda *, for_all_users: tmp_path)
    monkeypatch.setattr(EventLogHandler, "write", lambda _self, text, _kind: host.events.append(text))
    yield host
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level = before


def test_what_is_wrong_goes_to_the_event_log_and_to_the_file(host: Host) -> None:
    assert host.serve() == 2
    (event,) = host.events
    assert json.loads(event)["level"] == "error"
    assert MISTAKE in event
    assert MISTAKE in host.file()


def test_without_a_file_the_event_log_says_so_and_has_the_rest(host: Host) -> None:
    (host.folder / "logs").write_text("no folder")
    assert host.serve() == 2
    first, second = host.events
    assert "goes without one of its logs" in first
    assert str(host.folder / "logs") in json.loads(first)["reason"]
    assert MISTAKE in second


def test_without_an_event_log_the_file_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: EventLogHandler, _source: str) -> None:
        raise OSError(1722, "The RPC server is unavailable")

    monkeypatch.setattr(EventLogHandler, "__init__", refuse)
    assert host.serve() == 2
    assert "RPC server" in host.file()
    assert MISTAKE in host.file()
