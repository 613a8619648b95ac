"""What holds for all datagrams of one flow: who may take them, how replies go, and what is counted where.

A `Flow` (peer address, destination, interface) is worked out once into a `Decision`, which dispatch keeps in a bounded
table; that is why a datagram costs a look-up, however many interfaces, addresses and prefixes there are.  What depends
on the interface table or the policy is decided here, so a change of either empties dispatch's table.

This file refuses to look at payloads and ports: they differ from datagram to datagram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import attrs
import trio

from ..datagram import Datagram, Interface, IPAddress, Via
from ..log import Repeated, get_logger
from ..net.interface_table import InterfaceTable
from ..net.types import Flow, Origin, Route
from ..plugin import Handler, Service
from . import outcomes
from .access import Access, refused_source
from .addressing import classify, reply_route
from .budget import Budget, source_prefix
from .outcomes import BOUNDS, Counters, Counts, Histogram
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


@attrs.define(eq=False)
class Candidate:
    """A binding that may take the datagrams of a decision, with what its replies need.

    respond  the handler's
    origin   where the fields of its requests come from; whoever keeps the decision sets it
    plain    answers up to so many bytes need no look at the bounds; -1: all do
    """

    binding: Binding
    route: Route
    counts: Counts
    plain: int
    respond: Callable[[Datagram], object] = attrs.field(init=False)
    origin: Origin = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.respond = self.binding.runtime.handler.respond


@attrs.frozen(eq=False)
class Decision:
    """What holds for every datagram of a flow.

    candidates    those that may be asked, in config order
    refusal   where there are none: the outcome to count, by the rule of `owner`
    owner     the instance that what nobody takes is counted for; "-" where several share the port
    from_own  the peer's address is one of this host's
    prefix    the peer's, as `responder.dispatch.budget` has it
    plain     the only candidate, where its requests need no more than an answer: no thread, no budget; else None
    """

    flow: Flow
    interface: Interface
    via: Via
    candidates: tuple[Candidate, ...]
    refusal: str
    owner: str
    counts: Counts
    from_own: bool
    prefix: int
    plain: Candidate | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        only = self.candidates[0] if len(self.candidates) == 1 else None
        is_plain = only is not None and only.plain >= 0 and not only.binding.service.blocking
        object.__setattr__(self, "plain", only if is_plain else None)


def decide(
    flow: Flow, table: InterfaceTable, bindings: Iterable[Binding], counters: Counters, on_stale: Callable[[], None]
) -> Decision:
    """Decide about a flow: who may take what comes by it.  `on_stale` is called for an interface that the table
    lacks."""
    interface = table.get(flow.interface)
    if interface is None:
        interface = Interface(flow.interface, f"#{flow.interface}" if flow.interface else "unknown")
        if flow.interface:
            on_stale()
    via = classify(flow, interface)
    candidates: list[Candidate] = []
    refusals: list[str] = []
    if refused_source(flow.peer, flow.destination) or table.is_broadcast(flow.peer):
        refusals.append(outcomes.BAD_SOURCE)
    else:
        for binding in bindings:
            reason = binding.access.refusal(flow.peer, flow.destination, interface, via)
            if reason is None:
                route = reply_route(flow, interface, via, binding.service.hop_limit)
                plain = binding.service.max_answer if binding.budget is None else -1
                counts = counters.counts(str(binding), interface.name)
                candidates.append(Candidate(binding, route, counts, plain))
            else:
                refusals.append(reason)
    names = {str(binding) for binding in bindings}
    owner = names.pop() if len(names) == 1 else outcomes.NOBODY
    return Decision(
        flow,
        interface,
        via,
        tuple(candidates),
        # Where several refuse, the reason of the first in config order is the one counted.
        refusals[0] if refusals and not candidates else "",
        owner,
        counters.counts(owner, interface.name),
        table.is_own(flow.peer, flow.interface),
        source_prefix(flow.peer),
    )
