"""What the daemon's log looks like to people and to machines, and what of it is written."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from responder.daemon.logs import configure_logging, set_level
from responder.daemon.recent_errors import RecentErrors
from responder.log import get_logger

HOSTILE = "\x1b]0;owned\x07\r\n12:00:00 [info     ] stopped\u202e\x9b31m"
"""What a peer may send: a terminal's commands, a line like the log's own, text that runs backwards."""


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def written(self) -> str:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return self.getvalue()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root, queries = logging.getLogger(), logging.getLogger("responder.queries")
    before = root.handlers[:], root.level, queries.level
    yield
    root.handlers[:], level, queries_level = before
    root.setLevel(level)
    queries.setLevel(queries_level)


@pytest.fixture
def terminal(logging_as_it_was: None, monkeypatch: pytest.MonkeyPatch) -> Stream:
    return configured(monkeypatch, Stream(terminal=True))


@pytest.fixture
def pipe(logging_as_it_was: None, monkeypatch: pytest.MonkeyPatch) -> Stream:
    return configured(monkeypatch, Stream(terminal=False))


def configured(monkeypatch: pytest.MonkeyPatch, stream: Stream) -> Stream:
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging()
    return stream


def raised(message: str) -> Exception:
    """One with a traceback."""
    try:
        {}[message]
    except LookupError as error:
        return LookupError(message).with_traceback(error.__traceback__)
    raise AssertionError("unreachable")


def without_colours(text: str) -> str:
    """What is written but for the renderer's own styles, which all have the form ESC [ digits m."""
    parts = text.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])


log = get_logger("responder.test_logsetup")


class Raw:
    """Something that shows itself as a peer's words."""

    def __repr__(self) -> str:
        return HOSTILE


def test_a_terminal_acts_on_nothing_that_a_peer_sent(terminal: Stream) -> None:
    fields: dict[str, Any] = {"word": HOSTILE, "bare": "\x1b[2J", "several": [HOSTILE, Raw()], "table": {"x": Raw()}}
    log.error(HOSTILE, exc_info=raised(HOSTILE), plugin="dns", it=Raw(), **fields)
    logging.getLogger("another.library").warning("%s", HOSTILE)
    written = without_colours(terminal.written())
    assert not [character for character in written if not character.isprintable() and character != "\n"]
    assert "\\x1b]0;owned" in written
    # Two records, and what is not at the margin.
    at_the_margin = [line for line in written.splitlines() if not line.startswith("    ")]
    assert len(at_the_margin) == 2
    assert "    LookupError: " in written


def test_a_line_of_json_a_record(pipe: Stream) -> None:
    log.error(HOSTILE, exc_info=raised(HOSTILE), plugin="dns", port=53)
    (line,) = pipe.written().splitlines()
    assert line.isprintable()
    record = json.loads(line)
    assert (record["event"], record["plugin"], record["port"], record["level"]) == (HOSTILE, "dns", 53, "error")
    assert "LookupError" in record["exception"]


def written_at(stream: Stream, level: str) -> list[str]:
    set_level(level)
    for name in ("debug", "info", "warning", "error"):
        log.log(logging.getLevelNamesMapping()[name.upper()], name)
    get_logger("responder.queries").info("query")
    return [json.loads(line)["event"] for line in stream.written().splitlines()]


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error", "query"]),
        ("info", ["info", "warning", "error", "query"]),
        ("warning", ["warning", "error", "query"]),
        ("error", ["error", "query"]),
    ],
)
def test_the_level_is_what_is_written(pipe: Stream, level: str, events: list[str]) -> None:
    assert written_at(pipe, level) == events


def test_what_status_shows_does_not_depend_on_the_level(pipe: Stream) -> None:
    recent = RecentErrors()
    framework = logging.getLogger("responder")
    framework.addHandler(recent)
    try:
        written_at(pipe, "error")
    finally:
        framework.removeHandler(recent)
    assert [error.message for error in recent.latest()] == ["warning", "error"]


def test_fields_of_the_standard_library_s_logger_are_fields_too(pipe: Stream) -> None:
    logging.getLogger("another.library").warning("a %s is late", "train", extra={"minutes": 5, "plugin": "rail"})
    record = json.loads(pipe.written())
    assert (record["event"], record["minutes"], record["plugin"]) == ("a train is late", 5, "rail")
    recent = RecentErrors()
    recent.emit(logging.makeLogRecord({"msg": "late", "levelno": logging.WARNING, "plugin": "rail"}))
    assert recent.of("rail") is not None


class TestForms:
    """What the variables say goes before what standard error is."""

    @pytest.fixture(autouse=True)
    def _logging(self, logging_as_it_was: None) -> None: ...

    def test_journal_lines_have_their_priorities(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESPONDERD_LOG_FORMAT", "journal")
        stream = configured(monkeypatch, Stream(terminal=True))
        log.info("ready", port=53)
        log.warning("of a peer", name=HOSTILE)
        log.error("failed", exc_info=raised("x"))
        lines = stream.written().splitlines()
        assert lines[0] == "<6>ready port=53"
        assert lines[1].startswith("<4>of a peer name=\\x1b]0;owned")
        assert lines[2].startswith("<3>failed")
        assert len(lines) > 4
        assert all(line.startswith("<3>") for line in lines[2:])
        assert "\x1b" not in stream.getvalue()

    @pytest.mark.parametrize(("form", "terminal"), [("text", False), ("json", True)])
    def test_the_form_is_as_asked(self, monkeypatch: pytest.MonkeyPatch, form: str, terminal: bool) -> None:
        monkeypatch.setenv("RESPONDERD_LOG_FORMAT", form)
        stream = configured(monkeypatch, Stream(terminal=terminal))
        log.info("ready", port=53)
        (line,) = stream.written().splitlines()
        assert line.startswith("{") is (form == "json")
        assert "\x1b" not in line

    def test_no_color_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        stream = configured(monkeypatch, Stream(terminal=True))
        log.warning("ready", port=53)
        assert "\x1b" not in stream.written()

    def test_the_level_goes_before_the_configurations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESPONDERD_LOG_LEVEL", "error")
        stream = configured(monkeypatch, Stream(terminal=False))
        set_level("info")
        log.warning("left out")
        log.error("written")
        (line,) = stream.written().splitlines()
        assert json.loads(line)["event"] == "written"
