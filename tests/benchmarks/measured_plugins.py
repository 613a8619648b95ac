"""The plugins that are measured: what anyone would write, by the public contract, and nothing else.

They stand in a distribution that `running.install_plugins` makes in a temporary folder.  The bundled `echo` is measured
as well; it also reads the peer's port of each datagram, which the peers' loops don't.  This file refuses to be clever.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from responder import Answer, Datagram, Plugin, Service


@attrs.frozen
class Plain(Plugin):
    """The payload back, at once."""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Async(Plugin):
    """The payload back from a coroutine: a task for each datagram."""

    services: ClassVar = (Service(port=7007),)

    async def respond(self, request: Datagram) -> bytes:
        return request.payload
