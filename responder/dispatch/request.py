"""A received datagram as its handler sees it.

It is a `Datagram` whose fields are filled when it is made, so that a handler reads plain attributes.  The compiled
module makes the same object (`responder.net.linux.compiled`).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

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
        return open_conversation(candidate, self.peer, stranger)


_FIELDS = ("payload", "peer", "destination", "interface", "service", "port", "via", "hop_limit", "arrival")

# The slots themselves: a frozen class has no other way past its checks, and these cost the least.
_SLOTS: dict[str, Any] = dict(vars(Datagram))
_set_payload, _set_peer, _set_destination = (_SLOTS[name].__set__ for name in _FIELDS[:3])
_set_interface, _set_service, _set_port = (_SLOTS[name].__set__ for name in _FIELDS[3:6])
_set_via, _set_hop_limit, _set_arrival = (_SLOTS[name].__set__ for name in _FIELDS[6:])
_set_candidate = vars(Request)["_candidate"].__set__


def arrival_of(timestamp: float | None, now: float, wall: float) -> float:
    """A kernel's timestamp on trio's clock; None: `now`.

    `now` and `wall` are one moment, in seconds of trio's clock and of the real-time clock.  The result is never later,
    should the real-time clock have been set back since.
    """
    return now if timestamp is None else now - max(0.0, wall - timestamp)


def request_of(received: Received, candidate: Candidate, now: float, wall: float) -> Request:
    """Make the request for the handler of `candidate`; `now` and `wall` as in `arrival_of`."""
    request = object.__new__(Request)
    flow = received.flow
    _set_payload(request, received.payload)
    _set_peer(request, Peer.of(flow.peer, received.peer_port, flow.scope_id))
    _set_destination(request, candidate.destination)
    _set_interface(request, candidate.interface)
    _set_service(request, candidate.service)
    _set_port(request, candidate.port)
    _set_via(request, candidate.via)
    _set_hop_limit(request, received.hop_limit)
    _set_arrival(request, arrival_of(received.timestamp, now, wall))
    _set_candidate(request, candidate)
    return request
