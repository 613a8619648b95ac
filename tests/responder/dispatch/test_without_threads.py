"""No thread can be had for what a peer asks: that is no failure of the plugin, and is told in a line."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
import trio

from responder import Connection, Datagram, Plugin, Service
from responder.testing import bench, settled

pytestmark = pytest.mark.usefixtures("no_thread")


@attrs.frozen
class Blocking(Plugin):
    services: ClassVar = (Service(port=7007, blocking=True),)

    def respond(self, request: Datagram) -> bytes:
        return request.payload


@attrs.frozen
class AsksInThreads(Plugin):
    """Calls a thread of its own, within a nursery."""

    services: ClassVar = (Service(port=7007, tcp=True),)

    async def respond(self, request: Datagram) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, len, b"")
        return request.payload

    async def converse(self, connection: Connection) -> None:
        await connection.stream.send_all(await trio.to_thread.run_sync(bytes, 1))


@pytest.mark.parametrize("plugin", [Blocking(), AsksInThreads()], ids=["blocking", "its own"])
async def test_a_datagram_is_counted_as_busy(plugin: Plugin, caplog: pytest.LogCaptureFixture) -> None:
    async with bench(plugin, failures=[]) as at:
        for _ in range(3):
            assert await at.exchange(b"x") == []
        assert at.outcomes() == {"busy": 3}
    check(caplog)


async def test_a_connection_is_counted_as_busy(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(AsksInThreads(), failures=[]) as at:
        for _ in range(3):
            stream = await at.connect()
            assert await stream.receive_some() == b""
        await settled()
        assert at.outcomes() == {"busy": 3}
    check(caplog)


def check(caplog: pytest.LogCaptureFixture) -> None:
    (record,) = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert record.getMessage().startswith("no thread can be had plugin=")
    assert record.exc_info is None
