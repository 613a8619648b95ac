"""Keys from a terminal: one by one, without an echo, and the terminal as it was afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from responder.net.keyboard import END, keys_pressed

if sys.platform == "win32":
    pytest.skip("the pseudo-terminals are POSIX's", allow_module_level=True)

import pty
import termios

PATIENCE = 10.0


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """The far end of a terminal, and the near end, which standard input is."""
    far, near = pty.openpty()
    with os.fdopen(near, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield far, near
    for each in (far, near):
        os.close(each)


def test_keys_come_without_a_line_and_unseen(terminal: tuple[int, int]) -> None:
    far, near = terminal
    before = termios.tcgetattr(near)
    with keys_pressed() as key:
        assert key(0.0) == ""
        os.write(far, b"q")
        assert key(PATIENCE) == "q"
        os.write(far, b"\x1b[A")
        assert key(PATIENCE) == "\x1b[A"
        assert not termios.tcgetattr(near)[3] & (termios.ECHO | termios.ICANON)
    assert termios.tcgetattr(near) == before


def test_the_terminal_is_as_it_was_after_an_error(terminal: tuple[int, int]) -> None:
    _, near = terminal
    before = termios.tcgetattr(near)
    with pytest.raises(KeyboardInterrupt), keys_pressed():
        raise KeyboardInterrupt
    assert termios.tcgetattr(near) == before


def test_the_end_of_it_is_a_key(terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    far, _ = terminal
    with keys_pressed() as key:
        monkeypatch.setattr(os, "read", lambda *_: b"")
        os.write(far, b"x")
        assert key(PATIENCE) == END


def test_without_a_terminal_it_only_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with keys_pressed() as key:
        assert key(0.0) == ""
