"""DNS messages on a TCP connection."""

from __future__ import annotations

import trio
from responder_plugins.shared.dns_stream import serve
from trio.testing import MockClock, memory_stream_pair


async def test_queries_without_an_answer_let_others_have_their_turn(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()
    seen: list[int] = []
    turns = 0

    def answer(_query: bytes) -> None:
        seen.append(turns)

    async def others() -> None:
        nonlocal turns
        while len(seen) < 1000:
            turns += 1
            await trio.lowlevel.checkpoint()

    await client.send_all(b"\0\1?" * 1000)
    await client.send_eof()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        nursery.start_soon(serve, server, answer)
    assert len(set(seen)) > 500
