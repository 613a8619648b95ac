from __future__ import annotations

import ntpath
import posixpath
from ipaddress import ip_address, ip_network
from types import ModuleType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.datagram import Interface, IPAddress, IPNetwork, Via, number_of
from responder.dispatch import outcomes
from responder.dispatch.access import Access, interface_matches, refused_source
from responder.plugin import Service
from tests.fakes import GUEST, LAN

ANY_ACCESS = Access(frozenset(), frozenset(), (), frozenset(), (), (), needs_destination=True, on_link=False)


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ((), "eth0", True),
        (("eth*",), "eth0", True),
        (("eth*",), "docker0", False),
        (("eth*", "lo"), "lo", True),
        (("!docker*",), "eth0", True),
        (("!docker*",), "docker0", False),
        (("*", "!eth1"), "eth1", False),
        (("eth[1-9]",), "eth0", False),
        (("!eth*", "eth0"), "eth0", False),
    ],
)
def test_interface_patterns(patterns: tuple[str, ...], name: str, expected: bool) -> None:
    assert interface_matches(name, patterns) is expected


@pytest.mark.parametrize(("system", "expected"), [(posixpath, False), (ntpath, True)])
def test_interface_patterns_ignore_case_where_the_system_does(
    monkeypatch: pytest.MonkeyPatch, system: ModuleType, expected: bool
) -> None:
    """Windows' names are for people: "Ethernet 2"."""
    monkeypatch.setattr("os.path.normcase", system.normcase)
    assert interface_matches("Ethernet 2", ("ethernet*",)) is expected
    assert interface_matches("WLAN", ("*", "!wlan")) is not expected


def networks(shift: int, firsts: int, longest: int) -> st.SearchStrategy[IPNetwork]:
    """Prefixes that meet often: of the first byte alone."""
    numbers, lengths = st.integers(1, firsts), st.integers(0, longest)
    return st.builds(lambda number, length: ip_network((number << shift, length), strict=False), numbers, lengths)


PREFIXES = st.lists(networks(24, 255, 32) | networks(120, 3, 12), max_size=6)


@given(PREFIXES, PREFIXES)
def test_bounds_say_what_the_prefixes_say(allow: list[IPNetwork], deny: list[IPNetwork]) -> None:
    access = attrs.evolve(ANY_ACCESS, allow=tuple(allow), deny=tuple(deny))
    edges = [edge for prefix in (*allow, *deny) for edge in (prefix[0], prefix[-1])]
    near = [
        type(edge)(int(edge) + by)
        for edge in edges
        for by in (-1, 0, 1)
        if 0 <= int(edge) + by < 1 << edge.max_prefixlen
    ]
    for peer in (*near, ip_address("0.0.0.0"), ip_address("255.255.255.255"), ip_address("::"), ip_address("ff::")):
        allowed = not allow or any(peer in prefix for prefix in allow if prefix.version == peer.version)
        denied = any(peer in prefix for prefix in deny if prefix.version == peer.version)
        expected = None if allowed and not denied else outcomes.DENIED
        assert access.refusal_of_peer(peer, number_of(peer), peer, LAN, Via.UNICAST) == expected


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"])
def test_nobody_is_answered_at(address: str) -> None:
    assert refused_source(number_of(ip_address(address)), None)


def test_a_mapped_source_in_an_ipv6_packet_is_no_ipv4_peer() -> None:
    peer = number_of(ip_address("10.71.0.9"))
    assert refused_source(peer, ip_address("fd71::1"))
    assert not refused_source(peer, ip_address("10.71.0.1"))


@pytest.mark.parametrize("address", ["10.71.0.9", "fe80::1", "127.0.0.1", "::1", "169.254.1.1"])
def test_everybody_else_may_be(address: str) -> None:
    assert not refused_source(number_of(ip_address(address)), None)


def refusal(
    access: Access, peer: IPAddress, destination: IPAddress | None, interface: Interface, via: Via
) -> str | None:
    return access.refusal_of_arrival(destination, interface, via) or access.refusal_of_peer(
        peer, number_of(peer), destination, interface, via
    )


class TestAccess:
    peer = ip_address("10.71.0.9")
    destination = ip_address("10.71.0.1")

    def refusal(self, access: Access, destination: str | None = "10.71.0.1", via: Via = Via.UNICAST) -> str | None:
        return refusal(access, self.peer, None if destination is None else ip_address(destination), LAN, via)

    def test_all_may_ask_by_default(self) -> None:
        assert self.refusal(ANY_ACCESS) is None

    def test_an_excluded_interface(self) -> None:
        access = attrs.evolve(ANY_ACCESS, patterns=("guest*",))
        assert self.refusal(access) == outcomes.INTERFACE
        assert access.serves(GUEST)

    def test_a_group_that_was_not_joined(self) -> None:
        access = attrs.evolve(ANY_ACCESS, groups=frozenset([(ip_address("239.1.1.1"), None)]))
        assert self.refusal(access, "239.1.1.1", Via.MULTICAST) is None
        assert self.refusal(access, "239.1.1.2", Via.MULTICAST) == outcomes.GROUP

    def test_a_group_heard_from_one_source_only(self) -> None:
        for source, expected in (("10.71.0.9", None), ("10.71.0.8", outcomes.GROUP)):
            access = attrs.evolve(ANY_ACCESS, groups=frozenset([(ip_address("232.1.1.1"), ip_address(source))]))
            assert self.refusal(access, "232.1.1.1", Via.MULTICAST) == expected

    def test_a_group_of_one_source(self) -> None:
        group = ip_address("232.1.1.1")
        access = attrs.evolve(ANY_ACCESS, groups=frozenset([(group, self.peer)]))
        assert self.refusal(access, str(group), Via.MULTICAST) is None
        other = attrs.evolve(ANY_ACCESS, groups=frozenset([(group, ip_address("10.71.0.77"))]))
        assert self.refusal(other, str(group), Via.MULTICAST) == outcomes.GROUP

    def test_listen(self) -> None:
        access = attrs.evolve(ANY_ACCESS, listen=frozenset([ip_address("10.71.0.2")]))
        assert self.refusal(access) == outcomes.LISTEN
        assert self.refusal(access, "10.71.0.2") is None

    def test_allow_and_deny(self) -> None:
        office, host = (ip_network("10.71.0.0/24"),), (ip_network("10.71.0.9/32"),)
        assert self.refusal(attrs.evolve(ANY_ACCESS, allow=office)) is None
        assert self.refusal(attrs.evolve(ANY_ACCESS, allow=office, deny=host)) == outcomes.DENIED
        assert self.refusal(attrs.evolve(ANY_ACCESS, allow=(ip_network("10.72.0.0/24"),))) == outcomes.DENIED

    @pytest.mark.parametrize(
        ("peer", "destination", "via", "expected"),
        [
            ("10.71.0.9", "10.71.0.1", Via.UNICAST, None),
            ("fe80::9", "fd71::1", Via.UNICAST, None),
            ("198.51.100.7", "10.71.0.1", Via.UNICAST, outcomes.OFF_LINK),
            ("2001:db8::7", "fd71::1", Via.UNICAST, outcomes.OFF_LINK),
            # No router passes these on: they come from the link, whatever the source (RFC 6762 section 11).
            ("198.51.100.7", "224.0.0.251", Via.MULTICAST, None),
            ("2001:db8::7", "ff02::fb", Via.MULTICAST, None),
            ("198.51.100.7", "255.255.255.255", Via.BROADCAST, None),
            # These may have come through a router.
            ("198.51.100.7", "239.255.255.250", Via.MULTICAST, outcomes.OFF_LINK),
            ("2001:db8::7", "ff05::c", Via.MULTICAST, outcomes.OFF_LINK),
            ("198.51.100.7", "10.71.0.255", Via.BROADCAST, outcomes.OFF_LINK),
        ],
    )
    def test_on_link(self, peer: str, destination: str, via: Via, expected: str | None) -> None:
        to = ip_address(destination)
        access = attrs.evolve(ANY_ACCESS, on_link=True, groups=frozenset([(to, None)]))
        assert refusal(access, ip_address(peer), to, LAN, via) == expected
        assert refusal(attrs.evolve(access, on_link=False), ip_address(peer), to, LAN, via) is None

    def test_without_a_destination(self) -> None:
        assert self.refusal(ANY_ACCESS, None) == outcomes.NO_DESTINATION
        easy = attrs.evolve(ANY_ACCESS, needs_destination=False)
        assert self.refusal(easy, None) is None
        # what can't be checked can't be allowed
        assert self.refusal(attrs.evolve(easy, patterns=("lan",)), None) == outcomes.NO_DESTINATION

    def test_a_service_is_read_as_it_is(self) -> None:
        service = Service(port=7, groups=["ff02::7007"])
        assert service.groups == (ip_address("ff02::7007"),)
