"""A port that two programs of one host share: each hears the other, none hears itself, and no storm comes of it."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from responder.net.linux.constants import IP_MULTICAST_ALL, IPV6_MULTICAST_ALL

from .changing import Client, address_of, many_links
from .daemon import Child, daemon
from .namespaces import Lab, Namespace
from .operating import BOUND, Forger
from .test_ssdp import SEARCH, config

pytestmark = pytest.mark.lab

GROUP, GROUP6 = "239.255.255.250", "ff02::c"
PORT = 1900


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace]]:
    with Lab() as lab:
        yield many_links(lab, 1)


@contextlib.contextmanager
def neighbour(host: Namespace, family: socket.AddressFamily) -> Iterator[socket.socket]:
    """Another program's socket on the port; of unicast datagrams it gets all, having bound last."""
    with host.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        index = host.ifindex("link0")
        if family == socket.AF_INET:
            mreqn = struct.pack("=4s4si", bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)  # it has joined nothing itself
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
        sock.bind(("", PORT))
        sock.settimeout(BOUND)
        yield sock


def test_another_program_on_the_port_searches_and_is_answered(
    hosts: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    host, _ = hosts
    with daemon(host, config(tmp_path), folder=tmp_path) as child:
        search_beside(host, (socket.AF_INET, socket.AF_INET6))
    assert child.status == 0
    # What the daemon announced itself came back to it, and went no further.
    assert child.totals("ssdp")["own-source"] > 0


def search_beside(host: Namespace, families: Iterable[socket.AddressFamily]) -> None:
    """Search on link0 as another program of the host that has the port too, and be answered."""
    search = SEARCH.replace(b"\r\n\r\n", b"\r\nMX: 1\r\n\r\n")
    for family in families:
        group, ours = (GROUP, address_of(0)) if family == socket.AF_INET else (GROUP6, "fe80::1")
        with neighbour(host, family) as sock:
            sock.sendto(search, (group, PORT))
            payload, (source, port, *_) = sock.recvfrom(2048)
            assert payload.startswith(b"HTTP/1.1 200 OK")
            assert (source.partition("%")[0], port) == (ours, PORT)


def sent(host: Namespace) -> int:
    """UDP datagrams over IPv4 that the host has sent so far (OutDatagrams of RFC 4113)."""
    names, values = (line.split() for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])


def test_two_daemons_do_not_answer_each_other_for_ever(hosts: tuple[Namespace, Namespace]) -> None:
    """A forged request from the host's own address and the port itself, to both: the beginning of CVE-2009-0758."""
    host, outside = hosts
    # What the kernel would drop before the daemons see it, where it can be told not to.
    host.sysctl("net.ipv4.conf.link0.accept_local", "1")
    outside.ip(f"route add {GROUP} dev link0")
    with contextlib.ExitStack() as stack:
        for word in ("one", "two"):
            argv = [sys.executable, "-m", "tests.lab.shared_responder", word, str(PORT), GROUP]
            stack.enter_context(Child(host, argv))
        client = stack.enter_context(Client(outside))
        before = sent(host)
        with Forger(outside, GROUP, PORT) as forger:
            forger.send(address_of(0), PORT, b"the spark")
        for _ in range(2):  # each answers in the order of its queue, so what they were to send before is sent by then
            asking = client.send(GROUP, outside.ifindex("link0"), b"who", PORT)
            asking.settimeout(BOUND)
            assert {asking.recv(100) for _ in range(2)} == {b"one", b"two"}
        # To the spark one answer each, which the one that bound last hears: it answers the other's, and drops its own.
        assert sent(host) - before == 2 + 1 + 4
