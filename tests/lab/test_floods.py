"""Floods of forged sources, and of sources at which nobody is, and slow readers: honest peers are served meanwhile.

The load is bounded without a clock: who floods waits for an honest answer every few datagrams, so that no test depends
on how fast the machine is.  Rates are `tests.benchmarks`' business.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import dns.message
import pytest

from responder.daemon.control_client import ask

from .daemon import BOUND, UNPRIVILEGED, Child, daemon
from .multihomed import ECHO_CONFIG, PORT, Multihomed, Way, unicast_ways
from .operating import CONTROL
from .test_hostile import ip_packet, udp

pytestmark = pytest.mark.lab

HONEST = 500
FORGED_EACH = 40
"""Forged datagrams between two honest ones: far fewer than the buffer holds."""

FULL = "the send queue stays full"

RETRANSMIT = "net.ipv4.neigh.link1.retrans_time_ms"
"""Of three questions for a neighbour, milliseconds between two."""


def forged_v4(rng: random.Random) -> Iterator[str]:
    while True:
        yield str(IPv4Address("198.18.0.0") + rng.randrange(1 << 17))


def forged_v6(rng: random.Random) -> Iterator[str]:
    """Each from a /64 of its own."""
    while True:
        yield str(IPv6Address("2001:db8::") + (rng.randrange(1 << 32) << 64) + rng.randrange(1 << 64))


def way_to(address: str) -> Way:
    return next(way for way in unicast_ways() if (way.client, way.destination) == (1, address))


class Forger:
    """Sends from sources that are not the client's own."""

    def __init__(self, network: Multihomed, destination: str, sources: Iterator[str]) -> None:
        self._destination = destination
        self._sources = sources
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        self._socket = network.clients[1].socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, count: int) -> None:
        for _ in range(count):
            source = next(self._sources)
            datagram = udp(source, 40000, self._destination, PORT, b"forged")
            self._socket.sendto(ip_packet(source, self._destination, datagram), (self._destination, 0))

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("bounds", ["", "rate = 1000\namplification = 2\n"], ids=["unbounded", "bounded"])
@pytest.mark.parametrize(("destination", "forged"), [("10.71.0.1", forged_v4), ("fd71::1", forged_v6)])
def test_new_sources_without_end_cost_no_honest_answer(
    network: Multihomed, tmp_path: Path, destination: str, forged: type, bounds: str
) -> None:
    # The answers to forged sources go to the client, which forwards nothing.
    network.host.ip("route replace 198.18.0.0/15 via 10.71.0.9", "route replace 2001:db8::/32 via fd71::9")
    config = tmp_path / "echo.toml"
    config.write_text(ECHO_CONFIG + bounds)
    forger = Forger(network, destination, forged(random.Random(1)))  # noqa: S311 - the same each time
    with daemon(network.host, config, folder=tmp_path) as child:
        for _ in range(HONEST):
            forger.send(FORGED_EACH)
            assert network.ask(way_to(destination)) == ""
        assert child.stop() == 0, "\n".join(child.said)
    forger.close()
    assert child.totals("echo") == {"answered": HONEST * (FORGED_EACH + 1)}


def unused() -> Iterator[str]:
    """256 addresses of the link that nobody has: a fourth of what the kernel keeps for all links of a machine."""
    while True:
        for number in range(256):
            yield str(IPv4Address("10.75.1.0") + number)


def on_link(network: Multihomed) -> Forger:
    network.host.ip("addr replace 10.75.0.1/16 dev link1")
    network.clients[1].ip("addr replace 10.75.0.9/16 dev link1")
    return Forger(network, "10.75.0.1", unused())


def test_2000_answers_that_wait_for_neighbours_cost_no_honest_one(network: Multihomed, tmp_path: Path) -> None:
    """As many as come in the three seconds that the kernel looks for a neighbour fit into the send buffer."""
    config = tmp_path / "echo.toml"
    config.write_text(ECHO_CONFIG)
    forger = on_link(network)
    with daemon(network.host, config, folder=tmp_path) as child:
        for _ in range(100):
            forger.send(20)
            assert network.ask(way_to("10.71.0.1")) == ""
        assert child.stop() == 0, "\n".join(child.said)
    forger.close()
    assert child.totals("echo") == {"answered": 2100}
    assert FULL not in "\n".join(child.said)


USUAL_LIMITS = """
import socket

setsockopt = socket.socket.setsockopt


def limited(sock, level, option, *value):
    if (level, option) in ((socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)):
        value = (min(*value, 212_992),)
    setsockopt(sock, level, option, *value)


socket.socket.setsockopt = limited
"""
"""Python as on a host whose net.core.rmem_max and wmem_max are Linux's own: they are the same in all namespaces."""


def test_a_send_buffer_that_neighbours_fill_is_told_with_its_cause(network: Multihomed, tmp_path: Path) -> None:
    """Without rights, as in the unit that we print, the buffer is as small as `net.core.wmem_max` has it."""
    (tmp_path / "sitecustomize.py").write_text(USUAL_LIMITS)
    config = tmp_path / "echo.toml"
    config.write_text(ECHO_CONFIG)
    forger = on_link(network)
    # However slow this machine is: what waits for a neighbour is kept for a minute, not for three seconds.
    network.host.sysctl(RETRANSMIT, "20000")

    def told(child: Child) -> list[str]:
        return [event["likely"] for event in child.events if event.get("event") == FULL]

    with daemon(network.host, config, folder=tmp_path, under=(*UNPRIVILEGED, "env", f"PYTHONPATH={tmp_path}")) as child:
        give_up = time.monotonic() + BOUND
        while not told(child):
            forger.send(200)
            assert time.monotonic() < give_up, "it is never full"
        assert child.stop() == 0, "\n".join(child.said)
    forger.close()
    network.host.sysctl(RETRANSMIT, "1000")
    network.host.ip("neigh flush dev link1")
    assert "neighbours that can't be found" in told(child)[0]
    (stays_full, *_) = [event for event in child.events if event.get("event") == FULL]
    assert stays_full["raise_buffer_by"].startswith("sysctl net.core.wmem_max=")
    (small,) = [event for event in child.events if event.get("event") == "the kernel gives less send buffer than asked"]
    assert "neighbours that can't be found" in small["cost"]
    assert small["given"] == 212_992
    assert child.totals("echo")["no-room"] > 0


ZONE = (
    """$TTL 300
@ SOA ns h 1 2 3 4 60
@ NS ns
ns A 192.0.2.53
$GENERATE 1-30000 h$ TXT """
    + "x" * 250
    + "\n"
)
"""Eight megabytes to transfer: more than the kernel takes for a client that reads none of it."""


def transfer(network: Multihomed, *, buffer: int = 0) -> socket.socket:
    """A connection on which the whole zone is asked for."""
    sock = network.clients[1].socket(socket.AF_INET, socket.SOCK_STREAM)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(BOUND)
    sock.connect(("10.71.0.1", 53))
    query = dns.message.make_query("ex.test", "AXFR").to_wire()
    sock.sendall(len(query).to_bytes(2) + query)
    return sock


def read_to_the_end(sock: socket.socket) -> int:
    """Bytes that still come, also where the end is a reset."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            size += len(data)
    return size


def test_who_asks_for_a_zone_and_does_not_read_it_holds_nobody_up(network: Multihomed, tmp_path: Path) -> None:
    (tmp_path / "ex.zone").write_text(ZONE)
    config = tmp_path / "dns.toml"
    options = "allow_transfer = ['10.71.0.0/24']\nidle_timeout = 3\nconnections_per_peer = 3\n"
    config.write_text(f"[daemon]\ncontrol = '{CONTROL}'\n[plugins.dns]\nzones = {{ 'ex.test' = 'ex.zone' }}\n{options}")
    query = dns.message.make_query("ns.ex.test", "A").to_wire()
    with daemon(network.host, config, folder=tmp_path) as child:
        trace = ask(tmp_path / CONTROL, {"request": "trace"}, timeout=BOUND)
        assert next(trace) == {"tracing": True}
        silent = [transfer(network, buffer=4096) for _ in range(2)]
        honest = transfer(network)
        honest.shutdown(socket.SHUT_WR)
        whole = read_to_the_end(honest)
        assert whole > 30_000 * 250
        assert network.exchange(way_to("10.71.0.1"), query, 53)[0][:2] == query[:2]
        # Who took nothing for so long is left; the kernel still has what it had taken.
        leaving = {sock.getsockname()[1] for sock in silent}
        while leaving:
            seen = next(trace).get("datagram", {})
            if seen.get("bytes") == 0:  # the end of a connection
                leaving.discard(seen["peer_port"])
        assert all(read_to_the_end(sock) < whole for sock in silent)
        for sock in (*silent, honest):
            sock.close()
        assert child.stop() == 0, "\n".join(child.said)
    assert "Traceback" not in "\n".join(child.said)
