"""A host whose network changes under a running daemon: what the tests of it share, and the full counts as a program.

    python -m tests.lab.changing [--cycles N] [--dad-cycles N] [--links N] [--json]      (root, Linux)

The program says how long answers took and what leaked; the tests do the same with fewer cycles.  Times are seconds from
the end of the command that made an address usable to the answer in hand, asking every 10 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from .daemon import Child, daemon
from .namespaces import Lab, Namespace

PORT = 7007
GROUPS = ("239.255.70.7", "ff02::7007")
MORE_GROUPS = ("239.255.70.8", "ff02::7008")
PATIENCE = 10.0
"""Seconds after which a missing answer counts as none."""
AGAIN = 0.01
"""Seconds between two requests: the first may come before the group is joined."""


def config(groups: Sequence[str] = GROUPS) -> str:
    return f"[plugins.echo]\nport = {PORT}\ngroups = {json.dumps(list(groups))}\n"


class Client:
    """Asks groups on its links, from sockets that hear answers from anywhere."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._sockets = {
            4: namespace.socket(socket.AF_INET, socket.SOCK_DGRAM),
            6: namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        }
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for sock in self._sockets.values():
            sock.close()

    def send(self, group: str, link: int, payload: bytes, port: int = PORT) -> socket.socket:
        """Send a request to a group out of a link (its index); the socket to hear the answer on."""
        version = ip_address(group).version
        sock = self._sockets[version]
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), link))
            sock.sendto(payload, (group, port))
        else:
            sock.sendto(payload, (group, port, 0, link))
        return sock

    def ask(self, group: str, link: str, *, patience: float = PATIENCE) -> tuple[str, float]:
        """Ask until an answer comes: its source, and the seconds that it took.  Raises TimeoutError."""
        index = self.namespace.ifindex(link)
        self._asked += 1
        payload = b"request %d" % self._asked
        start = time.monotonic()
        while (elapsed := time.monotonic() - start) < patience:
            sock = self.send(group, index, payload)
            sock.settimeout(AGAIN)
            with contextlib.suppress(TimeoutError):
                while True:
                    answer, source = sock.recvfrom(2048)
                    if answer == payload:  # and no late answer to an earlier request
                        return source[0].partition("%")[0], time.monotonic() - start
        raise TimeoutError(f"no answer to {group} on {link} within {elapsed:.1f} s")


def joined(namespace: Namespace) -> dict[str, set[str]]:
    """The groups of each interface that has any, by name: /proc/net/igmp and igmp6."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in namespace.run("cat", "/proc/net/igmp").splitlines()[1:]:
        fields = line.split()
        if line[0].isdigit():
            name = fields[1].rstrip(":")
        else:
            found.setdefault(name, set()).add(socket.inet_ntoa(struct.pack("=I", int(fields[0], 16))))
    for line in namespace.run("cat", "/proc/net/igmp6").splitlines():
        _index, name, group, *_rest = line.split()
        found.setdefault(name, set()).add(str(ip_address(bytes.fromhex(group))))
    return found


def open_files(child: Child) -> int:
    return len(list(Path(f"/proc/{child.pid}/fd").iterdir()))


def memory(child: Child) -> int:
    """KiB that the process has resident (proc(5))."""
    (line,) = [line for line in Path(f"/proc/{child.pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


@attrs.define
class Changing:
    """A host with one link that stays (`stays`), a client at its other end, and a daemon on the host."""

    lab: Lab
    host: Namespace
    client: Client
    child: Child
    waits: list[float] = attrs.field(factory=list)

    def ask(self, group: str, link: str, expected: str, client_link: str | None = None) -> None:
        """Ask on a link until it is answered, and note the time.  Raises AssertionError for another source."""
        source, elapsed = self.client.ask(group, client_link or link)
        assert source == expected, f"{group} on {link}: {source}"
        self.waits.append(elapsed)

    def cycle(self, *, dad: bool = False) -> None:
        """One link's life: created, given addresses, renamed, moved down and up, an address changed, deleted."""
        host, client = self.host, self.client.namespace
        nodad = "" if dad else "nodad"
        host.ip(f"link add wire type veth peer name wire netns {client.name}", "link set wire addrgenmode none up")
        client.ip(
            "link set wire addrgenmode none up", "addr add 10.80.0.9/24 dev wire", "addr add fe80::9/64 dev wire nodad"
        )
        host.ip("addr add 10.80.0.1/24 dev wire", f"addr add fe80::1/64 dev wire {nodad}")
        self.ask(GROUPS[0], "wire", "10.80.0.1")
        if dad:
            usable(host, "wire", "fe80::1")
        self.ask(GROUPS[1], "wire", "fe80::1")
        host.ip("link set wire down", "link set wire name cable", "link set cable up")
        self.ask(GROUPS[0], "cable", "10.80.0.1", "wire")
        host.ip(f"addr add fe80::2/64 dev cable {nodad}", "addr del 10.80.0.1/24 dev cable")
        host.ip("addr add 10.80.0.2/24 dev cable")
        self.ask(GROUPS[0], "cable", "10.80.0.2", "wire")
        if dad:
            usable(host, "cable", "fe80::2")
        self.ask(GROUPS[1], "cable", "fe80::2", "wire")
        host.ip("link del cable")


def usable(namespace: Namespace, link: str, address: str) -> None:
    """Return once the address is no longer tentative.  Raises TimeoutError."""
    wait_until(lambda: "tentative" not in namespace.run("ip", "-6", "addr", "show", "dev", link, "to", address))


def wait_until(condition: object) -> None:
    """Ask again and again, with a program's run in between, until it holds.  Raises TimeoutError."""
    assert callable(condition)
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[Changing]:
    with Lab() as lab, contextlib.ExitStack() as stack:
        host, namespace = lab.namespace("host"), lab.namespace("client")
        for each in (host, namespace):
            # The links that are made later probe as any host's do, unless an address says nodad.
            each.sysctl("net.ipv6.conf.all.accept_dad", "1")
            each.sysctl("net.ipv6.conf.default.accept_dad", "1")
        lab.link(host, "stays", namespace, "stays")
        host.ip("addr add 10.71.0.1/24 dev stays", "addr add fe80::1/64 dev stays nodad")
        namespace.ip("addr add 10.71.0.9/24 dev stays", "addr add fe80::9/64 dev stays nodad")
        file = folder / "changing.toml"
        file.write_text(config())
        child = stack.enter_context(daemon(host, file, folder=folder))
        yield Changing(lab, host, stack.enter_context(Client(namespace)), child)
        assert child.stop() == 0, "\n".join(child.said)


def many_links(lab: Lab, count: int) -> tuple[Namespace, Namespace]:
    """A host and a client with that many links, link0 and so on, each with an address of both families on both ends."""
    host, client = lab.namespace("host"), lab.namespace("client")
    ends: dict[str, list[str]] = {"1": [], "9": []}
    made = []
    for number in range(count):
        link = f"link{number}"
        made.append(f"link add {link} type veth peer name {link} netns {client.name}")
        for end, commands in ends.items():
            commands += [
                f"link set {link} addrgenmode none up",
                f"addr add 10.{100 + number // 250}.{number % 250}.{end}/24 dev {link}",
                f"addr add fe80::{end}/64 dev {link} nodad",
            ]
    host.ip(*made)
    host.ip(*ends["1"])
    client.ip(*ends["9"])
    return host, client


def address_of(number: int) -> str:
    return f"10.{100 + number // 250}.{number % 250}.1"


def silent_links(client: Client, count: int, groups: Sequence[str]) -> list[str]:
    """Each link asked once by each group, without trying again: what was not answered, or not by the link's address."""
    silent = []
    for number in range(count):
        index = client.namespace.ifindex(f"link{number}")
        for group in groups:
            payload = f"{number} {group}".encode()
            sock = client.send(group, index, payload)
            sock.settimeout(PATIENCE)
            try:
                answer, source = sock.recvfrom(2048)
            except TimeoutError:
                silent.append(f"link{number} {group}: silence")
                continue
            expected = address_of(number) if "." in group else "fe80::1"
            if answer != payload or source[0].partition("%")[0] != expected:
                silent.append(f"link{number} {group}: {answer!r} from {source[0]}")
    return silent


def churn(folder: Path, cycles: int, *, dad: bool) -> dict[str, object]:
    with changing(folder) as network:
        for _ in range(max(1, cycles // 10)):  # caches fill, and the interpreter's memory settles
            network.cycle(dad=dad)
        files = open_files(network.child)
        network.waits.clear()
        # Four times: what the bounded tables of the daemon take fills up, a leak goes on.
        told = [memory(network.child)]
        for quarter in range(4):
            for _ in range(cycles * quarter // 4, cycles * (quarter + 1) // 4):
                network.cycle(dad=dad)
            told.append(memory(network.child))
        network.ask(GROUPS[0], "stays", "10.71.0.1")
        groups = joined(network.host)
        return {
            "cycles": cycles,
            "dad": dad,
            "slowest": round(max(network.waits), 4),
            "median": round(sorted(network.waits)[len(network.waits) // 2], 4),
            "files_more": open_files(network.child) - files,
            "memory_kib": told,
            "links_with_groups": len([link for link, there in groups.items() if GROUPS[0] in there]),
        }


def many(folder: Path, count: int) -> dict[str, float]:
    with Lab() as lab:
        host, client = many_links(lab, count)
        groups = GROUPS + MORE_GROUPS
        file = folder / "many.toml"
        file.write_text(config(groups))
        start = time.monotonic()
        with daemon(host, file, folder=folder) as child, Client(client) as asking:
            ready = time.monotonic() - start
            complete = [link for link, there in joined(host).items() if there.issuperset(groups)]
            return {
                "links": count,
                "ready": round(ready, 3),
                "links_joined": len(complete),
                "silent": len(silent_links(asking, count, groups)),
                "files": open_files(child),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=1000, help="lives of a link with nodad")
    parser.add_argument("--dad-cycles", type=int, default=20, help="lives with duplicate address detection")
    parser.add_argument("--links", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [
            many(folder, arguments.links),
            churn(folder, arguments.dad_cycles, dad=True),
            churn(folder, arguments.cycles, dad=False),
        ]
    for result in results:
        print(json.dumps(result) if arguments.json else "  ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
