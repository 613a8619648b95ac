"""Sends that truly wait for room: in a namespace where 10.90.0.99 is on the link and answers to nobody."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from responder.errors import SendError, SendRefused
from responder.net import platform as this_platform
from responder.net.types import Route
from responder.net.windows.interfaces import interfaces
from responder.net.windows.udp import WindowsSocket
from responder.net.windows.winsock_errors import WSA_IO_PENDING, WSA_OPERATION_ABORTED
from responder.net.windows.winsock_types import AF_INET6, SO_SNDBUF, SOL_SOCKET, pack_sockaddr
from tests.responder.net.windows.overlapped import Operations
from tests.responder.net.windows.whole_winsock import Outgoing, WholeWinsock, send, send_message

from .accounting import Flat, storm
from .support import Socket, overlapped_with_event

Open = Callable[..., Socket]
NOBODY = ip_address("10.90.0.99")
NAME = pack_sockaddr(NOBODY, 9, family=AF_INET6)
SO_SNDTIMEO = 0x1005
PAYLOAD = bytes(1000)


def has_the_link() -> bool:
    """By the interface table: Wine binds a socket to any address."""
    return any(each.has(ip_address("10.90.0.1")) for each in interfaces())


pytestmark = pytest.mark.skipif(not has_the_link(), reason="needs 10.90.0.1 on a link with a silent neighbour")


def full(sock: Socket) -> Socket:
    """Fill it until it would block."""
    sock.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 8000)
    sock.socket.setblocking(False)
    with pytest.raises(SendError, match="WSAEWOULDBLOCK"):
        send_many(sock, 10_000)
    return sock


def send_many(sock: Socket, count: int) -> None:
    for _ in range(count):
        send_message(sock.winsock, [PAYLOAD], NAME)


def test_row_13_no_room(open_socket: Open) -> None:
    full(open_socket())


def test_row_13_a_blocking_socket_waits_for_so_sndtimeo(open_socket: Open) -> None:
    one = full(open_socket())
    one.socket.setblocking(True)
    one.socket.setsockopt(SOL_SOCKET, SO_SNDTIMEO, 100)  # milliseconds
    with pytest.raises(SendRefused, match="WSAETIMEDOUT"):
        send_many(one, 100)


def test_row_13_so_sndtimeo_is_for_blocking_sockets_only(open_socket: Open) -> None:
    one = full(open_socket())
    one.socket.setsockopt(SOL_SOCKET, SO_SNDTIMEO, 100)
    with pytest.raises(SendError, match="WSAEWOULDBLOCK"):
        send_many(one, 100)


def test_row_15_the_code_of_what_is_cancelled(open_socket: Open) -> None:
    """`Operations.close` cancels before it closes; of a closed socket WSAGetOverlappedResult can't be asked."""
    one = full(open_socket())
    outgoing = Outgoing([PAYLOAD], NAME)
    with overlapped_with_event() as (own, is_set):
        address = ctypes.addressof(own)
        assert one.winsock.send_message_with(outgoing.address, 0, 0, address, 0) == WSA_IO_PENDING
        one.winsock.cancel_all()
        assert is_set()
        assert one.winsock.overlapped_result(address) == (WSA_OPERATION_ABORTED, 0)


async def test_row_10_a_send_that_waits_is_cancelled(open_socket: Open) -> None:
    one = full(open_socket())
    operations = Operations(one.winsock, one.close)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send, one.winsock, operations, [PAYLOAD], NAME)
            await trio.testing.wait_all_tasks_blocked()
            assert operations.pending == 5
            nursery.cancel_scope.cancel()
    assert operations.pending == 0
    operations.close()


async def test_row_15_closing_ends_a_send_that_waits(open_socket: Open) -> None:
    one = full(open_socket())
    operations = Operations(one.winsock, one.close)

    async def send_one() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await send(one.winsock, operations, [PAYLOAD], NAME)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_one)
            await trio.testing.wait_all_tasks_blocked()
            operations.close()
    assert one.socket.fileno() == -1


async def test_ten_thousand_sends_that_wait(open_socket: Open) -> None:
    rng = random.Random(3)  # noqa: S311 - a test's, and the same each time

    async def send_one(winsock: WholeWinsock, operations: Operations) -> None:
        await send(winsock, operations, [PAYLOAD], NAME)

    with trio.fail_after(250):
        first = full(open_socket())
        await storm(first.socket.fileno(), send_one, 1, rng)
        with Flat():
            again = full(open_socket())
            counted = await storm(again.socket.fileno(), send_one, 100, rng)
            again.close()
    assert counted.codes.get(997, 0) > 5000


async def test_the_platforms_socket_says_when_there_is_no_room() -> None:
    sock = this_platform().open_udp(0)
    assert isinstance(sock, WindowsSocket)
    sock._socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 8000)
    batch = [(PAYLOAD, Route(NOBODY), 9)] * 1000
    assert sock.send(batch) < 1000
    assert sock.send(batch) == 0
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sock.send_when_ready, batch[0])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        source = Route(NOBODY, source=ip_address("10.90.0.1"))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(sock.send_when_ready, (PAYLOAD, source, 9))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

        async def closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await sock.send_when_ready(batch[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed)
            await trio.testing.wait_all_tasks_blocked()
            sock.close()
