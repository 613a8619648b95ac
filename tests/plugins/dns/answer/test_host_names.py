"""Names that mean this host as the client reaches it: by which link and address, and the names of those addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.message
import dns.reversename
import pytest

from responder import Interface, InterfaceAddress
from tests.plugins.dns.support import SMALL, ask, handler_of, texts

OTHER = Interface(3, "link2", addresses=(InterfaceAddress("10.72.0.1", 24), InterfaceAddress("fd72::1", 64)))


def told(handler: Any, name: str, kind: str, destination: str, **more: Any) -> list[str]:
    peer = "fd71::9" if ":" in destination else "10.71.0.9"
    reply = ask(handler, dns.message.make_query(name, kind), destination, peer=peer, **more)
    assert reply.rcode() == 0
    return sorted(line.split()[-1] for line in texts(reply.answer))


ONLY_HERE = handler_of(zones={}, here=("router.lan", "other.lan"), here_ttl=7)


@pytest.mark.parametrize(
    ("destination", "a", "aaaa"),
    [
        ("10.71.0.2", ["10.71.0.2"], ["fd71::1"]),
        ("fd71::1", ["10.71.0.1", "10.71.0.2"], ["fd71::1"]),
        # A link-local address needs a scope, which DNS can't carry.
        ("fe80::1", ["10.71.0.1", "10.71.0.2"], ["fd71::1"]),
        # Another link's address, or a service address: the client asked by it, so it works for it.
        ("10.72.0.1", ["10.72.0.1"], ["fd71::1"]),
    ],
)
def test_the_address_that_was_asked_and_the_other_family_of_the_link(
    destination: str, a: list[str], aaaa: list[str]
) -> None:
    for name in ("router.lan", "ROUTER.lan", "other.lan"):
        assert told(ONLY_HERE, name, "A", destination) == a
        assert told(ONLY_HERE, name, "AAAA", destination) == aaaa
        assert told(ONLY_HERE, name, "ANY", destination) == a + aaaa


def test_by_another_link_another_address() -> None:
    assert told(ONLY_HERE, "router.lan", "AAAA", "10.72.0.1", interface=OTHER) == ["fd72::1"]
    alone = Interface(4, "bare", addresses=(InterfaceAddress("fe80::1", 64),))
    assert told(ONLY_HERE, "router.lan", "AAAA", "fe80::1", interface=alone) == ["fe80::1"]
    assert told(ONLY_HERE, "router.lan", "A", "fe80::1", interface=alone) == []


def test_all_addresses_of_the_interface_where_that_is_wanted() -> None:
    handler = handler_of(zones={}, here=("router.lan",), here_addresses="interface")
    assert told(handler, "router.lan", "A", "10.71.0.2") == ["10.71.0.1", "10.71.0.2"]
    assert told(handler, "router.lan", "A", "10.99.0.1") == ["10.71.0.1", "10.71.0.2", "10.99.0.1"]


def test_a_group_or_broadcast_query_gets_the_interfaces_own() -> None:
    assert told(ONLY_HERE, "router.lan", "A", "239.255.70.7", via="multicast") == ["10.71.0.1", "10.71.0.2"]
    assert told(ONLY_HERE, "router.lan", "A", "10.71.0.255", via="broadcast") == ["10.71.0.1", "10.71.0.2"]


@pytest.mark.parametrize(
    ("address", "destination", "rcode"),
    [
        ("10.71.0.1", "10.71.0.2", 0),
        ("fd71::1", "10.71.0.2", 0),
        ("10.99.0.1", "10.99.0.1", 0),
        ("10.72.0.1", "10.71.0.2", 5),
        ("10.71.0.9", "10.71.0.2", 5),
    ],
)
def test_ptr_of_exactly_these_addresses(address: str, destination: str, rcode: int) -> None:
    name = dns.reversename.from_address(address)
    reply = ask(ONLY_HERE, dns.message.make_query(name, "PTR"), destination)
    assert reply.rcode() == rcode
    assert texts(reply.answer) == ([] if rcode else [f"{name} 7 PTR router.lan."])


def test_aliases_and_targets_lead_here(tmp_path: Path) -> None:
    (tmp_path / "lan.zone").write_text(
        SMALL + "gw CNAME Router.lan.\nsub DNAME lan.\nm MX 1 router\nrouter A 192.0.2.1\n"
    )
    handler = handler_of(tmp_path, zones={"lan": Path("lan.zone")}, here=("router.lan",))
    for destination in ("10.71.0.2", "10.71.0.1", "10.71.0.2"):
        assert told(handler, "gw.lan", "A", destination) == sorted(["Router.lan.", destination])
        assert told(handler, "router.sub.lan", "A", destination) == sorted(["lan.", "router.lan.", destination])
        reply = ask(handler, dns.message.make_query("m.lan", "MX"), destination)
        assert f"router.lan. 10 A {destination}" in texts(reply.additional)


def test_they_exist_in_the_zone_around_them(tmp_path: Path) -> None:
    """RFC 8020: one type's NXDOMAIN would hide the others; RFC 4592: what exists hides a wildcard."""
    (tmp_path / "lan.zone").write_text(SMALL + "* TXT wild\n")
    handler = handler_of(tmp_path, zones={"lan": Path("lan.zone")}, here=("router.up.lan",))
    for _ in range(2):
        for name in ("router.up.lan", "up.lan"):
            reply = ask(handler, dns.message.make_query(name, "TXT"))
            assert (reply.rcode(), texts(reply.answer), len(reply.authority)) == (0, [], 1)
        assert ask(handler, dns.message.make_query("x.up.lan", "TXT")).rcode() == 3
        assert told(handler, "x.lan", "TXT", "10.71.0.2") == ['"wild"']


def test_a_group_is_nobodys_name() -> None:
    reply = ask(ONLY_HERE, dns.message.make_query("7.70.255.239.in-addr.arpa", "PTR"), "239.255.70.7", via="multicast")
    assert reply.rcode() == 5


def test_other_types_are_the_zones_and_nothing_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "lan.zone").write_text(SMALL + "router TXT hello\nrouter A 192.0.2.1\n")
    handler = handler_of(tmp_path, zones={"lan": Path("lan.zone")}, here=("router.lan", "new.lan"))
    for _ in range(2):
        assert told(handler, "router.lan", "TXT", "10.71.0.2") == ['"hello"']
        assert told(handler, "router.lan", "A", "10.71.0.2") == ["10.71.0.2"]  # not the zone's
        assert told(handler, "www.lan", "A", "10.71.0.2") == ["192.0.2.80"]
    empty = Interface(4, "bare", addresses=(InterfaceAddress("10.71.0.1", 24),))
    for name in ("router.lan", "new.lan"):
        reply = ask(handler, dns.message.make_query(name, "AAAA"), interface=empty)
        assert (reply.rcode(), [str(rrset.name) for rrset in reply.authority]) == (0, ["lan."])
    assert told(ONLY_HERE, "router.lan", "MX", "10.71.0.2") == []
    assert ask(ONLY_HERE, dns.message.make_query("x.router.lan", "A")).rcode() == 5
