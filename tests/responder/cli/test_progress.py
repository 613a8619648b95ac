"""The bar while configurations are read: on a terminal only, after a second, and gone at the end."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from responder.cli.progress import Bar, progress_shown
from responder.plugin import Context
from responder.progress import progress_watcher

from .support import Write, call


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called by each test, since pytest puts its own standard error in place before that."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_there_is_a_bar_after_a_second_and_none_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    clock = Clock()
    bar = Bar(clock)
    bar.watch("office", 0.1)
    clock.now = 0.9
    bar.watch("office", 0.4)
    assert terminal.getvalue() == ""
    clock.now = 1.1
    bar.watch("office", 0.5)
    bar.watch("guests\x1b[2J", 0.25)
    bar.close()
    shown = terminal.getvalue()
    assert "office" in shown
    assert "50%" in shown
    assert "25%" in shown
    assert "\x1b[2J" not in shown
    clock.now = 5
    bar.watch("office", 0.1)  # a reload has a second of its own
    assert terminal.getvalue() == shown


def test_what_is_done_at_once_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress_shown():
        Context("office").progress(0.5)
        Context("office").progress(1.0)
    assert progress_watcher.get() is None
    assert terminal.getvalue() == ""


def test_without_a_terminal_nobody_watches() -> None:
    with progress_shown():
        assert progress_watcher.get() is None


def test_check_watches_what_its_plugins_read(monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(Bar, "watch", lambda _bar, name, share: told.append((name, share)))
    for name in ("one", "two"):
        lines = "".join(f"host{number} 300 A 192.0.2.1\n" for number in range(60_000))
        (tmp_path / f"{name}.zone").write_text(f"@ 300 SOA ns h 1 2 3 4 5\n@ 300 NS ns.other.\n{lines}")
    file = write('[plugins.dns]\nzones = { "one.test" = "one.zone", "two.test" = "two.zone" }\n')
    # The runner of click puts its own standard error in place, which is no terminal.
    monkeypatch.setattr("responder.cli.progress.sys", type("Sys", (), {"stderr": Terminal()}))
    assert call("check", file).exit_code == 0
    assert {name for name, _ in told} == {"dns"}
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert any(0 < share < 0.5 for share in shares)
    assert any(0.5 < share < 1 for share in shares)
    assert shares[-1] == 1
