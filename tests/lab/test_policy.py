"""Policy on the wire: a flood of forged sources, a victim's budget, and peers from beyond the link.

        outside                                        host
    10.71.0.9  --link1--  10.71.0.1, fd71::1

`outside` is whoever the packets say: the host's default route leads there, so what is sent to a forged source arrives,
and is counted.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from responder.cli.trace import trace_line
from responder.daemon.control_client import ask
from responder.dispatch.budget import MAX_BUCKETS

from .changing import memory
from .daemon import daemon
from .namespaces import Lab, Namespace
from .operating import CONTROL, HEAD, Forger, Load, command, networks, outcomes, status, under_load
from .test_hostile import ip_packet, udp

pytestmark = pytest.mark.lab

HOST = "10.71.0.1"
VICTIM = "198.51.100"
"""Its network, a /24."""
VICTIM_PORT = 4444

FLOOD = 100_000
"""Networks that the flood comes from."""
EACH = 10
"""Datagrams of other networks for each one in the victim's name."""
AT_ONCE = 200
"""Datagrams sent before an honest peer is waited for: so many fit into the daemon's receive buffer."""
RATE = 10

CONFIG = f"""{HEAD}
[plugins.honest]
use = "echo"
port = 7008
allow = ["10.71.0.9/32", "fd71::9/128"]

[plugins.limited]
use = "echo"
port = 7008
rate = {RATE}
amplification = 3.0
"""
"""The honest peers ask the port that is flooded, as fast as they can, so the rate is not for them."""

BOUND = 20.0


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace]]:
    with Lab() as lab:
        host, outside = lab.namespace("host"), lab.namespace("outside")
        lab.link(host, "link1", outside, "link1")
        host.ip("addr add 10.71.0.1/24 dev link1", "addr add fd71::1/64 dev link1 nodad")
        host.ip("route add default via 10.71.0.9")
        outside.ip("addr add 10.71.0.9/24 dev link1", "addr add fd71::9/64 dev link1 nodad")
        # Neighbours are asked for from a link-local address where the source is on another interface (RFC 4861 7.2.2).
        outside.ip("addr add fe80::9/64 dev link1 nodad")
        outside.ip(f"route add local {VICTIM}.0/24 dev lo")
        yield host, outside


class Victim(threading.Thread):
    """Counts what comes to its network, until it is told to stop."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(name="victim")
        self.got = 0
        self.bytes = 0
        self._socket = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("", VICTIM_PORT))
        self._namespace = namespace

    def run(self) -> None:
        with self._socket:
            while payload := self._socket.recv(65536):
                self.got += 1
                self.bytes += len(payload)

    def stop(self) -> None:
        """What came before is counted first: an empty datagram, which no answer is, waits behind it."""
        with self._namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (f"{VICTIM}.1", VICTIM_PORT))
        self.join()


def test_a_flood_from_many_networks(hosts: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    host, outside = hosts
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    payload = b"forged, and of some length: 40 bytes...."
    with daemon(host, config, folder=tmp_path) as child, contextlib.ExitStack() as stack:
        forger = stack.enter_context(Forger(outside, HOST, 7008))
        victim = Victim(outside)
        victim.start()
        stack.callback(victim.stop)
        honest = [Load(outside, 7008, HOST), Load(outside, 7008, "fd71::1")]
        stack.enter_context(under_load(*honest))
        pace = Load(outside, 7008, HOST)
        stack.callback(pace.close)
        before = 0
        began = time.monotonic()
        for number, source in enumerate(networks(FLOOD)):
            forger.send(source, 5555, payload)
            if number % EACH == 0:
                forger.send(f"{VICTIM}.{number // EACH % 256}", VICTIM_PORT, payload)
            if number % AT_ONCE == 0:
                pace.ask()
            if number == 2 * MAX_BUCKETS:  # every table is full
                before = memory(child)
        pace.ask()
        elapsed = time.monotonic() - began
        after = memory(child)
        stack.close()
        counts = outcomes(status(tmp_path), "limited")
        # KiB, and what the allocator rounds up: entries for the other 67,000 networks would be several times that.
        assert after - before < 4096
        for each in honest:
            assert each.answered == each.asked > FLOOD // AT_ONCE
        # A burst, and the rate for as long as it took.
        assert RATE <= victim.got <= RATE * (1 + elapsed)
        assert victim.bytes == victim.got * len(payload)
        # All were seen, so that it was the policy that held answers back, and no full buffer.
        assert counts["answered"] + counts["rate"] == FLOOD + FLOOD // EACH
        assert counts["answered"] == FLOOD + victim.got
    assert child.status == 0


def test_off_link_unicast_is_met_with_silence_and_trace_says_why(
    hosts: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    host, outside = hosts
    outside.ip("addr add 203.0.113.9/32 dev lo", "addr add 2001:db8::9/128 dev lo nodad")
    host.ip("route add default via fd71::9")
    config = tmp_path / "config.toml"
    config.write_text(HEAD + "\n[plugins.echo]\nport = 7007\non_link = true\n")
    with daemon(host, config, folder=tmp_path) as child:
        for destination, on_link, off_link in (
            (HOST, "10.71.0.9", "203.0.113.9"),
            ("fd71::1", "fd71::9", "2001:db8::9"),
        ):
            family = socket.AF_INET6 if ":" in destination else socket.AF_INET
            tracing = ask(
                tmp_path / CONTROL, {"request": "trace", "peers": [off_link], "plugins": ["echo"]}, timeout=BOUND
            )
            assert next(tracing) == {"tracing": True}
            with outside.socket(family, socket.SOCK_DGRAM) as sock:
                sock.bind((off_link, 0))
                sock.settimeout(BOUND)
                sock.sendto(b"from afar", (destination, 7007))
                seen = next(tracing)["datagram"]
                assert (seen["outcome"], seen["peer"], seen["answers"]) == ("off-link", off_link, [])
                assert "off-link (the peer is not on the interface's own link (on_link))" in trace_line(seen)
                # A peer on the link is answered, and before that answer there was none to the other.
                with outside.socket(family, socket.SOCK_DGRAM) as near:
                    near.bind((on_link, 0))
                    near.settimeout(BOUND)
                    near.sendto(b"from near", (destination, 7007))
                    assert near.recv(100) == b"from near"
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):
                    sock.recv(100)
        shown = command(tmp_path, "status").stdout
        assert "off-link 2" in shown
    assert child.status == 0


def test_a_link_scope_group_is_on_link_whatever_the_source(hosts: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """RFC 6762 section 11: several subnets may share one link.  The answer leaves by that link."""
    host, outside = hosts
    source, group = "198.51.100.7", "224.0.0.251"
    outside.ip("addr add 2001:db8::7/128 dev link1 nodad")
    # IPv4's way back leads elsewhere: the routing table would choose it.  Linux lets IPv6 routes choose in any case
    # where a source is given (ip6_route_output_flags).
    host.ip(
        "addr add fe80::1/64 dev link1 nodad",
        "link add elsewhere type veth peer name far",
        "link set elsewhere up",
        "link set far up",
        f"route add {VICTIM}.0/24 dev elsewhere",
        "route add 2001:db8::/64 dev link1",
    )
    config = tmp_path / "config.toml"
    config.write_text(f'{HEAD}\n[plugins.echo]\nport = 7007\non_link = true\ngroups = ["{group}", "ff02::fb"]\n')
    with daemon(host, config, folder=tmp_path) as child:
        for address, to in ((source, group), ("2001:db8::7", "ff02::fb")):
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            with outside.socket(family, socket.SOCK_DGRAM) as sock:
                sock.settimeout(BOUND)
                sock.bind((address, 0))
                index = outside.ifindex("link1")
                if family == socket.AF_INET:
                    mreqn = bytes(8) + index.to_bytes(4, sys.byteorder)
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
                    sock.sendto(b"from another subnet", (to, 7007))
                else:
                    sock.sendto(b"from another subnet", (to, 7007, 0, index))
                assert sock.recv(100) == b"from another subnet"
        assert outcomes(status(tmp_path), "echo") == {"answered": 2}
    assert child.status == 0


@pytest.mark.parametrize("source", ["10.71.0.255", "255.255.255.255", "224.0.0.1", "0.0.0.0", "10.71.0.1", "240.0.0.1"])
def test_nobody_is_answered_at_such_a_source(hosts: tuple[Namespace, Namespace], tmp_path: Path, source: str) -> None:
    """Broadcast, multicast, unspecified and reserved sources, and the host's own with the port itself."""
    host, outside = hosts
    # What the kernel would drop before the daemon sees it, where it can be told not to.
    host.sysctl("net.ipv4.conf.link1.accept_local", "1")
    config = tmp_path / "config.toml"
    config.write_text(HEAD + "\n[plugins.echo]\nport = 7007\n")
    with daemon(host, config, folder=tmp_path) as child:
        with outside.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            packet = ip_packet(source, HOST, udp(source, 7007, HOST, 7007, b"an endless loop"))
            sock.sendto(packet, (HOST, 0))
        load = Load(outside, 7007, HOST)
        load.ask()
        load.close()
        counts = outcomes(status(tmp_path), "echo")
        assert counts.pop("answered") == 1
        assert counts.keys() <= {"bad-source", "own-source"}
    assert child.status == 0
