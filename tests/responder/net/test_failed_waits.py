"""The event loop is short of memory for a moment: who waits for a socket waits again, and nothing ends by it."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import closing

import pytest
import trio
from trio.testing import MockClock

from responder.errors import NetworkError
from responder.net.handover import Handed, Recipient, pair, why_not_shared
from responder.net.sockets import SHORTAGE_PAUSE, FailedWaits

WORKERS = pytest.mark.skipif(why_not_shared() != "", reason=why_not_shared())
FailFirst = Callable[..., list[OSError]]


@pytest.fixture
def fail_first(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> FailFirst:
    """Let the next waits fail with these codes, those left of which it returns; later waits are over at once."""

    def fail(*codes: int) -> list[OSError]:
        errors = [OSError(code, os.strerror(code)) for code in codes]

        async def wait(_sock: socket.socket) -> None:
            if errors:
                raise errors.pop(0)
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
        monkeypatch.setattr(trio.lowlevel, "wait_writable", wait)
        return errors

    return fail


class TestFailedWaits:
    async def test_each_is_counted_and_one_a_kind_is_logged(
        self, fail_first: FailFirst, caplog: pytest.LogCaptureFixture
    ) -> None:
        left, waits = fail_first(errno.ENOMEM, errno.ENOSPC, errno.ENOBUFS, errno.ENOMEM), FailedWaits("a socket")
        with socket.socket() as sock:
            await waits.outlast(trio.lowlevel.wait_readable, sock)
        assert (left, waits.count) == ([], 4)
        assert caplog.text.count("a wait failed, and is tried again name=a socket reason=") == 3

    async def test_whatever_else_goes_on(self, fail_first: FailFirst) -> None:
        fail_first(errno.ENOMEM, errno.EBADF)
        with socket.socket() as sock, pytest.raises(NetworkError, match="a socket can't be waited for: ") as caught:
            await FailedWaits("a socket").outlast(trio.lowlevel.wait_readable, sock)
        assert caught.value.errno == errno.EBADF

    async def test_a_socket_that_is_closed_meanwhile_is_waited_for_no_longer(self, fail_first: FailFirst) -> None:
        fail_first(errno.ENOMEM)
        sock = socket.socket()

        async def close() -> None:
            await trio.sleep(SHORTAGE_PAUSE / 2)
            sock.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            with pytest.raises(trio.ClosedResourceError):
                await FailedWaits("a socket").outlast(trio.lowlevel.wait_readable, sock)


@WORKERS
class TestWorkers:
    """A worker must not be killed, nor the daemon end, for it."""

    async def test_the_end_of_a_process_is_waited_for_on(self, fail_first: FailFirst) -> None:
        giver, theirs = pair()
        with closing(giver):
            left = fail_first(errno.ENOMEM, errno.ENOSPC)
            theirs.close()
            await giver.ended()
            assert left == []

    async def test_a_connection_reaches_it(self, fail_first: FailFirst) -> None:
        giver, theirs = pair()
        with closing(giver), closing(Handed()) as handed, closing(Recipient(theirs.detach(), handed)) as taker:
            left = fail_first(*[errno.ENOMEM] * 3)
            async with await giver.connect(), await taker.accept():
                assert left == []

    async def test_a_way_that_is_broken_is_a_process_that_has_ended(self, fail_first: FailFirst) -> None:
        giver, theirs = pair()
        with theirs, closing(giver):
            fail_first(errno.EBADF, errno.EBADF)
            with pytest.raises(trio.BrokenResourceError):
                await giver.connect()
            await giver.ended()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
async def test_changes_of_interfaces_are_still_heard_of_on_linux(fail_first: FailFirst) -> None:
    from responder.net.linux.interfaces import NetlinkWatch  # noqa: PLC0415 - can be imported on Linux only

    with closing(NetlinkWatch()) as watch:
        left = fail_first(errno.ENOMEM, errno.ENOSPC)
        assert await watch.changes() is not None
        assert left == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
async def test_changes_of_interfaces_are_still_heard_of_on_bsd(fail_first: FailFirst) -> None:
    from responder.net.bsd.interfaces import RouteWatch  # noqa: PLC0415 - can be imported on POSIX only

    near, far = socket.socketpair(type=socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        far.send(struct.pack("=HBB", 4, 5, 0x0C))
        left = fail_first(errno.ENOMEM)
        assert await RouteWatch(near).changes() is None
        assert left == []
