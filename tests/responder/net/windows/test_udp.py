"""A UDP socket on Windows, at the foreign-function border: resets, control messages missing or doubled, refusals."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
import trio

from responder.datagram import Interface, InterfaceAddress, Via
from responder.errors import MessageTooLong, NetworkError, SendError, SourceUnavailable
from responder.net import cmsg
from responder.net.types import Message, Route
from responder.net.windows.udp import ABI
from responder.net.windows.winsock_types import (
    IP_HOPLIMIT,
    IP_MULTICAST_TTL,
    IP_PKTINFO,
    IP_TTL,
    IPPROTO_IP,
    unpack_sockaddr,
)

from .fake_winsock import WSAEMSGSIZE, WSAEWOULDBLOCK, Arrived, sender, winsock_error
from .windows_host import PEER4, PEER6, Host, pktinfo4, pktinfo6

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
def test_either_form_of_pktinfo_or_both(messages: list[cmsg.ControlMessage]) -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x", sender(PEER4), ABI.encode(messages)))
    (received,) = sock.receive(8)
    flow = received.flow
    assert (flow.peer, flow.destination, flow.interface) == (ip_address("10.71.0.9"), ip_address("10.71.0.1"), 3)
    assert (flow.scope_id, flow.via, received.peer_port, received.truncated) == (0, None, 4000, False)


def test_a_datagram_may_come_without_control_messages() -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x", sender(PEER4)))
    (received,) = sock.receive(8)
    assert (received.flow.destination, received.flow.interface, received.flow.via) == (None, 0, None)


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
def test_how_it_was_addressed(message: cmsg.ControlMessage, via: Via | None) -> None:
    sock, fake = Host().open()
    fake.arrivals.append(Arrived(b"x", sender(PEER4), ABI.encode([message])))
    assert sock.receive(8)[0].flow.via is via


def test_a_link_local_sender_has_its_scope_and_others_none() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend(
        [Arrived(b"", sender(PEER6, scope_id=3)), Arrived(b"", sender(ip_address("fd71::9"), scope_id=3))]
    )
    assert [received.flow.scope_id for received in sock.receive(8)] == [3, 0]


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


def test_what_is_no_socket_any_more_is_told_after_what_was_received() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend([Arrived(b"x", sender(PEER4)), 10038, 10038])
    assert len(sock.receive(8)) == 1
    with pytest.raises(NetworkError) as caught:
        sock.receive(8)
    assert not isinstance(caught.value, SendError)


TRANSIENT = [10004, 10013, 10050, 10055, 10060, 10064, 10022, 12345]


@pytest.mark.parametrize("code", TRANSIENT)
async def test_a_failed_receive_does_not_end_the_socket(
    code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async def readable(_handle: int) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(trio.lowlevel, "wait_readable", readable)
    sock, fake = Host().open()
    fake.arrivals.extend([Arrived(b"a", sender(PEER4)), *([code] * 20), Arrived(b"b", sender(PEER4))])
    payloads, pauses = [], []
    while len(payloads) < 2:
        began = trio.current_time()
        await sock.wait_readable()
        pauses.append(trio.current_time() - began)
        payloads += [received.payload for received in sock.receive(8)]
    assert payloads == [b"a", b"b"]
    assert pauses[0] == 0
    assert pauses[1:4] == pytest.approx([0.01, 0.02, 0.04])
    assert max(pauses) == pytest.approx(1.0)  # backs off, and not for ever
    assert sock.failed_receives == 20
    assert caplog.text.count(str(code)) == 1  # logged once a kind
    began = trio.current_time()
    await sock.wait_readable()
    assert trio.current_time() == began  # and forgotten where it works again


@pytest.mark.parametrize(("code", "ends"), [(10038, True), (10055, False)])
async def test_waiting_may_fail_too(monkeypatch: pytest.MonkeyPatch, code: int, ends: bool) -> None:
    async def wait_readable(_handle: int) -> None:
        await trio.lowlevel.checkpoint()
        raise winsock_error(code)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait_readable)
    sock, _ = Host().open()
    if ends:
        with pytest.raises(NetworkError):
            await sock.wait_readable()
    else:
        await sock.wait_readable()
        assert sock.failed_receives == 1


async def test_waiting_that_fails_at_once_leaves_the_others_their_turn(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """trio raises what Windows refuses of its poll without a checkpoint."""

    async def wait_readable(_handle: int) -> None:
        raise winsock_error(10055)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait_readable)
    sock, fake = Host().open()
    turns, pauses = 0, []

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.sleep(0.005)
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(20):
            began = trio.current_time()
            with trio.testing.assert_checkpoints():
                await sock.wait_readable()
            pauses.append(trio.current_time() - began)
            assert sock.receive(8) == []
        nursery.cancel_scope.cancel()
    assert pauses[:4] == pytest.approx([0, 0.01, 0.02, 0.04])
    assert pauses[-1] == max(pauses) == pytest.approx(1.0)
    assert turns > 1000
    assert sock.failed_receives == 20
    fake.arrivals.append(Arrived(b"x", sender(PEER4)))
    assert len(sock.receive(8)) == 1
    began = trio.current_time()
    await sock.wait_readable()
    assert trio.current_time() == began  # forgotten where it works again


def test_a_flow_is_told_by_pktinfo_and_not_by_hop_limit_or_padding() -> None:
    sock, fake = Host().open()
    for hop_limit, padding in ((7, b"\0\0\0\0"), (7, b"rest"), (8, b"\0\0\0\0")):
        control = ABI.encode([pktinfo4("10.71.0.1", 3), (IPPROTO_IP, IP_HOPLIMIT, cmsg.pack_int(hop_limit))])
        fake.arrivals.append(Arrived(b"x", sender(PEER4), control[:-4] + padding))
    first, second, third = sock.receive(8)
    assert first.flow is second.flow is third.flow
    assert [received.hop_limit for received in (first, second, third)] == [7, 7, 8]


def test_one_flow_is_one_object_and_the_table_is_bounded() -> None:
    sock, fake = Host().open()
    fake.arrivals.extend(Arrived(b"x", sender(PEER4, port=port)) for port in (1, 2))
    first, second = sock.receive(8)
    assert first.flow is second.flow
    assert (first.peer_port, second.peer_port) == (1, 2)
    for start in range(0, 5000, 1000):
        fake.arrivals.extend(Arrived(b"x", sender(ip_address(start + n))) for n in range(1000))
        assert len(sock.receive(1000)) == 1000
    assert len(sock._flows) <= 4096


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
    assert sock.named_sources == 1
    assert "interface=3" in caplog.text


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
    assert sock.named_sources == 0


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


@pytest.fixture
def writable(monkeypatch: pytest.MonkeyPatch) -> list[trio.Event]:
    """Stands for the system's answer to "tell me when it is writable": an event for each that waits."""
    waiting: list[trio.Event] = []

    async def wait_writable(_handle: int) -> None:
        waiting.append(trio.Event())
        await waiting[-1].wait()

    monkeypatch.setattr(trio.lowlevel, "wait_writable", wait_writable)
    return waiting


async def test_a_send_without_room_waits_until_the_socket_is_writable(writable: list[trio.Event]) -> None:
    sock, fake = Host().open()
    fake.answers.extend([WSAEWOULDBLOCK, WSAEWOULDBLOCK])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sock.send_when_ready, batch(1)[0])
        for tried in (1, 2):
            await trio.testing.wait_all_tasks_blocked()
            assert len(fake.sent) == tried
            writable[-1].set()
    assert [sent.payload for sent in fake.sent] == [b"\0"] * 3
    assert not any(sent.overlapped for sent in fake.sent)


async def test_several_that_wait_take_turns(writable: list[trio.Event]) -> None:
    sock, fake = Host().open()
    fake.answers.extend([WSAEWOULDBLOCK] * 3)
    async with trio.open_nursery() as nursery:
        for message in batch(3):
            nursery.start_soon(sock.send_when_ready, message)
        for turn in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert len(writable) == turn + 1  # trio allows one waiter a direction
            writable[-1].set()
    assert {sent.payload for sent in fake.sent[3:]} == {b"\0", b"\1", b"\2"}


async def test_a_send_that_finds_room_by_now_does_not_wait() -> None:
    sock, fake = Host().open()
    with trio.testing.assert_checkpoints():
        await sock.send_when_ready(batch(1)[0])
    assert len(fake.sent) == 1


async def test_a_send_that_waits_may_be_refused_and_is_then_typed(writable: list[trio.Event]) -> None:
    sock, fake = Host().open()
    fake.answers.append(10051)
    with pytest.raises(SourceUnavailable):
        await sock.send_when_ready(batch(1)[0])
    fake.answers.extend([WSAEWOULDBLOCK, 10051])

    async def send() -> None:
        with pytest.raises(SourceUnavailable):
            await sock.send_when_ready(batch(1)[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        writable[-1].set()


async def test_closing_ends_a_waiting_send_and_everything_after(writable: list[trio.Event]) -> None:
    host = Host(handle=-1)
    sock, fake = host.open()
    fake.answers.extend([WSAEWOULDBLOCK] * 2)

    async def send(message: Message) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await sock.send_when_ready(message)

    async with trio.open_nursery() as nursery:
        for message in batch(2):
            nursery.start_soon(send, message)
        await trio.testing.wait_all_tasks_blocked()
        sock._closed = True  # not by `close`: there is no such handle to tell trio of
        writable[-1].set()
    assert len(fake.sent) == 2
    calls: list[Callable[[], object]] = [lambda: sock.receive(1), lambda: sock.send(batch(1))]
    for call in calls:
        with pytest.raises(NetworkError, match=r"closed|10038"):
            call()
