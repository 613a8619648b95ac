"""Sending on a UDP socket of Windows: what routes become, refusals, waiting for room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

import attrs
import pytest
import trio

from responder.datagram import Interface, InterfaceAddress
from responder.errors import MessageTooLong, NetworkError, SendError, SourceUnavailable
from responder.net import cmsg
from responder.net.types import Message, Route
from responder.net.windows.udp import ABI
from responder.net.windows.winsock_types import (
    IP_MULTICAST_TTL,
    IP_TTL,
    IPPROTO_IP,
)

from .fake_winsock import WSAEMSGSIZE, WSAEWOULDBLOCK, FakeSocket, unpack_sockaddr
from .windows_host import PEER6, Host, pktinfo4, pktinfo6


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
        # A group of link scope has its zone in the name; one of a wider scope has none.
        (Route(ip_address("ff02::fb"), interface=3), ("ff02::fb", 3), [pktinfo6("::", 3)]),
        (Route(ip_address("ff02::fb"), 0, ip_address("fe80::1"), 3), ("ff02::fb", 3), [pktinfo6("fe80::1", 3)]),
        (Route(ip_address("ff05::c"), interface=3), ("ff05::c", 0), [pktinfo6("::", 3)]),
        # `in_pktinfo` is never without an address
        (Route(ip_address("239.255.70.7"), interface=3), ("::ffff:239.255.70.7", 0), [pktinfo4("10.71.0.1", 3)]),
        (Route(ip_address("10.71.0.9")), ("::ffff:10.71.0.9", 0), []),
    ],
)
def test_what_a_route_becomes(route: Route, name: tuple[str, int], control: list[cmsg.ControlMessage]) -> None:
    sock, fake = Host().open()
    assert sock.send([(b"x", route, 53), (b"y", route, 54)]) == 2
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
        sock.send([(b"x", route, 53)])
    assert not fake.sent


TO = Route(ip_address("10.71.0.9"), source=ip_address("10.71.0.1"))


def batch(count: int) -> list[Message]:
    return [(bytes([n]), TO, 53) for n in range(count)]


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


def test_a_routed_source_that_is_refused_goes_with_its_interface(caplog: pytest.LogCaptureFixture) -> None:
    sock, fake = Host().open()
    fake.answers.extend([10022, 0, 0])
    assert sock.send(batch(2)) == 2
    assert [list(ABI.parse(sent.control)) for sent in fake.sent] == [
        [pktinfo4("10.71.0.1", 0)],
        [pktinfo4("10.71.0.1", 3)],
        [pktinfo4("10.71.0.1", 3)],  # and the route stays with what works
    ]
    assert [sent.payload for sent in fake.sent] == [b"\0", b"\0", b"\1"]
    assert sock.counts["named-sources"] == 1
    assert "interface=3" in caplog.text


def test_peers_do_not_have_the_interfaces_enumerated_each_time() -> None:
    """That takes milliseconds, and each forged sender is a new route."""
    host = Host()
    sock, fake = host.open()

    def flood(sender: int) -> None:
        for number in range(sender, sender + 500):
            fake.answers.extend([10022, 0])
            assert sock.send([(b"x", Route(ip_address(number << 16), source=ip_address("10.71.0.1")), 53)]) == 1

    flood(1000)
    assert host.enumerations == 1
    host.now = 0.9
    flood(2000)
    assert host.enumerations == 1
    host.now = 1.0
    flood(3000)
    assert host.enumerations == 2
    assert sock.counts["named-sources"] == 1500


def test_a_source_that_comes_or_moves_is_named_anew() -> None:
    host = Host()
    sock, fake = host.open()

    def send_refused_once() -> int:
        """The interface that it was tried with then, or 0."""
        before = len(fake.sent)
        fake.answers.extend([10022, 0])
        with suppress(SourceUnavailable):
            sock.send([(b"x", TO, 53)])
        fake.answers.clear()
        later = fake.sent[before + 1 :]
        if not later:
            return 0
        ((_, _, pktinfo),) = ABI.parse(later[0].control)
        return cmsg.unpack_in_pktinfo_windows(pktinfo)[0]

    moved = [Interface(index, "Ethernet", addresses=(InterfaceAddress("10.71.0.1", 24),)) for index in (5, 6)]
    host.table = []
    assert send_refused_once() == 0
    host.table, host.now = [moved[0]], 1.0
    assert send_refused_once() == 5
    host.table, host.now = [moved[1]], 2.0
    assert send_refused_once() == 6


def test_the_interface_in_pktinfo_is_not_the_names_scope() -> None:
    host = Host()
    host.table = [Interface(3, "Ethernet", addresses=(InterfaceAddress("fd71::1", 64),))]
    sock, fake = host.open()
    fake.answers.append(10022)
    sock.send([(b"x", Route(ip_address("fd71::9"), source=ip_address("fd71::1")), 53)])
    assert unpack_sockaddr(fake.sent[-1].name) == (ip_address("fd71::9"), 53, 0)
    assert list(ABI.parse(fake.sent[-1].control)) == [pktinfo6("fd71::1", 3)]


@pytest.mark.parametrize(
    ("route", "answers", "tried"),
    [
        (TO, [10022, 10022, 10022], 3),  # the same with the interface: once, then no more
        (Route(ip_address("10.71.0.9"), source=ip_address("10.9.9.9")), [10022, 10022], 2),  # nobody's address
        (Route(ip_address("10.71.0.9"), 0, ip_address("10.71.0.1"), 3), [10022, 10022], 2),  # it had its interface
        (TO, [10051, 10051], 2),
    ],
)
def test_what_the_interface_does_not_help_is_refused(route: Route, answers: list[int], tried: int) -> None:
    sock, fake = Host().open()
    fake.answers.extend(answers)
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            sock.send([(b"x", route, 53)])
    assert len(fake.sent) == tried
    assert sock.counts["named-sources"] == 0


def test_the_longest_datagram_is_named() -> None:
    sock, fake = Host().open()
    fake.answers.append(WSAEMSGSIZE)
    with pytest.raises(MessageTooLong, match=r"70000 bytes .* 65507 bytes"):
        sock.send([(bytes(70000), TO, 53)])


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
        sock.send([(b"x", route, 53)])
    assert host.sockets[0].option(IPPROTO_IP, IP_TTL) == [3, 64]
    assert host.sockets[0].option(IPPROTO_IP, IP_MULTICAST_TTL) == [255]


@attrs.define
class Room:
    """Stands for the system's answer to "tell me when it is writable": `waiting` has an event for each that waits."""

    waiting: list[trio.Event] = attrs.field(factory=list)

    async def wait(self, sock: FakeSocket) -> None:
        self.waiting.append(trio.Event())
        await self.waiting[-1].wait()
        if sock.closed:
            raise trio.ClosedResourceError  # as trio does for a socket of which it was told that it closes


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    found = Room()
    monkeypatch.setattr(trio.lowlevel, "wait_writable", found.wait)
    return found


async def test_a_send_without_room_waits_until_the_socket_is_writable(room: Room) -> None:
    sock, fake = Host().open()
    fake.answers.extend([WSAEWOULDBLOCK, WSAEWOULDBLOCK])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sock.send_when_ready, batch(1)[0])
        for tried in (0, 1, 2):
            await trio.testing.wait_all_tasks_blocked()
            assert len(fake.sent) == tried
            room.waiting[-1].set()
    assert [sent.payload for sent in fake.sent] == [b"\0"] * 3
    assert not any(sent.overlapped for sent in fake.sent)


async def test_several_that_wait_take_turns(room: Room) -> None:
    sock, fake = Host().open()
    async with trio.open_nursery() as nursery:
        for message in batch(3):
            nursery.start_soon(sock.send_when_ready, message)
        for turn in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert len(room.waiting) == turn + 1  # trio allows one waiter a direction
            room.waiting[-1].set()
    assert {sent.payload for sent in fake.sent} == {b"\0", b"\1", b"\2"}


async def test_a_send_that_waits_may_be_refused_and_is_then_typed(room: Room) -> None:
    sock, fake = Host().open()
    fake.answers.extend([WSAEWOULDBLOCK, 10051])

    async def send() -> None:
        with pytest.raises(SourceUnavailable):
            await sock.send_when_ready(batch(1)[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for _ in range(2):
            await trio.testing.wait_all_tasks_blocked()
            room.waiting[-1].set()


async def test_closing_ends_a_waiting_send_and_everything_after(room: Room) -> None:
    host = Host()
    sock, fake = host.open()

    async def send(message: Message) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await sock.send_when_ready(message)

    async with trio.open_nursery() as nursery:
        for message in batch(2):
            nursery.start_soon(send, message)
        await trio.testing.wait_all_tasks_blocked()
        sock.close()
        room.waiting[-1].set()
    assert not fake.sent
    calls: list[Callable[[], object]] = [lambda: sock.receive(1), lambda: sock.send(batch(1))]
    for call in calls:
        with pytest.raises(NetworkError, match=r"closed|10038"):
            call()
    with pytest.raises(trio.ClosedResourceError):
        await sock.wait_readable()
    sock.close()
    assert host.sockets[0].closed == 1
