"""What answers for mDNS: each datagram goes to the link that it came in by; what announces is `announcer`.

This file refuses to know what a link says, and when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Self

import attrs
import trio

from responder import PASS, Answer, ConfigError, Context, Datagram, Handler, Network, Reply, Via
from responder_plugins.shared.dns_message import Malformed, read

from .announcer import Announcer
from .answering import Send, Uniform
from .host import host_label
from .link import GROUPS, Link
from .service_files import Folder, Found, merge

if TYPE_CHECKING:
    from . import Mdns


@attrs.define(eq=False)
class MdnsHandler(Handler):
    """Answers on each link, and announces.  `uniform` chooses the delays."""

    options: Mdns
    host: str
    folder: Folder | None = None
    found: Found = attrs.field(factory=Found)
    uniform: Uniform = attrs.field(factory=lambda: Random().uniform)  # noqa: S311 - spreads load, keeps no secret
    links: dict[int, Link] = attrs.field(factory=dict, init=False)
    """By interface index; those on which mDNS is spoken."""
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    announcer: Announcer | None = attrs.field(default=None, init=False)

    @classmethod
    def of(cls, options: Mdns, context: Context) -> Self:
        """Raises ConfigError for a service without a host; complains of service files that are wrong."""
        host = host_label() if options.host is None else options.host
        handler = cls(options, host)
        if options.services_dir is not None:
            folder = handler.folder = Folder(context.path(options.services_dir))
            folder.changed()
            for file in folder.files():
                context.path(file)  # so that a reload sees that it changed
            handler.found = folder.read(host)
            for error in handler.found.errors:
                context.complain(error)
            _, left_out = merge(host, options.offered, handler.found.services)
            for reason in left_out:
                context.complain(ConfigError(reason, path="services_dir", file=folder.path))
        return handler

    def respond(self, request: Datagram) -> Answer:
        """Answer a query, or learn from what another host says.  Raises PeerError for what is no DNS message."""
        link = self.links.get(request.interface.index)
        if link is None:
            return PASS
        try:
            message = read(request.payload)
        except Malformed:
            self.counted["malformed"] += 1
            raise
        sends = link.receive(message, request.peer, trio.current_time(), direct=request.via is Via.UNICAST)
        if self.announcer is not None:
            self.announcer.look_at(link)
        if not sends:
            # Another instance on this port may have something to say, or to hear.
            return PASS
        return [_reply(send, link) for send in sends]

    def counts(self) -> Mapping[str, int]:
        """Queries by what they got, and what happened to names."""
        return self.counted

    def succeed(self, predecessor: Handler) -> None:
        """Go on where the replaced handler is: names that are established stay so, and are not taken back."""
        if isinstance(predecessor, MdnsHandler):
            self.links, predecessor.links = predecessor.links, {}

    async def run(self, network: Network) -> None:
        """Announce until it is time for goodbyes."""
        self.announcer = Announcer(self, network)
        await self.announcer.run()


def _reply(send: Send, link: Link) -> Reply:
    if send.to is not None:
        return Reply(send.payload, to=send.to)
    return Reply(send.payload, to=GROUPS[send.version], interface=link.interface.index)
