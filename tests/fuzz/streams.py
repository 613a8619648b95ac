"""Connections without a network, on a clock that jumps to whatever is waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing


def run(converse: Callable[..., Awaitable[bytes]], *arguments: object) -> bytes:
    return trio.run(converse, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


async def rest_of(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the other end closes."""
    return b"".join([part async for part in stream])


def answer_to(data: bytes, serve: Callable[[Any], Awaitable[object]]) -> bytes:
    """What `serve` sends to a peer that sends `data` and then nothing more."""

    async def converse() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(data)
        await theirs.send_eof()
        await serve(ours)
        await ours.aclose()
        return await rest_of(theirs)

    return run(converse)
