"""macOS and FreeBSD, as far as it can be tested elsewhere: messages, options, and the pair of sockets on fake ones."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest
import trio

if sys.platform == "win32":
    pytest.skip("POSIX only", allow_module_level=True)

from responder.datagram import InterfaceAddress, Via
from responder.errors import NetworkError, SendRefused, SourceUnavailable, Unreachable
from responder.net import cmsg
from responder.net.bsd import interfaces
from responder.net.bsd.abi import (
    DARWIN,
    FREEBSD,
    IP_MULTICAST_TTL,
    IP_TTL,
    System,
    concerns_interfaces,
    decode_flow,
    encode_route,
    families,
    hop_limit,
    membership_option,
    system_of,
    without_embedded_scope,
)
from responder.net.bsd.udp import BsdSocket, FamilySocket
from responder.net.posix.interface_flags import flag_names
from responder.net.types import Membership, Route
from tests.fakes import GUEST, LAN

from ..support import PATIENCE

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
GROUP, GROUP6 = ip_address("239.255.70.7"), ip_address("ff02::7007")
SYSTEMS = pytest.mark.parametrize("system", [DARWIN, FREEBSD], ids=lambda system: system.name)


def test_which_system() -> None:
    assert system_of("darwin") is DARWIN
    assert system_of("freebsd14") is FREEBSD
    assert system_of("linux") is system_of("openbsd7") is None


@pytest.mark.parametrize(
    ("address", "ipv4", "ipv6", "expected"),
    [
        (None, True, True, (6, 4)),
        (None, True, False, (4,)),
        (None, False, True, (6,)),
        (None, False, False, ()),
        (V4, True, True, (4,)),
        (V6, True, True, (6,)),
        (V6, True, False, ()),
    ],
)
def test_the_sockets_of_a_port(address: Any, ipv4: bool, ipv6: bool, expected: tuple[int, ...]) -> None:
    assert families(address, has_ipv4=ipv4, has_ipv6=ipv6) == expected


class TestReceiving:
    def test_ipv4_on_macos(self) -> None:
        control = [(0, 26, struct.pack("=i4s4s", 5, V4.packed, V4.packed)), (0, 24, b"\x3f")]
        flow = decode_flow(DARWIN, "10.0.0.9", 0, control)
        assert (flow.peer, flow.destination, flow.interface) == (ip_address("10.0.0.9"), V4, 5)
        assert flow.via is None, "unicast and directed broadcast look alike"
        assert hop_limit(DARWIN, control) == 63

    def test_ipv4_on_freebsd(self) -> None:
        datalink = struct.pack("=BBHBBBB", 54, 18, 5, 6, 3, 6, 0).ljust(54, b"\0")
        control = [(0, 7, GROUP.packed), (0, 20, datalink), (0, 65, b"\x01")]
        flow = decode_flow(FREEBSD, "10.0.0.9", 0, control)
        assert (flow.destination, flow.interface, flow.via) == (GROUP, 5, Via.MULTICAST)
        assert hop_limit(FREEBSD, control) == 1

    @SYSTEMS
    def test_ipv6(self, system: System) -> None:
        control = [(41, 46, cmsg.pack_in6_pktinfo(ip_address("fe80::1"), 7)), (41, 47, cmsg.pack_int(255))]  # type: ignore[arg-type] # an IPv6 text
        flow = decode_flow(system, "fe80::9%em0", 7, control)
        assert (flow.peer, flow.scope_id, flow.interface) == (ip_address("fe80::9"), 7, 7)
        assert (flow.destination, flow.via) == (ip_address("fe80::1"), Via.UNICAST)
        assert hop_limit(system, control) == 255

    @SYSTEMS
    def test_nothing_told(self, system: System) -> None:
        flow = decode_flow(system, "10.0.0.9", 0, [])
        assert (flow.destination, flow.interface) == (None, 0)
        assert hop_limit(system, []) is None

    @SYSTEMS
    def test_what_is_cut_is_not_told(self, system: System) -> None:
        for size in range(4):
            control = [(level, kind, bytes(size)) for level, kind in ((0, 26), (0, 7), (41, 46), (41, 47))]
            control += [(0, 20, bytes(size // 2)), (0, system.ip_recvttl, b"")]
            flow = decode_flow(system, "10.0.0.9", 0, control)
            assert (flow.destination, flow.interface) == (None, 0)
            assert hop_limit(system, control) is None


class TestSending:
    def test_an_ipv4_source(self) -> None:
        route = Route(ip_address("10.0.0.9"), source=V4, interface=5)
        # Never with the interface: macOS would discard the source.
        assert encode_route(DARWIN, route, None).control == [(0, 26, struct.pack("=i4s4s", 0, V4.packed, bytes(4)))]
        assert encode_route(FREEBSD, route, None).control == [(0, 7, V4.packed)]

    @SYSTEMS
    def test_the_address_that_it_is_bound_to_is_not_said_again(self, system: System) -> None:
        assert encode_route(system, Route(ip_address("10.0.0.9"), source=V4), V4).control == []

    @SYSTEMS
    def test_an_ipv4_group(self, system: System) -> None:
        encoded = encode_route(system, Route(GROUP, source=V4, interface=5, hop_limit=3), None)
        assert (encoded.ttl, encoded.interface) == ((IP_MULTICAST_TTL, 3), 5)
        assert encode_route(system, Route(V4, hop_limit=None), None).ttl == (IP_TTL, None)

    @SYSTEMS
    def test_ipv6(self, system: System) -> None:
        encoded = encode_route(system, Route(ip_address("fe80::9"), 7, ip_address("fe80::1"), 7, 255), None)
        assert encoded.rest == (0, 7)
        assert encoded.control == [
            (41, 46, ip_address("fe80::1").packed + struct.pack("=I", 7)),
            (41, 47, cmsg.pack_int(255)),
        ]

    @SYSTEMS
    def test_a_source_of_the_other_family(self, system: System) -> None:
        for to, source in ((V4, V6), (V6, V4)):
            with pytest.raises(SourceUnavailable):
                encode_route(system, Route(to, source=source), None)


class TestGroups:
    @SYSTEMS
    def test_any_source(self, system: System) -> None:
        assert membership_option(system, Membership(GROUP, 5), join=True) == (
            0,
            12,
            GROUP.packed + bytes(4) + struct.pack("=i", 5),
        )
        assert membership_option(system, Membership(GROUP6, 5), join=False) == (
            41,
            13,
            GROUP6.packed + struct.pack("=I", 5),
        )

    def test_one_source(self) -> None:
        level, option, value = membership_option(DARWIN, Membership(GROUP, 5, V4), join=True)
        assert (level, option, len(value)) == (0, 82, 4 + 2 * 128)
        assert value[4:12] == bytes([16, 2, 0, 0]) + GROUP.packed
        assert value[132:140] == bytes([16, 2, 0, 0]) + V4.packed
        level, option, value = membership_option(FREEBSD, Membership(GROUP6, 5, V6), join=False)
        assert (level, option, len(value)) == (41, 83, struct.calcsize("@P") + 2 * 128)
        assert value[-128:][:2] == bytes([28, 28])


class FakeSocket:
    """A kernel socket: `queue` is received, the rest noted."""

    def __init__(self, family: int, port: int = 5353) -> None:
        self.family = family
        self.port = port
        self.queue: list[Any] = []
        self.sent: list[tuple[Any, ...]] = []
        self.options: list[tuple[int, int, Any]] = []
        self.refusals: list[int] = []
        self.closed = False

    def getsockname(self) -> tuple[str, int]:
        return ("", self.port)

    def getsockopt(self, level: int, option: int) -> int:
        assert level == 0
        return {IP_TTL: 64, IP_MULTICAST_TTL: 1}[option]

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if self.refusals:
            code = self.refusals.pop()
            raise OSError(code, os.strerror(code))
        self.options.append((level, option, value))

    def recvmsg(self, size: int, control: int) -> Any:
        del size, control
        if not self.queue:
            raise BlockingIOError
        item = self.queue.pop(0)
        if isinstance(item, OSError):
            raise item
        return item

    def sendmsg(self, parts: Any, control: Any, flags: int, name: Any) -> None:
        del flags
        if self.refusals:
            code = self.refusals.pop()
            raise OSError(code, os.strerror(code)) if code != errno.EAGAIN else BlockingIOError
        self.sent.append((b"".join(parts), list(control), name))

    def fileno(self) -> int:
        return -1 if self.closed else 7

    def close(self) -> None:
        self.closed = True


class Pair:
    def __init__(self, system: System = FREEBSD) -> None:
        self.four, self.six = FakeSocket(socket.AF_INET), FakeSocket(socket.AF_INET6)
        members = [FamilySocket(system, sock, None) for sock in (self.six, self.four)]  # type: ignore[arg-type] # a fake
        self.socket = BsdSocket(members, None)


def datagram(payload: bytes, peer: str = "10.0.0.9", ttl: int = 64) -> Any:
    name: tuple[Any, ...] = (peer, 4711) if "." in peer else (peer, 4711, 0, 0)
    control = [(0, 7, V4.packed), (0, 65, bytes([ttl]))] if "." in peer else []
    return payload, control, 0, name


class TestPair:
    def test_both_are_received_whatever_comes_on_one(self) -> None:
        pair = Pair()
        pair.six.queue = [datagram(b"6", "fd00::9")] * 100
        pair.four.queue = [datagram(b"4")] * 3
        payloads = [received.payload for received in pair.socket.receive(8)]
        assert (payloads.count(b"6"), payloads.count(b"4")) == (4, 3)
        assert len(pair.socket.receive(8)) == 8
        assert len(pair.six.queue) == 100 - 12

    def test_one_path_for_all_of_a_way(self) -> None:
        pair = Pair()
        pair.four.queue = [datagram(b"a", ttl=64), datagram(b"b", ttl=63)]
        first, second = pair.socket.receive(8)
        assert first.flow is second.flow
        assert (first.hop_limit, second.hop_limit) == (64, 63)
        assert (first.peer_port, first.truncated, first.timestamp) == (4711, False, None)

    def test_an_earlier_sends_error_is_passed_over(self) -> None:
        pair = Pair()
        pair.four.queue = [OSError(errno.ECONNREFUSED, "refused"), datagram(b"a")]
        assert [received.payload for received in pair.socket.receive(8)] == [b"a"]

    def test_each_family_sends_its_own(self) -> None:
        pair = Pair()
        batch = [(b"4", Route(V4), 9), (b"6", Route(V6), 9)]
        assert pair.socket.send(batch) == 2
        assert pair.four.sent == [(b"4", [], ("192.0.2.1", 9))]
        assert pair.six.sent == [(b"6", [], ("2001:db8::1", 9, 0, 0))]

    def test_options_of_a_send_do_not_stay(self) -> None:
        pair = Pair()
        for hop_limit_, interface in ((7, 5), (7, 5), (None, 6), (None, 0)):
            pair.socket.send([(b"x", Route(GROUP, hop_limit=hop_limit_, interface=interface), 9)])
        groups = [(0, 9, bytes(8) + struct.pack("=i", index)) for index in (5, 6)]
        ttl = [(0, IP_MULTICAST_TTL, value) for value in (7, 1)]
        assert pair.four.options == [ttl[0], groups[0], ttl[1], groups[1]]

    def test_refusals(self) -> None:
        pair = Pair()
        two = [(b"4", Route(ip_address("10.0.0.9")), 9), (b"6", Route(V6), 9)]
        pair.four.refusals = [errno.ENOBUFS]
        with pytest.raises(SendRefused):
            pair.socket.send(two)
        pair.six.refusals = [errno.EPERM]
        assert pair.socket.send(two) == 1, "the second one's refusal is for the next call"
        pair.four.refusals = [errno.EAGAIN]
        assert pair.socket.send(two) == 0

    def test_a_family_that_it_has_not(self) -> None:
        member = FamilySocket(DARWIN, FakeSocket(socket.AF_INET), V4)  # type: ignore[arg-type] # a fake
        single = BsdSocket([member], V4)
        with pytest.raises(Unreachable):
            single.send([(b"x", Route(V6), 9)])
        with pytest.raises(OSError, match="family not supported"):
            single.join(Membership(GROUP6, 2), LAN)

    def test_groups(self) -> None:
        pair = Pair()
        pair.socket.join(Membership(GROUP, 2), LAN)
        pair.socket.join(Membership(GROUP6, 2), LAN)
        assert [option[:2] for option in pair.four.options] == [(0, 12)]
        assert [option[:2] for option in pair.six.options] == [(41, 12)]
        pair.four.refusals = [errno.EADDRINUSE]
        pair.socket.join(Membership(GROUP, 2), LAN)  # twice is no error
        pair.four.refusals = [errno.ENOBUFS]
        with pytest.raises(OSError, match="No buffer space"):
            pair.socket.join(Membership(GROUP, 3), GUEST)
        pair.socket.leave(Membership(GROUP, 2), None)
        assert pair.four.options[-1][:2] == (0, 13)


class TestInterfaces:
    def test_flags(self) -> None:
        assert flag_names(0x8843, multicast=0x8000) == {"up", "running", "broadcast", "multicast"}
        assert flag_names(0x8051, multicast=0x8000) == {"up", "running", "point-to-point", "multicast"}

    @pytest.mark.parametrize(
        ("flags", "usable"), [(0, True), (0x02, False), (0x04, False), (0x08, False), (0x10, True)]
    )
    def test_unusable_addresses(self, flags: int, usable: bool) -> None:
        """Tentative, duplicated, detached; deprecated ones still answer."""
        assert interfaces.usable(flags) is usable

    def test_what_belongs_to_an_address(self) -> None:
        broadcast, tunnel = frozenset({"broadcast"}), frozenset({"point-to-point"})
        far = ip_address("10.8.0.2")
        assert interfaces.completed(ip_address("10.1.0.1"), 24, broadcast, None) == InterfaceAddress(
            "10.1.0.1",
            24,
            broadcast=ip_address("10.1.0.255"),  # type: ignore[arg-type] # an IPv4 text
        )
        assert interfaces.completed(ip_address("10.1.0.1"), 31, broadcast, None).broadcast is None
        assert interfaces.completed(ip_address("10.8.0.1"), 32, tunnel, far).peer == far
        assert interfaces.completed(V6, 64, broadcast, far) == InterfaceAddress(V6, 64)

    def test_an_embedded_scope_is_taken_out(self) -> None:
        assert without_embedded_scope(ip_address("fe80:4::1")) == ip_address("fe80::1")  # type: ignore[arg-type] # IPv6
        assert without_embedded_scope(V6) == V6  # type: ignore[arg-type] # IPv6

    def test_a_netmask_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ifaddr.get_adapters", lambda: [IPv4Network("0.0.0.0/255.0.255.0")])
        with pytest.raises(NetworkError, match=r"netmask.*255\.0\.255\.0"):
            interfaces._addresses()

    @pytest.mark.parametrize(
        ("kind", "about"), [(0x0C, True), (0x0D, True), (0x0E, True), (0x11, True), (0x01, False), (0x05, False)]
    )
    def test_routing_messages(self, kind: int, about: bool) -> None:
        assert concerns_interfaces(struct.pack("=HBB", 4, 5, kind)) is about
        assert not concerns_interfaces(b"\4\0\5")

    async def test_a_signal_leads_to_an_enumeration(self) -> None:
        near, far = socket.socketpair(type=socket.SOCK_DGRAM)
        with near, far:
            near.setblocking(False)
            watch = interfaces.RouteWatch(near)
            far.send(struct.pack("=HBB", 4, 5, 0x01))
            with trio.fail_after(PATIENCE):
                assert await watch.changes() == ()
                far.send(struct.pack("=HBB", 4, 5, 0x01))
                far.send(struct.pack("=HBB", 4, 5, 0x0C))
                assert await watch.changes() is None
