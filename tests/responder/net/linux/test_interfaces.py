"""rtnetlink: messages, the mirror that they fill, and what this kernel tells."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from ipaddress import ip_address, ip_network

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder.datagram import Interface, InterfaceAddress
from responder.net.linux import interfaces
from responder.net.linux.interfaces import (
    RECEIVE_BUFFER,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    Mirror,
    NetlinkWatch,
)
from tests.lab.namespaces import Lab, Namespace

from ..conftest import Links
from ..support import PATIENCE

UP = 0x1 | 0x40 | 0x1000 | 0x2  # up, running, multicast, broadcast
TENTATIVE, OPTIMISTIC, DADFAILED, DEPRECATED, SECONDARY, PERMANENT = 0x40, 0x04, 0x08, 0x20, 0x01, 0x80


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link(index: int, name: bytes = b"wire", flags: int = UP, mac: bytes = b"\2\0\0\0\0\1", family: int = 0) -> bytes:
    head = struct.pack("=BxHiII", family, 1, index, flags, 0)
    return head + attribute(1, mac) + attribute(3, name + b"\0") + attribute(4, struct.pack("=I", 1500))


def addr(
    index: int, local: str, prefix_length: int = 24, *, flags: int = PERMANENT, peer: str = "", broadcast: str = ""
) -> bytes:
    packed = ip_address(local).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    parts = [struct.pack("=BBBBI", family, prefix_length, flags & 0xFF, 0, index)]
    if peer or family == socket.AF_INET:
        parts += [attribute(1, ip_address(peer or local).packed), attribute(2, packed)]
    else:
        parts.append(attribute(1, packed))
    if broadcast:
        parts.append(attribute(4, ip_address(broadcast).packed))
    return b"".join([*parts, attribute(8, struct.pack("=I", flags))])


WRONG = {
    "link cut": link(7, b"new", flags=0)[:10],
    "mtu": link(7, b"new")[:-8] + attribute(4, b"\5\xdc"),
    "address cut": addr(7, "10.1.0.9")[:7],
    "no address": addr(7, "10.1.0.9")[:8],
    "unknown family": b"\1" + addr(7, "10.1.0.9")[1:],
    "local": addr(7, "10.1.0.9") + attribute(2, bytes(5)),
    "far end": addr(7, "10.1.0.9") + attribute(1, b"\x0a"),
    "far end of the other family": addr(7, "fe80::9", 64, peer="fe80::8") + attribute(1, bytes(4)),
    "broadcast": addr(7, "10.1.0.9") + attribute(4, bytes(3)),
    "flags": addr(7, "10.1.0.9") + attribute(8, bytes(2)),
    "33 bits": addr(7, "10.1.0.9", 33),
    "129 bits": addr(7, "fe80::9", 129),
    "index 0": link(0),
    "a negative index": link(-7),
}
"""The kernel sends none of these; of an attribute that comes twice, the last counts."""


def message(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 0, 0) + payload + bytes(-len(payload) % 4)


def own(interface: Interface | None) -> list[str]:
    return [] if interface is None else [str(entry.address) for entry in interface.addresses]


class TestMessages:
    def test_several_in_a_datagram(self) -> None:
        data = message(16, b"12345") + message(20, b"", 2)
        assert list(interfaces.messages(data)) == [(16, 0, b"12345"), (20, 2, b"")]

    @given(st.binary(max_size=200))
    def test_lies_end_the_walk(self, data: bytes) -> None:
        mirror = Mirror()
        for kind, _flags, payload in interfaces.messages(data):
            mirror.take(kind, payload)
        for kind in (RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR):
            mirror.take(kind, data)
        mirror.interfaces()


class TestMirror:
    def filled(self, *payloads: bytes) -> Mirror:
        mirror = Mirror()
        assert mirror.take(RTM_NEWLINK, link(7)) == 7
        for payload in payloads:
            assert mirror.take(RTM_NEWADDR, payload) == 7
        return mirror

    def test_a_link(self) -> None:
        mirror = self.filled(addr(7, "10.1.0.1", broadcast="10.1.0.127"), addr(7, "fe80::1", 64))
        assert mirror.interfaces() == [
            Interface(
                7,
                "wire",
                {"up", "running", "multicast", "broadcast"},
                1500,
                [
                    InterfaceAddress("10.1.0.1", 24, broadcast=ip_address("10.1.0.127")),
                    InterfaceAddress("fe80::1", 64),
                ],
                b"\2\0\0\0\0\1",
            )
        ]

    def test_renamed_down_and_gone(self) -> None:
        mirror = self.filled(addr(7, "10.1.0.1"))
        mirror.take(RTM_NEWLINK, link(7, b"wir\xff", flags=0x1000))
        interface = mirror.interface(7)
        assert interface is not None
        assert (interface.name, interface.flags, own(interface)) == ("wir\\xff", {"multicast"}, ["10.1.0.1"])
        assert mirror.take(RTM_DELLINK, link(7)) == 7
        assert mirror.interfaces() == []
        # Another one of the same index begins without the old one's addresses.
        mirror.take(RTM_NEWLINK, link(7))
        assert own(mirror.interface(7)) == []

    def test_what_a_bridge_says_of_its_port_is_not_about_the_link(self) -> None:
        mirror = self.filled()
        assert mirror.take(RTM_DELLINK, link(7, family=socket.AF_BRIDGE)) == 0
        assert mirror.take(RTM_NEWLINK, link(8, family=socket.AF_BRIDGE)) == 0
        assert [each.index for each in mirror.interfaces()] == [7]

    @pytest.mark.parametrize(
        ("flags", "usable"),
        [
            (PERMANENT, True),
            (TENTATIVE, False),
            (TENTATIVE | DADFAILED, False),
            (DADFAILED, False),
            (TENTATIVE | OPTIMISTIC, True),
            (DEPRECATED, True),
        ],
    )
    def test_unusable_addresses_are_left_out_until_they_are(self, flags: int, usable: bool) -> None:
        mirror = self.filled(addr(7, "fd01::1", 64, flags=flags))
        assert bool(own(mirror.interface(7))) is usable
        mirror.take(RTM_NEWADDR, addr(7, "fd01::1", 64))
        assert own(mirror.interface(7)) == ["fd01::1"]
        mirror.take(RTM_DELADDR, addr(7, "fd01::1", 64))
        assert own(mirror.interface(7)) == []

    def test_the_first_choice_stands_first(self) -> None:
        entries = [
            addr(7, "fe80::1", 64),
            addr(7, "fd01::2", 64, flags=DEPRECATED),
            addr(7, "fd01::3", 64, flags=SECONDARY),  # temporary
            addr(7, "fd01::4", 64),
            addr(7, "10.1.0.9"),
            addr(7, "10.1.0.1", flags=SECONDARY),
            addr(7, "10.2.0.1"),
        ]
        expected = ["10.1.0.9", "10.2.0.1", "10.1.0.1", "fd01::4", "fe80::1", "fd01::3", "fd01::2"]
        assert own(self.filled(*entries).interface(7)) == expected

    def test_what_belongs_to_an_address(self) -> None:
        mirror = self.filled(
            addr(7, "10.1.0.1"),
            addr(7, "10.2.0.1", 31),
            addr(7, "10.4.0.1", 32, peer="10.4.0.2"),
            addr(7, "fd05::1", 128, peer="fd05::2"),
        )
        interface = mirror.interface(7)
        assert interface is not None
        assert {str(entry.address): (entry.broadcast, entry.peer) for entry in interface.addresses} == {
            "10.1.0.1": (ip_address("10.1.0.255"), None),
            "10.2.0.1": (None, None),
            "10.4.0.1": (None, ip_address("10.4.0.2")),
            "fd05::1": (None, ip_address("fd05::2")),
        }

    @pytest.mark.parametrize("payload", WRONG.values(), ids=WRONG)
    def test_what_cannot_be_right_is_passed_over(self, payload: bytes) -> None:
        mirror = self.filled(addr(7, "10.1.0.1"))
        before = mirror.interfaces()
        assert [mirror.take(kind, payload) for kind in (RTM_NEWLINK, RTM_NEWADDR)] == [0, 0]
        assert mirror.interfaces() == before

    def test_what_a_message_leaves_out_stays(self) -> None:
        """A wireless event (wireless_send_event in the kernel's wext-core.c) has the flags and the name alone."""
        mirror = self.filled()
        before = mirror.interfaces()
        wireless = link(7)[:16] + attribute(3, b"wire\0") + attribute(11, bytes(24))
        assert mirror.take(RTM_NEWLINK, wireless) == 7
        assert mirror.interfaces() == before

    def test_a_mapped_address(self) -> None:
        """The kernel takes 96 bits for one, and plugins see it as IPv4."""
        (own,) = self.filled(addr(7, "::ffff:10.1.0.1", 96)).interfaces()[0].addresses
        assert own.network == ip_network("10.1.0.1/32")

    def test_an_address_before_its_link(self) -> None:
        mirror = Mirror()
        mirror.take(RTM_NEWADDR, addr(7, "10.1.0.1"))
        assert mirror.interfaces() == []
        mirror.take(RTM_NEWLINK, link(7))
        assert own(mirror.interface(7)) == ["10.1.0.1"]


def told(namespace: Namespace) -> dict[str, Interface]:
    return {interface.name: interface for interface in namespace.call(interfaces.enumerate_interfaces)}


def test_loopback_is_there() -> None:
    found = list(interfaces.enumerate_interfaces())
    assert [interface.index for interface in found] == sorted(interface.index for interface in found)
    (loopback,) = (interface for interface in found if interface.name == "lo")
    assert loopback.flags >= {"up", "running", "loopback"}
    assert not loopback.flags & {"broadcast", "multicast", "point-to-point"}
    assert loopback.mtu == 65536
    assert loopback.link_address == b""
    assert InterfaceAddress(ip_address("127.0.0.1"), 8) in loopback.addresses


@pytest.mark.lab
def test_addresses_of_both_families(links: Links) -> None:
    link = told(links.host)["link1"]
    assert link.index == links.host.ifindex("link1")
    assert link.flags == {"up", "running", "broadcast", "multicast"}
    assert len(link.link_address) == 6
    broadcast = ip_address("10.71.0.255")
    assert link.addresses == (
        InterfaceAddress("10.71.0.1", 24, broadcast=broadcast),
        InterfaceAddress("10.71.0.2", 24, broadcast=broadcast),
        InterfaceAddress("fd71::1", 64),
        InterfaceAddress("fe80::1", 64),
    )
    assert told(links.host)["lo"].has(ip_address("10.99.0.1"))


@pytest.mark.lab
def test_what_a_link_may_have() -> None:
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
            "addr add fd02::1 peer fd02::2/128 dev wire nodad",
            "tuntap add tun0 mode tun",
            "addr add 10.5.0.1 peer 10.5.0.2/32 dev tun0",
            "link set tun0 up multicast off",
        )
        host.run("ip", "link", "add", os.fsdecode(b"w\xff"), "type", "veth")
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
            "fd02::1": (128, None, ip_address("fd02::2")),
        }
        # A deprecated address (RFC 4862 section 5.5.4) is no first choice.
        assert own(found["wire"])[-1] == "fd01::1"
        assert found["end"].addresses == ()
        assert "up" not in found["end"].flags
        assert "point-to-point" in found["tun0"].flags
        assert "multicast" not in found["tun0"].flags
        assert [entry.peer for entry in found["tun0"].addresses if entry.address.version == 4] == [
            ip_address("10.5.0.2")
        ]
        assert "wire:x" not in found
        assert "w\\xff" in found


class Watched:
    """A namespace with a watch in it, and the table that the watch's words make."""

    def __init__(self, namespace: Namespace, watch: NetlinkWatch) -> None:
        self.namespace = namespace
        self.watch = watch
        self.table: dict[int, Interface] = {}
        self.gone: list[int] = []

    async def enumerate(self) -> None:
        self.table = {interface.index: interface for interface in await self.watch.interfaces()}

    async def follow(self) -> bool:
        """Take what is told until it is what the namespace has; False where an overrun is told."""
        present = {interface.index: interface for interface in self.namespace.call(interfaces.enumerate_interfaces)}
        with trio.fail_after(PATIENCE):
            while self.table != present:
                changes = await self.watch.changes()
                if changes is None:
                    return False
                for index, interface in changes:
                    if interface is None:
                        self.gone.append(index)
                        self.table.pop(index, None)
                    else:
                        self.table[index] = interface
        return True


@pytest.fixture
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """Its parameter is the receive buffer in bytes; the kernel makes some 2 KiB of less."""
    with Lab() as lab:
        namespace = lab.namespace("watched")
        # No link-local address of the kernel's making, which would be tentative for a time of its own.
        namespace.sysctl("net.ipv6.conf.default.addr_gen_mode", "1")
        with closing(namespace.call(partial(NetlinkWatch, getattr(request, "param", RECEIVE_BUFFER)))) as watch:
            yield Watched(namespace, watch)


@pytest.mark.lab
async def test_message_after_message_leads_to_what_a_dump_tells(watched: Watched) -> None:
    await watched.enumerate()
    for steps in (
        ["link add wire type veth peer name end"],
        ["addr add 10.1.0.1/24 dev wire", "addr add 10.1.0.2/24 dev wire", "addr add fd01::1/64 dev wire nodad"],
        ["link set wire up", "link set end up"],
        ["addr add fd01::2/64 dev wire nodad preferred_lft 0", "addr change fd01::1/64 dev wire preferred_lft 0"],
        ["addr del 10.1.0.1/24 dev wire"],  # its secondary address goes with it
        ["link set end down"],  # takes wire's carrier
        ["link set wire down", "link set wire name cord", "link set cord mtu 1400"],
        ["link add br0 type bridge", "link set cord master br0"],
        ["link set cord nomaster"],
    ):
        watched.namespace.ip(*steps)
        assert await watched.follow()
    assert watched.gone == []
    index = watched.namespace.ifindex("cord")
    watched.namespace.ip("link del cord", f"link add cord index {index} type veth", "addr add 10.2.0.1/24 dev cord")
    assert await watched.follow()
    assert index in watched.gone
    assert own(watched.table[index]) == ["10.2.0.1"]


@pytest.mark.lab
@pytest.mark.parametrize("watched", [1], indirect=True)
async def test_an_overrun_is_told_and_enumerating_anew_is_right(watched: Watched) -> None:
    await watched.enumerate()
    watched.namespace.ip("link add wire type veth peer name end", "link set wire up")
    watched.namespace.ip(*(f"addr add 10.1.{number}.1/24 dev wire" for number in range(250)))
    assert not await watched.follow()
    await watched.enumerate()
    assert await watched.follow()
    (wire,) = [each for each in watched.table.values() if each.name == "wire"]
    assert len(wire.addresses) == 250
    # And it follows again.
    watched.namespace.ip("addr del 10.1.7.1/24 dev wire")
    assert await watched.follow()
    (wire,) = [each for each in watched.table.values() if each.name == "wire"]
    assert len(wire.addresses) == 249


@pytest.mark.lab
async def test_a_tentative_address_is_told_when_it_is_usable(watched: Watched) -> None:
    await watched.enumerate()
    namespace = watched.namespace
    namespace.sysctl("net.ipv6.conf.all.accept_dad", "1")
    namespace.sysctl("net.ipv6.conf.default.accept_dad", "1")
    # As many probes as it takes to stay tentative for the length of the test.
    namespace.sysctl("net.ipv6.conf.default.dad_transmits", "600")
    namespace.ip("link add wire type veth peer name end", "link set wire up", "link set end up")
    namespace.ip("addr add fd01::1/64 dev wire", "addr add 10.1.0.1/24 dev wire")
    assert await watched.follow()
    index = namespace.ifindex("wire")
    assert own(watched.table[index]) == ["10.1.0.1"]
    namespace.ip("addr del fd01::1/64 dev wire", "addr add fd01::1/64 dev wire nodad")
    assert await watched.follow()
    assert own(watched.table[index]) == ["10.1.0.1", "fd01::1"]
