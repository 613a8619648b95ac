"""Linux's UDP socket: what is decoded and encoded, the bounded tables, and the errors of the system."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest
import trio

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder.datagram import Interface, Via
from responder.errors import MessageTooLong, NetworkError, SendError, SendRefused, Unreachable
from responder.net import cmsg
from responder.net.linux import platform as linux_platform
from responder.net.linux import udp as linux_udp
from responder.net.linux.platform import LinuxPlatform
from responder.net.linux.udp import LinuxSocket, advance_drops, decode_flow, encode_route
from responder.net.posix import udp
from responder.net.posix import udp as posix_udp
from responder.net.types import Membership, Route
from tests.loopback import LOOPBACK
from tests.requirements import lacks_compiled

from ..support import PATIENCE, drained, only, to


def in_pktinfo(interface: int, spec_dst: str, destination: str) -> bytes:
    # Packed for sending, the last field is empty.
    head = cmsg.pack_in_pktinfo_posix(ip_address(spec_dst), interface)  # type: ignore[arg-type] # an IPv4 text
    return head[:8] + ip_address(destination).packed


@pytest.mark.parametrize(
    ("spec_dst", "destination", "via", "local"),
    [
        ("10.0.0.1", "10.0.0.1", Via.UNICAST, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.255", Via.BROADCAST, "10.0.0.1"),
        ("10.0.0.1", "255.255.255.255", Via.BROADCAST, "10.0.0.1"),
        ("10.0.0.1", "224.0.0.251", Via.MULTICAST, "10.0.0.1"),
        # An interface without an IPv4 address.
        ("0.0.0.0", "224.0.0.251", Via.MULTICAST, None),
    ],
)
def test_an_ipv4_way(spec_dst: str, destination: str, via: Via, local: str | None) -> None:
    flow = decode_flow(("::ffff:10.0.0.9", 0, in_pktinfo(3, spec_dst, destination)))
    assert (flow.peer, flow.scope_id, flow.interface) == (ip_address("10.0.0.9"), 0, 3)
    assert (flow.destination, flow.via) == (ip_address(destination), via)
    assert flow.local == (ip_address(local) if local else None)


@pytest.mark.parametrize(("destination", "via"), [("fe80::1", Via.UNICAST), ("ff02::fb", Via.MULTICAST)])
def test_an_ipv6_way(destination: str, via: Via) -> None:
    pktinfo = ip_address(destination).packed + (4).to_bytes(4, sys.byteorder)
    flow = decode_flow(("fe80::9", 4, pktinfo))
    assert (flow.peer, flow.scope_id, flow.interface) == (ip_address("fe80::9"), 4, 4)
    assert (flow.destination, flow.via, flow.local) == (ip_address(destination), via, None)


def test_a_way_without_pktinfo() -> None:
    flow = decode_flow(("::ffff:10.0.0.9", 0, b""))
    assert (flow.peer, flow.destination, flow.interface, flow.via) == (ip_address("10.0.0.9"), None, 0, None)


def test_an_ipv4_route_is_encoded_for_either_socket() -> None:
    route = Route(ip_address("10.0.0.9"), source=ip_address("10.0.0.1"), interface=3, hop_limit=1)
    control = [
        (socket.IPPROTO_IP, 8, in_pktinfo(3, "10.0.0.1", "0.0.0.0")),
        (socket.IPPROTO_IP, socket.IP_TTL, cmsg.pack_int(1)),
    ]
    dual, single = encode_route(route, dual_stack=True), encode_route(route, dual_stack=False)
    assert dual == ("::ffff:10.0.0.9", (0, 0), control)
    assert single == ("10.0.0.9", (), control)


@pytest.mark.parametrize(("scope_id", "interface"), [(3, 0), (0, 3), (3, 3), (9, 3)])
def test_a_scope_never_contradicts_the_interface(scope_id: int, interface: int) -> None:
    route = Route(ip_address("fe80::9"), scope_id, ip_address("fe80::1"), interface)
    _, rest, ((level, kind, data),) = encode_route(route, dual_stack=True)
    assert rest == (0, 3)
    assert (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    assert cmsg.unpack_in6_pktinfo(data) == (interface, ip_address("fe80::1"))


def test_a_route_that_says_nothing_sends_no_control_messages() -> None:
    for address in ("10.0.0.9", "fd00::9"):
        assert encode_route(Route(ip_address(address)), dual_stack=True)[2] == []


def test_the_drop_counter_wraps() -> None:
    assert advance_drops(0, 5) == 5
    assert advance_drops(5, 5) == 5
    assert advance_drops(0xFFFFFFFE, 3) == 0x1_0000_0003
    assert advance_drops(0x1_0000_0003, 4) == 0x1_0000_0004
    # Told out of order.
    assert advance_drops(10, 9) == 10


MODULES = [linux_udp, posix_udp, *filter(None, [linux_platform.compiled])]


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def use_compiled(request: pytest.FixtureRequest) -> bool:
    if request.param and (missing := lacks_compiled()):
        pytest.skip(missing)
    return bool(request.param)


async def test_tables_that_peers_can_fill_are_bounded(monkeypatch: pytest.MonkeyPatch, use_compiled: bool) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "TABLE_SIZE", 4, raising=False)
    platform = LinuxPlatform(use_compiled=use_compiled)
    with closing(platform.open_udp(0)) as server, closing(platform.open_udp(0)) as client:
        for number in range(1, 30):
            message = to(f"127.0.0.{number}", server.port)
            client.send([message])
            client.send([message])
            await drained(server, 2)
        assert len(server._flows) <= 4
        assert len(client._routes) <= 4


async def test_truncation_is_seen(monkeypatch: pytest.MonkeyPatch, use_compiled: bool) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "PAYLOAD_SIZE", 10, raising=False)
    server_host = LinuxPlatform(use_compiled=use_compiled)
    with closing(server_host.open_udp(0)) as server, closing(LinuxPlatform(use_compiled=False).open_udp(0)) as client:
        client.send([to(LOOPBACK, server.port, bytes(10)), to(LOOPBACK, server.port, bytes(11))])
        whole, cut = await drained(server, 2)
        assert (len(whole.payload), whole.truncated) == (10, False)
        assert (len(cut.payload), cut.truncated) == (10, True)


async def test_lost_control_messages_leave_the_payload_whole(
    monkeypatch: pytest.MonkeyPatch, use_compiled: bool
) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "CONTROL_SIZE", socket.CMSG_LEN(16), raising=False)  # room for the time only
    platform = LinuxPlatform(use_compiled=use_compiled)
    with closing(platform.open_udp(0)) as server, closing(platform.open_udp(0)) as client:
        client.send([to(LOOPBACK, server.port)])
        request = await only(server)
        assert (request.payload, request.truncated, request.hop_limit) == (b"x", False, None)
        assert (request.flow.destination, request.flow.interface) == (None, 0)


async def test_drops_for_want_of_room_are_counted(monkeypatch: pytest.MonkeyPatch, use_compiled: bool) -> None:
    monkeypatch.setattr(linux_platform, "RECEIVE_BUFFER", 8192)
    platform = LinuxPlatform(use_compiled=use_compiled)
    with closing(platform.open_udp(0)) as server, closing(platform.open_udp(0)) as client:
        # More than it has room for, however much the kernel gives an ordinary user of itself.
        flood = max(200, server.receive_buffer * 2 // 1000)
        assert client.send([to(LOOPBACK, server.port, bytes(1000))] * flood) == flood
        got = 0
        while burst := server.receive(flood):
            got += len(burst)
        assert 0 < got < flood
        assert server.kernel_drops == 0  # those that came in had been told of none
        # From now on the kernel tells it with each datagram, and all else is found all the same.
        for address in {LOOPBACK, "127.0.0.1"}:
            client.send([to(address, server.port, hop_limit=33)] * 3)
            for request in await drained(server, 3):
                assert (str(request.flow.destination), request.hop_limit) == (address, 33)
                assert request.timestamp is not None
        assert server.kernel_drops == flood - got


class Failing(socket.socket):
    """A socket whose next calls fail, as the kernel's may."""

    codes: list[int]

    def _fail(self) -> None:
        if self.codes:
            code = self.codes.pop(0)
            raise OSError(code, os.strerror(code))

    def recvmsg(self, *args: Any) -> Any:
        self._fail()
        return super().recvmsg(*args)

    def sendmsg(self, *args: Any) -> int:
        self._fail()
        return super().sendmsg(*args)


def failing(*codes: int) -> LinuxSocket:
    """A UDP socket whose next calls fail with these errors."""
    opened = LinuxPlatform().open_udp(0)
    sock = Failing(fileno=opened._socket.detach())
    sock.codes = list(codes)
    return LinuxSocket(sock, None)


@pytest.mark.parametrize("code", sorted(udp.PASSED_OVER), ids=errno.errorcode.get)
async def test_an_earlier_sends_error_is_passed_over(code: int) -> None:
    with closing(failing(code)) as server, closing(LinuxPlatform().open_udp(0)) as client:
        client.send([to(LOOPBACK, server.port)])
        await server.wait_readable()
        assert [request.payload for request in server.receive(2)] == [b"x"]


async def test_errors_without_end_do_not_hold_the_loop() -> None:
    with closing(failing(*[errno.ECONNREFUSED] * 1000)) as server:
        assert list(server.receive(10)) == []


async def test_a_socket_that_can_no_longer_receive_says_so() -> None:
    with closing(failing(errno.ENOTCONN)) as server, pytest.raises(NetworkError, match="can't receive"):
        server.receive(10)


async def test_a_full_queue_ends_the_batch_or_is_waited_for() -> None:
    with closing(failing()) as sender, closing(LinuxPlatform().open_udp(0)) as server:
        assert isinstance(sender._socket, Failing)
        sender._socket.codes = [errno.EAGAIN]
        assert sender.send([to(LOOPBACK, server.port, b"no room")]) == 0
        sender._socket.codes = [errno.EAGAIN, errno.EAGAIN]
        with trio.fail_after(PATIENCE):
            await sender.send_when_ready(to(LOOPBACK, server.port, b"room"))
        assert (await only(server)).payload == b"room"


async def test_several_may_wait_for_room() -> None:
    with closing(failing()) as sender, closing(LinuxPlatform().open_udp(0)) as server:
        assert isinstance(sender._socket, Failing)
        sender._socket.codes = [errno.EAGAIN] * 6
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(sender.send_when_ready, to(LOOPBACK, server.port, bytes([number])))
        assert {request.payload for request in await drained(server, 3)} == {b"\0", b"\1", b"\2"}


@pytest.mark.parametrize("source", [None, LOOPBACK])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EMSGSIZE, MessageTooLong),
        (errno.EPERM, SendRefused),
        (errno.ENOBUFS, SendRefused),
        (errno.ENOMEM, SendRefused),
        (errno.ENETUNREACH, Unreachable),
        (errno.EHOSTUNREACH, Unreachable),
        (errno.ENETDOWN, Unreachable),
        (errno.EADDRNOTAVAIL, Unreachable),
        (errno.ENODEV, Unreachable),
        # Of a source that is ours, or where none was given, it is something else (a port 0, a blackhole route).
        (errno.EINVAL, SendError),
    ],
    ids=str,
)
def test_what_a_refusal_means(code: int, kind: type[SendError], source: str | None) -> None:
    with closing(failing(code)) as sender, pytest.raises(SendError) as caught:
        sender.send([to(LOOPBACK, 9, source=source)])
    assert type(caught.value) is kind
    assert caught.value.errno == code
    assert f"to {LOOPBACK} port 9" in str(caught.value)


@pytest.mark.parametrize("group", ["239.255.70.7", "ff02::7007"])
def test_joining_on_no_interface(group: str) -> None:
    with closing(LinuxPlatform().open_udp(0)) as server, pytest.raises(OSError, match="No such device"):
        server.join(Membership(ip_address(group), 99999), Interface(99999, "gone"))


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.ipv6)])
async def test_icmp_errors_are_told_to_those_who_want_them(address: str) -> None:
    platform = LinuxPlatform()
    with closing(platform.open_udp(0)) as sock, closing(platform.open_udp(0)) as deaf:
        with closing(platform.open_udp(0)) as gone:
            port = gone.port
        sock.hear_errors()
        for each in (sock, deaf):
            assert each.send([to(address, port)]) == 1
        with trio.fail_after(PATIENCE):
            await sock.wait_readable()
        ((who, at, error),) = sock.take_errors()
        assert (str(who), at, error.errno) == (address, port, errno.ECONNREFUSED)
        assert isinstance(error, Unreachable)
        # Told once, and the socket goes on.
        assert (sock.take_errors(), sock.receive(1), deaf.take_errors()) == ([], [], [])
        assert sock.send([to(address, deaf.port)]) == 1
        with trio.fail_after(PATIENCE):
            await deaf.wait_readable()
        assert [each.payload for each in deaf.receive(1)] == [b"x"]
