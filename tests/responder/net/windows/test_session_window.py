"""The window that Windows tells of the end of a session: which messages are one.  The window itself is for Windows."""

from __future__ import annotations

import sys

import pytest

from responder.net.windows.session_window import (
    ENDSESSION_CLOSEAPP,
    ENDSESSION_LOGOFF,
    WM_CLOSE,
    WM_ENDSESSION,
    end_in_words,
    window_told,
)

WM_QUERYENDSESSION = 0x0011
LOGOFF_AS_SIGNED = ENDSESSION_LOGOFF - 2**32  # as an LPARAM of 32 bits has it


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ((WM_ENDSESSION, 1, 0), "WM_ENDSESSION"),
        ((WM_ENDSESSION, 1, ENDSESSION_LOGOFF), "ENDSESSION_LOGOFF"),
        ((WM_ENDSESSION, 1, LOGOFF_AS_SIGNED), "ENDSESSION_LOGOFF"),
        ((WM_ENDSESSION, 1, ENDSESSION_CLOSEAPP), "ENDSESSION_CLOSEAPP"),
        ((WM_ENDSESSION, 0, ENDSESSION_LOGOFF), None),  # another program had it go on
        ((WM_QUERYENDSESSION, 0, 0), None),
        ((WM_CLOSE, 0, 0), "WM_CLOSE"),
        ((0x001A, 0, 0), None),  # WM_SETTINGCHANGE, which every window gets
    ],
)
def test_what_ends(message: tuple[int, int, int], words: str | None) -> None:
    assert end_in_words(*message) == words


@pytest.mark.skipif(sys.platform == "win32", reason="there is a window there")
def test_without_a_window_the_daemon_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with window_told(pytest.fail):
        pass
    assert "the end of a session is not told" in caplog.text


@pytest.mark.usefixtures("no_thread")
def test_so_it_does_without_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with window_told(pytest.fail):
        pass
    assert "the end of a session is not told to this process reason=no thread can be had" in caplog.text
