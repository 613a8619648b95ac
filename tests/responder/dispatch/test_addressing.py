"""The source and interface rules, each with the pitfall that it avoids."""

from __future__ import annotations

from ipaddress import ip_address

import attrs
import pytest

from responder import SourceUnavailable
from responder.datagram import Interface, InterfaceAddress, Peer, Via
from responder.dispatch.addressing import classify, is_broadcast, route_to
from responder.dispatch.addressing import reply_route as rule
from responder.net.types import Flow, Route
from tests.fakes import GUEST, LAN, flow


def reply_route(way: Flow, interface: Interface = LAN) -> Route:
    return rule(way, interface, classify(way, interface))


def shown(route: Route) -> tuple[str, int, str | None, int]:
    return str(route.to), route.scope_id, None if route.source is None else str(route.source), route.interface


@pytest.mark.parametrize(
    ("peer", "destination", "scope_id", "expected"),
    [
        # unicast: the address that was asked, and routing chooses the way out
        ("10.71.0.9", "10.71.0.2", 0, ("10.71.0.9", 0, "10.71.0.2", 0)),
        ("fd71::9", "fd71::1", 0, ("fd71::9", 0, "fd71::1", 0)),
        # ... also for an address of another link, or of none
        ("10.71.0.9", "10.72.0.1", 0, ("10.71.0.9", 0, "10.72.0.1", 0)),
        ("10.71.0.9", "10.99.0.1", 0, ("10.71.0.9", 0, "10.99.0.1", 0)),
        # link-local on either side: the arrival interface, and a scope that agrees with it
        ("fe80::9", "fe80::1", 2, ("fe80::9", 2, "fe80::1", 2)),
        ("fe80::9", "fd99::1", 2, ("fe80::9", 2, "fd99::1", 2)),
        ("fd71::9", "fe80::1", 0, ("fd71::9", 0, "fe80::1", 2)),
        ("169.254.7.7", "10.71.0.1", 0, ("169.254.7.7", 0, "10.71.0.1", 2)),
        # groups and broadcasts: the arrival interface's own address, out of it
        ("10.71.0.9", "239.255.70.7", 0, ("10.71.0.9", 0, "10.71.0.1", 2)),
        ("fe80::9", "ff02::7007", 2, ("fe80::9", 2, "fe80::1", 2)),
        ("fd71::9", "ff02::7007", 0, ("fd71::9", 0, "fd71::1", 2)),
        ("10.71.0.9", "10.71.0.255", 0, ("10.71.0.9", 0, "10.71.0.1", 2)),
        ("10.71.0.9", "255.255.255.255", 0, ("10.71.0.9", 0, "10.71.0.1", 2)),
        # ... and so it is for a peer of another subnet, where no router can have passed the request on
        ("198.51.100.7", "224.0.0.251", 0, ("198.51.100.7", 0, "10.71.0.1", 2)),
        ("2001:db8::9", "ff02::7007", 0, ("2001:db8::9", 0, "fd71::1", 2)),
        ("198.51.100.7", "255.255.255.255", 0, ("198.51.100.7", 0, "10.71.0.1", 2)),
        # a group's request from behind a multicast router: not pinned, so that routing finds the way back
        ("192.0.2.9", "239.255.70.7", 0, ("192.0.2.9", 0, "10.71.0.1", 0)),
        ("2001:db8::9", "ff05::7007", 0, ("2001:db8::9", 0, "fd71::1", 0)),
    ],
)
def test_reply_follows_the_request(
    peer: str, destination: str, scope_id: int, expected: tuple[str, int, str | None, int]
) -> None:
    assert shown(reply_route(flow(peer, destination, scope_id=scope_id))) == expected


def test_the_same_link_local_address_on_two_links_is_told_apart_by_the_interface() -> None:
    on_lan = reply_route(flow("fe80::9", "fe80::1", 2, scope_id=2), LAN)
    on_guest = reply_route(flow("fe80::9", "fe80::1", 3, scope_id=3), GUEST)
    assert (on_lan.interface, on_lan.scope_id) == (2, 2)
    assert (on_guest.interface, on_guest.scope_id) == (3, 3)


def test_the_kernels_word_counts_where_it_is_an_address_of_the_interface() -> None:
    assert str(reply_route(flow(destination="239.255.70.7", local="10.71.0.2")).source) == "10.71.0.2"
    # an asymmetric route back makes the kernel name another link's address
    assert str(reply_route(flow(destination="239.255.70.7", local="10.72.0.1")).source) == "10.71.0.1"


def test_an_unnumbered_interface_speaks_from_what_the_kernel_names() -> None:
    unnumbered = Interface(7, "tun0", {"up", "multicast"})
    assert (
        str(reply_route(flow(destination="239.255.70.7", interface=7, local="10.72.0.1"), unnumbered).source)
        == "10.72.0.1"
    )
    assert reply_route(flow(destination="239.255.70.7", interface=7), unnumbered).source is None


def test_without_pktinfo_routing_chooses_all() -> None:
    assert shown(reply_route(flow(destination=None, interface=0))) == ("10.71.0.9", 0, None, 0)
    assert shown(reply_route(flow("fe80::9", None, 0, scope_id=2))) == ("fe80::9", 2, None, 2)


def test_classify_uses_the_table_only_where_the_platform_cannot_tell() -> None:
    assert classify(flow(destination="10.71.0.255"), LAN) is Via.BROADCAST
    assert classify(flow(destination="10.72.0.255"), LAN) is Via.UNICAST
    assert classify(flow(destination="10.71.0.255", via=Via.UNICAST), LAN) is Via.UNICAST
    assert classify(flow(destination="239.1.2.3"), LAN) is Via.MULTICAST
    assert classify(flow("fe80::9", "ff02::1"), LAN) is Via.MULTICAST


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("255.255.255.255", True),
        ("10.71.0.255", True),
        ("10.72.0.255", False),
        ("10.71.0.1", False),
        ("ff02::1", False),
    ],
)
def test_broadcast_addresses(address: str, expected: bool) -> None:
    assert is_broadcast(ip_address(address), LAN) is expected


def test_hop_limit_is_carried() -> None:
    assert rule(flow(), LAN, Via.UNICAST, 1).hop_limit == 1


def test_source_for_prefers_the_prefix_then_the_scope() -> None:
    two = attrs.evolve(
        LAN,
        addresses=[InterfaceAddress("fe80::1", 64), InterfaceAddress("fd01::1", 64), InterfaceAddress("fd02::1", 64)],
    )
    assert str(two.source_for(ip_address("fd02::9"))) == "fd02::1"
    assert str(two.source_for(ip_address("fe80::9"))) == "fe80::1"
    assert str(two.source_for(ip_address("2001:db8::9"))) == "fd01::1"
    assert str(two.source_for(ip_address("ff02::fb"))) == "fe80::1"
    assert str(two.source_for(ip_address("ff05::c"))) == "fd01::1"
    assert two.source_for(ip_address("10.0.0.1")) is None


class TestRouteTo:
    def test_a_group_speaks_from_the_interfaces_own_address(self) -> None:
        assert shown(route_to(ip_address("239.1.2.3"), LAN)) == ("239.1.2.3", 0, "10.71.0.1", 2)
        assert shown(route_to(ip_address("ff02::fb"), GUEST)) == ("ff02::fb", 0, "fe80::1", 3)

    @pytest.mark.parametrize("address", ["239.1.2.3", "ff02::fb", "fe80::9", "255.255.255.255"])
    def test_what_names_something_on_each_link_needs_an_interface(self, address: str) -> None:
        with pytest.raises(ValueError, match="interface"):
            route_to(ip_address(address), None)

    def test_a_peers_scope_is_an_interface(self) -> None:
        assert shown(route_to(Peer("fe80::9", 53, 3), None)) == ("fe80::9", 3, None, 3)

    def test_a_scope_that_contradicts_the_interface_is_refused(self) -> None:
        with pytest.raises(ValueError, match="scope"):
            route_to(Peer("fe80::9", 53, 3), LAN)

    def test_a_source_of_the_other_family_is_not_used(self) -> None:
        assert route_to(ip_address("fd71::9"), None, source=ip_address("10.71.0.1")).source is None

    def test_the_unspecified_address_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not an address to send to"):
            route_to(ip_address("0.0.0.0"), LAN)

    def test_an_interface_without_the_family_is_named(self) -> None:
        with pytest.raises(SourceUnavailable, match="lan has no IPv6"):
            route_to(ip_address("ff02::1"), attrs.evolve(LAN, addresses=[InterfaceAddress("10.71.0.1", 24)]))
