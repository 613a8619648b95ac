"""What answers for dns: the quick way where there is one, else the long way; the limits of both; zones that change.

This file refuses to parse and to decide answers.  TCP is in `streaming`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import trio

from responder import Answer, Connection, Datagram, Handler, Network

from . import wire
from .answering import Answering, Reply, truncated
from .limiting import RateLimit, Verdict
from .lookup import Catalog
from .quick import Quick
from .streaming import Streaming

WATCH: Final = 2.0
"""Seconds between two looks at the zone files."""

_log = logging.getLogger(__name__)


class DnsHandler(Handler):
    """Answers from a catalog.  `reload` gives a new catalog where a zone file has changed, None where none has."""

    def __init__(
        self,
        answering: Answering,
        *,
        limit: RateLimit | None = None,
        streaming: Streaming | None = None,
        reload: Callable[[], Catalog | None] | None = None,
    ) -> None:
        self.answering = answering
        self._limit = limit
        self._streaming = streaming or Streaming(answering)
        self._reload = reload
        self.quick = Quick(answering.catalog, answering.settings.here.names)
        self._by_quick = 0

    def respond(self, request: Datagram) -> Answer:
        """Raises PeerError for what is no query."""
        data = request.payload
        reply = self.quick.answer(data)
        if reply is None:
            return self._respond_slowly(request)
        self._by_quick += 1
        if self._limit is None:
            return reply
        name = data[12 : data.find(0, 12) + 1].lower()
        found = reply[6:8] != b"\0\0"
        kind = name if found else self.answering.catalog.covers(name) or b""
        return self._limited(request, Reply(reply, reply[3] & 0xF, kind))

    def _respond_slowly(self, request: Datagram) -> bytes | None:
        data = request.payload
        query = wire.parse(data)
        reply = self.answering.answer(query, data, request)
        self.quick.learn(query, data, self.answering.settings.edns_size, reply)
        if self._limit is None or reply.exempt:
            return reply.data
        return self._limited(request, reply)

    def _limited(self, request: Datagram, reply: Reply) -> bytes | None:
        assert self._limit is not None  # noqa: S101 - the callers have looked
        # Errors are one kind, whatever was asked.
        kind = reply.kind if reply.rcode in (wire.NOERROR, wire.NXDOMAIN, wire.YXDOMAIN) else b""
        verdict = self._limit.judge(request.peer.address, reply.rcode, kind, trio.current_time())
        if verdict is Verdict.SEND:
            return reply.data
        self.answering.counts["limited" if verdict is Verdict.DROP else "slipped"] += 1
        return truncated(wire.parse(request.payload)) if verdict is Verdict.SLIP else None

    async def converse(self, connection: Connection) -> None:
        await self._streaming.converse(connection)

    # Zones that change

    def swap(self, catalog: Catalog) -> None:
        """From here on answer from another catalog."""
        self.answering.catalog = catalog
        self.quick = Quick(catalog, self.answering.settings.here.names)

    async def look(self) -> None:
        """Look at the zone files once, and serve what they say now."""
        if self._reload is not None:
            catalog = await trio.to_thread.run_sync(self._reload)
            if catalog is not None:
                self.swap(catalog)

    async def run(self, network: Network) -> None:
        """Look at the zone files, where that is wanted; say at the end what was answered."""
        async with trio.open_nursery() as nursery:
            if self._reload is not None:
                nursery.start_soon(self._watch)
            await network.stopping.wait()
            nursery.cancel_scope.cancel()
        counts = {"quick": self._by_quick, **self.answering.counts}
        _log.info("dns %s answered: %s", network.instance, counts)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(WATCH)
            await self.look()
