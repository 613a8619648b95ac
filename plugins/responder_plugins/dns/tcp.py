"""DNS over TCP (RFC 7766): queries one behind the other, answers as they are ready, each behind its length.

Bounds: seconds without a query, seconds a connection may be, answers in flight.  How many connections there may be, in
all and of one client, is the framework's (`max_connections`, `connections_per_peer`).  A transfer runs beside other
answers, and ends when its client takes nothing for the idle time.  A client that asks how long it may idle is told
(RFC 7828).
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from responder import PASS, Connection, Pass, PeerError

from .answer.processor import QueryProcessor, Response
from .message import wire
from .transfer import outgoing

IN_FLIGHT: Final = 16
"""Answers that a connection may have unsent: then the next query is read when one has gone."""


@attrs.define(eq=False)
class TcpServer:
    """idle, total: seconds."""

    processor: QueryProcessor
    idle: float = 10.0
    total: float = 300.0

    async def converse(
        self, connection: Connection, within: trio.abc.Stream | None = None, *, may_transfer: bool = True
    ) -> Pass | None:
        """PASS where the first query is about a name that is in no zone of this instance, and others are asked too.

        `within`: what is encrypted on the connection; nobody else can read that.
        """
        return await _Session(self, connection, within, may_transfer).serve()


class _Session:
    """One connection."""

    def __init__(
        self, bounds: TcpServer, connection: Connection, within: trio.abc.Stream | None, may_transfer: bool
    ) -> None:
        self._bounds = bounds
        self._connection = connection
        self._stream = within or connection.stream
        self._may_pass = within is None and not connection.last
        self._may_transfer = may_transfer
        self._held = bytearray()
        self._sending = trio.Lock()
        self._in_flight = trio.Semaphore(IN_FLIGHT)

    async def serve(self) -> Pass | None:
        may_pass = self._may_pass
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(self._bounds.total) as whole:
                while True:
                    data = await self._next()
                    if data is None:
                        break
                    try:
                        query = self._bounds.processor.read(data)
                    except PeerError:
                        # What follows can't be trusted to be a query either.
                        nursery.cancel_scope.cancel()
                        break
                    if may_pass and self._bounds.processor.is_outside(query, self._connection):
                        self._connection.put_back(len(data).to_bytes(2) + data + bytes(self._held))
                        return PASS
                    may_pass = False
                    if query.edns is not None and query.edns.keepalive:
                        may_idle = min(self._bounds.idle, whole.deadline - trio.current_time())
                        query.edns.timeout = max(int(10 * may_idle), 0)
                    await self._in_flight.acquire()
                    nursery.start_soon(self._answer, query, data, nursery.cancel_scope)
        return None

    async def _next(self) -> bytes | None:
        """The next query; None where the client has ended or idles.

        A client that waits for its answers does not idle (RFC 7766 section 6.2.3).
        """
        while True:
            size = int.from_bytes(self._held[:2]) + 2
            if len(self._held) >= max(size, 2):
                data = bytes(self._held[2:size])
                del self._held[:size]
                return data
            with trio.move_on_after(self._bounds.idle) as scope:
                more = await self._stream.receive_some(wire.STREAM)
            if scope.cancelled_caught:
                if self._in_flight.value == IN_FLIGHT:
                    return None
                continue
            if not more:
                return None
            self._held += more

    async def _answer(self, query: wire.Query, data: bytes, whole: trio.CancelScope) -> None:
        try:
            processor = self._bounds.processor
            if query.rdtype in (wire.AXFR, wire.IXFR) and not query.problem and not query.opcode:
                granted = processor.transfer(query, data, self._connection, allowed=self._may_transfer)
                if isinstance(granted, Response):
                    processor.count(granted.rcode)
                    await self._send(granted.data, whole)
                else:
                    zone, signer = granted.zone, granted.signer
                    changes = processor.changes_for(zone, query) if query.rdtype == wire.IXFR else None
                    for message in outgoing.messages(zone.snapshot(), query, changes, granted.opt):
                        await self._send(message if signer is None else signer.sign(message, multi=True), whole)
            else:
                if query.opcode == wire.UPDATE:
                    reply = await processor.update(query, data, self._connection)
                else:
                    reply = processor.answer(query, data, self._connection)
                processor.count(reply.rcode)
                await self._send(reply.data, whole)
        finally:
            self._in_flight.release()

    async def _send(self, message: bytes, whole: trio.CancelScope) -> None:
        # One after the other, in the order of the lock: a transfer's messages let other answers in between.
        async with self._sending:
            with trio.move_on_after(self._bounds.idle) as scope:
                await self._stream.send_all(len(message).to_bytes(2) + message)
        if scope.cancelled_caught:
            # It takes nothing; and what it got of this message can't be continued.
            whole.cancel()
            await trio.lowlevel.checkpoint()
