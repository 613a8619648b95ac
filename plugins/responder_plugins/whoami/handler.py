"""Answers DNS queries over UDP and TCP with facts about the query itself.  Nothing is kept about clients."""

from __future__ import annotations

from collections.abc import Mapping

from responder import Answer, Connection, Datagram, Exchange, Handler, Via
from responder_plugins.shared.dns_stream import serve
from responder_plugins.shared.dns_text import describe

from .message import Facts, answer


class WhoamiHandler(Handler):
    """Answers any name; see `facts` for what it says."""

    __slots__ = ()

    def respond(self, request: Datagram) -> Answer:
        """Raises PeerError for what is no query."""
        return answer(request.payload, facts(request, request.via))

    async def converse(self, connection: Connection) -> None:
        """Answer queries until the client ends or idles."""
        known = facts(connection, Via.UNICAST)
        await serve(connection.stream, lambda query: answer(query, known, stream=True))

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The question's name and type, and the answer's rcode."""
        return describe(exchange)


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
