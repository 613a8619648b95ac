"""Receiving on a UDP socket of Windows, at the foreign-function border: resets, control messages missing or doubled."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from responder.datagram import Via
from responder.errors import NetworkError, SendError
from responder.net import cmsg
from responder.net.windows.udp import ABI
from responder.net.windows.winsock_types import (
    IP_HOPLIMIT,
    IP_PKTINFO,
    IPPROTO_IP,
)

from .fake_winsock import WSAEMSGSIZE, Arrived, sender, winsock_error
from .windows_host import PEER4, PEER6, Host, pktinfo4, pktinfo6


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


async def test_what_is_no_socket_any_more_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """trio asks Windows about the handle, which says WSAENOTSOCK; so would closing it, if it is nobody's by then."""

    def notify_closing(_sock: object) -> None:
        raise winsock_error(10038)

    host = Host()
    sock, _ = host.open()
    monkeypatch.setattr(trio.lowlevel, "notify_closing", notify_closing)
    host.sockets[0].dead = True
    sock.close()
    sock.close()
    assert host.sockets[0].closed


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
    assert sock.counts["failed-receives"] == 20
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
        assert sock.counts["failed-receives"] == 1


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
    assert sock.counts["failed-receives"] == 20
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
