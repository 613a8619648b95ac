"""The plugins that are measured: what anyone would write, by the public contract, and nothing else.

They stand in a distribution that `running.install_plugins` makes in a temporary folder.  The bundled `echo` is measured
as well; it also reads the peer's port of each datagram, which the peers' loops don't.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import trio

from responder import Answer, Datagram, Plugin, Service


@attrs.frozen
class Plain(Plugin):
    """The payload back, at once."""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Peer(Plain):
    """The same, having read who asked."""

    def respond(self, request: Datagram) -> Answer:
        request.peer  # noqa: B018 - reading it is what is measured
        return request.payload


@attrs.frozen
class SixFields(Plain):
    """The same, having read what a real plugin reads."""

    def respond(self, request: Datagram) -> Answer:
        _ = request.peer, request.destination, request.interface.name, request.via, request.port, request.service
        return request.payload


@attrs.frozen
class AllFields(Plain):
    """The same, having read all that there is."""

    def respond(self, request: Datagram) -> Answer:
        _ = request.peer, request.destination, request.interface.name, request.via, request.port, request.service
        _ = request.hop_limit, request.arrival
        return request.payload


@attrs.frozen
class Async(Plugin):
    """The payload back from a coroutine: a task for each datagram."""

    services: ClassVar = (Service(port=7007),)

    async def respond(self, request: Datagram) -> bytes:
        return request.payload


@attrs.frozen
class Waits(Plugin):
    """The same, with one checkpoint."""

    services: ClassVar = (Service(port=7007),)

    async def respond(self, request: Datagram) -> bytes:
        await trio.lowlevel.checkpoint()
        return request.payload
