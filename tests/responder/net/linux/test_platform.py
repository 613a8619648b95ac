"""Opening sockets on Linux: options before bind, buffers, shared and taken ports, hosts without a family."""

from __future__ import annotations

import errno
import logging
import os
import platform as machine
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder.errors import BindError
from responder.net.linux import platform as linux_platform
from responder.net.linux.constants import SO_RCVBUFFORCE, SO_SNDBUFFORCE
from responder.net.linux.host import port_holder
from responder.net.linux.platform import LinuxPlatform
from responder.net.place import Place
from tests.lab.namespaces import Lab

from ..support import PlatformIn, answer, only, to
from .without_ipv6 import SYS_SOCKET

PROJECT = Path(__file__).parents[4]


@contextmanager
def plain(port: int = 0, *, reuse: bool = False, host: str = "::", kind: int = socket.SOCK_DGRAM) -> Iterator[int]:
    """Another program's socket; gives its port."""
    with socket.socket(socket.AF_INET6, kind) as sock:
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock.getsockname()[1]


# (level, option): value; numbers of the kernel's headers, independent of our own table.
IPV4, IPV6, SOCKET = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET
OPTIONS = {
    "open_udp": {
        (IPV6, socket.IPV6_V6ONLY): 0,
        (IPV4, 8): 1,  # IP_PKTINFO
        (IPV6, socket.IPV6_RECVPKTINFO): 1,
        (IPV4, 12): 1,  # IP_RECVTTL
        (IPV6, socket.IPV6_RECVHOPLIMIT): 1,
        (SOCKET, 35): 1,  # SO_TIMESTAMPNS
        (SOCKET, 40): 1,  # SO_RXQ_OVFL
        (SOCKET, socket.SO_BROADCAST): 1,
        (IPV4, 11): 0,  # IP_RECVERR
        (IPV6, 25): 0,  # IPV6_RECVERR
        (IPV4, 49): 0,  # IP_MULTICAST_ALL
        (IPV6, 29): 0,  # IPV6_MULTICAST_ALL
        (IPV4, 10): 5,  # IP_MTU_DISCOVER: IP_PMTUDISC_OMIT
        (IPV6, 23): 5,  # IPV6_MTU_DISCOVER: IPV6_PMTUDISC_OMIT
        (SOCKET, socket.SO_REUSEADDR): 0,
    },
    "open_tcp": {
        (IPV6, socket.IPV6_V6ONLY): 0,
        (IPV4, 8): 1,  # IP_PKTINFO
        (IPV6, socket.IPV6_RECVPKTINFO): 1,
        (SOCKET, socket.SO_REUSEADDR): 1,
    },
}


@pytest.mark.parametrize("open_name", OPTIONS)
def test_every_option_is_set_before_bind(monkeypatch: pytest.MonkeyPatch, open_name: str) -> None:
    seen = []
    bind = socket.socket.bind

    def checking_bind(self: socket.socket, name: Any) -> None:
        seen.append({option: self.getsockopt(*option) for option in OPTIONS[open_name]})
        assert not self.getblocking()
        assert not self.get_inheritable()
        bind(self, name)

    monkeypatch.setattr(socket.socket, "bind", checking_bind)
    with closing(getattr(LinuxPlatform(), open_name)(0)):
        assert seen == [OPTIONS[open_name]]


def has_net_admin() -> bool:
    """May this process have buffers beyond the system's limit?"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8192)
        except PermissionError:
            return False
    return True


def test_buffers_have_the_size_that_is_asked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(linux_platform, "RECEIVE_BUFFER", 65536)
    monkeypatch.setattr(linux_platform, "SEND_BUFFER", 32768)
    with closing(LinuxPlatform().open_udp(0)) as sock:
        sizes = [sock._socket.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    asked = [2 * 65536, 2 * 32768]  # the kernel tells the doubled value (socket(7))
    if has_net_admin():
        assert sizes == asked
    else:  # what the kernel gives of itself is not made less
        assert all(size >= wanted for size, wanted in zip(sizes, asked, strict=True))
    assert caplog.messages == []


LIMIT = 212_992
"""Bytes: Linux's usual net.core.rmem_max and net.core.wmem_max."""


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user without CAP_NET_ADMIN on a kernel with the usual limits."""
    setsockopt = socket.socket.setsockopt

    def limited(self: socket.socket, level: int, option: int, value: Any) -> None:
        if (level, option) in ((socket.SOL_SOCKET, SO_RCVBUFFORCE), (socket.SOL_SOCKET, SO_SNDBUFFORCE)):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if (level, option) in ((socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)):
            value = min(value, LIMIT)
        setsockopt(self, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", limited)


@pytest.mark.usefixtures("unprivileged")
def test_a_smaller_buffer_is_told_once_with_its_cost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    platform = LinuxPlatform()
    for _ in range(2):  # told once for all sockets
        with closing(platform.open_udp(0)) as sock:
            assert sock.receive_buffer == LIMIT
            assert sock.raise_send_buffer_by == "sysctl net.core.wmem_max=4194304, responderd.socket, or CAP_NET_ADMIN"
    assert caplog.messages == [
        "the kernel gives less receive buffer than asked asked=4194304 given=212992 "
        "cost=more of what comes in a burst is lost "
        "raise_it_by=sysctl net.core.rmem_max=4194304, responderd.socket, or CAP_NET_ADMIN",
        "the kernel gives less send buffer than asked asked=4194304 given=212992 "
        "cost=fewer answers that wait for neighbours that can't be found fill it, and then others are lost "
        "raise_it_by=sysctl net.core.wmem_max=4194304, responderd.socket, or CAP_NET_ADMIN",
    ]


@pytest.mark.usefixtures("unprivileged")
def test_a_given_socket_keeps_a_buffer_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd opens it, with more rights than ours, where it is still less than we would ask for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sizes = [sock.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    monkeypatch.setattr(f"{__name__}.LIMIT", 8192)
    with closing(LinuxPlatform().open_udp(0)) as opened:
        assert [
            opened._socket.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)
        ] == sizes


def test_a_shared_port_is_had_alone_where_possible(caplog: pytest.LogCaptureFixture) -> None:
    with closing(LinuxPlatform().open_udp(0, shared=True)) as sock:
        assert "shared" not in caplog.text
        with plain(sock.port, reuse=True):
            pass
        with closing(LinuxPlatform().open_udp(sock.port, shared=True)):
            assert "port is shared" in caplog.text


def test_a_taken_port_is_shared_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with plain(reuse=True) as port, closing(LinuxPlatform().open_udp(port, shared=True)):
        (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
        assert f"port={port}" in record.getMessage()
        assert f"(pid {os.getpid()})" in record.getMessage()


def test_a_port_whose_holder_does_not_share() -> None:
    with plain() as port, pytest.raises(BindError, match=f"UDP port {port} is taken by"):
        LinuxPlatform().open_udp(port, shared=True)


def test_a_port_that_is_not_shared_stays_alone() -> None:
    with (
        closing(LinuxPlatform().open_udp(0)) as sock,
        pytest.raises(OSError, match="in use"),
        plain(sock.port, reuse=True),
    ):
        pass


HOLDER = """
import socket, sys
sock = socket.socket(socket.AF_INET6, int(sys.argv[1]))
sock.bind((sys.argv[2], 0))
if sock.type == socket.SOCK_STREAM:
    sock.listen()
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("host", ["::", "::ffff:127.0.0.1", pytest.param("::1", marks=pytest.mark.ipv6)])
def test_the_holder_of_a_taken_port_is_named(transport: str, host: str) -> None:
    platform = LinuxPlatform()
    kind = {"UDP": socket.SOCK_DGRAM, "TCP": socket.SOCK_STREAM}[transport]
    argv = [sys.executable, "-c", HOLDER, str(int(kind)), host]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        with pytest.raises(BindError) as caught:
            platform.open_udp(port) if transport == "UDP" else platform.open_tcp(port)
        holder.communicate("")
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.port == port
    assert caught.value.holder is not None
    assert caught.value.holder.endswith(f"(pid {holder.pid})")
    assert str(caught.value) == f"{transport} port {port} is taken by {caught.value.holder}"


@contextmanager
def plain_beside_no_tcp(host: str) -> Iterator[int]:
    """`plain` on a port that no TCP socket of this host has, nor gets meanwhile."""
    while True:
        with plain(host=host) as port, socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tcp:
            try:
                tcp.bind(("::", port))
            except OSError:
                continue
            yield port
            return


def test_a_socket_on_another_address_is_not_the_holder() -> None:
    with plain_beside_no_tcp("::ffff:127.0.0.2") as port:
        with closing(LinuxPlatform().open_udp(port, ip_address("127.0.0.1"))):
            pass
        assert port_holder(Place("UDP", port, ip_address("127.0.0.1"))) is None
        assert port_holder(Place("UDP", port, ip_address("127.0.0.2"))) is not None
        assert port_holder(Place("UDP", port, None)) is not None
        assert port_holder(Place("TCP", port, None)) is None


def refusing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def bind(self: socket.socket, name: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket.socket, "bind", bind)


def test_no_right_to_a_low_port(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, errno.EACCES)
    with pytest.raises(BindError) as caught:
        LinuxPlatform().open_udp(53)
    assert str(caught.value) == (
        "UDP port 53: no right to bind a port below 1024: "
        "run as root, give CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start"
    )
    # Above it is some other rule's doing.
    with pytest.raises(BindError, match="UDP port 5353: Permission denied"):
        LinuxPlatform().open_udp(5353)


def test_a_link_local_address_needs_its_interface() -> None:
    with pytest.raises(BindError, match="needs its interface"):
        LinuxPlatform().open_udp(0, ip_address("fe80::1"))


@pytest.mark.parametrize("open_name", ["open_udp", "open_tcp"])
def test_a_failure_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, open_name: str) -> None:
    before = os.listdir("/proc/self/fd")
    refusing(monkeypatch, errno.EADDRNOTAVAIL)
    with pytest.raises(BindError):
        getattr(LinuxPlatform(), open_name)(0, ip_address("192.0.2.1"))
    assert os.listdir("/proc/self/fd") == before


WITHOUT_IPV6 = """
import socket, trio
from contextlib import closing
from ipaddress import ip_address
from responder.errors import BindError, Unreachable
from responder.net import platform
from tests.responder.net.support import answer, only, to
from tests.responder.net.linux.without_ipv6 import refuse_ipv6

async def echo():
    with closing(platform().open_udp(0)) as server, closing(platform().open_udp(0)) as client:
        assert server._socket.family == socket.AF_INET
        client.send([to("127.9.9.9", server.port, hop_limit=7)])
        request = await only(server)
        assert str(request.flow.destination) == "127.9.9.9" and request.flow.interface == 1, request.flow
        assert request.hop_limit == 7 and request.timestamp is not None
        server.send([answer(request)])
        assert str((await only(client)).flow.peer) == "127.9.9.9"
        try:
            server.send([to("::1", 9)])
        except Unreachable as error:
            print(error.strerror)
        try:
            platform().open_udp(0, ip_address("::1"))
        except BindError as error:
            print(error)
    with closing(platform().open_tcp(0)) as listener:
        stream = await trio.open_tcp_stream("127.9.9.9", listener.port)
        accepted = await listener.accept()
        assert str(accepted.flow.destination) == "127.9.9.9" and accepted.flow.interface == 1, accepted.flow
        await stream.aclose()
        await accepted.stream.aclose()
    print("echo works")

refuse_ipv6()
trio.run(echo)
"""


@pytest.mark.skipif(machine.machine() not in SYS_SOCKET, reason="the filter knows x86-64 and arm64")
def test_a_kernel_that_refuses_af_inet6() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_IPV6], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "::1: this host has no IPv6",
        "UDP port 0 on ::1: this host has no IPv6",
        "echo works",
    ]


@pytest.mark.lab
async def test_a_host_with_ipv6_disabled() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        host.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
        platform = PlatformIn(LinuxPlatform(), host)
        with closing(platform.open_udp(0)) as server, closing(platform.open_udp(0)) as client:
            client.send([to("127.3.3.3", server.port)])
            server.send([answer(await only(server))])
            assert (await only(client)).flow.peer == ip_address("127.3.3.3")


@pytest.mark.lab
async def test_a_host_without_ipv4_addresses() -> None:
    with Lab() as lab:
        host = lab.namespace("host")
        host.ip("addr del 127.0.0.1/8 dev lo", "addr add fd00::3/128 dev lo nodad")
        platform = PlatformIn(LinuxPlatform(), host)
        with closing(platform.open_udp(0)) as server, closing(platform.open_udp(0)) as client:
            client.send([to("fd00::3", server.port)])
            server.send([answer(await only(server))])
            assert (await only(client)).flow.peer == ip_address("fd00::3")
