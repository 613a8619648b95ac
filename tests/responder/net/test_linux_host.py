"""What Linux tells of interfaces."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder.datagram import Interface, InterfaceAddress
from responder.errors import NetworkError
from responder.net import _linux_host
from tests.lab.namespaces import Lab, Namespace

from .conftest import Links


def told(namespace: Namespace) -> dict[str, Interface]:
    return {interface.name: interface for interface in namespace.call(_linux_host.interfaces)}


def own(interface: Interface) -> set[str]:
    return {str(entry.address) for entry in interface.addresses}


def test_loopback_is_there() -> None:
    found = list(_linux_host.interfaces())
    assert [interface.index for interface in found] == sorted(interface.index for interface in found)
    (loopback,) = (interface for interface in found if interface.name == "lo")
    assert loopback.flags >= {"up", "running", "loopback"}
    assert not loopback.flags & {"broadcast", "multicast", "point-to-point"}
    assert loopback.mtu == 65536
    assert InterfaceAddress(ip_address("127.0.0.1"), 8) in loopback.addresses


def test_one_that_disappears_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = socket.if_nameindex()
    monkeypatch.setattr(socket, "if_nameindex", lambda: [*there, (99999, "gone0")])
    assert [interface.index for interface in _linux_host.interfaces()] == sorted(index for index, _name in there)


@pytest.mark.parametrize(
    ("flags", "usable"), [("80", True), ("c0", False), ("c8", False), ("88", False), ("c4", True), ("a0", True)]
)
def test_unusable_addresses_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, usable: bool
) -> None:
    """Flags of linux/if_addr.h: tentative 40, duplicate 08, optimistic 04, deprecated 20."""
    if not any(ip_address("::1") in [own.address for own in each.addresses] for each in _linux_host.interfaces()):
        pytest.skip("this host has no ::1")
    (tmp_path / "if_inet6").write_text(f"{'1':0>32} 01 80 10 {flags}       lo\n")
    monkeypatch.setattr(_linux_host, "_PROC_NET", tmp_path)
    (loopback,) = (interface for interface in _linux_host.interfaces() if interface.name == "lo")
    assert loopback.has(ip_address("::1")) == usable


def test_a_host_without_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_linux_host, "_PROC_NET", tmp_path)
    assert _linux_host._ipv6_flags() == {}


@pytest.mark.lab
def test_addresses_of_both_families_are_merged(links: Links) -> None:
    link = told(links.host)["link1"]
    assert link.index == links.host.ifindex("link1")
    assert link.flags == {"up", "running", "broadcast", "multicast"}
    assert link.mtu == 1500
    broadcast = ip_address("10.71.0.255")
    assert link.addresses == (
        InterfaceAddress(ip_address("10.71.0.1"), 24, broadcast=broadcast),  # type: ignore[arg-type] # an IPv4 text
        InterfaceAddress(ip_address("10.71.0.2"), 24, broadcast=broadcast),  # type: ignore[arg-type] # an IPv4 text
        InterfaceAddress(ip_address("fd71::1"), 64),
        InterfaceAddress(ip_address("fe80::1"), 64),
    )
    assert told(links.host)["lo"].has(ip_address("10.99.0.1"))


@pytest.mark.lab
def test_what_ifaddr_lacks() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        host.ip(
            "link add wire type veth peer name end",
            "link set wire mtu 9000 addrgenmode none up",
            "link set end addrgenmode none",
            "addr add 10.1.0.1/24 broadcast 10.1.0.127 dev wire",
            "addr add 10.2.0.1/31 dev wire",
            "addr add 10.3.0.1/24 dev wire label wire:x",
            "addr add 10.4.0.1 peer 10.4.0.2/32 dev wire",
            "addr add fd01::1/64 dev wire nodad preferred_lft 0",
            "addr add fd01::2/64 dev wire nodad",
            "tuntap add tun0 mode tun",
            "addr add 10.5.0.1 peer 10.5.0.2/32 dev tun0",
            "link set tun0 up multicast off",
        )
        found = told(host)
        wire = {str(entry.address): entry for entry in found["wire"].addresses}
        assert found["wire"].mtu == 9000
        assert {name: (entry.prefix_length, entry.broadcast, entry.peer) for name, entry in wire.items()} == {
            "10.1.0.1": (24, ip_address("10.1.0.127"), None),
            "10.2.0.1": (31, None, None),
            "10.3.0.1": (24, ip_address("10.3.0.255"), None),
            "10.4.0.1": (32, None, ip_address("10.4.0.2")),
            "fd01::1": (64, None, None),
            "fd01::2": (64, None, None),
        }
        # A deprecated address (RFC 4862 section 5.5.4) is no first choice.
        assert [str(entry.address) for entry in found["wire"].addresses if entry.address.version == 6] == [
            "fd01::2",
            "fd01::1",
        ]
        assert found["end"].addresses == ()
        assert "up" not in found["end"].flags
        assert "point-to-point" in found["tun0"].flags
        assert "multicast" not in found["tun0"].flags
        assert [entry.peer for entry in found["tun0"].addresses if entry.address.version == 4] == [
            ip_address("10.5.0.2")
        ]
        assert "wire:x" not in found


@pytest.mark.lab
def test_a_tentative_address_is_left_out_until_it_is_usable(links: Links) -> None:
    # As many probes as it takes to stay tentative for the length of the test.
    links.host.sysctl("net.ipv6.conf.all.accept_dad", "1")
    links.host.sysctl("net.ipv6.conf.link1.accept_dad", "1")
    links.host.sysctl("net.ipv6.conf.link1.dad_transmits", "600")
    links.host.ip("addr add fd71::77/64 dev link1")
    assert "fd71::77" not in own(told(links.host)["link1"])
    links.host.ip("addr del fd71::77/64 dev link1", "addr add fd71::77/64 dev link1 nodad")
    assert "fd71::77" in own(told(links.host)["link1"])


@pytest.mark.lab
def test_a_name_that_is_not_utf_8_is_named() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        host.run("ip", "link", "add", os.fsdecode(b"w\xff"), "type", "veth")
        with pytest.raises(NetworkError, match="not UTF-8"):
            told(host)
