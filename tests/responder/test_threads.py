"""No thread can be had: that is the system's refusal, after which the interfaces are asked for again."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from responder.errors import ThreadUnavailable
from responder.net import platform
from responder.net.windows.interfaces import SignalledWatch
from responder.threads import in_thread, start


@pytest.mark.usefixtures("no_thread")
class TestWithoutThreads:
    @pytest.mark.parametrize(
        "interfaces", [platform().interfaces, SignalledWatch(list).interfaces], ids=["the platform", "Windows' watch"]
    )
    async def test_the_interfaces_are_refused(self, interfaces: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(OSError, match="no thread can be had") as caught:
            await interfaces()
        assert caught.value.errno == errno.EAGAIN

    @pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
    async def test_so_they_are_on_linux(self) -> None:
        from responder.net.linux.interfaces import NetlinkWatch  # noqa: PLC0415 - can be imported on Linux only

        with closing(NetlinkWatch()) as watch, pytest.raises(OSError, match="no thread can be had"):
            await watch.interfaces()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stack that large may be refused at once")
def test_python_says_it_as_we_know_it() -> None:
    before = threading.stack_size(1 << 47)  # there is no room for it
    try:
        with pytest.raises(ThreadUnavailable):
            start(threading.Thread(target=pytest.fail))
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("error", [OSError(errno.ENOBUFS, "no room"), RuntimeError("its own")])
async def test_what_is_asked_fails_as_it_does(error: Exception) -> None:
    def ask() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await in_thread(ask)
    assert caught.value is error
    assert await in_thread(lambda: 7) == 7
