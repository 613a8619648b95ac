"""TCP listeners: who connected to which address on which interface."""

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
import trio.testing

from responder.datagram import Via
from responder.errors import BindError, NetworkError
from responder.net.types import Platform

from .conftest import Links
from .support import PATIENCE, loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
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


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own listener")
@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED, errno.EAGAIN, errno.EPROTO]
)
async def test_what_accept_outlives(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    from responder.net.linux import platform, tcp  # noqa: PLC0415 - Linux only

    monkeypatch.setattr(tcp, "SHORTAGE_PAUSE", 0)
    opened = platform.LinuxPlatform().open_tcp(0)
    sock = Failing(fileno=opened._socket.detach())
    sock.codes = [code, code]
    with closing(tcp.LinuxListener(sock, None)) as listener, trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", listener.port):
            await (await listener.accept()).stream.aclose()
            sock.codes = [errno.EINVAL]
            async with await trio.open_tcp_stream("127.0.0.1", listener.port):
                with pytest.raises(NetworkError, match="can't accept"):
                    await listener.accept()


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
