"""No thread can be had: that is the system's refusal, after which the interfaces are asked for again."""

from __future__ import annotations

import errno
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest
import trio

from responder.net import platform
from responder.net.threads import in_thread
from responder.net.windows.interfaces import SignalledWatch


@pytest.fixture
def _no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_sync(*_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")  # as `threading` says it

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@pytest.mark.usefixtures("_no_thread")
class TestWithoutThreads:
    @pytest.mark.parametrize(
        "interfaces", [platform().interfaces, SignalledWatch(list).interfaces], ids=["the platform", "Windows' watch"]
    )
    async def test_the_interfaces_are_refused(self, interfaces: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(OSError, match="can't start new thread") as caught:
            await interfaces()
        assert caught.value.errno == errno.EAGAIN

    @pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
    async def test_so_they_are_on_linux(self) -> None:
        from responder.net.linux.interfaces import NetlinkWatch  # noqa: PLC0415 - can be imported on Linux only

        with closing(NetlinkWatch()) as watch, pytest.raises(OSError, match="can't start new thread"):
            await watch.interfaces()


async def test_what_is_asked_fails_as_it_does() -> None:
    def ask() -> None:
        raise OSError(errno.ENOBUFS, "no room")

    with pytest.raises(OSError, match="no room"):
        await in_thread(ask)
    assert await in_thread(lambda: 7) == 7
