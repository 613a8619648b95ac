"""Decide who may take the datagrams of a flow, how replies go, and where each is counted.

What is decided is made once and shared.  All that does not depend on the peer is the `Arrival` of a destination.  Of a
peer only a few questions are asked (`decide`), and those for whom all the answers are the same share one `Decision`: so
a new peer costs the questions and nothing else, however many interfaces, addresses and prefixes there are.
`responder.dispatch.port`, or its compiled form, remembers which one holds for which flow, so that a datagram of a known
peer costs a look-up.  All of it rests on the interface table and on the bindings, so a change of either empties the
tables.

Payloads and source ports differ from datagram to datagram: this file does not look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from time import time as clock

import attrs

from ..datagram import Datagram, Interface, IPAddress, Peer, Via, number_of
from ..net.interface_table import InterfaceTable
from ..net.types import Flow, Platform, Received, Route
from ..plugin import Transport
from . import outcomes
from .access import refused_source
from .addressing import classify, reply_route, what_tells_ways_apart
from .binding import Binding
from .observers import Observation, Observers, Sent
from .outcomes import Counters, Counts
from .own import OwnDatagrams


@attrs.frozen(eq=False)
class Environment:
    """What all ports of a server share.

    own       the numbers of all its ports, and what tells our own datagrams from other programs'
    on_stale  called where something shows that the interface table is old
    """

    platform: Platform
    table: InterfaceTable
    counters: Counters
    observers: Observers
    own: OwnDatagrams
    on_stale: Callable[[], None]


@attrs.define(eq=False)
class Candidate:
    """A binding that may take the datagrams of some flows, with what their requests and replies have in common.

    destination, interface, service, port, via   what its requests show (`responder.dispatch.request`)
    environment  what all ports share
    way          how replies go to one of the peers; to another they differ in `to` alone
    counts       where its outcomes are counted
    encoded      the way as a compiled socket sends by it; None until the first time
    plain_limit  an answer of up to so many bytes breaks no bound; -1: each answer must be checked
    respond      the handler's method: `respond`, or of a decision's last candidate `respond_last`
    """

    binding: Binding
    destination: IPAddress
    interface: Interface
    service: str
    port: int
    via: Via
    environment: Environment
    way: Route
    counts: Counts
    plain_limit: int
    respond: Callable[[Datagram], object]
    encoded: bytes | None = None

    def route_to(self, flow: Flow) -> Route:
        """How replies go to the peer of `flow`: the same object each time, for the platform that sends by it."""
        way, noted = self.way, flow.reply
        if noted is not None and noted[0] is way:
            return noted[1]
        route = Route(flow.peer, way.scope_id, way.source, way.interface, way.hop_limit)
        flow.reply = way, route  # not the candidate, with its plugin: a socket may remember the flow for long
        return route

    def count(self, asked: int, answered: int, took: float) -> None:
        """Count datagrams of the usual case.

        `asked` of them took `took` seconds together, none long enough to be told apart; `answered` got a plain answer.
        """
        self.binding.note_short(asked, took)
        self.counts[outcomes.ANSWERED] += answered


@attrs.define(eq=False)
class Decision:
    """What holds for every datagram of some flows.

    candidates  those that may be asked, in config order
    refusal     the outcome to count where there are none
    owner       the instance that refused datagrams are counted for; "-" where several share the port
    counts      of the owner
    suspects    source ports that make a datagram one to look at: 0, and our own where the peer's address is this host's
    usual       the only candidate, where asking it takes no more than a call, and no thread; else None
    """

    interface: Interface
    via: Via
    candidates: tuple[Candidate, ...]
    refusal: str
    owner: str
    counts: Counts
    suspects: Set[int]
    usual: Candidate | None

    def observation(
        self,
        flow: Flow,
        peer_port: int,
        *,
        time: float | None = None,
        transport: Transport,
        port: int,
        instance: str,
        outcome: str,
        error: str = "",
        request: bytes | None = None,
        answers: tuple[Sent, ...] = (),
    ) -> Observation:
        """What observers are told of a datagram, or of a connection, of that flow.  `time` None: now."""
        return Observation(
            time=clock() if time is None else time,
            transport=transport,
            port=port,
            peer=Peer(flow.peer, peer_port, flow.scope_id),
            destination=flow.destination,
            interface=self.interface.name,
            via=self.via,
            instance=instance,
            outcome=outcome,
            error=error,
            request=request,
            answers=answers,
        )


NO_PORT: frozenset[int] = frozenset({0})


@attrs.frozen(eq=False)
class Arrival:
    """What holds for every flow to one destination by one interface, whoever the peer is.

    destination  as requests show it: an unspecified address where the platform did not tell
    bindings     all of them, in config order, each with its counts, and with the outcome to count where it takes no
                 peer's datagrams; None: that depends on the peer
    owner        the instance that refused datagrams are counted for; "-" where several share the port
    counts       of the owner
    decisions    those that were made, by what they depend on; no more than the interface has addresses, times the few
                 things that may be said of a peer
    """

    port: int
    interface: Interface
    via: Via
    destination: IPAddress
    bindings: tuple[tuple[Binding, Counts, str | None], ...]
    owner: str
    counts: Counts
    decisions: dict[tuple[object, ...], Decision] = attrs.field(factory=dict, init=False)


def arrive(flow: Flow, port: int, bindings: Iterable[Binding], environment: Environment) -> Arrival:
    """Decide what doesn't depend on the peer of a flow to `port`, on which `bindings` answer."""
    interface = environment.table.get(flow.interface)
    if interface is None:
        interface = Interface(flow.interface, f"#{flow.interface}" if flow.interface else "unknown")
        if flow.interface:
            environment.on_stale()
    via = classify(flow, interface)
    counts = environment.counters.counts
    owner = owner_of(bindings)
    judged = (
        (
            binding,
            counts(binding.name, interface.name),
            binding.access.refusal_of_arrival(flow.destination, interface, via),
        )
        for binding in bindings
    )
    destination = type(flow.peer)(0) if flow.destination is None else flow.destination
    return Arrival(port, interface, via, destination, tuple(judged), owner, counts(owner, interface.name))


def decide(flow: Flow, arrival: Arrival, environment: Environment) -> Decision:
    """The decision about one flow of that arrival."""
    peer, destination, interface, via = flow.peer, flow.destination, arrival.interface, arrival.via
    table, number = environment.table, number_of(peer)
    if refused_source(number, destination) or table.is_broadcast_number(number):
        refusals: tuple[str | None, ...] = (outcomes.BAD_SOURCE,) * len(arrival.bindings)
    else:
        refusals = tuple(
            [  # a generator takes twice as long, and each new peer is asked about
                refused or binding.access.refusal_of_peer(peer, number, destination, interface, via)
                for binding, _, refused in arrival.bindings
            ]
        )
    is_own = table.may_be_own(number) and table.is_own(peer, flow.interface)
    key = refusals, is_own, what_tells_ways_apart(flow, number, interface, via)
    decision = arrival.decisions.get(key)
    if decision is None:
        suspects = NO_PORT | environment.own.numbers if is_own else NO_PORT
        decision = _decision(arrival, refusals, reply_route(flow, interface, via), suspects, environment)
        arrival.decisions[key] = decision
    return decision


def _decision(
    arrival: Arrival, refusals: Iterable[str | None], way: Route, suspects: Set[int], environment: Environment
) -> Decision:
    candidates = tuple(
        Candidate(
            binding,
            arrival.destination,
            arrival.interface,
            binding.service.name,
            arrival.port,
            arrival.via,
            environment,
            attrs.evolve(way, hop_limit=binding.service.hop_limit),
            counts,
            binding.plain_limit,
            binding.respond,
        )
        for (binding, counts, _), refusal in zip(arrival.bindings, refusals, strict=True)
        if refusal is None
    )
    if candidates:
        candidates[-1].respond = candidates[-1].binding.respond_last
    only = candidates[0] if len(candidates) == 1 else None
    return Decision(
        arrival.interface,
        arrival.via,
        candidates,
        # Where several refuse, the reason of the first in config order is the one counted.
        "" if candidates else next(filter(None, refusals), ""),
        arrival.owner,
        arrival.counts,
        suspects,
        only if only is not None and not only.binding.service.blocking else None,
    )


def refusal_of(decision: Decision, received: Received, environment: Environment, arrival: float) -> str | None:
    """Which datagrams no handler is asked about: the outcome to count, or None.  This rule stands here alone.

    `arrival` is in seconds of trio's clock.
    """
    if not received.peer_port:
        return outcomes.BAD_SOURCE
    if decision.refusal:
        return decision.refusal
    if received.truncated:
        return outcomes.TRUNCATED
    if received.peer_port in decision.suspects and environment.own.includes(received, arrival):
        return outcomes.OWN_SOURCE
    return None


def owner_of(bindings: Iterable[Binding]) -> str:
    """The instance that refused datagrams are counted for."""
    names = {binding.name for binding in bindings}
    return names.pop() if len(names) == 1 else outcomes.NOBODY
