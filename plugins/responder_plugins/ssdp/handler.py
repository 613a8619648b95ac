"""Answers searches by datagram, and serves the descriptions by HTTP; `announcer` announces.

Nothing is ever sent to an address that a message names: an answer goes to the peer, an announcement to the groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import attrs
import trio

from responder import (
    PASS,
    Answer,
    ConfigError,
    Connection,
    Context,
    Datagram,
    Exchange,
    IPAddress,
    Network,
    Pass,
    Via,
)

from ..shared import http
from ..shared.admission import MIN_WINDOW
from ..shared.announcing_handler import AnnouncingHandler
from ..shared.boot_number import BootNumber
from ..shared.refused import Refused, refusals_counted
from ..shared.timed_answers import Make, TimedAnswers
from .announcer import Announcer
from .description import describe, seen_by
from .message import read_message, read_search
from .options import UUID, walk
from .targets import Index, Match, Root, matches_of
from .writer import Writer

if TYPE_CHECKING:
    from . import Ssdp

AT_ONCE: Final = MIN_WINDOW
"""Seconds that answers are spread over where a search has no MX, being unicast, which is to be answered within 1 s
(UDA 2.0 section 1.3.3), or an MX of 0.  Not less: the spread is what bounds the answers to a storm."""

METHODS: Final = ("GET", "HEAD")
"""Not SUBSCRIBE: a peer could name an address to send events to (CallStranger, CVE-2020-12695)."""

MEDIA_TYPE: Final = 'text/xml; charset="utf-8"'
"""UDA 2.0 section 2.11."""


@attrs.define(eq=False)
class SsdpHandler(AnnouncingHandler):
    """Answers and announces the devices of one instance."""

    index: Index
    documents: Mapping[str, bytes]
    server: str
    max_age: int
    writer: Writer | None = attrs.field(default=None, init=False)
    """None before the first announcement and from byebye on: then nothing is answered."""

    @classmethod
    def of(cls, options: Ssdp, context: Context) -> Self:
        """Raises ConfigError for a file that can't be read."""
        matches: list[Match] = []
        documents: dict[str, bytes] = {}
        for number, device in enumerate(options.devices):
            description = describe(device, f"devices[{number}]", context)
            documents.update(description.documents)
            root = Root(device.uuid, device.location, description.config_id, device.headers)
            matches.extend(matches_of(device, root))
        for path, device in walk(options.devices):
            if not UUID.fullmatch(device.uuid):
                odd = f"{device.uuid!r} is no UUID: control points of UPnP 1.1 and later may ignore the device"
                context.warn(ConfigError(odd, path=f"devices{path}.uuid"))
        return cls(Index(matches), documents, options.server, int(options.max_age))

    @refusals_counted
    def respond(self, request: Datagram) -> Answer:
        """Answer a search.  Raises PeerError for an unreadable message, or a multicast search without MX."""
        search = read_search(request.payload)
        if search is None:
            return PASS
        address: IPAddress | None = request.destination
        window = AT_ONCE
        if request.via is not Via.UNICAST:
            if search.mx is None:
                # UDA 2.0 section 1.3.3: silently discard.
                raise Refused("a multicast search without MX", "no-mx")
            address = request.interface.source_for(request.peer.address)
            window = max(float(search.mx), AT_ONCE)
        matches = self.index.find(search.target)
        if not matches:
            self.counted["not-here"] += 1
            return PASS
        if self.writer is None or address is None:
            self.counted["silent"] += 1
            return None
        place = self.admission.ask(request.interface.index, request.peer.address, window, trio.current_time())
        if place is None:
            self.counted["no-room"] += 1
            return None
        self.counted["taken"] += 1
        now = trio.current_time()

        def due(match: Match) -> tuple[float, Make]:
            """At its own random moment of the window."""
            moment = now + self.uniform(0.0, place.window)
            return moment, lambda: None if self.writer is None else self.writer.answer(match, address)

        return TimedAnswers(map(due, matches), place, self.silenced)

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The method and what is searched for or announced (ST, NT); of a connection what is asked for by HTTP.

        Raises PeerError.
        """
        if exchange.transport == "tcp":
            return http.describe(exchange)
        message = read_message(exchange.request or exchange.answers[0])
        method = message.start.split(" ")[0]
        words: dict[str, str | int] = {"method": "response" if method.startswith("HTTP/") else method}
        for name, field in (("target", "st"), ("target", "nt"), ("nts", "nts"), ("mx", "mx")):
            if field in message.headers:
                words[name] = message.headers[field]
        return words

    async def converse(self, connection: Connection) -> Pass | None:
        """Serve the descriptions, where there are any."""
        if not self.documents:
            return PASS

        def find(request: http.Request) -> http.Document | HTTPStatus:
            document = self.documents.get(request.path)
            if document is None:
                return HTTPStatus.NOT_FOUND
            return http.Document(seen_by(document, connection.destination), MEDIA_TYPE)

        await http.serve(connection.stream, find, server=self.server, methods=METHODS)
        return None

    async def run(self, network: Network) -> None:
        """Announce until it is time for byebye."""
        boot = BootNumber("boot-id", lambda: network.state_dir, self.clock)
        writer = self.writer = Writer(
            self.server, self.max_age, network.port("discovery"), network.port("device"), boot.value
        )
        announcer = Announcer(network, self.index.all, writer, boot, self.uniform)
        await self.announce(network, announcer.run)

    def fall_silent(self) -> None:
        self.writer = None
