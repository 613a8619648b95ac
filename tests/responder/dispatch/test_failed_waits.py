"""A conversation whose socket can't be waited for; a port's own is in `tests/responder/server/test_live_ports.py`."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock

from responder import Datagram, NetworkError
from responder.daemon.recent_errors import RecentErrors
from responder.daemon.status import About, take
from tests.fakes import FakeReceived, FakeSocket, flow

from .bench import Bench, bench


async def respond(request: Datagram) -> None:
    async with request.conversation() as conversation:
        await conversation.send(b"data")
        await conversation.send(b"after " + await conversation.receive())


async def conversation_of(at: Bench) -> FakeSocket:
    """Begin one: its own socket."""
    await at.deliver(FakeReceived(b"read", flow(), port=4711))
    return at.platform.sockets[1]


async def test_a_shortage_of_memory_is_waited_out_and_counted_at_the_services_port(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(respond) as at:
        own = await conversation_of(at)
        own.fail_waits(*[OSError(code, "no memory") for code in (errno.ENOMEM, errno.ENOSPC, errno.ENOBUFS)] * 2)
        own.deliver(FakeReceived(b"ack", flow(), port=4711))
        await trio.sleep(1)
        assert [sent.payload for sent in own.sent] == [b"data", b"after ack"]
        assert take(at.server, About("", RecentErrors())).ports[0].events == {"failed-waits": 6}
        assert at.count("crashed") == 0
    assert caplog.text.count("name=UDP port 7007 reason=no memory") == 3  # one a kind


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "bad descriptor"), NetworkError(errno.EBADF, "it is none")])
async def test_whatever_else_waiting_raises_is_the_systems_doing(error: OSError, autojump_clock: MockClock) -> None:
    async with bench(respond) as at:
        own = await conversation_of(at)
        own.fail_waits(error)
        await trio.sleep(1)
        assert own.closed
        assert (at.count("send-failed"), at.count("crashed")) == (1, 0)


async def test_so_is_a_socket_that_can_receive_nothing_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(respond) as at:
        own = await conversation_of(at)
        own.fail(NetworkError(errno.ENOTSOCK, "UDP port 50000 can't receive: it is none"))
        await trio.sleep(1)
        assert own.closed
        assert (at.count("send-failed"), at.count("crashed")) == (1, 0)
    assert "the socket failed plugin=probe reason=UDP port 50000 can't receive: it is none" in caplog.text


async def test_a_handler_may_catch_it(autojump_clock: MockClock) -> None:
    caught: list[NetworkError] = []

    async def catching(request: Datagram) -> bytes:
        try:
            await respond(request)
        except NetworkError as error:
            caught.append(error)
        return b"the transfer has ended"

    async with bench(catching) as at:
        (await conversation_of(at)).fail_waits(OSError(errno.EBADF, "bad descriptor"))
        await trio.sleep(1)
        assert at.replies() == [b"the transfer has ended"]
    assert [str(error) for error in caught] == ["UDP port 7007 can't be waited for: bad descriptor"]
