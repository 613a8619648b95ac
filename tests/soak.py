"""Hours in short: a daemon under mixed load with faults injected; does it hold more and more memory or descriptors?

    python -m tests.soak [--minutes 30] [--rate 1500] [--json]      (root, Linux)

Load: honest peers on a link that stays, over UDP and TCP, others with forged sources, garbage.  Faults, in turn: a
reload (changed, added, removed instances, a broken config), links that flap, appear and disappear, plugins that crash,
hostile and honest clients of the control socket and of the metrics port.  The daemon is looked at from outside
(/proc), a line each few seconds.

What it finds is judged by `verdict`: the last third of the time against the second.  The tables that peers fill are
full before that, and the first third is for what a process takes once: code that runs for the first time, memory that
the allocator keeps between two reloads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from tests.lab.changing import memory
from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace
from tests.lab.operating import CONTROL, HEAD, Forger, Load, command, descriptors, get, networks, rewrite, under_load
from tests.plugins_for_tests import install, with_plugins

HOST = "10.71.0.1"
GROUP = "239.255.70.7"

PREFIXES = {7008: 24_000, 7007: 5_000, 7009: 5_000, 7103: 5_000, 7111: 5_000}
"""Forged sources sent first, by port: more than its tables hold.

Of 7008, whose sources have buckets, more than 21,845: at that insertion CPython last enlarges the dict of the 16,384
(`responder.dispatch.budget.MAX_BUCKETS`), of which the oldest always goes.

All that answer are filled, since a table that fills up slowly looks like a leak for hours: each change of the
interfaces makes the ways anew, and what a socket remembers of the old ones goes when newer ones push it out.
"""

PACE = 0.1
"""Seconds between two faults."""

CONFIG = (
    HEAD
    + """
[plugins.echo]
port = 7007
groups = ["239.255.70.7", "ff02::7007"]

[plugins.limited]
use = "echo"
port = 7008
rate = 10
amplification = 3.0

[plugins.changing]
use = "echo"
port = 7009
max_answer = {size}

[plugins.whoami]
port = 5300

[plugins.raising]
[plugins.stillborn]

[plugins.amplifying]
amplification = 3.0

[plugins.sleeping]
seconds = 0.05

[plugins.mortal]
seconds = 0.1
max_answer = {size}
"""
)
SOMETIMES = '\n[plugins.sometimes]\nuse = "echo"\nport = 7010\ngroups = ["239.255.70.8"]\n'


@attrs.frozen
class Sample:
    """`time` in seconds since the start; `memory` in KiB, resident."""

    time: float
    memory: int
    descriptors: int
    threads: int
    asked: int
    answered: int


@attrs.define
class Soak:
    """The network and the daemon on it.  Each method named after a fault injects it."""

    host: Namespace
    client: Namespace
    child: Child
    config: Path
    random: random.Random
    forger: Forger
    sources: Iterator[str]
    size: int = 1000

    def reload(self) -> None:
        self.size += 1
        more = SOMETIMES if self.random.random() < 0.5 else ""
        rewrite(self.config, CONFIG.format(size=self.size) + more)
        self.child.signal(signal.SIGHUP)

    def broken_reload(self) -> None:
        rewrite(self.config, CONFIG.format(size='"big"'))
        self.child.signal(signal.SIGHUP)

    def link_comes_and_goes(self) -> None:
        self.host.ip(f"link add flap type veth peer name flap netns {self.client.name}")
        self.host.ip("addr add 10.80.0.1/24 dev flap", "addr add fd80::1/64 dev flap nodad", "link set flap up")
        self.client.ip("addr add 10.80.0.9/24 dev flap", "link set flap up")
        with self.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.80.0.9"))
            for destination in (GROUP, "10.80.0.1"):
                with contextlib.suppress(OSError):
                    sock.sendto(b"who is there", (destination, 7007))
        self.host.ip("link del flap")

    def link_flaps(self) -> None:
        for _ in range(3):
            self.host.ip("link set side down", "link set side up")

    def garbage(self) -> None:
        with self.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for port in (7007, 7008, 7009, 5300, 7101, 7102, 7103, 7104, 7111):
                for _ in range(5):
                    sock.sendto(self.random.randbytes(self.random.randrange(600)), (HOST, port))

    def forged_sources(self) -> None:
        for _ in range(200):
            self.forger.send(next(self.sources), 5555, b"forged")

    def connections(self) -> None:
        for port in (7007, 5300):
            with contextlib.suppress(OSError), self.client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                sock.settimeout(5)
                sock.connect((HOST, port))
                sock.sendall(self.random.randbytes(40))

    def metrics(self) -> None:
        get(self.host, self.random.choice(("/metrics", "/health", "/ready", "/nothing")))

    def garbage_on_control(self) -> None:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(str(self.config.with_name(CONTROL)))
                sock.sendall(self.random.choice((b"\0" * 100, b'{"request":"trace"}\n', b'{"request":', b"[]\n")))

    def operator(self) -> None:
        command(self.config.parent, "status", "--json")

    def faults(self) -> list[Callable[[], None]]:
        return [
            *(self.reload, self.broken_reload, self.link_comes_and_goes, self.link_flaps, self.garbage),
            *(self.forged_sources, self.connections, self.metrics, self.garbage_on_control, self.operator),
        ]


@contextlib.contextmanager
def network() -> Iterator[tuple[Namespace, Namespace]]:
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "stays", client, "stays")
        lab.link(host, "side", client, "side")
        host.ip("addr add 10.71.0.1/24 dev stays", "addr add 10.72.0.1/24 dev side", "route add default via 10.71.0.9")
        client.ip("addr add 10.71.0.9/24 dev stays")
        yield host, client


def soak(
    seconds: float,
    every: float,
    rate: float | None = None,
    tell: Callable[[Sample], None] = lambda _sample: None,
) -> list[Sample]:
    """Run for so long, and take a sample `every` so many seconds.  Raises where the daemon ends, or ends badly.

    The honest peers ask `rate` times a second together at most (None: as often as they are answered).
    """
    samples: list[Sample] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        host, client = stack.enter_context(network())
        config = folder / "soak.toml"
        config.write_text(CONFIG.format(size=1000))
        child = stack.enter_context(daemon(host, config, folder=folder, under=with_plugins(install(folder))))
        forger = stack.enter_context(Forger(client, HOST, 7008))
        rng = random.Random(7007)  # noqa: S311 - the same faults each time
        soaking = Soak(host, client, child, config, rng, forger, networks(1 << 22))
        ports = (7007, 7009, 7111)
        share = None if rate is None else rate / len(ports)
        loads = [Load(client, port, HOST, patience=1.0, rate=share) for port in ports]
        stack.enter_context(under_load(*loads))
        for port, prefixes in PREFIXES.items():
            for number in range(prefixes):
                forger.send(next(soaking.sources), 5555, b"forged", port)
                if number % 500 == 0:
                    time.sleep(PACE)  # so that the daemon sees them, and the kernel does not drop them
        start = time.monotonic()
        while (elapsed := time.monotonic() - start) < seconds:
            rng.choice(soaking.faults())()
            time.sleep(PACE)
            if elapsed >= len(samples) * every:
                samples.append(
                    Sample(
                        round(elapsed, 1),
                        memory(child),
                        descriptors(child),
                        len(os.listdir(f"/proc/{child.pid}/task")),
                        sum(load.asked for load in loads),
                        sum(load.answered for load in loads),
                    )
                )
                tell(samples[-1])
    return samples


@attrs.frozen
class Verdict:
    """Medians of the second and the last third; memory in KiB.  `answered`: of the honest requests, from 0 to 1."""

    memory: tuple[float, float]
    descriptors: tuple[float, float]
    threads: tuple[float, float]
    answered: float


def verdict(samples: Sequence[Sample]) -> Verdict:
    third = len(samples) // 3
    earlier, last = samples[third : 2 * third], samples[-third:]

    def medians(name: str) -> tuple[float, float]:
        one, other = (statistics.median(getattr(each, name) for each in part) for part in (earlier, last))
        return one, other

    return Verdict(
        medians("memory"),
        medians("descriptors"),
        medians("threads"),
        round((last[-1].answered - samples[0].answered) / (last[-1].asked - samples[0].asked), 5),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two samples")
    parser.add_argument("--rate", type=float, help="honest requests a second (default: as many as are answered)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    def tell(sample: Sample) -> None:
        if not arguments.json:
            print(" ".join(f"{name}={value}" for name, value in attrs.asdict(sample).items()), flush=True)

    found = verdict(soak(arguments.minutes * 60, arguments.every, arguments.rate, tell))
    json.dump(attrs.asdict(found), sys.stdout)
    print()


if __name__ == "__main__":
    main()
