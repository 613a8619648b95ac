"""TCP listeners: who connected to which address on which interface."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest
import trio
import trio.testing

from responder.datagram import Interface, Via
from responder.errors import BindError, NetworkError
from responder.net import listeners, sockets
from responder.net.listeners import AddressHolders, Listener, holder
from responder.net.types import Platform
from tests.fakes import GUEST, LAN, LOOPBACK
from tests.loopback import FAMILIES

from .conftest import Links
from .support import PATIENCE, loopback


@pytest.mark.parametrize("address", [*FAMILIES, "127.8.8.8"])
async def test_a_connection_and_its_way(platform: Platform, address: str) -> None:
    with closing(platform.open_tcp(0)) as listener, trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream(address, listener.port) as client:
            accepted = await listener.accept()
            async with accepted.stream:
                flow = accepted.flow
                assert flow.destination == ip_address(address)
                assert flow.peer == ip_address(client.socket.getsockname()[0])
                assert accepted.port == client.socket.getsockname()[1]
                assert flow.via is Via.UNICAST
                assert flow.interface == await loopback(platform)
                await client.send_all(b"hello")
                assert await accepted.stream.receive_some() == b"hello"


@pytest.mark.parametrize("address", FAMILIES)
async def test_the_hop_limit_of_connections(platform: Platform, address: str) -> None:
    option = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
    with closing(platform.open_tcp(0)) as listener, trio.fail_after(PATIENCE):
        listener.limit_hops(1)
        async with await trio.open_tcp_stream(address, listener.port):
            accepted = await listener.accept()
            async with accepted.stream:
                assert accepted.stream.socket.getsockopt(*option[ip_address(address).version]) == 1


async def test_bound_to_an_address_alone(platform: Platform) -> None:
    with closing(platform.open_tcp(0, ip_address("127.0.0.1"))) as listener, trio.fail_after(PATIENCE):
        assert listener.address == ip_address("127.0.0.1")
        async with await trio.open_tcp_stream("127.0.0.1", listener.port):
            await (await listener.accept()).stream.aclose()


def test_a_taken_port_is_refused(platform: Platform) -> None:
    with closing(platform.open_tcp(0)) as first, pytest.raises(BindError, match=f"TCP port {first.port} is taken by"):
        platform.open_tcp(first.port)


async def test_a_port_can_be_had_again_at_once(platform: Platform) -> None:
    with closing(platform.open_tcp(0)) as listener, trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", listener.port):
            # The listener's end closes first, and stays in TIME_WAIT.
            await (await listener.accept()).stream.aclose()
    with closing(platform.open_tcp(listener.port)):
        pass


async def test_closing_wakes_who_waits(platform: Platform) -> None:
    listener = platform.open_tcp(0)
    woken = []

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        woken.append(True)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()
    assert woken
    listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


def test_closing_needs_no_event_loop(platform: Platform) -> None:
    listener = platform.open_tcp(0)
    listener.close()
    with closing(platform.open_tcp(listener.port)):
        pass


class Failing(socket.socket):
    """A listening socket whose next accepts fail, as the kernel's may."""

    codes: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.codes:
            code = self.codes.pop(0)
            raise OSError(code, os.strerror(code))
        return super().accept()


async def nowhere(_connection: socket.socket) -> int:
    return 0


@pytest.mark.parametrize(
    "code",
    [
        *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
        *(errno.ECONNABORTED, errno.ECONNRESET, errno.EAGAIN, errno.EPERM, errno.EPROTO),
        *(errno.EINTR, errno.EIO, errno.ETIMEDOUT),
    ],
    ids=errno.errorcode.get,
)
async def test_what_accept_outlives(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(listeners, "SHORTAGE_PAUSE", 0)
    sock = Failing()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.codes = [code, code]
    with closing(Listener([sock], None, nowhere)) as listener, trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", listener.port):
            await (await listener.accept()).stream.aclose()


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOTSOCK, errno.EINVAL], ids=errno.errorcode.get)
async def test_what_ends_a_listener(code: int) -> None:
    """It is none any more, or does not listen any more: whoever opened it has to open another."""
    sock = Failing()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.codes = [code]
    with closing(Listener([sock], None, nowhere)) as listener, trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", listener.port):
            with pytest.raises(NetworkError, match="can't accept"):
                await listener.accept()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
async def test_waiting_for_connections_may_fail(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int, code: int
) -> None:
    """Of one socket, and of one for each family."""
    monkeypatch.setattr(listeners, "SHORTAGE_PAUSE", 0)
    failures = [OSError(code, os.strerror(code))] * 3 * count
    wait_readable = trio.lowlevel.wait_readable

    async def wait(sock: socket.socket) -> None:
        if failures:
            raise failures.pop()
        await wait_readable(sock)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
    with (
        closing(Listener([socket.create_server(("127.0.0.1", 0)) for _ in range(count)], None, nowhere)) as listener,
        trio.fail_after(PATIENCE),
    ):
        async with await trio.open_tcp_stream("127.0.0.1", listener.port):
            await (await listener.accept()).stream.aclose()
    assert listener.counts == {"failed-accepts": 3}
    assert caplog.text.count("connections wait") == 1


async def test_waiting_for_connections_ends_with_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(_sock: socket.socket) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
    with (
        closing(Listener([socket.create_server(("127.0.0.1", 0))], None, nowhere)) as listener,
        pytest.raises(NetworkError, match="can't accept"),
    ):
        await listener.accept()


async def test_a_connection_that_is_gone_before_it_is_described(caplog: pytest.LogCaptureFixture) -> None:
    """It is passed over, and the next one is served."""
    codes = [errno.ENOTCONN]
    described: list[socket.socket] = []

    async def failing_once(connection: socket.socket) -> int:
        described.append(connection)
        if codes:
            raise OSError(codes.pop(), "gone")
        return 3

    sock = socket.create_server(("127.0.0.1", 0))
    with closing(Listener([sock], None, failing_once)) as listener, trio.fail_after(PATIENCE):
        async with (
            await trio.open_tcp_stream("127.0.0.1", listener.port),
            await trio.open_tcp_stream("127.0.0.1", listener.port) as second,
        ):
            accepted = await listener.accept()
            async with accepted.stream:
                assert accepted.port == second.socket.getsockname()[1]
                assert accepted.flow.interface == 3
    assert described[0].fileno() == -1
    assert "a connection is lost" in caplog.text


@pytest.mark.ipv6
@pytest.mark.ipv6
async def test_listeners_of_both_families_are_one_port() -> None:
    socks = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6)]
    with closing(Listener(socks, None, nowhere)) as both:
        for sock in socks * 2:
            host, port = sock.getsockname()[:2]
            with trio.fail_after(PATIENCE), socket.create_connection((host, port)) as client:
                accepted = await both.accept()
                assert accepted.flow.destination == ip_address(host)
                assert accepted.port == client.getsockname()[1]
                await accepted.stream.aclose()


class TestAddressHolders:
    """Where the platform does not tell the arrival interface."""

    def test_the_holder(self) -> None:
        table = [LOOPBACK, LAN, GUEST]
        assert holder(ip_address("10.72.0.1"), table) == GUEST.index
        assert holder(ip_address("127.1.2.3"), table) == LOOPBACK.index
        assert holder(ip_address("192.0.2.1"), table) == 0

    async def test_an_unknown_address_is_looked_for_again(self) -> None:
        tables = [[LAN], [LAN, LOOPBACK]]

        async def enumerate_interfaces() -> list[Interface]:
            return tables.pop(0)

        holders = AddressHolders(enumerate_interfaces)
        with socket.create_server(("127.0.0.1", 0)) as connection:
            assert await holders.interface_of(connection) == 0
            assert await holders.interface_of(connection) == LOOPBACK.index
            assert await holders.interface_of(connection) == LOOPBACK.index  # known by now
        assert tables == []


async def test_waiting_for_one_of_several_sockets() -> None:
    near, far = zip(*(socket.socketpair() for _ in range(2)), strict=True)
    for sender in far:
        sender.send(b"x")
        with trio.fail_after(PATIENCE):
            await sockets.wait_readable(near)
        for sock in near:
            sock.setblocking(False)
            try:
                sock.recv(1)
            except BlockingIOError:
                continue
    for sock in (*near, *far):
        sock.close()
    with pytest.raises(trio.ClosedResourceError):
        await sockets.wait_readable(near)


@pytest.mark.lab
async def test_the_arrival_interface(links: Links) -> None:
    """Of both families, and also where the address that was asked is another link's."""
    # Addresses of link 2, asked through link 1: the client's routes to them are through the host's first link.
    links.host.ip("addr add 10.73.0.1/24 dev link2", "addr add fd73::1/64 dev link2 nodad")
    ways = [
        ("10.71.0.2", "link1"),
        ("10.72.0.1", "link2"),
        ("10.73.0.1", "link1"),
        ("10.99.0.1", "link1"),
        ("fd72::1", "link2"),
        ("fd73::1", "link1"),
        ("fd99::1", "link1"),
    ]
    with closing(links.host_platform.open_tcp(0)) as listener, trio.fail_after(PATIENCE):
        for address, link in ways:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with trio.socket.from_stdlib_socket(links.client.socket(family, socket.SOCK_STREAM)) as client:
                await client.connect((address, listener.port))
                accepted = await listener.accept()
                await accepted.stream.aclose()
                assert accepted.flow.destination == ip_address(address)
                assert accepted.flow.interface == links.host.ifindex(link), address


@pytest.mark.lab
async def test_a_link_local_connection(links: Links) -> None:
    with closing(links.host_platform.open_tcp(0)) as listener, trio.fail_after(PATIENCE):
        for link in ("link1", "link2"):
            with trio.socket.from_stdlib_socket(links.client.socket(socket.AF_INET6, socket.SOCK_STREAM)) as client:
                await client.connect(("fe80::1", listener.port, 0, links.client.ifindex(link)))
                accepted = await listener.accept()
                await accepted.stream.aclose()
                flow = accepted.flow
                assert (flow.peer, flow.destination) == (ip_address("fe80::9"), ip_address("fe80::1"))
                assert flow.scope_id == flow.interface == links.host.ifindex(link)
