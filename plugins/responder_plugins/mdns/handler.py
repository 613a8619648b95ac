"""What answers for mDNS: each datagram goes to the link that it came in by; what announces is `announcer`.

`link` decides what a link says, and when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Self

import attrs
import trio

from responder import PASS, Answer, ConfigError, Context, Datagram, Exchange, Handler, Network, Reply, Via
from responder_plugins.shared.delays import Uniform, by_chance
from responder_plugins.shared.dns_message import QR, Malformed, Message, read
from responder_plugins.shared.dns_text import about_words

from .announcer import Announcer
from .host import host_label
from .link import GROUPS, Link
from .message import PORT
from .service_files import Folder, Found, merge

if TYPE_CHECKING:
    from . import Mdns

MAX_MESSAGE: Final = 9000 - 28
"""Bytes: RFC 6762 section 17 bounds the packet, IP and UDP headers included."""

SHORT: Final = 300
"""Bytes of a message that is kept, once it is read, for the next that is the same: hosts ask alike."""

_read = lru_cache(maxsize=256)(read)


def _read_bounded(payload: bytes) -> Message:
    """Raises Malformed."""
    if len(payload) > MAX_MESSAGE:
        raise Malformed(f"{len(payload)} bytes, more than {MAX_MESSAGE}")
    return read(payload)


@attrs.define(eq=False)
class MdnsHandler(Handler):
    """Answers on each link, and announces.  `uniform` chooses the delays."""

    options: Mdns
    host: str
    folder: Folder | None = None
    found: Found = attrs.field(factory=Found)
    uniform: Uniform = attrs.field(factory=by_chance)
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
        payload, peer = request.payload, request.peer
        if peer.port != PORT:
            known = link.known_reply(payload, peer.address.version)
            if known is not None:
                return known
        try:
            message = _read(payload) if len(payload) <= SHORT else _read_bounded(payload)
        except Malformed:
            self.counted["malformed"] += 1
            raise
        if peer.port != PORT:
            reply = link.reply(message, payload, peer)
            return PASS if reply is None else reply
        sends = link.receive(message, peer, trio.current_time(), direct=request.via is Via.UNICAST)
        if self.announcer is not None:
            self.announcer.look_at(link)
        if not sends:
            # Another instance on this port may have something to say, or to hear.
            return PASS
        # What goes to the asker is addressed by the framework.
        return [
            Reply(payload, to=GROUPS[version], interface=link.interface.index) if to is None else payload
            for version, payload, to in sends
        ]

    def counts(self) -> Mapping[str, int]:
        """Queries by what they got, and what happened to names."""
        return self.counted

    def notes(self) -> Iterator[str]:
        """Names that are taken, and what is told instead, by link."""
        for link in self.links.values():
            for claim in link.claims.values():
                if claim.number == claim.told != 1:
                    yield f"{link.interface.name}: the name {claim.label!r} is taken: it is {claim.text!r} here"

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """Whether it is a query, a probe or a response, and the name and type of its first question or record.

        Raises Malformed.
        """
        message = read(exchange.request or exchange.answers[0])
        kind = "query"
        if message.flags & QR:
            kind = "response"
        elif message.authorities:  # what is proposed, RFC 6762 section 8.2
            kind = "probe"
        return {"kind": kind, **about_words(message)}

    def succeed(self, predecessor: Handler) -> None:
        """Go on where the replaced handler is: names that are established stay so, and are not taken back."""
        if isinstance(predecessor, MdnsHandler):
            self.links, predecessor.links = predecessor.links, {}

    async def run(self, network: Network) -> None:
        """Announce until it is time for goodbyes."""
        self.announcer = Announcer(self, network)
        await self.announcer.run()
