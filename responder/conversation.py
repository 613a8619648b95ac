"""A socket on a port of its own for one peer: `Datagram.conversation()`.

The answers of some protocols come from a new port (a transfer identifier, RFC 1350 section 4).  They still have to come
from the address that was asked, so the socket is one of ours, and every send carries that source.

This file refuses to queue: what is not received waits in the kernel's buffer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from . import metrics
from .addressing import reply_route
from .datagram import Interface, Via
from .metrics import Tally
from .net.types import DatagramSocket, Path, Platform, Received, Route, Transmit

BURST = 16
"""Datagrams of strangers passed over before others have their turn."""


@attrs.define(eq=False)
class OpenConversation:
    """Implements `responder.datagram.Conversation`."""

    socket: DatagramSocket
    route: Route
    peer_port: int
    tally: Tally

    @property
    def port(self) -> int:
        return self.socket.port

    async def send(self, payload: bytes) -> None:
        message = Transmit(payload, self.route, self.peer_port)
        if self.socket.send([message]):
            await trio.lowlevel.checkpoint()
        else:
            await self.socket.send_when_ready(message)

    async def receive(self) -> bytes:
        while True:
            await self.socket.wait_readable()
            for _ in range(BURST):
                received = self.socket.receive(1)
                if not received:
                    break
                if self._is_ours(received[0]):
                    return received[0].payload
                self.tally[metrics.STRANGER] += 1

    def _is_ours(self, received: Received) -> bool:
        path = received.path
        return (
            path.peer == self.route.to
            and received.port == self.peer_port
            and path.scope_id == self.route.scope_id
            and not received.truncated
        )


@asynccontextmanager
async def open_conversation(
    platform: Platform, path: Path, interface: Interface, via: Via, peer_port: int, tally: Tally
) -> AsyncIterator[OpenConversation]:
    """Raises BindError where no socket can be had."""
    socket = platform.open_udp(0)
    try:
        yield OpenConversation(socket, reply_route(path, interface, via), peer_port, tally)
    finally:
        socket.close()
