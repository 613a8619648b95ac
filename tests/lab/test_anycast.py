"""`examples/anycast`, by its own files: two hosts with responderd and BIRD, a router that divides among them, a client.

                      10.71.0.1 --- host1 10.71.0.2   lo: 10.99.0.53, fd99::53
    client --- router
                      10.72.0.1 --- host2 10.72.0.2   lo: 10.99.0.53, fd99::53
                      10.70.0.1 --- primary 10.70.0.2, of other.test

What the client loses in each case is what its README tells.
"""

from __future__ import annotations

import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from .daemon import BOUND, Child, daemon
from .namespaces import Lab, Namespace

pytestmark = [pytest.mark.lab, pytest.mark.clients("bird", "birdc", "curl")]

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "anycast"

SERVICE, SERVICE6 = "10.99.0.53", "fd99::53"

PRIMARY = """
[plugins.dns]
zones = { "other.test" = "other.test.zone" }
allow_transfer = ["10.71.0.2/32", "10.72.0.2/32"]
"""

OTHER = """$TTL 300
@ SOA ns h 1 2 1 8 60
@ NS ns
ns A 10.70.0.2
www A 192.0.2.81
"""


class Routes:
    """The router's routes, looked at whenever the kernel tells of a change."""

    def __init__(self, router: Namespace) -> None:
        self._router = router
        self._changes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            router.argv("ip", "monitor", "route"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read, name="ip monitor")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._changes.put(line)

    def ways(self) -> list[tuple[str, ...]]:
        """By which links the service goes, for each family."""
        found = []
        for family, address in (("-4", SERVICE), ("-6", SERVICE6)):
            routes = json.loads(self._router.run("ip", "-j", family, "route", "show", address) or "[]")
            found.append(tuple(sorted(hop["dev"] for each in routes for hop in each.get("nexthops", [each]))))
        return found

    def until(self, *links: str) -> None:
        """The service goes by these links."""
        while (ways := self.ways()) != [links, links]:
            try:
                self._changes.get(timeout=BOUND)
            except queue.Empty:
                raise RuntimeError(f"the service goes by {ways}, not {links}") from None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(BOUND)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Asking:
    """`tests.lab.asking` in a namespace."""

    def __init__(self, client: Namespace, address: str, name: str, rate: int) -> None:
        self._process = subprocess.Popen(
            client.argv(sys.executable, "-m", "tests.lab.asking", address, name, str(rate)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def begin(self, part: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{part}\n")
        self._process.stdin.flush()
        assert json.loads(self._process.stdout.readline()) == "begun"

    def end(self) -> dict[str, dict[str, Any]]:
        said, _ = self._process.communicate(timeout=BOUND)
        found: dict[str, dict[str, Any]] = json.loads(said)
        return found

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@attrs.define(eq=False)
class Host:
    """One of the two: its namespace, and what runs there."""

    name: str
    namespace: Namespace
    folder: Path
    stack: ExitStack
    server: Child = attrs.field(init=False)
    bird: subprocess.Popen[bytes] = attrs.field(init=False)
    announce: subprocess.Popen[bytes] = attrs.field(init=False)

    def prepare(self) -> None:
        shutil.copytree(EXAMPLE, self.folder)
        config = self.folder / "responderd.toml"
        config.write_text(config.read_text().replace('"host1"', f'"{self.name}"'))

    def serve(self) -> None:
        self.server = daemon(self.namespace, self.folder / "responderd.toml", folder=self.folder)
        self.stack.callback(self.end_server)
        self.server.wait_for("ready")

    def end_server(self) -> None:
        if self.server.status is None:
            self.server.stop()

    def route(self) -> None:
        self.bird = self.stack.enter_context(bird(self.namespace, self.folder, f"{self.name}.conf"))

    def begin_to_announce(self) -> None:
        argv = [str(self.folder / "announce"), "-s", str(self.folder / f"{self.name}.conf.ctl")]
        self.announce = subprocess.Popen(self.namespace.argv(*argv), stdout=subprocess.DEVNULL)
        self.stack.callback(self.end_announcement)

    def end_announcement(self) -> None:
        if self.announce.poll() is None:
            self.announce.terminate()
        self.announce.wait(BOUND)


@contextmanager
def bird(namespace: Namespace, folder: Path, config: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = ["bird", "-f", "-c", str(folder / config), "-s", str(folder / f"{config}.ctl")]
    with open(folder / f"{config}.log", "wb") as log:
        process = subprocess.Popen(namespace.argv(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(BOUND)


@attrs.define(eq=False)
class Anycast:
    hosts: tuple[Host, Host]
    router: Namespace
    primary: Namespace
    routes: Routes
    asking: dict[str, Asking]

    def begin(self, part: str) -> None:
        for each in self.asking.values():
            each.begin(part)


@pytest.fixture
def anycast(tmp_path: Path) -> Iterator[Anycast]:
    with Lab() as lab, ExitStack() as stack:
        router, client, primary = (lab.namespace(name) for name in ("router", "client", "primary"))
        router.sysctl("net.ipv4.ip_forward", "1")
        router.sysctl("net.ipv6.conf.all.forwarding", "1")
        # By ports too: one client's queries then go to both.
        router.sysctl("net.ipv4.fib_multipath_hash_policy", "1")
        router.sysctl("net.ipv6.fib_multipath_hash_policy", "1")
        hosts = []
        for number, (name, namespace) in enumerate([("client", client), ("primary", primary)], 69):
            connect(lab, router, name, namespace, f"10.{number}.0", f"fd{number}:")
        for number in (1, 2):
            namespace = lab.namespace(f"host{number}")
            connect(lab, router, f"host{number}", namespace, f"10.7{number}.0", f"fd7{number}:")
            namespace.ip(f"addr add {SERVICE}/32 dev lo", f"addr add {SERVICE6}/128 dev lo")
            hosts.append(Host(f"host{number}", namespace, tmp_path / f"host{number}", stack))
        (tmp_path / "primary").mkdir()
        (tmp_path / "primary" / "primary.toml").write_text(PRIMARY)
        (tmp_path / "primary" / "other.test.zone").write_text(OTHER)
        stack.enter_context(daemon(primary, tmp_path / "primary" / "primary.toml", folder=tmp_path / "primary"))
        shutil.copytree(EXAMPLE, tmp_path / "router")
        stack.enter_context(bird(router, tmp_path / "router", "router.conf"))
        routes = Routes(router)
        stack.callback(routes.close)
        for host in hosts:
            host.prepare()
            host.serve()
            host.route()
            host.begin_to_announce()
        routes.until("host1", "host2")
        asking = {
            "www.example.test": Asking(client, SERVICE, "www.example.test", 200),
            "www.other.test": Asking(client, SERVICE, "www.other.test", 100),
            "IPv6": Asking(client, SERVICE6, "www.example.test", 100),
        }
        for each in asking.values():
            stack.callback(each.kill)
        yield Anycast((hosts[0], hosts[1]), router, primary, routes, asking)


def connect(lab: Lab, router: Namespace, name: str, other: Namespace, prefix: str, prefix6: str) -> None:
    lab.link(router, name, other, "uplink")
    router.ip(f"addr add {prefix}.1/24 dev {name}", *addresses6(prefix6, 1, name))
    other.ip(
        f"addr add {prefix}.2/24 dev uplink",
        *addresses6(prefix6, 2, "uplink"),
        f"route add default via {prefix}.1",
        f"route add default via {prefix6}:1",
    )


def addresses6(prefix6: str, host: int, interface: str) -> list[str]:
    """With a link-local one, which BGP wants."""
    return [f"addr add {each}:{host}/64 dev {interface}" for each in (prefix6, "fe80:")]


def test_what_a_client_loses(anycast: Anycast) -> None:
    one, two = anycast.hosts
    routes = anycast.routes

    def meanwhile(part: str, *links: str) -> None:
        """From here on queries count for that part; the change before it is over, and nothing more is lost."""
        routes.until(*links)
        anycast.begin(part)

    anycast.begin("both serve")
    anycast.begin("a bad zone")
    (one.folder / "example.test.zone").write_text("@ 300 SOA ns h 2 1 1 1 1\n@ 300 NS ns\nwww 300 A 192.0.2.300\n")
    one.server.signal(signal.SIGHUP)
    one.server.wait_for("reloaded")
    anycast.router.ip("link set primary down")
    anycast.begin("the primary is away")
    anycast.begin("copies get too old")
    for host in anycast.hosts:
        host.server.wait_for(TOO_OLD)
    meanwhile("all copies are too old", "host1", "host2")
    anycast.begin("copied again")
    anycast.router.ip("link set primary up")
    for host in anycast.hosts:
        host.server.wait_for(COPIED)
    anycast.begin("one's copy gets too old")
    two.namespace.ip("route add blackhole 10.70.0.2/32")
    two.server.wait_for(TOO_OLD)
    meanwhile("one's copy is too old", "host1")
    two.namespace.ip("route del blackhole 10.70.0.2/32")
    meanwhile("all is well", "host1", "host2")
    anycast.begin("one ends in order")
    two.end_announcement()
    meanwhile("one serves", "host1")
    two.end_server()
    (one.folder / "example.test.zone").write_text((EXAMPLE / "example.test.zone").read_text())
    two.serve()
    two.begin_to_announce()
    meanwhile("it is back", "host1", "host2")
    anycast.begin("one's process is killed")
    one.server.signal(signal.SIGKILL)
    meanwhile("killed", "host2")
    one.server.wait()
    one.serve()
    meanwhile("again", "host1", "host2")
    anycast.begin("one's link goes")
    anycast.router.ip("link set host1 down")
    meanwhile("unlinked", "host2")
    anycast.router.ip("link set host1 up")
    anycast.router.ip(*addresses6("fd71:", 1, "host1"))  # gone with the link
    meanwhile("linked", "host1", "host2")
    anycast.begin("one falls silent")
    two.bird.send_signal(signal.SIGSTOP)
    two.server.signal(signal.SIGSTOP)
    meanwhile("silent", "host1")
    figures = {name: each.end() for name, each in anycast.asking.items()}
    two.server.signal(signal.SIGCONT)
    two.bird.send_signal(signal.SIGCONT)
    print(json.dumps(figures, indent=1))
    for name, parts in figures.items():
        for part, its in parts.items():
            assert its["lost"] == 0 or part in DISTURBED, (name, part)
            assert its["wrong"] == 0 or (name == "www.other.test" and part in UNKNOWN), (name, part)
    for part in ("both serve", "all copies are too old", "all is well", "it is back", "again", "linked"):
        assert set(figures["www.example.test"][part]["servers"]) == {"host1", "host2"}, part
    for part, server in (
        ("one's copy is too old", "host1"),
        ("killed", "host2"),
        ("unlinked", "host2"),
        ("silent", "host1"),
    ):
        assert figures["www.example.test"][part]["servers"].get(server, 0) > 0, part


DISTURBED = {"one's process is killed", "one's link goes", "one falls silent"}
"""A host that can't say goodbye loses what is under way to it until the router knows."""

UNKNOWN = {"copies get too old", "all copies are too old", "copied again", "one's copy gets too old"}
"""A zone that is too old gets SERVFAIL, until the host says that it has it no more, or where all have."""

TOO_OLD = "a zone is too old, and no longer served (EXPIRE)"
COPIED = "a zone was transferred"
