"""DNS messages on a TCP connection, for whoami and llmnr: one query, its answer, the next query.

The dns plugin has a server of its own (`responder_plugins.dns.tcp`), which answers queries side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from responder import PeerError

from .dns_message import STREAM

IDLE: Final = 10.0
"""Seconds within which a client must have sent its next query and taken the answer (RFC 7766 section 6.2.3)."""


async def serve(stream: trio.abc.Stream, answer: Callable[[bytes], bytes | None]) -> None:
    """Answer queries, each behind its length in two bytes (RFC 7766 section 8), until the client ends or idles.

    Where `answer` raises PeerError, the connection ends: what follows can't be trusted to be a query either.
    """
    reader = _Reader(stream)
    while True:
        with trio.move_on_after(IDLE) as idle:
            size = int.from_bytes(await reader.exactly(2))
            query = await reader.exactly(size)
            if reader.ended:
                return
            try:
                reply = answer(query)
            except PeerError:
                return
            if reply is None:
                await trio.lowlevel.checkpoint()  # many queries that get no answer must not hold up everybody else
            else:
                await stream.send_all(len(reply).to_bytes(2) + reply)
        if idle.cancelled_caught:
            return


class _Reader:
    """Reads a stream in pieces of known size; `ended` once the client has sent all."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._held = bytearray()
        self.ended = False

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes, or fewer where the stream has ended."""
        while len(self._held) < size and not self.ended:
            data = await self._stream.receive_some(STREAM)
            self.ended = not data
            self._held += data
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken
