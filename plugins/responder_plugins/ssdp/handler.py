"""What answers for SSDP: searches by datagram, descriptions by HTTP; what announces is `announcer`.

Nothing is ever sent to an address that a message names: an answer goes to the peer, an announcement to the groups.
This file refuses to know the bytes of messages (`message`, `writer`) and who goes first in a rush (`admission`).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Final, Self

import attrs
import trio

from responder import PASS, Answer, Connection, Context, Datagram, Handler, IPAddress, Network, Pass, Via

from . import web
from .admission import MAX_CONNECTIONS, Admission, Place, Places
from .announcer import Announcer, Uniform
from .description import describe, seen_by
from .identity import BootId
from .message import Malformed, Search, read_search
from .targets import Index, Match, Root, matches_of
from .writer import Writer

if TYPE_CHECKING:
    from . import Ssdp

UNICAST_WINDOW: Final = 0.1
"""Seconds that the answers to a unicast search are spread over; it wants them within 1 s (UDA 2.0 section 1.3.3)."""


@attrs.define(eq=False)
class SsdpHandler(Handler):
    """Answers and announces the devices of one instance.

    `uniform` chooses the delays, `clock` tells the seconds since 1970.
    """

    index: Index
    documents: Mapping[str, bytes]
    server: str
    max_age: int
    uniform: Uniform = attrs.field(factory=lambda: Random().uniform)  # noqa: S311 - spreads load, keeps no secret
    clock: Callable[[], float] = time.time
    admission: Admission = attrs.field(factory=Admission, init=False)
    connections: Places = attrs.field(factory=lambda: Places(MAX_CONNECTIONS), init=False)
    writer: Writer | None = attrs.field(default=None, init=False)
    """None until there is something to announce, and from byebye on: then nothing is answered."""
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    silenced: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set when it is time for byebye."""

    @classmethod
    def of(cls, options: Ssdp, context: Context) -> Self:
        """Raises ConfigError for a file that can't be read."""
        matches: list[Match] = []
        documents: dict[str, bytes] = {}
        for number, device in enumerate(options.devices):
            description = describe(device, f"devices[{number}]", context)
            documents.update(description.documents)
            matches.extend(matches_of(device, Root(device.uuid, device.location, description.config_id)))
        return cls(Index(matches), documents, options.server, options.max_age)

    def respond(self, request: Datagram) -> Answer:
        """Answer a search.  Raises PeerError for what is no readable message, or a multicast search without MX."""
        try:
            return self._respond(request, read_search(request.payload))
        except Malformed as error:
            self.counted[error.kind] += 1
            raise

    def _respond(self, request: Datagram, search: Search | None) -> Answer:
        if search is None:
            return PASS
        address: IPAddress | None = request.destination
        window = UNICAST_WINDOW
        if request.via is not Via.UNICAST:
            if search.mx is None:
                # UDA 2.0 section 1.3.3: silently discard.
                raise Malformed("a multicast search without MX", "no-mx")
            address = request.interface.source_for(request.peer.address)
            window = float(search.mx)
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
        return _Answers(self, matches, address, place)

    def counts(self) -> Mapping[str, int]:
        """Searches by what they got, and connections beyond the bound."""
        return self.counted

    async def converse(self, connection: Connection) -> Pass | None:
        """Serve the descriptions, where there are any."""
        if not self.documents:
            return PASS
        link, peer = connection.interface.index, connection.peer.address
        if not self.connections.room(link, peer):
            self.counted["connections-refused"] += 1
            return None

        def find(path: str) -> bytes | None:
            document = self.documents.get(path)
            return None if document is None else seen_by(document, connection.destination)

        self.connections.take(link, peer)
        try:
            await web.serve(connection.stream, find, self.server)
        finally:
            self.connections.give_back(link, peer)
        return None

    async def run(self, network: Network) -> None:
        """Announce until it is time for byebye."""
        boot = BootId(lambda: network.state_dir, self.clock)
        writer = self.writer = Writer(
            self.server, self.max_age, network.port("discovery"), network.port("device"), boot.value
        )
        announcer = Announcer(network, self.index.all, writer, boot, self.uniform)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fall_silent, network)
            await announcer.run()

    async def _fall_silent(self, network: Network) -> None:
        """A device that says goodbye answers no search any more, not even one that it has begun to answer."""
        await network.stopping.wait()
        self.writer = None
        self.silenced.set()


class _Answers:
    """The answers to one search, as an async iterator: each at its own random moment of the window."""

    def __init__(self, handler: SsdpHandler, matches: Sequence[Match], address: IPAddress, place: Place) -> None:
        self._handler = handler
        self._address = address
        self._place = place
        now = trio.current_time()
        due = [(now + handler.uniform(0.0, place.window), match) for match in matches]
        self._due = deque(sorted(due, key=itemgetter(0)))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._due:
            raise StopAsyncIteration
        moment, match = self._due.popleft()
        with trio.move_on_at(moment):
            await self._handler.silenced.wait()
        writer = self._handler.writer
        if writer is None:
            raise StopAsyncIteration
        return writer.answer(match, self._address)

    def close(self) -> None:
        """The framework had no room for it."""
        self._place.release()

    async def aclose(self) -> None:
        self._place.release()
        await trio.lowlevel.checkpoint()
