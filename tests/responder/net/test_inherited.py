"""Sockets passed on by a service manager: what is taken, and which port they are."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path
from textwrap import dedent

import pytest

from responder.datagram import Via
from responder.errors import BindError, ConfigError
from responder.net import platform
from responder.net.inherited import FIRST, Inherited, inherited_sockets
from responder.net.types import Platform
from tests.loopback import FAMILIES

from .conftest import Links
from .support import PATIENCE, answer, only

if sys.platform != "linux":
    pytest.skip("socket activation is for Linux", allow_module_level=True)

import fcntl

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
ROOT = Path(__file__).parents[3]

Bind = Callable[..., socket.socket]


@pytest.fixture
def bind() -> Iterator[Bind]:
    """bind(kind, address, v6only=): bound (and listening) as a service manager does; the system chooses the port."""
    with ExitStack() as stack:

        def bound(kind: int, address: str = "::", *, v6only: bool = False, port: int = 0) -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = stack.enter_context(socket.socket(family, kind))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            sock.bind((address, port))
            if kind == TCP:
                sock.listen()
            return sock

        yield bound


@pytest.fixture
def inherit() -> Iterator[Callable[..., Inherited]]:
    with ExitStack() as stack:

        def made(*sockets: socket.socket) -> Inherited:
            inherited = Inherited(sockets)
            stack.callback(inherited.close)
            return inherited

        yield made


def port_of(sock: socket.socket) -> int:
    number: int = sock.getsockname()[1]
    return number


@pytest.mark.parametrize("address", [*FAMILIES, "127.0.0.2"])
async def test_a_wildcard_socket_answers_from_the_address_that_was_asked(
    bind: Bind, inherit: Callable[..., Inherited], address: str
) -> None:
    given = bind(UDP)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(platform(inherit(given)).open_udp(port_of(given))) as opened, socket.socket(family, UDP) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"ask", (address, port_of(given)))
        request = await only(opened)
        assert request.flow.destination == ip_address(address)
        assert request.flow.interface == socket.if_nametoindex("lo")
        assert opened.send([answer(request)]) == 1
        assert client.recvfrom(100)[1][:2] == (address, port_of(given))


@pytest.mark.parametrize("pass_packet_info", [False, True])
async def test_a_datagram_that_came_before_the_options_has_an_interface_only_where_the_manager_asked(
    bind: Bind, inherit: Callable[..., Inherited], pass_packet_info: bool
) -> None:
    given = bind(UDP)
    given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, pass_packet_info)  # systemd: PassPacketInfo=
    with socket.socket(socket.AF_INET, UDP) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"early", ("127.0.0.2", port_of(given)))
        opened = platform(inherit(given)).open_udp(port_of(given))
        try:
            request = await only(opened)
            assert request.flow.interface == (socket.if_nametoindex("lo") if pass_packet_info else 0)
            # Either way it can be answered from the address that was asked, being no broadcast.
            assert request.flow.destination == ip_address("127.0.0.2")
            assert request.flow.via is (Via.UNICAST if pass_packet_info else None)
            assert opened.send([answer(request)]) == 1
            assert client.recvfrom(100)[1][:2] == ("127.0.0.2", port_of(given))
        finally:
            opened.close()


async def test_a_tcp_listener(bind: Bind, inherit: Callable[..., Inherited]) -> None:
    given = bind(TCP)
    listener = platform(inherit(given)).open_tcp(port_of(given))
    try:
        with socket.socket(socket.AF_INET, TCP) as client:
            client.connect(("127.0.0.2", port_of(given)))
            accepted = await listener.accept()
            await accepted.stream.aclose()
            assert accepted.flow.destination == ip_address("127.0.0.2")
            assert accepted.flow.interface == socket.if_nametoindex("lo")
    finally:
        listener.close()


def test_a_port_that_was_given_up_can_be_had_again(bind: Bind, inherit: Callable[..., Inherited]) -> None:
    given = bind(UDP)
    host = platform(inherit(given))
    for _ in range(2):
        opened = host.open_udp(port_of(given))
        assert opened.port == port_of(given)
        opened.close()


def test_a_socket_of_another_address_kind_or_port_is_left(
    bind: Bind, inherit: Callable[..., Inherited], platform: Platform
) -> None:
    given = bind(UDP, "127.0.0.2")
    inherited = inherit(given)
    for kind, port, address in (
        (TCP, port_of(given), "127.0.0.2"),
        (UDP, port_of(given) ^ 1, "127.0.0.2"),
        (UDP, port_of(given), "127.0.0.1"),
        (UDP, port_of(given), None),
    ):
        assert inherited.claim(kind, port, None if address is None else ip_address(address), 0) is None
    assert inherited.unclaimed() == [f"UDP port {port_of(given)} on 127.0.0.2"]
    with pytest.raises(BindError):  # it is bound, after all, and who has no part in it learns so
        platform.open_udp(port_of(given), ip_address("127.0.0.2"))


@pytest.mark.parametrize("bound", ["127.0.0.2", "::ffff:127.0.0.2"])
def test_an_ipv4_address_in_either_form(bind: Bind, inherit: Callable[..., Inherited], bound: str) -> None:
    given = bind(UDP, bound)
    inherited = inherit(given)
    opened = platform(inherited).open_udp(port_of(given), ip_address("127.0.0.2"))
    opened.close()
    assert inherited.unclaimed() == []


@pytest.mark.lab
def test_a_link_local_address_is_its_interface_too(links: Links, inherit: Callable[..., Inherited]) -> None:
    link1 = links.host.call(lambda: socket.if_nametoindex("link1"))
    link2 = links.host.call(lambda: socket.if_nametoindex("link2"))
    with links.host.socket(socket.AF_INET6, UDP) as given:
        given.bind(("fe80::1", 5300, 0, link2))
        inherited = inherit(given)
        assert inherited.claim(UDP, 5300, ip_address("fe80::1"), link1) is None
        claimed = inherited.claim(UDP, 5300, ip_address("fe80::1"), link2)
    assert claimed is not None
    claimed.close()


@pytest.mark.parametrize(("address", "v6only"), [("0.0.0.0", False), ("::", True)])
def test_a_wildcard_of_one_family_is_refused(
    bind: Bind, inherit: Callable[..., Inherited], address: str, v6only: bool
) -> None:
    given = bind(UDP, address, v6only=v6only)
    with pytest.raises(BindError, match=r"one family only.*BindIPv6Only=both") as caught:
        platform(inherit(given)).open_udp(port_of(given))
    assert caught.value.port == port_of(given)


# --- the variables


def test_nothing_is_passed_on() -> None:
    environment = {"OTHER": "stays"}
    assert inherited_sockets(environment).unclaimed() == []
    assert environment == {"OTHER": "stays"}


def test_sockets_of_another_process_are_not_ours() -> None:
    environment = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "dns", "OTHER": "stays"}
    assert inherited_sockets(environment).unclaimed() == []
    assert environment == {"OTHER": "stays"}


@pytest.mark.parametrize("count", ["two", "9" * 5000, "-1", ""])
def test_a_count_that_is_none(count: str) -> None:
    with pytest.raises(ConfigError, match=f"LISTEN_FDS: expected a number of sockets, got '{count[:20]}'"):
        inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


LAUNCH = f"""
import os, sys
program, names, *descriptors = sys.argv[1:]
for number, descriptor in enumerate(descriptors, {FIRST}):
    os.dup2(int(descriptor), number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, "-W", "error", "-c", program])
"""
"""The service manager's part between fork and exec: descriptors from 3 on, and the process's own id."""


def started(program: str, *files: socket.socket | io.FileIO, names: str = "") -> subprocess.CompletedProcess[str]:
    """Run `program` with these passed on."""
    # Numbers that are in nobody's way while they are moved to 3 and on.
    descriptors = [fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, 100) for file in files]
    try:
        return subprocess.run(
            [sys.executable, "-c", LAUNCH, dedent(program), names, *map(str, descriptors)],
            pass_fds=descriptors,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_what_a_process_is_passed(bind: Bind) -> None:
    udp, tcp = bind(UDP), bind(TCP, "127.0.0.1")
    done = started(
        """
        import os, subprocess, sys
        from responder.net.inherited import inherited_sockets

        inherited = inherited_sockets()
        print(*inherited.unclaimed(), sep="\\n")
        print([name for name in os.environ if name.startswith("LISTEN_")])
        # A program that it starts gets none of them, even where all descriptors are left open for it.
        print(subprocess.run(["ls", "/proc/self/fd/3", "/proc/self/fd/4"], close_fds=False, stderr=-3).returncode)
        inherited.close()
        """,
        udp,
        tcp,
        names="dns:dns-tcp",
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"UDP port {port_of(udp)} on ::",
        f"TCP port {port_of(tcp)} on 127.0.0.1",
        "[]",
        "2",
    ]


REFUSED = """
from responder.errors import ConfigError
from responder.net.inherited import inherited_sockets

try:
    inherited_sockets()
except ConfigError as error:
    print(error)
"""


def test_what_is_no_socket_is_refused(bind: Bind, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        done = started(REFUSED, bind(UDP), file, names="dns:zone")
    assert done.stderr == ""
    assert done.stdout == "LISTEN_FDS: descriptor 4 (zone): no usable socket: Socket operation on non-socket\n"


@pytest.mark.parametrize(
    ("family", "kind", "reason"),
    [
        (socket.AF_UNIX, UDP, "neither a UDP nor a TCP socket"),
        (socket.AF_INET, TCP, "a TCP socket that does not listen (systemd: Accept=no is needed)"),
        (socket.AF_INET, UDP, "not bound to a port"),
    ],
)
def test_a_socket_that_can_t_be_a_port_is_refused(family: int, kind: int, reason: str) -> None:
    with socket.socket(family, kind) as sock:
        done = started(REFUSED, sock)
    assert done.stderr == ""
    assert done.stdout == f"LISTEN_FDS: descriptor 3: {reason}\n"
