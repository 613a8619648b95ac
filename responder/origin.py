"""Where the fields of a received datagram come from: decoded when a plugin first reads them.

This file refuses to decide anything about the datagram: see `responder.flows`.
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import trio

from .conversation import open_conversation
from .datagram import Conversation, Peer
from .flows import Flow
from .net.types import Platform, Received
from .plugin import Service


@attrs.frozen(eq=False)
class PortOrigin:
    """Where a datagram's fields come from: see `responder.datagram.Origin`."""

    number: int
    platform: Platform
    flow: Flow
    service: Service
    received: Received

    def field(self, name: str) -> Any:
        path = self.flow.path
        value: Any
        match name:
            case "peer":
                value = Peer(path.peer, self.received.port, path.scope_id)
            case "destination":
                value = type(path.peer)(0) if path.destination is None else path.destination
            case "interface":
                value = self.flow.interface
            case "service":
                value = self.service.name
            case "port":
                value = self.number
            case "via":
                value = self.flow.via
            case "hop_limit":
                value = self.received.hop_limit
            case "arrival":
                value = _on_trio_clock(self.received.timestamp)
            case _:
                raise AttributeError(name)
        return value

    def conversation(self) -> AbstractAsyncContextManager[Conversation]:
        flow = self.flow
        return open_conversation(self.platform, flow.path, flow.interface, flow.via, self.received.port, flow.tally)


def _on_trio_clock(timestamp: float | None) -> float:
    """A real-time timestamp on trio's clock; never later than now, should the real-time clock have been set back."""
    now = trio.current_time()
    return now if timestamp is None else now - max(0.0, time.time() - timestamp)
