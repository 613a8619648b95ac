"""A binding: one service of one instance, with its work in flight and how long its `respond` takes.

It knows neither datagrams nor flows.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from ..datagram import IPAddress
from ..log import Repeated, get_logger
from ..plugin import Handler, Service
from .access import Access
from .budget import Budget
from .outcomes import BOUNDS, Histogram
from .sender import Sender

MAX_THREADS = 8
"""Threads of one blocking service at a time."""

HOLD_LIMIT = 0.1
"""Seconds that a `respond` may take before it is named as one that holds the loop up."""

_log = get_logger(__name__)


class SendingPort(Protocol):
    """A port as an answer sees it that leaves by another one than it came in."""

    @property
    def number(self) -> int: ...
    @property
    def sender(self) -> Sender: ...


class Runtime(Protocol):
    """An instance as dispatch sees it: its bounds, its handler of the moment, and its other ports."""

    @property
    def name(self) -> str: ...
    @property
    def handler(self) -> Handler: ...
    @property
    def max_pending(self) -> int: ...
    @property
    def answer_timeout(self) -> float: ...
    @property
    def max_connections(self) -> int: ...

    def port_of(self, service: str, to: IPAddress) -> SendingPort | None:
        """The port to send by from that service to that address; None: there is none."""


@attrs.define(eq=False)
class Binding:
    """One service of one instance, with its work in flight and what it has been measured to take.

    pending      async answers in flight
    connections  TCP connections in flight
    slowest      seconds that the slowest `respond` held the loop
    notable      one that takes longer is the slowest so far, or not in the first bucket of `latency`
    budget       None where neither `rate` nor `amplification` is set
    latency      how long `respond` took, each time; None where nobody wants to know
    """

    runtime: Runtime
    service: Service
    access: Access
    pending: int = attrs.field(default=0, init=False)
    connections: int = attrs.field(default=0, init=False)
    slowest: float = attrs.field(default=0.0, init=False)
    notable: float = attrs.field(default=0.0, init=False)
    repeated: Repeated = attrs.field(factory=Repeated, init=False)
    budget: Budget | None = attrs.field(init=False)
    latency: Histogram | None = None
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_THREADS), init=False)

    def __attrs_post_init__(self) -> None:
        rate, amplification = self.service.rate or None, self.service.amplification or None
        self.budget = Budget(rate, amplification) if rate or amplification else None

    def __str__(self) -> str:
        return self.runtime.name

    def note(self, took: float) -> None:
        """A `respond` took so many seconds."""
        self.note_step(took)
        if self.latency is not None:
            self.latency.observe(took)

    def note_short(self, count: int, took: float) -> None:
        """So many took so many seconds together, and none of them more than `notable`."""
        if self.latency is not None:
            self.latency.observe_short(count, took)

    def note_step(self, took: float) -> None:
        """A step of it did; named where it held everything else up."""
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
