"""The echo protocol (RFC 862) over UDP and TCP: what comes goes back.

A datagram whose sender is itself a responder is not answered: two echo servers, told of each other by one datagram
with a forged source, would answer each other for ever (CERT CA-1996-01).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import attrs
import trio

from responder import Plugin, Service

if TYPE_CHECKING:
    from responder import Answer, Connection, Datagram

ANSWERING_PORTS: Final = frozenset(
    {
        7,  # echo, RFC 862
        13,  # daytime, RFC 867
        17,  # quote of the day, RFC 865
        19,  # character generator, RFC 864
        37,  # time, RFC 868
    }
)
"""Services that answer whatever they get."""

CHUNK: Final = 65536
"""Bytes of a TCP connection that are held at a time."""

IDLE: Final = 60.0
"""Seconds after which a TCP connection that neither sends nor takes its echo is closed."""


@attrs.frozen
class Echo(Plugin):
    """Sends back what it gets (RFC 862)."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=7, tcp=True),)

    def respond(self, request: Datagram) -> Answer:
        """The payload, or None for a sender whose port says that it would answer the answer."""
        if request.peer.port in ANSWERING_PORTS or request.peer.port == request.port:
            return None
        return request.payload

    async def converse(self, connection: Connection) -> None:
        """Echo until the peer has sent all.  A peer that doesn't read is not read from either."""
        stream = connection.stream
        while True:
            with trio.move_on_after(IDLE) as idle:
                data = await stream.receive_some(CHUNK)
                if not data:
                    return
                await stream.send_all(data)
            if idle.cancelled_caught:
                return
