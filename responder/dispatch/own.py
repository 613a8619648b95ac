"""Which received datagrams this daemon sent itself.

What is sent to a group or a broadcast address is looped back to the sockets of the same host, ours among them; so is
what is sent to an address of this host.  Answering it would make a daemon talk to itself, and at worst for ever
(CVE-2009-0758 was such a storm).  So our own datagrams are dropped.

How to tell them depends on the port that they come from:

- A port that nobody else can have: whatever comes from an address of this host and that port is ours.
- A `shared` port (5353, 1900): another program of this host (Avahi, a control point) speaks from the same address and
  port, and has to be heard.  Ours is what was sent from that port, to that destination, with that content, within the
  last `MEMORY` seconds.  If the other program sends exactly the same within that time, it is taken for ours.

The record is bounded in number and time; the time comes from the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import attrs

from ..bounded import BoundedTable
from ..datagram import IPAddress
from ..net.interface_table import InterfaceTable
from ..net.types import Message, Received, Route
from .addressing import LIMITED_BROADCAST

MEMORY = 1.0
"""Seconds.  The kernel loops a datagram back while it sends; where two interfaces are on one link it comes back a few
milliseconds later by the other one."""

MAX_SENT = 1024
"""Datagrams remembered: more than a daemon multicasts in `MEMORY` seconds."""

_Key: TypeAlias = tuple[int, IPAddress, int]
"""Source port, destination, and the payload's hash, for which Python draws a new key in each process."""


@attrs.define(eq=False)
class OwnDatagrams:
    """The ports of a server, and what it lately sent from those that it shares.

    numbers  of all its ports, as they are now
    shared   those of them that other programs of this host may have too
    """

    table: InterfaceTable
    numbers: set[int] = attrs.field(factory=set, init=False)
    shared: set[int] = attrs.field(factory=set, init=False)
    _sent_at: BoundedTable[_Key, float] = attrs.field(factory=lambda: BoundedTable(MAX_SENT), init=False)

    def set_ports(self, numbers: Iterable[int], shared: Iterable[int]) -> None:
        """The ports have changed."""
        self.numbers.clear()
        self.numbers.update(numbers)
        self.shared.clear()
        self.shared.update(shared)

    def sent(self, port: int, message: Message, now: float) -> None:
        """A datagram has left by `port`; it is remembered if it may come back."""
        payload, route, to_port = message
        if port in self.shared and to_port in self.numbers and self._comes_back(route):
            key = port, route.to, hash(payload)
            self._sent_at.pop(key, None)  # so that it is the youngest
            self._sent_at[key] = now

    def _comes_back(self, route: Route) -> bool:
        to = route.to
        return (
            to.is_multicast
            or to == LIMITED_BROADCAST
            or self.table.is_broadcast(to)
            or self.table.is_own(to, route.interface or route.scope_id)
        )

    def includes(self, received: Received, arrival: float) -> bool:
        """Is this datagram, which came from an address of this host and a port of `numbers`, one of ours?

        `arrival` is when the kernel got it, on the clock of `sent`.
        """
        port, destination = received.peer_port, received.flow.destination
        if port not in self.shared or destination is None:
            return True
        sent_at = self._sent_at.get((port, destination, hash(received.payload)))
        return sent_at is not None and arrival - sent_at <= MEMORY
