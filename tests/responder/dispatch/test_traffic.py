"""The bytes that come in and go out by a port, by each way that a datagram or a stream may take."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
import trio

from responder import Answer, Connection, Datagram, Plugin, Service
from responder.dispatch.observers import Observation
from responder.server.embedding import Server
from responder.testing import bench, loopback, settled


@attrs.frozen
class Doubling(Plugin):
    """Says everything twice; "later" after a moment, "port" from a port of its own, and nothing to "hush"."""

    services: ClassVar = (Service(port=7, tcp=True),)

    def respond(self, request: Datagram) -> Answer:
        match request.payload:
            case b"hush":
                return None
            case b"later":
                return self._later(request)
            case b"port":
                return self._by_another_port(request)
        return request.payload * 2

    async def _later(self, request: Datagram) -> bytes:
        await trio.lowlevel.checkpoint()
        return request.payload * 2

    async def _by_another_port(self, request: Datagram) -> None:
        async with request.conversation() as conversation:
            await conversation.send(b"from here")
            await conversation.send(await conversation.receive())

    async def converse(self, connection: Connection) -> None:
        async for data in connection.stream:
            await connection.stream.send_all(bytes(data) * 2)


def traffic(server: Server) -> dict[str, tuple[int, int]]:
    """transport -> bytes in, bytes out."""
    return {transport: (each["received"], each["sent"]) for _, transport, each in server._core.counters.traffics()}


@pytest.mark.parametrize("watched", [False, True])
async def test_of_datagrams(watched: bool) -> None:
    seen: list[Observation] = []
    async with bench(Doubling(), deny=["192.0.2.66/32"]) as at:
        if watched:
            at.server._core.observers.add(seen.append)
        await at.ask(b"abc")
        await at.ask(b"later")
        at.spoof(b"refused", "192.0.2.66")
        await at.exchange(b"hush")
        assert traffic(at.server) == {"udp": (3 + 5 + 7 + 4, 6 + 10)}


async def test_of_conversations() -> None:
    async with bench(Doubling()) as at:
        conversation = await at.begin(b"port")
        await conversation.ask(b"yes")
        await settled()
        assert traffic(at.server) == {"udp": (4 + 3, 9 + 3)}


async def test_of_streams() -> None:
    async with bench(Doubling()) as at:
        stream = await at.connect()
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hellohello"
        await stream.aclose()
        assert traffic(at.server)["tcp"] == (5, 10)


async def test_on_this_machines_sockets() -> None:
    """Where there is a compiled module, it is what counts here."""
    async with loopback(Doubling()) as at:
        for payload in (b"", b"abc", b"x" * 1000):
            await at.ask(payload)
        assert traffic(at.server) == {"udp": (1003, 2006)}
