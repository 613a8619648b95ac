"""A binding: one service of one instance, with its work in flight and how long its `respond` takes."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from ..datagram import Datagram, IPAddress
from ..log import Repeated, get_logger
from ..plugin import Handler, Service
from .access import Access
from .budget import Budget
from .connections import Connections
from .outcomes import BOUNDS, Histogram
from .sender import Sender

MAX_THREADS = 8
"""Threads of one blocking service at a time."""

HOLD_LIMIT = 0.1
"""Seconds.  A `respond` that takes longer holds every port up, and the log names it."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Binding:
    """One service of one instance, with its work in flight and the time that its `respond` takes.

    name         the instance's
    sender_of    of (a service of the instance, an address, a source or None): what sends from that service to that
                 address; None where nothing can
    pending      async answers in flight
    connections  the TCP connections that are open
    slowest      seconds that the slowest call of `respond` took
    notable      seconds; a longer call is a new maximum or belongs in a later bucket of `latency`
    budget       None where neither `rate` nor `amplification` is set
    plain_limit  an answer of up to so many bytes breaks no bound; -1: each answer must be checked
    respond      the handler's method
    respond_last the same where no other instance is asked after this one
    latency      a histogram of the time of each call; None where nobody reads it
    """

    name: str
    handler: Handler
    sender_of: Callable[[str, IPAddress, IPAddress | None], Sender | None]
    service: Service
    access: Access
    pending: int = attrs.field(default=0, init=False)
    connections: Connections = attrs.field(factory=Connections, init=False)
    slowest: float = attrs.field(default=0.0, init=False)
    notable: float = attrs.field(default=0.0, init=False)
    repeated: Repeated = attrs.field(factory=Repeated, init=False)
    budget: Budget | None = attrs.field(init=False)
    plain_limit: int = attrs.field(init=False)
    respond: Callable[[Datagram], object] = attrs.field(init=False)
    respond_last: Callable[[Datagram], object] = attrs.field(init=False)
    latency: Histogram | None = None
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_THREADS), init=False)

    def __attrs_post_init__(self) -> None:
        rate, amplification = self.service.rate or None, self.service.amplification or None
        self.budget = Budget(rate, amplification) if rate or amplification else None
        self.plain_limit = self.service.max_answer if self.budget is None else -1
        self.respond = self.handler.respond
        # A handler need not be a `Handler`, only have its methods.
        self.respond_last = getattr(self.handler, "respond_last", self.respond)

    def __str__(self) -> str:
        return self.name

    def note(self, took: float) -> None:
        """Record a call of `respond` that took so many seconds."""
        self.note_step(took)
        if self.latency is not None:
            self.latency.observe(took)

    def note_short(self, count: int, took: float) -> None:
        """Record `count` calls that took `took` seconds together, none of them more than `notable`."""
        if self.latency is not None:
            self.latency.observe_short(count, took)

    def note_step(self, took: float) -> None:
        """Record a step of an answer; the log names one that held every port up."""
        if took > self.slowest:
            self.slowest = took
            self.notable = min(took, BOUNDS[0])
        if took >= HOLD_LIMIT:
            self._name_holding(took)

    def _name_holding(self, took: float) -> None:
        held_back = self.repeated.due("held")
        if held_back is not None:
            seconds = round(took, 3)
            _log.warning("respond held the loop up", plugin=str(self), seconds=seconds, held_back=held_back)
