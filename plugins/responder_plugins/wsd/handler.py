"""Answers Probe and Resolve by datagram, and Get by HTTP.

An answer names the address by which its asker reaches this host.  It goes to the asker, whatever address the message
says to reply to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import attrs
import trio

from responder import PASS, Answer, Connection, Datagram, Exchange, IPAddress, Network, Pass, Via

from ..shared import http
from ..shared.admission import MIN_WINDOW
from ..shared.announcing_handler import AnnouncingHandler
from ..shared.boot_number import BootNumber
from ..shared.http import url_host
from ..shared.refused import Refused, refusals_counted
from ..shared.timed_answers import TimedAnswers
from . import ADDRESS
from .announcer import APP_MAX_DELAY, UNICAST_REPEAT, Announcer, repetitions
from .identity import Identity
from .message import Match, Probe, Resolve, Version, Writer, describe, read_message, scopes_match
from .metadata import CONTENT_TYPE, answer_get

if TYPE_CHECKING:
    from . import Wsd

MAX_SEEN: Final = 4096
"""MessageIDs that were answered and are remembered; the oldest is forgotten first."""

SERVER: Final = "responderd"


@attrs.define(eq=False)
class WsdHandler(AnnouncingHandler):
    """Answers for one endpoint."""

    options: Wsd
    identity: Identity | None = attrs.field(default=None, init=False)
    """None before the first Hello, and from Bye on: then nothing is answered."""
    _writer: Writer = attrs.field(factory=lambda: Writer(0), init=False)
    _metadata_port: int = attrs.field(default=0, init=False)
    _seen: OrderedDict[tuple[int, IPAddress, str], None] = attrs.field(factory=OrderedDict, init=False)

    @refusals_counted
    def respond(self, request: Datagram) -> Answer:
        """Answer a Probe or Resolve.  Raises PeerError for what is no readable message."""
        message = read_message(request.payload)
        if not isinstance(message, Probe | Resolve):
            return PASS
        seen = request.interface.index, request.peer.address, message.message_id
        if seen in self._seen:
            self.counted["repeated"] += 1
            return None
        identity = self.identity
        if identity is None:
            self.counted["silent"] += 1
            return None
        if not self._is_meant(message, identity):
            self.counted["not-here"] += 1
            return PASS
        is_unicast = request.via is Via.UNICAST
        address = request.destination if is_unicast else request.interface.source_for(request.peer.address)
        if address is None:
            self.counted["silent"] += 1
            return None
        now = trio.current_time()
        window = MIN_WINDOW if is_unicast else APP_MAX_DELAY
        place = self.admission.ask(request.interface.index, request.peer.address, window, now)
        if place is None:
            self.counted["no-room"] += 1
            return None
        self.counted["taken"] += 1
        self._remember(seen)
        answer = self._writer.matches(message, self.match(address, message.version, identity))
        first = now + (0.0 if is_unicast else self.uniform(0.0, place.window))

        def make() -> bytes | None:
            return None if self.identity is None else answer

        moments = [0.0, *repetitions(UNICAST_REPEAT, self.uniform)]
        return TimedAnswers([(first + moment, make) for moment in moments], place, self.silenced)

    def _remember(self, seen: tuple[int, IPAddress, str]) -> None:
        """For each interface and sender: what comes by another interface may be for that link, behind a bridge."""
        self._seen[seen] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    def _is_meant(self, message: Probe | Resolve, identity: Identity) -> bool:
        if isinstance(message, Resolve):
            return message.endpoint.lower() == identity.endpoint
        own = {*self.options.types, f"{{{message.version.devices}}}Device"}
        return message.types <= own and scopes_match(message, self.options.scopes)

    def match(self, address: IPAddress, version: Version, identity: Identity) -> Match:
        """What is told of the endpoint to who reaches it by that address."""
        host = url_host(address)
        served = f"http://{ADDRESS}:{self._metadata_port}/{identity.uuid}"
        return Match(
            identity.endpoint,
            (f"{{{version.devices}}}Device", *self.options.types),
            self.options.scopes,
            tuple(each.replace(ADDRESS, host) for each in self.options.xaddrs or (served,)),
            identity.metadata_version,
        )

    async def converse(self, connection: Connection) -> Pass | None:
        """Serve the metadata, where no other addresses are configured."""
        if self.options.xaddrs:
            return PASS
        await http.serve(connection.stream, self._get, server=SERVER, methods=("POST",))
        return None

    def _get(self, request: http.Request) -> http.Document | HTTPStatus:
        identity = self.identity
        if identity is None or request.path.lower() != f"/{identity.uuid}":
            return HTTPStatus.NOT_FOUND
        if request.media_type != CONTENT_TYPE:
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        try:
            answer = answer_get(request.body, self.options, identity.endpoint)
        except Refused as error:
            self.counted[error.kind] += 1
            return HTTPStatus.BAD_REQUEST
        self.counted["metadata"] += 1
        return http.Document(answer, CONTENT_TYPE)

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The action, and the types that are looked for or the endpoint; of a connection what is asked for by HTTP.

        Raises PeerError.
        """
        if exchange.transport == "tcp":
            return http.describe(exchange)
        return describe(exchange.request or exchange.answers[0])

    async def run(self, network: Network) -> None:
        """Announce until it is time for Bye."""
        identity = self.identity = Identity.of(self.options, lambda: network.state_dir)
        self._writer.instance_id = BootNumber("instance-id", lambda: network.state_dir, self.clock).value
        self._metadata_port = network.port("metadata")

        def match(version: Version, address: IPAddress) -> Match:
            return self.match(address, version, identity)

        announcer = Announcer(network, self._writer, match, self.uniform)
        await self.announce(network, announcer.run)

    def fall_silent(self) -> None:
        self.identity = None
