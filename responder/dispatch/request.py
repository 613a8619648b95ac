"""A received datagram as its handler sees it.

It is a `Datagram` whose fields are filled when it is made, so that a handler reads plain attributes.  The compiled
module makes the same object (`responder.net.linux.compiled`).
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import trio

from ..datagram import Conversation, Datagram, Peer, Stranger
from ..net.types import Received
from .conversation import open_conversation
from .flow import Candidate


class Request(Datagram):
    """A datagram that a network delivered, for one candidate: another candidate gets another object."""

    __slots__ = ("_candidate",)

    _candidate: Candidate

    def __eq__(self, other: object) -> bool:
        """Equal to any datagram with the same fields, as a test would build it."""
        if not isinstance(other, Datagram):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = Datagram.__hash__

    def conversation(self, *, stranger: Stranger | None = None) -> AbstractAsyncContextManager[Conversation]:
        """See `Datagram.conversation`."""
        candidate = getattr(self, "_candidate", None)
        if candidate is None:  # a copy, by `attrs.evolve`
            return super().conversation(stranger=stranger)
        return open_conversation(candidate, self.peer.port, stranger)


_FIELDS = ("payload", "peer", "destination", "interface", "service", "port", "via", "hop_limit", "arrival")

# The slots themselves: a frozen class has no other way past its checks, and these cost the least.
_SLOTS: dict[str, Any] = dict(vars(Datagram))
_set_payload, _set_peer, _set_destination = (_SLOTS[name].__set__ for name in _FIELDS[:3])
_set_interface, _set_service, _set_port = (_SLOTS[name].__set__ for name in _FIELDS[3:6])
_set_via, _set_hop_limit, _set_arrival = (_SLOTS[name].__set__ for name in _FIELDS[6:])
_set_candidate = vars(Request)["_candidate"].__set__


class Moment(NamedTuple):
    """One moment on both clocks, in seconds: it puts a kernel's timestamp on trio's clock."""

    now: float
    wall: float

    @classmethod
    def present(cls) -> Moment:
        return cls(trio.current_time(), time.time())

    def of(self, timestamp: float | None) -> float:
        """A kernel's timestamp on trio's clock; without one, this moment."""
        # Never later than now, should the real-time clock have been set back since.
        return self.now if timestamp is None else self.now - max(0.0, self.wall - timestamp)


def request_of(received: Received, candidate: Candidate, moment: Moment) -> Request:
    """Make the request for the handler of `candidate`."""
    request = object.__new__(Request)
    flow = candidate.flow
    _set_payload(request, received.payload)
    _set_peer(request, Peer.of(flow.peer, received.peer_port, flow.scope_id))
    _set_destination(request, candidate.destination)
    _set_interface(request, candidate.interface)
    _set_service(request, candidate.service)
    _set_port(request, candidate.port)
    _set_via(request, candidate.via)
    _set_hop_limit(request, received.hop_limit)
    _set_arrival(request, moment.of(received.timestamp))
    _set_candidate(request, candidate)
    return request
