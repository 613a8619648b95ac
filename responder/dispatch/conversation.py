"""A socket on a port of its own for one peer: `Datagram.conversation()`.

The answers of some protocols come from a new port (a transfer identifier, RFC 1350 section 4).  They still have to come
from the address that was asked, so the socket is one of ours, and every send carries that source.

What is sent is an answer like any other: it is counted, and costs the peer's network what `rate`, `amplification` and
`max_answer` of the instance allow it.  One that would be more is dropped, as a network may drop it.

This file refuses to queue: what is not received waits in the kernel's buffer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from ..net.types import DatagramSocket, Received, Route, Transmit
from . import outcomes
from .addressing import reply_route
from .binding import Binding
from .flow import Candidate
from .outcomes import Counts

BURST = 16
"""Datagrams of strangers passed over before others have their turn."""


@attrs.define(eq=False)
class OpenConversation:
    """Implements `responder.datagram.Conversation`.

    `binding` is the service that converses, with its bounds, and `prefix` the peer's, as its budget knows it; without a
    binding there are no bounds.
    """

    socket: DatagramSocket
    route: Route
    peer_port: int
    counts: Counts
    binding: Binding | None = None
    prefix: int = 0

    @property
    def port(self) -> int:
        return self.socket.port

    async def send(self, payload: bytes) -> None:
        refusal = self._bound_broken(len(payload))
        if refusal is not None:
            self.counts[refusal] += 1
            await trio.lowlevel.checkpoint()
            return
        message = Transmit(payload, self.route, self.peer_port)
        if self.socket.send([message]):
            await trio.lowlevel.checkpoint()
        else:
            await self.socket.send_when_ready(message)
        self.counts[outcomes.ANSWERED] += 1

    def _bound_broken(self, size: int) -> str | None:
        """The outcome to count where an answer of so many bytes is more than the bounds allow."""
        if self.binding is None:
            return None
        binding = self.binding
        if size > binding.service.max_answer:
            return outcomes.TOO_LONG
        return None if binding.budget is None else binding.budget.may_answer(self.prefix, size, trio.current_time())

    async def receive(self) -> bytes:
        while True:
            await self.socket.wait_readable()
            for _ in range(BURST):
                received = self.socket.receive(1)
                if not received:
                    break
                if self._is_ours(received[0]):
                    self._credit(len(received[0].payload))
                    return received[0].payload
                self.counts[outcomes.STRANGER] += 1

    def _credit(self, size: int) -> None:
        if self.binding is not None and self.binding.budget is not None:
            self.binding.budget.asked(self.prefix, size, trio.current_time())

    def _is_ours(self, received: Received) -> bool:
        flow = received.flow
        return (
            flow.peer == self.route.to
            and received.peer_port == self.peer_port
            and flow.scope_id == self.route.scope_id
            and not received.truncated
        )


@asynccontextmanager
async def open_conversation(candidate: Candidate, peer_port: int) -> AsyncIterator[OpenConversation]:
    """With the peer of the candidate's flow, at that port.  Raises BindError where no socket can be had."""
    flow, interface, via = candidate.flow, candidate.interface, candidate.via
    socket = candidate.platform.open_udp(0)
    try:
        yield OpenConversation(
            socket, reply_route(flow, interface, via), peer_port, candidate.counts, candidate.binding, candidate.prefix
        )
    finally:
        socket.close()
