"""What goes on in the background waits for a thread, and fails by itself alone."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from responder_plugins.shared import threads
from responder_plugins.shared.threads import PAUSE, in_thread
from trio.testing import MockClock

from responder import Repeated


async def test_a_thread_is_waited_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    missing = 3

    async def run_sync(function: Any, *args: object, **_more: object) -> object:
        nonlocal missing
        await trio.lowlevel.checkpoint()
        if missing:
            missing -= 1
            raise RuntimeError("can't start new thread")
        return function(*args)

    monkeypatch.setattr(threads, "_repeated", Repeated())
    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    assert await in_thread(len, "four") == 4
    assert trio.current_time() == 3 * PAUSE
    assert [record.getMessage() for record in caplog.records] == ["no thread can be had, and one is waited for"]


async def test_another_failure_is_its_own() -> None:
    error = RuntimeError("its own")

    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError) as caught:
        await in_thread(fail)
    assert caught.value is error
