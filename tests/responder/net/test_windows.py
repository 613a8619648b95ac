"""The Windows platform at the foreign-function border: what the Windows of our tests can't be made to do.

IPv4 switched off, IPv6 missing, resets, control messages missing or doubled, options refused.  What it can do is
shown on it, in tests/windows/native.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
import trio

from responder.datagram import Interface, InterfaceAddress, Via
from responder.errors import BindError, MessageTooLong, NetworkError, SendError, SourceUnavailable
from responder.net import _windows_interfaces as windows_interfaces
from responder.net import cmsg
from responder.net._windows import WindowsPlatform
from responder.net._windows_udp import ABI, WindowsSocket
from responder.net._winsock_types import (
    AF_INET,
    AF_INET6,
    IP_ADD_MEMBERSHIP,
    IP_ADD_SOURCE_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_HOPLIMIT,
    IP_MULTICAST_TTL,
    IP_PKTINFO,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_ADD_MEMBERSHIP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_V6ONLY,
    MCAST_JOIN_SOURCE_GROUP,
    NATIVE,
    SIO_ADDRESS_LIST_CHANGE,
    SIO_UDP_CONNRESET,
    SIO_UDP_NETRESET,
    SO_EXCLUSIVEADDRUSE,
    SO_REUSEADDR,
    SOL_SOCKET,
    unpack_sockaddr,
)
from responder.net.types import Membership, Route, Transmit

from .fake_winsock import (
    WSA_IO_PENDING,
    WSAEMSGSIZE,
    WSAEWOULDBLOCK,
    Arrived,
    FakeSocket,
    FakeWinsock,
    sender,
    winsock_error,
)

LINK = Interface(3, "Ethernet", addresses=(InterfaceAddress("10.71.0.1", 24), InterfaceAddress("fe80::1", 64)))
PEER4, PEER6 = ip_address("::ffff:10.71.0.9"), ip_address("fe80::9")


class Host(WindowsPlatform):
    """A Windows host of fakes.  `families` are those that it has; the last socket opened is `socket`."""

    def __init__(self, families: tuple[int, ...] = (AF_INET6, AF_INET), **socket: Any) -> None:
        super().__init__(self._open, lambda _handle: self.winsock, lambda: [LINK])
        self.winsock = FakeWinsock()
        self.families = families
        self.template = socket
        self.sockets: list[FakeSocket] = []

    def _open(self, family: int, _kind: int) -> FakeSocket:
        if family not in self.families:
            raise winsock_error(10047)
        self.sockets.append(FakeSocket(family=family, **self.template))
        return self.sockets[-1]

    def open(self) -> tuple[WindowsSocket, FakeWinsock]:
        return self.open_udp(7007), self.winsock


def pktinfo4(address: str, index: int) -> cmsg.Message:
    return IPPROTO_IP, IP_PKTINFO, cmsg.pack_in_pktinfo_windows(IPv4Address(address), index)


def pktinfo6(address: str, index: int) -> cmsg.Message:
    return IPPROTO_IPV6, IPV6_PKTINFO, cmsg.pack_in6_pktinfo(IPv6Address(address), index)


# Opening


def test_options_come_before_the_bind() -> None:
    host = Host()
    host.open_udp(7007)
    (sock,) = host.sockets
    assert sock.log[-1] == ("bind", ("::", 7007, 0, 0))
    assert sock.log[0] == ("blocking", False)
    assert sock.option(IPPROTO_IPV6, IPV6_V6ONLY) == [0]
    assert sock.option(IPPROTO_IPV6, IPV6_PKTINFO) == [1]
    assert sock.option(IPPROTO_IP, IP_PKTINFO) == [1]
    assert host.winsock.ioctls == [(SIO_UDP_CONNRESET, bytes(4)), (SIO_UDP_NETRESET, bytes(4))]


def test_a_port_of_ones_own_is_exclusive() -> None:
    host = Host()
    host.open_udp(7007)
    assert host.sockets[0].option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == [1]
    assert host.sockets[0].option(SOL_SOCKET, SO_REUSEADDR) == []


def test_a_shared_port_is_not_exclusive(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.open_udp(1900, shared=True)
    sock, probe = host.sockets
    assert sock.option(SOL_SOCKET, SO_REUSEADDR) == [1]
    assert sock.option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == []
    assert probe.option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == [1]
    assert (probe.closed, sock.closed) == (1, 0)
    assert "shared" not in caplog.text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.71.0.1", ("::ffff:10.71.0.1", 7007, 0, 0)),
        ("fd71::1", ("fd71::1", 7007, 0, 0)),
        ("fe80::1", ("fe80::1", 7007, 0, 3)),
    ],
)
def test_an_address_is_bound_alone(address: str, name: tuple[object, ...]) -> None:
    host = Host()
    sock = host.open_udp(7007, ip_address(address), interface=3)
    assert host.sockets[0].log[-1] == ("bind", name)
    assert sock.address == ip_address(address)


def test_without_ipv6_the_socket_is_an_ipv4_one() -> None:
    host = Host(families=(AF_INET,))
    sock, fake = host.open()
    (opened,) = host.sockets
    assert opened.family == AF_INET
    assert opened.log[-1] == ("bind", ("0.0.0.0", 7007))
    assert not [entry for entry in opened.log if entry[:2] == ("option", IPPROTO_IPV6)]
    sock.send([Transmit(b"x", Route(ip_address("10.71.0.9"), source=ip_address("10.71.0.1")), 53)])
    assert unpack_sockaddr(fake.sent[0].name) == (ip_address("10.71.0.9"), 53, 0)
    with pytest.raises(SendError, match="IPv4 socket"):
        sock.send([Transmit(b"x", Route(ip_address("fd71::9")), 53)])
    with pytest.raises(BindError, match="no IPv6"):
        host.open_udp(7007, ip_address("fd71::1"))


def test_with_ipv4_switched_off_its_options_may_fail() -> None:
    host = Host(families=(AF_INET6,), refused_level={IPPROTO_IP: 10022})
    host.open_udp(7007)
    assert host.sockets[0].closed == 0


def test_with_ipv4_there_its_options_may_not_fail() -> None:
    host = Host(refused_level={IPPROTO_IP: 10022})
    with pytest.raises(BindError):
        host.open_udp(7007)
    assert all(sock.closed for sock in host.sockets)


def test_another_failure_is_not_taken_for_ipv4_switched_off() -> None:
    with pytest.raises(BindError):
        Host(families=(AF_INET6,), refused_level={IPPROTO_IP: 10042}).open_udp(7007)


def test_hop_limits_need_not_be_told() -> None:
    Host(refused={(IPPROTO_IP, IP_HOPLIMIT): 10042, (IPPROTO_IPV6, IPV6_HOPLIMIT): 10042}).open_udp(7007)


def test_the_second_reset_ioctl_may_be_refused_and_the_first_may_not() -> None:
    host = Host()
    host.winsock.ioctl_answers = {SIO_UDP_NETRESET: 10045}
    host.open_udp(7007)
    host.winsock.ioctl_answers = {SIO_UDP_CONNRESET: 10045}
    with pytest.raises(BindError):
        host.open_udp(7007)
    assert host.sockets[-1].closed == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10048, "UDP port 7007 is taken"),
        (10013, "doesn't share"),
        (10049, "not an address of this host"),
        (10055, "10055"),
    ],
)
def test_a_refused_bind_says_why_and_leaves_nothing_open(code: int, words: str) -> None:
    host = Host(bind_error=code)
    with pytest.raises(BindError, match=words) as caught:
        host.open_udp(7007, ip_address("10.9.9.9"))
    assert caught.value.port == 7007
    assert host.sockets[0].closed == 1


def test_a_shared_port_that_is_taken_is_told(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(bind_error=10048)
    with caplog.at_level("WARNING"), pytest.raises(BindError):
        host.open_udp(1900, shared=True)
    assert "shared" in caplog.text


# Receiving


@pytest.mark.parametrize(
    "messages",
    [
        [pktinfo4("10.71.0.1", 3)],
        [pktinfo6("::ffff:10.71.0.1", 3)],
        [pktinfo6("::ffff:10.71.0.1", 3), pktinfo4("10.71.0.1", 3)],
        [pktinfo4("10.71.0.1", 3), pktinfo6("::ffff:10.71.0.1", 3)],
        [(99, 1, b"unknown"), pktinfo4("10.71.0.1", 3), (IPPROTO_IP, IP_PKTINFO, b"short")],
    ],
)
def test_either_form_of_pktinfo_or_both(messages: list[cmsg.Message]) -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x", sender(PEER4), ABI.encode(messages)))
    (received,) = sock.receive(8)
    path = received.path
    assert (path.peer, path.destination, path.interface) == (ip_address("10.71.0.9"), ip_address("10.71.0.1"), 3)
    assert (path.scope_id, path.via, received.port, received.truncated) == (0, None, 4000, False)


def test_a_datagram_may_come_without_control_messages() -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x", sender(PEER4)))
    (received,) = sock.receive(8)
    assert (received.path.destination, received.path.interface, received.path.via) == (None, 0, None)


@pytest.mark.parametrize(
    ("message", "via"),
    [
        (pktinfo4("239.255.70.7", 3), Via.MULTICAST),
        (pktinfo4("255.255.255.255", 3), Via.BROADCAST),
        (pktinfo4("10.71.0.255", 3), None),  # unicast or broadcast: the interface table knows
        (pktinfo6("ff02::7007", 3), Via.MULTICAST),
        (pktinfo6("fe80::1", 3), Via.UNICAST),
    ],
)
def test_how_it_was_addressed(message: cmsg.Message, via: Via | None) -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x", sender(PEER4), ABI.encode([message])))
    assert sock.receive(8)[0].path.via is via


def test_a_link_local_sender_has_its_scope_and_others_none() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend(
        [Arrived(b"", sender(PEER6, scope_id=3)), Arrived(b"", sender(ip_address("fd71::9"), scope_id=3))]
    )
    assert [received.path.scope_id for received in sock.receive(8)] == [3, 0]


def test_the_hop_limit_is_told_where_it_comes() -> None:
    sock, fake = Host().open()
    hop = (IPPROTO_IP, IP_HOPLIMIT, cmsg.pack_int(7))
    fake.arrivals.append(Arrived(b"x", sender(PEER4), ABI.encode([pktinfo4("10.71.0.1", 3), hop])))
    assert sock.receive(8)[0].hop_limit == 7


@pytest.mark.parametrize("code", [10052, 10054, 10061, 10065])
def test_an_earlier_datagrams_icmp_error_is_passed_over(code: int) -> None:
    sock, fake = Host().open()
    fake.arrivals.extend([code, Arrived(b"a", sender(PEER4)), code, code, Arrived(b"b", sender(PEER4))])
    assert [received.payload for received in sock.receive(8)] == [b"a", b"b"]


def test_a_stream_of_resets_ends() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend([10054] * 100)
    assert sock.receive(8) == []
    assert len(fake.arrivals) >= 90


def test_the_limit_holds() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend([Arrived(b"x", sender(PEER4))] * 5)
    assert [len(sock.receive(2)) for _ in range(3)] == [2, 2, 1]


def test_a_broken_socket_is_told_after_what_was_received() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend([Arrived(b"x", sender(PEER4)), 10050, 10050])
    assert len(sock.receive(8)) == 1
    with pytest.raises(NetworkError) as caught:
        sock.receive(8)
    assert not isinstance(caught.value, SendError)


def test_one_way_is_one_path_and_the_table_is_bounded() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend(Arrived(b"x", sender(PEER4, port=port)) for port in (1, 2))
    first, second = sock.receive(8)
    assert first.path is second.path
    assert (first.port, second.port) == (1, 2)
    for start in range(0, 5000, 1000):
        fake.arrivals.extend(Arrived(b"x", sender(ip_address(start + n))) for n in range(1000))
        assert len(sock.receive(1000)) == 1000
    assert len(sock._paths) <= 4096


def test_truncation_is_told() -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x" * 70000, sender(PEER4), code=WSAEMSGSIZE, write_count=False))
    (received,) = sock.receive(8)
    assert received.truncated
    assert len(received.payload) == 0x10000


# Sending


@pytest.mark.parametrize(
    ("route", "name", "control"),
    [
        # Row 7: the destination decides.
        (
            Route(ip_address("10.71.0.9"), source=ip_address("10.71.0.1")),
            ("::ffff:10.71.0.9", 0),
            [pktinfo4("10.71.0.1", 0)],
        ),
        (Route(ip_address("fd71::9"), source=ip_address("fd71::1")), ("fd71::9", 0), [pktinfo6("fd71::1", 0)]),
        (Route(PEER6, 3, ip_address("fe80::1"), 3), ("fe80::9", 3), [pktinfo6("fe80::1", 3)]),
        (
            Route(ip_address("239.255.70.7"), 0, ip_address("10.71.0.1"), 3),
            ("::ffff:239.255.70.7", 0),
            [pktinfo4("10.71.0.1", 3)],
        ),
        (Route(ip_address("ff02::7"), 3, None, 3), ("ff02::7", 3), [pktinfo6("::", 3)]),
        # `in_pktinfo` is never without an address
        (Route(ip_address("239.255.70.7"), interface=3), ("::ffff:239.255.70.7", 0), [pktinfo4("10.71.0.1", 3)]),
        (Route(ip_address("10.71.0.9")), ("::ffff:10.71.0.9", 0), []),
    ],
)
def test_what_a_route_becomes(route: Route, name: tuple[str, int], control: list[cmsg.Message]) -> None:
    sock, fake = Host().open()
    assert sock.send([Transmit(b"x", route, 53), Transmit(b"y", route, 54)]) == 2
    for sent, port in zip(fake.sent, (53, 54), strict=True):
        assert unpack_sockaddr(sent.name) == (ip_address(name[0]), port, name[1])
        assert list(ABI.parse(sent.control)) == control
    assert len(sock._routes) == 1


@pytest.mark.parametrize(
    "route",
    [
        Route(ip_address("10.71.0.9"), source=ip_address("fd71::1")),
        Route(ip_address("fd71::9"), source=ip_address("10.71.0.1")),
        Route(ip_address("239.255.70.7"), interface=99),
    ],
)
def test_a_source_that_cannot_be(route: Route) -> None:
    sock, fake = Host().open()
    with pytest.raises(SourceUnavailable):
        sock.send([Transmit(b"x", route, 53)])
    assert not fake.sent


TO = Route(ip_address("10.71.0.9"), source=ip_address("10.71.0.1"))


def batch(count: int) -> list[Transmit]:
    return [Transmit(bytes([n]), TO, 53) for n in range(count)]


@pytest.mark.parametrize(
    ("answers", "count", "tried"), [([0, 0, 0], 3, 3), ([0, WSAEWOULDBLOCK], 1, 2), ([WSAEWOULDBLOCK], 0, 1)]
)
def test_a_batch_ends_where_there_is_no_room(answers: list[int], count: int, tried: int) -> None:
    sock, fake = Host().open()
    fake.answers.extend(answers)
    assert sock.send(batch(3)) == count
    assert len(fake.sent) == tried


def test_a_refusal_is_met_by_the_call_that_it_is_first_in() -> None:
    sock, fake = Host().open()
    fake.answers.extend([0, 10051, 10051])
    assert sock.send(batch(2)) == 1
    with pytest.raises(SourceUnavailable, match=r"1 bytes to 10\.71\.0\.9:53 from 10\.71\.0\.1") as caught:
        sock.send(batch(2)[1:])
    assert getattr(caught.value, "winerror", None) == 10051
    assert sock.send(batch(1)) == 1


def test_the_longest_datagram_is_named() -> None:
    sock, fake = Host().open()
    fake.answers.append(WSAEMSGSIZE)
    with pytest.raises(MessageTooLong, match=r"70000 bytes .* 65507 bytes"):
        sock.send([Transmit(bytes(70000), TO, 53)])


@pytest.mark.parametrize("code", [10052, 10054])
def test_an_earlier_error_does_not_fail_the_next_send(code: int) -> None:
    sock, fake = Host().open()
    fake.answers.extend([code, code])
    assert sock.send(batch(1)) == 1
    assert len(fake.sent) == 3
    fake.answers.extend([code] * 50)
    with pytest.raises(SendError):
        sock.send(batch(1))
    assert len(fake.sent) < 20


def test_hop_limits_are_set_when_they_change_and_set_back() -> None:
    host = Host()
    sock, _ = host.open()
    hop = Route(ip_address("10.71.0.9"), hop_limit=3)
    group = Route(ip_address("239.255.70.7"), source=ip_address("10.71.0.1"), interface=3, hop_limit=255)
    for route in (TO, hop, hop, group, group, TO, TO):
        sock.send([Transmit(b"x", route, 53)])
    assert host.sockets[0].option(IPPROTO_IP, IP_TTL) == [3, 64]
    assert host.sockets[0].option(IPPROTO_IP, IP_MULTICAST_TTL) == [255]


async def test_a_send_that_waits_is_overlapped() -> None:
    sock, fake = Host().open()
    fake.answers.append(WSA_IO_PENDING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sock.send_when_ready, batch(1)[0])
        await trio.testing.wait_all_tasks_blocked()
        fake.complete(fake.addresses[0], 0, 1)
    assert fake.sent[0].overlapped
    assert not fake.sent[0].counted


async def test_a_send_that_waits_may_be_refused_and_is_then_typed() -> None:
    sock, fake = Host().open()
    fake.answers.append(10051)
    with pytest.raises(SourceUnavailable):
        await sock.send_when_ready(batch(1)[0])
    fake.answers.extend([10054, 0])
    with trio.testing.assert_checkpoints():
        await sock.send_when_ready(batch(1)[0])


async def test_closing_ends_a_waiting_send_and_everything_after() -> None:
    host = Host(handle=-1)
    sock, fake = host.open()
    fake.answers.append(WSA_IO_PENDING)

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await sock.send_when_ready(batch(1)[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        sock._operations.close()
    sock._closed = True
    assert host.sockets[0].closed == 1
    calls: list[Callable[[], object]] = [lambda: sock.receive(1), lambda: sock.send(batch(1))]
    for call in calls:
        with pytest.raises(trio.ClosedResourceError):
            call()


# Groups


def membership(group: str, source: str | None = None) -> Membership:
    return Membership(ip_address(group), 3, None if source is None else ip_address(source))


@pytest.mark.parametrize(
    ("wanted", "level", "option", "argument"),
    [
        (
            membership("239.255.70.7"),
            IPPROTO_IP,
            IP_ADD_MEMBERSHIP,
            IPv4Address("239.255.70.7").packed + bytes([10, 71, 0, 1]),
        ),
        (
            membership("232.1.1.1", "10.71.0.9"),
            IPPROTO_IP,
            IP_ADD_SOURCE_MEMBERSHIP,
            IPv4Address("232.1.1.1").packed + bytes([10, 71, 0, 9]) + bytes([10, 71, 0, 1]),
        ),
        (membership("ff02::7"), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, IPv6Address("ff02::7").packed + b"\3\0\0\0"),
    ],
)
def test_groups_are_joined_by_the_documented_options(
    wanted: Membership, level: int, option: int, argument: bytes
) -> None:
    host = Host()
    sock, _ = host.open()
    sock.join(wanted, LINK)
    sock.join(wanted, LINK)
    assert host.sockets[0].option(level, option) == [argument]


def test_an_ipv6_group_of_one_source() -> None:
    host = Host()
    sock, _ = host.open()
    sock.join(membership("ff3e::7", "fd71::9"), LINK)
    (request,) = host.sockets[0].option(IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP)
    assert isinstance(request, bytes)
    assert len(request) == 264


def test_a_group_is_left_with_what_it_was_joined_with() -> None:
    host = Host()
    sock, _ = host.open()
    sock.join(membership("239.255.70.7"), LINK)
    sock.leave(membership("239.255.70.7"), None)
    request = IPv4Address("239.255.70.7").packed + bytes([10, 71, 0, 1])
    assert host.sockets[0].option(IPPROTO_IP, IP_DROP_MEMBERSHIP) == [request]
    with pytest.raises(OSError, match="not joined"):
        sock.leave(membership("239.255.70.7"), LINK)


def test_an_ipv4_group_needs_an_address_on_the_link() -> None:
    sock, _ = Host().open()
    with pytest.raises(OSError, match="no IPv4 address"):
        sock.join(membership("239.255.70.7"), Interface(3, "bare"))


# Interfaces


class Memory:
    """Builds the linked list that GetAdaptersAddresses returns."""

    def __init__(self) -> None:
        self.keep: list[object] = []
        self.first = 0

    def _place(self, thing: ctypes.Array[ctypes.c_char] | ctypes.Structure) -> int:
        self.keep.append(thing)
        return ctypes.addressof(thing)

    def _text(self, data: bytes) -> int:
        return self._place(ctypes.create_string_buffer(data, len(data) + 2))

    def adapter(self, name: str, guid: str, addresses: list[tuple[str, int]], **fields: int) -> None:
        """In front of the others; `addresses` are (address, DadState)."""
        unicast = 0
        for text, dad_state in reversed(addresses):
            address = ip_address(text)
            packed = sender(address, 0, family=AF_INET6 if address.version == 6 else AF_INET)
            entry = NATIVE.IP_ADAPTER_UNICAST_ADDRESS(Next=unicast, DadState=dad_state)
            entry.Address.lpSockaddr, entry.Address.iSockaddrLength = self._text(packed), len(packed)
            unicast = self._place(entry)
        self.first = self._place(
            NATIVE.IP_ADAPTER_ADDRESSES(
                Next=self.first,
                FriendlyName=self._text(name.encode("utf-16-le")),
                AdapterName=self._text(guid.encode()),
                FirstUnicastAddress=unicast,
                **fields,
            )
        )


def test_the_table_has_what_ifaddr_lacks() -> None:
    memory = Memory()
    memory.adapter(
        "Loopback", "{L}", [("127.0.0.1", 4)], IfIndex=1, Ipv6IfIndex=1, IfType=24, OperStatus=1, Mtu=0xFFFFFFFF
    )
    memory.adapter("nur v6 ü", "{6}", [("fd00::1", 4)], Ipv6IfIndex=9, IfType=131, OperStatus=2, Flags=0x10)
    memory.adapter(
        "Ethernet 2", "{E}", [("10.1.0.1", 4), ("10.1.0.2", 3), ("10.1.0.3", 1), ("fe80::1", 2)],
        IfIndex=4, IfType=6, OperStatus=1, Mtu=1500,
    )  # fmt: skip
    memory.adapter("leaving", "{X}", [("10.9.0.1", 4)], IfIndex=5, IfType=6, OperStatus=1)
    known = {
        "{L}": [(ip_address("127.0.0.1"), 8)],
        "{6}": [(ip_address("fd00::1"), 64)],
        "{E}": [(ip_address(f"10.1.0.{n}"), 24) for n in (1, 2, 3)] + [(ip_address("fe80::1"), 64)],
        "{coming}": [(ip_address("10.8.0.1"), 24)],
    }
    lo, ethernet, only6 = windows_interfaces.merge(windows_interfaces.parse_adapters(memory.first), known)
    assert (lo.index, lo.name, lo.mtu) == (1, "Loopback", 0xFFFFFFFF)
    assert lo.flags == {"up", "running", "loopback", "multicast"}
    assert (only6.index, only6.name) == (9, "nur v6 ü")
    assert only6.flags == {"point-to-point"}
    assert (ethernet.index, ethernet.name, ethernet.mtu) == (4, "Ethernet 2", 1500)
    assert ethernet.flags == {"up", "running", "broadcast", "multicast"}
    # The others are not usable yet (tentative), or never (duplicate).
    assert [str(entry.address) for entry in ethernet.addresses] == ["10.1.0.1", "10.1.0.2"]
    assert str(ethernet.addresses[0].broadcast) == "10.1.0.255"


async def test_a_change_is_told_when_the_signal_is_armed_again(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeWinsock(ioctl_answers={SIO_ADDRESS_LIST_CHANGE: WSA_IO_PENDING})
    async with windows_interfaces.watch_interfaces(1000, lambda _handle: fake, families=(2,)) as watch:
        assert len(fake.addresses) == 1  # armed before the first enumeration
        fake.complete(fake.addresses[0])
        await watch.changed()
        assert trio.current_time() == 0
        assert len(fake.addresses) == 2  # and again before the next
        await watch.changed()
        assert trio.current_time() == 1000  # nothing happened: the re-scan


async def test_without_the_signal_there_is_still_the_re_scan(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeWinsock(ioctl_answers={SIO_ADDRESS_LIST_CHANGE: 10045})
    async with windows_interfaces.watch_interfaces(30, lambda _handle: fake, families=(2, 9999)) as watch:
        await watch.changed()
        assert trio.current_time() == 30


def test_a_missing_answer_is_no_table() -> None:
    assert deque(windows_interfaces.parse_adapters(0)) == deque()
