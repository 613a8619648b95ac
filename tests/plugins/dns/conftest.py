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
