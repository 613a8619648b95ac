"""The platform on Windows: opening, sharing, receiving, groups, TCP, interfaces.

Parallel to the socket-layer tests of Linux; what needs several links is in tests/lab.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from responder.errors import BindError, MessageTooLong
from responder.net import platform as this_platform
from responder.net._windows import WindowsPlatform
from responder.net._windows_udp import WindowsReceived, WindowsSocket
from responder.net.types import Membership, Route, Transmit

LO = ip_address("127.0.0.1")


@pytest.fixture
def platform() -> WindowsPlatform:
    found = this_platform()
    assert isinstance(found, WindowsPlatform)
    return found


@pytest.fixture
def pair(platform: WindowsPlatform) -> Iterator[tuple[WindowsSocket, WindowsSocket]]:
    one, other = platform.open_udp(0), platform.open_udp(0)
    yield one, other
    one.close()
    other.close()


async def next_of(sock: WindowsSocket) -> WindowsReceived:
    with trio.fail_after(10):
        while True:
            await sock.wait_readable()
            if found := sock.receive(1):
                return found[0]


@pytest.mark.parametrize("size", [0, 1, 1472, 65507])
async def test_datagrams_of_every_size(pair: tuple[WindowsSocket, WindowsSocket], size: int) -> None:
    one, other = pair
    assert one.send([Transmit(bytes(size), Route(LO, source=LO), other.port)]) == 1
    received = await next_of(other)
    assert (len(received.payload), received.truncated) == (size, False)
    with trio.fail_after(10), trio.testing.assert_checkpoints():
        await one.send_when_ready(Transmit(bytes(size), Route(LO, source=LO), other.port))
    assert len((await next_of(other)).payload) == size


async def test_too_long(pair: tuple[WindowsSocket, WindowsSocket]) -> None:
    one, other = pair
    message = Transmit(bytes(65508), Route(LO, source=LO), other.port)
    with pytest.raises(MessageTooLong, match=r"65508 bytes .* 65507"):
        one.send([message])
    with pytest.raises(MessageTooLong, match="65508 bytes"):
        await one.send_when_ready(message)
    assert one.send([Transmit(b"works", Route(LO), other.port)]) == 1
    assert (await next_of(other)).payload == b"works"


def test_nothing_there_is_an_empty_sequence(pair: tuple[WindowsSocket, WindowsSocket]) -> None:
    assert pair[0].receive(8) == []


def test_a_port_is_taken_once(platform: WindowsPlatform) -> None:
    sock = platform.open_udp(0)
    with pytest.raises(BindError, match=f"UDP port {sock.port}") as caught:
        platform.open_udp(sock.port)
    assert caught.value.port == sock.port
    sock.close()
    platform.open_udp(sock.port).close()


def test_a_shared_port_is_taken_twice_with_a_warning(
    platform: WindowsPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    one = platform.open_udp(0, shared=True)
    assert "shared" not in caplog.text
    other = platform.open_udp(one.port, shared=True)
    assert "shared" in caplog.text
    one.close()
    other.close()


def test_an_address_that_is_not_ours(platform: WindowsPlatform) -> None:
    with pytest.raises(BindError, match="not an address of this host"):
        platform.open_udp(0, ip_address("192.0.2.1"))


@pytest.mark.parametrize("address", ["127.0.0.5", "::1"])
async def test_one_address_only(platform: WindowsPlatform, address: str) -> None:
    one, other = platform.open_udp(0, ip_address(address)), platform.open_udp(0)
    other.send([Transmit(b"x", Route(ip_address(address)), one.port)])
    received = await next_of(one)
    assert received.path.destination == ip_address(address)
    one.close()
    other.close()


async def test_groups_are_joined_once_and_left_once(platform: WindowsPlatform) -> None:
    """Datagrams to them are the lab's matter: the loopback here has no multicast route."""
    sock = platform.open_udp(0)
    loopback = next(entry for entry in await platform.interfaces() if "loopback" in entry.flags)
    for group in ("239.255.70.7", "ff02::7007"):
        membership = Membership(ip_address(group), loopback.index)
        sock.join(membership, loopback)
        sock.join(membership, loopback)
        sock.leave(membership, None)
        with pytest.raises(OSError, match="not joined"):
            sock.leave(membership, loopback)
    sock.close()


async def test_closing_ends_who_waits(platform: WindowsPlatform) -> None:
    sock = platform.open_udp(0)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await sock.wait_readable()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            sock.close()
            sock.close()


def test_closing_outside_of_trio(platform: WindowsPlatform) -> None:
    platform.open_udp(0).close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.7", "::1"])
async def test_a_connection_tells_its_way(platform: WindowsPlatform, address: str) -> None:
    listener = platform.open_tcp(0)
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(address, listener.port) as client:
            with trio.testing.assert_checkpoints():
                accepted = await listener.accept()
            async with accepted.stream:
                assert accepted.path.destination == ip_address(address)
                assert accepted.path.interface == 1
                assert accepted.port == client.socket.getsockname()[1]
                await client.send_all(b"x")
                assert await accepted.stream.receive_some() == b"x"
    with pytest.raises(BindError, match="TCP port"):
        platform.open_tcp(listener.port)
    listener.close()


async def test_interfaces_have_friendly_names_flags_and_addresses(platform: WindowsPlatform) -> None:
    with trio.testing.assert_checkpoints():
        table = await platform.interfaces()
    loopback = next(entry for entry in table if "loopback" in entry.flags)
    assert not loopback.name.startswith("{")  # a GUID
    assert loopback.has(LO)
    assert {"up", "running"} <= loopback.flags
    assert loopback.mtu > 1000
    assert [entry.index for entry in table] == sorted(entry.index for entry in table)


async def test_a_watch_is_armed_and_ends(platform: WindowsPlatform) -> None:
    with trio.fail_after(10):
        async with platform.watch_interfaces(rescan=0.01) as watch:
            io = trio.lowlevel.current_statistics().io_statistics
            assert io.tasks_waiting_overlapped == 2  # a socket a family
            with trio.testing.assert_checkpoints():
                await watch.changes()
            with trio.testing.assert_checkpoints():
                assert await watch.interfaces()
    assert trio.lowlevel.current_statistics().io_statistics.tasks_waiting_overlapped == 0
