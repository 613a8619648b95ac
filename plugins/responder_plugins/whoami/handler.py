"""What answers for whoami: facts about the request, told in DNS over UDP and TCP.

It refuses to keep any state about clients.  Bytes are the business of `message`.
"""

from __future__ import annotations

from typing import Final

import trio

from responder import Answer, Connection, Datagram, Handler, PeerError, Via
from responder_plugins.shared.dns_message import STREAM

from .message import Facts, answer

IDLE: Final = 10.0
"""Seconds within which a TCP client must have sent its next query and taken the answer (RFC 7766 section 6.2.3)."""


class WhoamiHandler(Handler):
    """Answers any name; see `facts` for what it says."""

    __slots__ = ()

    def respond(self, request: Datagram) -> Answer:
        """Raises PeerError for what is no query."""
        return answer(request.payload, facts(request, request.via))

    async def converse(self, connection: Connection) -> None:
        """Answer queries, each behind its length in two bytes (RFC 7766 section 8), until the client ends or idles."""
        known = facts(connection, Via.UNICAST)
        reader = _Reader(connection.stream)
        while True:
            with trio.move_on_after(IDLE) as idle:
                size = int.from_bytes(await reader.exactly(2))
                query = await reader.exactly(size)
                if reader.ended:
                    return
                try:
                    reply = answer(query, known, stream=True)
                except PeerError:
                    return  # what follows on this connection can't be trusted to be a query either
                await connection.stream.send_all(len(reply).to_bytes(2) + reply)
            if idle.cancelled_caught:
                return


def facts(request: Datagram | Connection, via: Via) -> Facts:
    """What the request tells: the address that was asked, and texts about its way.

    For a group or a broadcast address it is the arrival interface's own address, since that is where the host can be
    reached.
    """
    address = request.destination if via is Via.UNICAST else request.interface.source_for(request.peer.address)
    texts = (
        f"interface={request.interface.name}",
        f"peer={request.peer.address}",
        f"port={request.peer.port}",
        f"via={via}",
    )
    return Facts(address, [text.encode(errors="surrogateescape") for text in texts])


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
