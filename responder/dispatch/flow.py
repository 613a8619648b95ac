"""Decide once for all datagrams of a flow: who may take them, how replies go, where each is counted.

`responder.dispatch.port` keeps a `Decision` for each flow in a bounded table.  That is why a datagram costs a look-up,
however many interfaces, addresses and prefixes there are.  What flows of different peers to one destination have in
common is decided once for all of them, as an `Arrival`, so that a new peer costs little.  Both rest on the interface
table and on the bindings, so a change of either empties the tables.

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
from .addressing import classify, reply_route
from .binding import Binding
from .budget import source_prefix
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
    """A binding that may take the datagrams of a flow, with what its requests and replies have in common.

    flow, destination, interface, service, port, via   what its requests show (`responder.dispatch.request`)
    environment  what all ports share
    prefix       the peer's network, as `responder.dispatch.budget` knows it
    route        how replies go
    counts       where its outcomes are counted
    encoded      the route as a compiled socket sends by it; None until the first time
    plain_limit  an answer of up to so many bytes breaks no bound; -1: each answer must be checked
    respond      the handler's method: `respond`, or of the flow's last candidate `respond_last`
    """

    binding: Binding
    flow: Flow
    destination: IPAddress
    interface: Interface
    service: str
    port: int
    via: Via
    environment: Environment
    prefix: int
    route: Route
    counts: Counts
    plain_limit: int
    respond: Callable[[Datagram], object]
    encoded: bytes | None = None

    def count(self, asked: int, answered: int, took: float) -> None:
        """Count datagrams of the usual case.

        `asked` of them took `took` seconds together, none long enough to be told apart; `answered` got a plain answer.
        """
        self.binding.note_short(asked, took)
        self.counts[outcomes.ANSWERED] += answered


@attrs.define(eq=False)
class Decision:
    """What holds for every datagram of a flow.

    candidates  those that may be asked, in config order
    refusal     the outcome to count where there are none
    owner       the instance that refused datagrams are counted for; "-" where several share the port
    counts      of the owner
    suspects    source ports that make a datagram one to look at: 0, and our own where the peer's address is this host's
    prefix      the peer's network, as `responder.dispatch.budget` knows it
    usual       the only candidate, where asking it takes no more than a call, and no thread; else None
    """

    flow: Flow
    interface: Interface
    via: Via
    candidates: tuple[Candidate, ...]
    refusal: str
    owner: str
    counts: Counts
    suspects: Set[int]
    prefix: int
    usual: Candidate | None

    def observation(
        self,
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
        """What observers are told of a datagram, or of a connection, of this flow.  `time` None: now."""
        return Observation(
            time=clock() if time is None else time,
            transport=transport,
            port=port,
            peer=Peer(self.flow.peer, peer_port, self.flow.scope_id),
            destination=self.flow.destination,
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
    """

    port: int
    interface: Interface
    via: Via
    destination: IPAddress
    bindings: tuple[tuple[Binding, Counts, str | None], ...]
    owner: str
    counts: Counts


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
    """Decide about one flow of that arrival."""
    peer, interface, via, table = flow.peer, arrival.interface, arrival.via, environment.table
    number = number_of(peer)
    prefix = source_prefix(number)
    candidates: list[Candidate] = []
    refusal = ""
    if refused_source(number, flow.destination) or table.is_broadcast_number(number):
        refusal = outcomes.BAD_SOURCE
    else:
        for binding, counts, refused in arrival.bindings:
            reason = refused or binding.access.refusal_of_peer(peer, number, flow.destination, interface, via)
            if reason is not None:
                # Where several refuse, the reason of the first in config order is the one counted.
                refusal = refusal or reason
                continue
            service = binding.service
            candidates.append(
                Candidate(
                    binding,
                    flow,
                    arrival.destination,
                    interface,
                    service.name,
                    arrival.port,
                    via,
                    environment,
                    prefix,
                    reply_route(flow, interface, via, service.hop_limit),
                    counts,
                    binding.plain_limit,
                    binding.respond,
                )
            )
    if candidates:
        candidates[-1].respond = candidates[-1].binding.respond_last
    is_own = table.may_be_own(number) and table.is_own(peer, flow.interface)
    only = candidates[0] if len(candidates) == 1 else None
    is_usual = only is not None and not only.binding.service.blocking
    return Decision(
        flow,
        interface,
        via,
        tuple(candidates),
        "" if candidates else refusal,
        arrival.owner,
        arrival.counts,
        NO_PORT | environment.own.numbers if is_own else NO_PORT,
        prefix,
        only if is_usual else None,
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
