"""Tells when what an `Mdns` offers is established, link by link."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import trio

from responder import Context, Plugin

from . import Mdns
from .handler import MdnsHandler
from .records import HOST

LOOK: float = 0.1
"""Seconds between two looks."""

Tell: TypeAlias = Callable[[str, str, str], None]
"""(interface, instance, host) -> None."""


@attrs.frozen(eq=False)
class Publisher(Plugin):
    """An `Mdns` that tells once a service is established on a link, and again when it has another name there."""

    plugin: Mdns
    tell: Tell
    handlers: list[MdnsHandler] = attrs.field(factory=list, init=False)

    services = Mdns.services

    def prepare(self, context: Context) -> MdnsHandler:
        """The handler of the plugin."""
        handler = MdnsHandler.of(self.plugin, context)
        self.handlers.append(handler)
        return handler

    async def watch(self) -> None:
        """Tell, for ever."""
        told: set[tuple[str, str, str]] = set()
        while True:
            for handler in self.handlers:
                for link in handler.links.values():
                    host = link.claims.get(HOST)
                    claims = [claim for claim in link.claims.values() if not claim.fixed]
                    if host is None or not all(claim.is_established for claim in claims):
                        continue
                    for claim in claims:
                        each = link.interface.name, claim.text, f"{host.text}.local"
                        if claim is not host and each not in told:
                            told.add(each)
                            self.tell(*each)
            await trio.sleep(LOOK)
