"""What tests of several folders use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What threads do is done at once: a clock that jumps would jump meanwhile."""

    async def at_once(do: Callable[..., object], *args: object, **_more: Any) -> object:
        await trio.lowlevel.checkpoint()
        return do(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, and each call needs a second try: no thread can be had at the first, as at a limit of tasks."""
    calls = 0

    async def at_second(do: Callable[..., object], *args: object, **_more: Any) -> object:
        nonlocal calls
        await trio.lowlevel.checkpoint()
        calls += 1
        if calls % 2:
            raise RuntimeError("can't start new thread")
        return do(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_second)


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_args: object, **_more: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", never)
