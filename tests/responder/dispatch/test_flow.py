"""Peers of whom the same holds share a decision, which is the one that each would get alone."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.datagram import InterfaceAddress, IPAddress, Via
from responder.dispatch.access import Access
from responder.dispatch.addressing import reply_route
from responder.dispatch.binding import Binding
from responder.dispatch.flow import Decision, Environment, arrive, decide
from responder.dispatch.observers import Observers
from responder.dispatch.outcomes import Counters
from responder.dispatch.own import OwnDatagrams
from responder.net.interface_table import InterfaceTable
from responder.net.types import Flow, Route
from responder.plugin import Handler, Service
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, flow

TWO_PREFIXES = attrs.evolve(
    GUEST, index=4, name="two", addresses=[InterfaceAddress("10.73.0.1", 24), InterfaceAddress("10.74.0.1", 24)]
)
LINK_LOCAL = attrs.evolve(GUEST, index=5, name="link-local", addresses=[InterfaceAddress("fe80::1", 64)])
TABLE = InterfaceTable([LOOPBACK, LAN, GUEST, TWO_PREFIXES, LINK_LOCAL])

GROUPS = frozenset((ip_address(group), None) for group in ("239.255.70.7", "224.0.0.251", "ff02::7007"))
EVERYBODY = Access(frozenset(), frozenset(), (), GROUPS, (), (), needs_destination=False, on_link=False)
SOME = attrs.evolve(
    EVERYBODY,
    allow=tuple(map(ip_network, ("10.0.0.0/8", "169.254.0.0/16", "fe80::/10", "fd00::/8"))),
    deny=(ip_network("10.71.0.128/25"),),
)
NEIGHBOURS = attrs.evolve(EVERYBODY, on_link=True)

PEERS = (
    *("10.71.0.9", "10.71.0.10", "10.71.0.200", "10.99.0.1", "198.51.100.7", "169.254.3.4", "10.71.0.1", "10.72.0.1"),
    *("10.71.0.255", "0.0.0.0", "224.0.0.1", "127.0.0.1", "10.73.0.9", "10.74.0.9"),
)
PEERS6 = ("fd71::9", "fd99::1", "2001:db8::7", "fe80::9", "fe80::1", "fd71::1", "::", "ff02::1", "::1")
DESTINATIONS = (
    "10.71.0.1",
    "10.71.0.2",
    "10.71.0.255",
    "255.255.255.255",
    "239.255.70.7",
    "224.0.0.251",
    "169.254.1.1",
)
DESTINATIONS6 = ("fd71::1", "fe80::1", "ff02::7007", "ff02::1")


def environment() -> Environment:
    own = OwnDatagrams(TABLE)
    own.set_ports({7007, 5353}, {5353})
    return Environment(FakePlatform(), TABLE, Counters(), Observers(), own, lambda: None)


def bindings() -> list[Binding]:
    return [
        Binding(name, Handler(), lambda *_: None, Service(port=7007, hop_limit=hops, blocking=blocking), access)
        for name, access, hops, blocking in (
            ("some", SOME, 255, False),
            ("neighbours", NEIGHBOURS, None, False),
            ("everybody", EVERYBODY, None, True),
        )
    ]


def shown(decision: Decision, peer: IPAddress) -> object:
    """All that a decision says, of one peer."""

    def route(way: Route) -> tuple[object, ...]:
        return (peer, way.scope_id, way.source, way.interface, way.hop_limit)

    candidates = [
        (each.binding.name, each.destination, each.service, each.port, each.via, route(each.way), each.plain_limit)
        for each in decision.candidates
    ]
    lasts = [each.respond == each.binding.respond_last for each in decision.candidates]
    usual = None if decision.usual is None else decision.usual.binding.name
    return candidates, lasts, decision.refusal, decision.owner, decision.suspects, usual, decision.interface


@st.composite
def arrivals(draw: st.DrawFn) -> list[Flow]:
    """Flows that differ in the peer, and in what is said of it, alone."""
    is_ipv6 = draw(st.booleans())
    destination = draw(st.sampled_from((None, *(DESTINATIONS6 if is_ipv6 else DESTINATIONS))))
    interface = draw(st.sampled_from([0, 2] if destination is None else [1, 2, 3, 4, 5, 77]))
    local = None if is_ipv6 else draw(st.sampled_from([None, "10.71.0.2", "10.72.0.1"]))
    peers = draw(st.permutations(PEERS6 if is_ipv6 else PEERS))
    scopes = [0 if not peer.startswith("fe80") else interface or draw(st.sampled_from([2, 3])) for peer in peers]
    return [
        flow(peer, destination, interface, scope_id=scope_id, local=local)
        for peer, scope_id in zip(peers, scopes, strict=True)
    ]


@given(arrivals(), st.permutations(range(3)), st.integers(1, 3))
def test_a_shared_decision_is_the_one_that_each_peer_would_get_alone(
    asked: list[Flow], order: list[int], count: int
) -> None:
    around = environment()
    serving = [bindings()[number] for number in order[:count]]
    arrival = arrive(asked[0], 7007, serving, around)
    for each in asked:
        shared = decide(each, arrival, around)
        alone = decide(each, arrive(each, 7007, serving, around), around)
        assert shown(shared, each.peer) == shown(alone, each.peer)
        for candidate in shared.candidates:
            expected = reply_route(each, shared.interface, shared.via, candidate.binding.service.hop_limit)
            assert attrs.astuple(candidate.route_to(each)) == attrs.astuple(expected)


@pytest.mark.parametrize(
    ("one", "other", "differ_in"),
    [
        # What came by an interface that was not told goes back by the peer's own scope.
        (flow("fe80::9", None, 0, scope_id=2), flow("fe80::9", None, 0, scope_id=3), {"scope_id", "interface"}),
        (flow(), flow("169.254.3.4"), {"interface"}),
        (flow("10.73.0.9", "224.0.0.251", 4), flow("10.74.0.9", "224.0.0.251", 4), {"source"}),
        (flow("fe80::9", "ff02::7007", 5, scope_id=5), flow("fd99::1", "ff02::7007", 5), {"scope_id"}),
        (flow("10.71.0.9", "239.255.70.7"), flow("198.51.100.7", "239.255.70.7"), {"interface"}),
    ],
    ids=["scope", "link-local", "source for a group", "scope for a group", "interface for a group"],
)
def test_peers_who_are_answered_by_different_ways_do_not_share_it(one: Flow, other: Flow, differ_in: set[str]) -> None:
    around = environment()
    arrival = arrive(one, 7007, bindings()[2:], around)
    first, second = (decide(each, arrival, around).candidates[0].route_to(each) for each in (one, other))
    fields = ("scope_id", "source", "interface", "hop_limit")
    assert {name for name in fields if getattr(first, name) != getattr(second, name)} == differ_in


@pytest.mark.parametrize(("peer", "suspects"), [("10.71.0.9", {0}), ("10.71.0.1", {0, 7007, 5353})])
def test_source_ports_that_make_a_datagram_one_to_look_at(peer: str, suspects: set[int]) -> None:
    """0 is nobody's (RFC 768), whoever says so; our own ports are ours where the peer is this host."""
    around = environment()
    assert decide(flow(peer), arrive(flow(peer), 7007, bindings(), around), around).suspects == suspects


def test_peers_of_whom_the_same_holds_share_it() -> None:
    around, serving = environment(), bindings()
    arrival = arrive(flow(), 7007, serving, around)
    decisions = [decide(flow(f"10.71.{number // 200}.{number % 200 + 3}"), arrival, around) for number in range(1000)]
    assert len({id(each) for each in decisions}) == 3, "neighbours, those of them who are denied, and others"
    assert len(arrival.decisions) == 3


def test_the_route_of_a_flow_is_the_same_object_each_time() -> None:
    around = environment()
    asked = flow()
    (candidate,) = decide(asked, arrive(asked, 7007, bindings()[2:], around), around).candidates
    route = candidate.route_to(asked)
    assert candidate.route_to(asked) is route
    other = candidate.route_to(flow("10.71.0.10"))
    assert (str(route.to), str(other.to)) == ("10.71.0.9", "10.71.0.10")


@pytest.mark.parametrize("via", list(Via))
def test_peers_who_are_answered_from_different_addresses_do_not_share_it(via: Via) -> None:
    """Only what is asked by a group or a broadcast has a choice of addresses."""
    around = environment()
    asked = [
        Flow(ip_address(peer), 0, ip_address("239.255.70.7" if via is Via.MULTICAST else "10.71.0.2"), 2, via=via)
        for peer in ("10.71.0.9", "198.51.100.7")
    ]
    arrival = arrive(asked[0], 7007, bindings()[2:], around)
    one, other = (decide(each, arrival, around) for each in asked)
    assert (one is other) is (via is not Via.MULTICAST)
