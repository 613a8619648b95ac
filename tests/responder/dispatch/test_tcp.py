"""What those who watch are told of a connection."""

from __future__ import annotations

from typing import ClassVar

import attrs
import trio

from responder import Connection, Plugin, Service
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation
from responder.testing import bench, settled


@attrs.frozen
class Lines(Plugin):
    """Says each line again."""

    services: ClassVar = (Service(port=7, tcp=True),)

    async def converse(self, connection: Connection) -> None:
        await connection.stream.send_all(b"hello")
        async for data in connection.stream:
            await connection.stream.send_all(data.upper())
        await connection.stream.send_eof()


async def test_answers_are_told_with_what_was_asked() -> None:
    seen: list[Observation] = []
    async with bench(Lines()) as at:
        at.server._core.observers.add(seen.append)
        stream = await at.connect("192.0.2.2")
        with trio.fail_after(5):
            assert await stream.receive_some() == b"hello"
            for line in (b"one", b"two"):
                await stream.send_all(line)
                assert await stream.receive_some() == line.upper()
            await stream.send_eof()
            assert await stream.receive_some() == b""
        await stream.aclose()
        await settled()
    assert {(each.transport, each.outcome, each.port, str(each.destination)) for each in seen} == {
        ("tcp", outcomes.CONNECTED, 7, "192.0.2.2")
    }
    assert [(each.request, [payload for _, (payload, _, _) in each.answers]) for each in seen] == [
        (None, [b"hello"]),
        (b"one", [b"ONE"]),
        (b"two", [b"TWO"]),
        (b"", []),  # its end
    ]
    # Each when it happened: an answer after its request.
    assert all(each.time <= at for each in seen[1:] for at, _ in each.answers)
    assert {(str(route.to), str(route.source)) for each in seen for _, (_, route, _) in each.answers} == {
        ("192.0.2.9", "192.0.2.2")
    }


@attrs.frozen
class Deaf(Plugin):
    """Reads to the end, and says nothing."""

    services: ClassVar = (Service(port=7, tcp=True),)

    async def converse(self, connection: Connection) -> None:
        async for _ in connection.stream:
            pass


async def test_what_gets_no_answer_is_told_at_the_end() -> None:
    seen: list[Observation] = []
    async with bench(Deaf()) as at:
        at.server._core.observers.add(seen.append)
        stream = await at.connect()
        for part in (b"one ", b"two"):
            await stream.send_all(part)
        await stream.send_eof()
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        await settled()
    assert [(each.request, each.answers, each.outcome) for each in seen] == [(b"one two", (), outcomes.CONNECTED)]
