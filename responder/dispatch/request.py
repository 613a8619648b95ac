"""Where the fields of a received datagram come from.

Most plugins read the payload and little else, so the rest is decoded when it is first read.  This file refuses to
decide anything about the datagram: see `responder.dispatch.decision`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs
import trio

from ..datagram import Conversation, Interface, IPAddress, Peer, Via
from ..net.types import Flow, Platform, Received
from .conversation import open_conversation
from .flow import Binding
from .outcomes import Counts


class ReceivingPort(Protocol):
    """The port that received it."""

    @property
    def number(self) -> int: ...
    @property
    def platform(self) -> Platform: ...


@attrs.frozen(eq=False)
class Arrival:
    """What the datagrams of a flow have in common for one candidate: see `responder.net.types.Origin`.

    It doesn't refer to the candidate, which refers to it: what is forgotten must go at once, not at a collection of
    cycles.
    """

    port: ReceivingPort
    flow: Flow
    interface: Interface
    via: Via
    binding: Binding
    counts: Counts
    prefix: int

    def field(self, name: str, received: Received) -> object:
        return _DECODE[name](self, received)

    def conversation(self, received: Received) -> AbstractAsyncContextManager[Conversation]:
        return open_conversation(
            self.port.platform,
            self.flow,
            self.interface,
            self.via,
            received.peer_port,
            self.counts,
            self.binding,
            self.prefix,
        )


def _destination(arrival: Arrival, _: Received) -> IPAddress:
    flow = arrival.flow
    return type(flow.peer)(0) if flow.destination is None else flow.destination


def _time(_: Arrival, received: Received) -> float:
    """A real-time timestamp on trio's clock; never later than now, should the real-time clock have been set back."""
    now, timestamp = trio.current_time(), received.read_timestamp()
    return now if timestamp is None else now - max(0.0, time.time() - timestamp)


_DECODE: dict[str, Callable[[Arrival, Received], object]] = {
    "peer": lambda arrival, received: Peer.of(arrival.flow.peer, received.peer_port, arrival.flow.scope_id),
    "destination": _destination,
    "interface": lambda arrival, _: arrival.interface,
    "service": lambda arrival, _: arrival.binding.service.name,
    "port": lambda arrival, _: arrival.port.number,
    "via": lambda arrival, _: arrival.via,
    "hop_limit": lambda _, received: received.read_hop_limit(),
    "arrival": _time,
}
