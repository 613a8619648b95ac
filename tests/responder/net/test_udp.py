"""UDP sockets on loopback, through the contract alone: the same tests for every platform."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
import trio.testing

from responder.datagram import Via
from responder.errors import BindError, MessageTooLong, NetworkError, SendError, SendRefused, SourceUnavailable
from responder.net import sockets
from responder.net.types import DatagramSocket, Flow, Platform
from tests.loopback import FAMILIES, LOOPBACK

from .support import PATIENCE, answer, drained, loopback, only, to

# More are refused by IPv4's length field: 65,535 less the headers' 20 and 8.
LARGEST = 65507


@contextmanager
def two(platform: Platform) -> Iterator[tuple[DatagramSocket, DatagramSocket]]:
    """Sockets on the wildcard: one asks, one answers."""
    with closing(platform.open_udp(0)) as server, closing(platform.open_udp(0)) as client:
        yield server, client


@pytest.mark.parametrize("address", FAMILIES)
async def test_a_request_and_its_answer(platform: Platform, address: str) -> None:
    with two(platform) as (server, client):
        assert client.send([to(address, server.port, b"hello")]) == 1
        request = await only(server)
        assert (request.payload, request.peer_port, request.truncated) == (b"hello", client.port, False)
        assert request.flow.peer == request.flow.destination == ip_address(address)
        assert request.flow.interface == await loopback(platform)
        assert request.flow.scope_id == 0
        assert server.send([answer(request)]) == 1
        reply = await only(client)
        assert (reply.payload, reply.peer_port, reply.flow.peer) == (b"answer", server.port, ip_address(address))


@pytest.mark.parametrize("asked", ["127.0.0.1", "127.1.2.3", "127.255.255.254"])
async def test_the_answer_comes_from_the_address_that_was_asked(platform: Platform, asked: str) -> None:
    with two(platform) as (server, client):
        client.send([to(asked, server.port)])
        server.send([answer(await only(server))])
        assert (await only(client)).flow.peer == ip_address(asked)


@pytest.mark.parametrize("address", FAMILIES)
@pytest.mark.parametrize("size", [0, 1, LARGEST], ids=["empty", "one byte", "the largest"])
async def test_payloads_of_every_size(platform: Platform, address: str, size: int) -> None:
    payload = bytes(range(256)) * 256
    with two(platform) as (server, client):
        client.send([to(address, server.port, payload[:size])])
        request = await only(server)
        assert (request.payload, request.truncated) == (payload[:size], False)
        server.send([answer(request, request.payload)])
        assert (await only(client)).payload == payload[:size]


@pytest.mark.parametrize("address", FAMILIES)
async def test_too_long_is_refused_by_name(platform: Platform, address: str) -> None:
    with two(platform) as (server, client):
        with pytest.raises(MessageTooLong):
            client.send([to(address, server.port, bytes(65536))])
        with pytest.raises(MessageTooLong):
            await client.send_when_ready(to(address, server.port, bytes(65536)))


@pytest.mark.parametrize("address", FAMILIES)
async def test_hop_limit_and_time_are_told(platform: Platform, address: str) -> None:
    with two(platform) as (server, client):
        before = time.time()
        client.send([to(address, server.port, hop_limit=33)])
        request = await only(server)
        assert request.hop_limit in (33, None)
        # Clock readings around it, not a duration: the kernel's time lies between.
        timestamp = request.timestamp
        assert timestamp is None or before - 1 <= timestamp <= time.time() + 1


async def test_one_way_is_one_path(platform: Platform) -> None:
    with two(platform) as (server, client), closing(platform.open_udp(0)) as other:
        client.send([to("127.0.0.1", server.port), to("127.0.0.1", server.port), to("127.0.0.2", server.port)])
        one, same, elsewhere = await drained(server, 3)
        assert one.flow is same.flow
        assert one.flow is not elsewhere.flow
        # The port is not part of a way.
        other.send([to("127.0.0.1", server.port)])
        assert (await only(server)).flow is one.flow


async def test_a_batch_is_drained_to_its_limit(platform: Platform) -> None:
    with two(platform) as (server, client):
        batch = [to(LOOPBACK, server.port, bytes([number])) for number in range(10)]
        assert client.send(batch) == 10
        await server.wait_readable()
        assert [request.payload for request in server.receive(4)] == [bytes([number]) for number in range(4)]
        assert [request.payload for request in server.receive(100)] == [bytes([number]) for number in range(4, 10)]
        assert list(server.receive(100)) == []
        assert list(server.receive(0)) == []


async def test_a_refusal_is_raised_for_the_first_and_ends_the_batch_otherwise(platform: Platform) -> None:
    with two(platform) as (server, client):
        bad = to("127.0.0.1", server.port, bytes(65536))
        batch = [to("127.0.0.1", server.port, b"1"), bad, to("127.0.0.1", server.port, b"2")]
        assert client.send(batch) == 1
        with pytest.raises(MessageTooLong):
            client.send(batch[1:])
        assert client.send(batch[2:]) == 1
        assert [request.payload for request in await drained(server, 2)] == [b"1", b"2"]


@pytest.mark.parametrize("address", FAMILIES)
async def test_port_unreachable_from_one_peer_does_not_hurt_another(platform: Platform, address: str) -> None:
    with two(platform) as (server, client):
        with closing(platform.open_udp(0)) as gone:
            closed_port = gone.port
        for _ in range(3):
            assert server.send([to(address, closed_port)]) == 1
            assert server.send([to(address, client.port)]) == 1
        await drained(client, 3)
        assert list(server.receive(10)) == []


@pytest.mark.parametrize(
    ("address", "source"), [("127.0.0.1", "192.0.2.77"), pytest.param("::1", "2001:db8::77", marks=pytest.mark.ipv6)]
)
async def test_a_source_that_is_not_ours(platform: Platform, address: str, source: str) -> None:
    with two(platform) as (server, client):
        with pytest.raises(SourceUnavailable, match=source):
            client.send([to(address, server.port, source=source)])
        client.send([to(address, server.port)])
        await only(server)


@pytest.mark.parametrize(("address", "source"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
async def test_a_source_of_the_other_family(platform: Platform, address: str, source: str) -> None:
    with two(platform) as (server, client), pytest.raises(SourceUnavailable):
        client.send([to(address, server.port, source=source)])


@pytest.mark.parametrize("address", FAMILIES)
async def test_bound_to_an_address_alone(platform: Platform, address: str) -> None:
    bound = ip_address(address)
    with closing(platform.open_udp(0, bound)) as server, closing(platform.open_udp(0)) as client:
        assert server.address == bound
        client.send([to(address, server.port)])
        request = await only(server)
        assert request.flow.destination == bound
        server.send([answer(request)])
        assert (await only(client)).flow.peer == bound


async def test_the_wildcard_has_no_address(platform: Platform) -> None:
    with closing(platform.open_udp(0)) as server:
        assert server.address is None
        assert server.port > 0


def test_a_taken_port_is_refused(platform: Platform) -> None:
    with closing(platform.open_udp(0)) as first, pytest.raises(BindError, match=f"UDP port {first.port} is taken by"):
        platform.open_udp(first.port)


def test_an_address_of_another_host_is_refused(platform: Platform) -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.77 is not an address of this host"):
        platform.open_udp(0, ip_address("192.0.2.77"))


async def test_send_when_ready(platform: Platform) -> None:
    with two(platform) as (server, client):
        with trio.fail_after(PATIENCE):
            await client.send_when_ready(to(LOOPBACK, server.port, b"late"))
        assert (await only(server)).payload == b"late"


async def test_every_wait_is_a_checkpoint(platform: Platform) -> None:
    with two(platform) as (server, client):
        with trio.testing.assert_checkpoints():
            await client.send_when_ready(to(LOOPBACK, server.port))
        with trio.testing.assert_checkpoints():
            await server.wait_readable()


async def test_closing_wakes_who_waits(platform: Platform) -> None:
    server = platform.open_udp(0)
    woken = []

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await server.wait_readable()
        woken.append(True)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            server.close()
    assert woken


async def test_a_closed_socket(platform: Platform) -> None:
    server = platform.open_udp(0)
    server.close()
    server.close()
    with pytest.raises(trio.ClosedResourceError):
        await server.wait_readable()
    with pytest.raises(trio.ClosedResourceError):
        await server.send_when_ready(to(LOOPBACK, 9))
    with pytest.raises(NetworkError):
        server.receive(1)
    with pytest.raises(SendError):
        server.send([to(LOOPBACK, 9)])


def test_closing_needs_no_event_loop(platform: Platform) -> None:
    server = platform.open_udp(0)
    server.close()
    with closing(platform.open_udp(server.port)):
        pass


@pytest.mark.parametrize("address", FAMILIES)
async def test_loopback_is_unicast_where_the_platform_tells(platform: Platform, address: str) -> None:
    with two(platform) as (server, client):
        client.send([to(address, server.port)])
        flow: Flow = (await only(server)).flow
        assert flow.via in (Via.UNICAST, None)


async def test_routes_are_kept_by_identity(platform: Platform) -> None:
    with two(platform) as (server, client):
        message = to("127.0.0.1", server.port, b"first")
        _, route, port = message
        assert client.send([message, (b"second", route, port)]) == 2
        assert [request.payload for request in await drained(server, 2)] == [b"first", b"second"]


async def test_waiting_for_room_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused as other sends are that may succeed in a moment."""

    async def wait(_sock: object) -> None:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    monkeypatch.setattr(trio.lowlevel, "wait_writable", wait)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(SendRefused, match="can't wait for room"),
    ):
        await sockets.send_in_turn(sock, trio.Lock(), lambda: True)


@pytest.mark.parametrize("in_loop", [False, True])
def test_what_is_no_socket_any_more_can_be_closed(in_loop: bool) -> None:
    async def close() -> None:
        sockets.close(sock)

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    socket.close(sock.fileno())
    trio.run(close) if in_loop else sockets.close(sock)
    assert sock.fileno() == -1


@pytest.mark.skipif(sys.platform == "win32", reason="a handle's number can't be chosen there")
def test_a_descriptor_that_is_anothers_file_by_now_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        number = os.dup2(file.fileno(), sock.fileno())
        sockets.close(sock)
        assert os.write(number, b"x") == 1
        os.close(number)
