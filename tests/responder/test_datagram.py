from __future__ import annotations

from ipaddress import ip_address, ip_network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder import Datagram, Interface, InterfaceAddress, Peer, Reply, Via
from responder.datagram import (
    IPAddress,
    IPNetwork,
    PrefixSet,
    SourceGroup,
    group_and_source,
    is_link_local,
    to_group,
)
from tests.fakes import LAN, FakeReceived, flow


def request(**changes: object) -> Datagram:
    fields: dict[str, object] = {
        "payload": b"x",
        "peer": Peer("10.71.0.9", 4711),
        "destination": "10.71.0.1",
        "interface": LAN,
    }
    return Datagram(**{**fields, **changes})  # type: ignore[arg-type] # the fields above


@pytest.mark.parametrize(("given", "kept"), [("::ffff:10.71.0.9", "10.71.0.9"), ("fe80::9%eth0", "fe80::9")])
def test_addresses_are_never_mapped_and_never_scoped(given: str, kept: str) -> None:
    assert Peer(given, 1).address == ip_address(kept)
    assert request(destination=given).destination == ip_address(kept)
    assert InterfaceAddress(given, 64).address == ip_address(kept)
    assert Reply(b"", to=given).to == ip_address(kept)


def test_values_are_immutable_and_comparable() -> None:
    assert request() == request()
    assert request() != request(payload=b"y")
    assert len({request(), request(), request(port=9)}) == 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        LAN.name = "other"  # type: ignore[misc] # what is tested


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Datagram' object has no attribute 'sender'"):
        request().sender  # type: ignore[attr-defined] # noqa: B018 - what is tested
    assert not hasattr(FakeReceived(b"", flow()), "sender")  # and no origin is asked for it


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        (Peer("10.71.0.9", 53), "10.71.0.9:53"),
        (Peer("fe80::9", 53, 3), "[fe80::9%3]:53"),
        (Peer("::1", 53), "[::1]:53"),
    ],
)
def test_a_peer_reads_as_a_url_has_it(peer: Peer, shown: str) -> None:
    assert str(peer) == shown


def test_via_is_text_too() -> None:
    assert f"via={request(via='multicast').via}" == "via=multicast"
    assert request().via is Via.UNICAST
    with pytest.raises(ValueError, match="anycast"):
        request(via="anycast")


@given(st.ip_addresses() | st.ip_addresses(network="169.254.0.0/15") | st.ip_addresses(network="fe80::/9"))
def test_what_is_link_local(address: IPAddress) -> None:
    assert is_link_local(address) is address.is_link_local


class TestPrefixSet:
    @given(st.lists(st.ip_addresses().map(lambda a: ip_network((a, 12), strict=False))), st.ip_addresses())
    def test_it_says_what_the_prefixes_say(self, prefixes: list[IPNetwork], address: IPAddress) -> None:
        holding = [
            position
            for position, prefix in enumerate(prefixes)
            if address.version == prefix.version and address in prefix
        ]
        assert (address in PrefixSet(prefixes)) is bool(holding)
        assert PrefixSet(prefixes).first(address) == min(holding, default=None)

    def test_the_first_of_several_that_hold_an_address(self) -> None:
        prefixes = PrefixSet(map(ip_network, ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"]))
        assert prefixes.first(ip_address("10.1.2.3")) == 0
        assert PrefixSet(map(ip_network, ["10.1.0.0/16", "10.0.0.0/8"])).first(ip_address("10.1.2.3")) == 0

    def test_it_keeps_the_families_apart(self) -> None:
        everything = PrefixSet([ip_network("0.0.0.0/0")])
        assert ip_address("192.0.2.1") in everything
        assert ip_address("::1") not in everything
        assert not PrefixSet([])
        assert everything


class TestInterface:
    def test_on_link(self) -> None:
        for address in ("10.71.0.77", "fd71::77", "fe80::77", "169.254.3.4"):
            assert LAN.on_link(ip_address(address))
        for address in ("10.72.0.1", "fd72::1", "2001:db8::1"):
            assert not LAN.on_link(ip_address(address))

    def test_a_point_to_point_address_has_its_peer_on_the_link(self) -> None:
        tunnel = InterfaceAddress("10.8.0.1", 32, peer=ip_address("10.8.0.2"))
        assert tunnel.network == ip_network("10.8.0.2/32")
        assert Interface(5, "tun0", addresses=[tunnel]).source_for(ip_address("10.8.0.2")) == ip_address("10.8.0.1")

    def test_has(self) -> None:
        assert LAN.has(ip_address("10.71.0.2"))
        assert not LAN.has(ip_address("10.71.0.255"))

    def test_is_working(self) -> None:
        assert LAN.is_working
        assert not attrs.evolve(LAN, flags={"up"}).is_working
        assert not attrs.evolve(LAN, flags={"running"}).is_working


class TestGroups:
    def test_one_source(self) -> None:
        group = to_group("232.1.2.3@10.0.0.9")
        assert group == SourceGroup("232.1.2.3", "10.0.0.9") == to_group(group)
        assert str(group) == "232.1.2.3@10.0.0.9"
        assert group_and_source(group) == (ip_address("232.1.2.3"), ip_address("10.0.0.9"))

    def test_any_source(self) -> None:
        assert to_group("ff02::c") == ip_address("ff02::c")
        assert group_and_source(ip_address("ff02::c")) == (ip_address("ff02::c"), None)

    @pytest.mark.parametrize(
        "text",
        [
            "10.1.1.1@10.0.0.9",
            "232.1.1.1@fe80::9",
            "232.1.1.1@239.1.1.1",
            "232.1.1.1@0.0.0.0",
            "@",
            "232.1.1.1@",
            "10.1.1.1",
        ],
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - ipaddress' words are its own
            to_group(text)
