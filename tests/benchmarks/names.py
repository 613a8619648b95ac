"""The rows of DNS: queries a second by dnsperf, against other servers, and a large zone against a small one.

    python -m tests.benchmarks dns --force --repeat 3 --seconds 2

12,500 distinct names are asked, a tenth of which do not exist; every server has the same zone and must say so to the
tenth.  Where dnsperf is the limit (the server's core idles), the CPU time of an answer is the honest figure.  A server
that is not installed is left out, and the result says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import click

from tests.lab.namespaces import Namespace
from tests.plugins.dns import peers

from . import machine, zones
from .comparing import Goal, Result, Run, alternate
from .running import Bench, Cost, Server

QUERIES = 12_500
SMALL, LARGE = 10_000, 1_000_000
"""Records of the two zones that are compared; both are asked for as many distinct names."""

ASKED_ONCE = 100_000
"""Questions of a round of the row of first-asked names."""

SLOWEST_LOADING = 2000
"""Records a second that ours may be expected to read on a busy machine, many times fewer than it does."""

READY = 60.0
"""Seconds for another server to say that it is ready; another version may say it in other words."""

DNS = (
    Goal("DNS against NSD", "ours", "NSD", at_least=0.9),
    Goal("DNS against Knot", "ours", "Knot", at_least=1.2),
    Goal("DNS against Twisted Names", "ours", "Twisted Names", at_least=4),
    Goal("DNS against dnslib", "ours", "dnslib", at_least=20),
    Goal("DNS against PowerDNS", "ours", "PowerDNS"),
)

FRESH = (
    Goal("DNS first asked, against Knot", "ours", "Knot", at_least=0.9),
    Goal("DNS first asked, against NSD", "ours", "NSD"),
)

ZONE_LOAD = (
    Goal("loading 1,000,000 records, CPU time against NSD", "ours", "NSD", "cpu_us", at_most=3),
    Goal("1,000,000 records, memory against NSD", "ours", "NSD", "memory_mib", at_most=1.1),
    Goal("loading 1,000,000 records, CPU time against Knot", "ours", "Knot", "cpu_us"),
    Goal("1,000,000 records, memory against Knot", "ours", "Knot", "memory_mib"),
)

ZONE_SIZE = (Goal("1,000,000 records against 10,000", "1,000,000 records", "10,000 records", at_least=0.9),)

POWERDNS = """
launch=bind
bind-config={folder}/named.conf
local-address=127.0.0.1
local-port={port}
socket-dir={folder}
config-dir={folder}
receiver-threads=1
distributor-threads=1
daemon=no
guardian=no
disable-syslog=yes
log-dns-queries=no
security-poll-suffix=
zone-cache-refresh-interval=300
"""


@attrs.frozen
class Peer:
    """A DNS server that may be there: the program or module that it needs, and how it is started."""

    needs: str
    package: str
    start: Callable[[Bench, Namespace, Path, int, int], int]
    """Bench, namespace, zone file, names in it, port -> process id, ready to answer."""

    @property
    def missing(self) -> str | None:
        there = shutil.which(self.needs) or (self.needs.isidentifier() and importlib.util.find_spec(self.needs))
        return None if there else f"{self.needs} is not installed ({self.package})"


def _run(bench: Bench, namespace: Namespace, argv: Sequence[str], ready: Sequence[str]) -> int:
    def give_up() -> None:
        bench.say(f"{argv[0]} did not say within {READY:g} s that it is ready: {', '.join(ready)}")
        os.kill(os.getpid(), signal.SIGINT)  # a read of what it says waits for ever otherwise

    timer = threading.Timer(READY, give_up)
    timer.start()
    try:
        running = peers.running(namespace, bench.on_core(bench.server_core, *argv), ready)
        return bench.stack.enter_context(running).pid
    finally:
        timer.cancel()


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    folder.mkdir(exist_ok=True)
    return folder


def nsd(bench: Bench, namespace: Namespace, zone: Path, _names: int, port: int) -> int:
    text = f'zone:\n    name: {zones.ORIGIN}\n    zonefile: "{zone}"\n'
    return _run(bench, namespace, peers.nsd(_folder(bench, "nsd"), port, text), ["nsd started"])


def knot(bench: Bench, namespace: Namespace, zone: Path, _names: int, port: int) -> int:
    text = f"zone:\n  - domain: {zones.ORIGIN}\n    file: {zone}\n"
    return _run(bench, namespace, peers.knot(_folder(bench, "knot"), port, text), ["server started", "loaded"])


def powerdns(bench: Bench, namespace: Namespace, zone: Path, _names: int, port: int) -> int:
    folder = _folder(bench, "powerdns")
    (folder / "pdns.conf").write_text(POWERDNS.format(folder=folder, port=port))
    (folder / "named.conf").write_text(f'zone "{zones.ORIGIN}" {{ type master; file "{zone}"; }};\n')
    return _run(bench, namespace, ["pdns_server", f"--config-dir={folder}"], ["operating unthreaded"])


def in_python(kind: str) -> Callable[[Bench, Namespace, Path, int, int], int]:
    def start(bench: Bench, namespace: Namespace, _zone: Path, names: int, port: int) -> int:
        argv = [sys.executable, "-m", "tests.benchmarks.dns_peers", kind, str(port), str(names)]
        return bench.child(namespace, *argv)

    return start


PEERS = {
    "NSD": Peer("nsd", "Debian: nsd", nsd),
    "Knot": Peer("knotd", "Debian: knot", knot),
    "PowerDNS": Peer("pdns_server", "Debian: pdns-server pdns-backend-bind", powerdns),
    "Twisted Names": Peer("twisted", "pip install '.[benchmark]'", in_python("twisted")),
    "dnslib": Peer("dnslib", "pip install '.[benchmark]'", in_python("dnslib")),
}


def parse_dnsperf(said: str) -> tuple[int, int, float, float]:
    """Of what dnsperf printed: answered, lost, answered a second, and the share of NXDOMAIN in the answers.

    Raises ValueError where that is missing.
    """

    def number(pattern: str) -> float:
        found = re.search(pattern, said)
        if found is None:
            raise ValueError(f"dnsperf did not say {pattern!r}:\n{said}")
        return float(found[1])

    answered, lost = int(number(r"Queries completed:\s+([0-9]+)")), int(number(r"Queries lost:\s+([0-9]+)"))
    rate = number(r"Queries per second:\s+([0-9.]+)")
    absent = number(r"NXDOMAIN [0-9]+ \(([0-9.]+)%\)") / 100 if "NXDOMAIN" in said else 0.0
    return answered, lost, rate, absent


def dnsperf(bench: Bench, client: Namespace, address: str, port: int, queries: Path, *bounds: str) -> str:
    """What dnsperf(1) prints, with eight clients that wait a second for an answer; `bounds` are its own options."""
    options = ["-s", address, "-p", str(port), "-d", str(queries), "-c", "8", "-q", "128", "-t", "1", *bounds]
    return client.run(*bench.on_core(bench.load_core, "dnsperf", *options))


def ask(bench: Bench, server: Server, queries: Path, seconds: float | None) -> Run:
    """One run of dnsperf, or, without seconds, each question once.

    Raises ClickException where the answers are not those of the zone.
    """
    bounds = ["-n", "1"] if seconds is None else ["-l", f"{seconds:g}"]
    with Cost.of(bench, server) as costs:
        said = dnsperf(bench, server.namespace, "127.0.0.1", server.port, queries, *bounds)
    answered, lost, rate, absent = parse_dnsperf(said)
    # A run that ends within the list has asked for a little more, or less, than a tenth.
    if not 0.07 < absent < 0.13:
        raise click.ClickException(
            f"{server.name} says of {absent:.1%} that it does not exist, not of a tenth:\n{said}"
        )
    (cost,) = costs
    return Run(
        rate=rate,
        cpu_us=(cost.user + cost.system) / answered * 1e6,
        user_us=cost.user / answered * 1e6,
        idle=cost.idle,
        lost=lost,
    )


def ours(bench: Bench, namespace: Namespace, name: str, zone: Path, names: int) -> Server:
    options = f'zones = {{ "{zones.ORIGIN}" = {json.dumps(str(zone))} }}'
    return bench.ours(namespace, name, "dns", options=options, bound=max(60.0, names / SLOWEST_LOADING))


def require_dnsperf() -> None:
    if shutil.which("dnsperf") is None:
        raise click.ClickException("dnsperf is needed (Debian: dnsperf)")


def compare(bench: Bench, servers: dict[str, tuple[Server, Path]]) -> dict[str, list[Run]]:
    """Servers with the questions that each is asked; each once before, for what it makes up when it is first asked."""
    for server, queries in servers.values():
        ask(bench, server, queries, 1.0)
    measures = {
        name: lambda server=server, queries=queries: bench.undisturbed(
            lambda: ask(bench, server, queries, bench.seconds)
        )
        for name, (server, queries) in servers.items()
    }
    return alternate(measures, bench.rounds)


def dns(bench: Bench) -> Result:
    """Ours against NSD, Knot, PowerDNS, Twisted Names and dnslib."""
    require_dnsperf()
    namespace = bench.lab.namespace("dns")
    names = QUERIES - QUERIES // 10
    zone, queries = bench.folder / "zone", bench.folder / "queries"
    zones.write_zone(zone, names)
    zones.write_queries(queries, names, QUERIES)
    servers = {"ours": ours(bench, namespace, "dns", zone, names)}
    missing = {}
    for name, peer in PEERS.items():
        if peer.missing:
            missing[name] = peer.missing
            continue
        port = bench.port()
        servers[name] = Server(name, namespace, port, peer.start(bench, namespace, zone, names, port))
    runs = compare(bench, {name: (server, queries) for name, server in servers.items()})
    return Result("dns", "DNS, 12,500 names, answers a second", runs, DNS, missing)


def fresh(bench: Bench) -> Result:
    """Names that nobody has asked for before, of a zone of 1,000,000: ours against NSD and Knot."""
    require_dnsperf()
    namespace = bench.lab.namespace("fresh")
    zone = bench.folder / "zone-fresh"
    zones.write_zone(zone, LARGE)
    first, *rest = zones.write_fresh_queries(bench.folder, LARGE, ASKED_ONCE, bench.rounds + 1)
    servers = {"ours": ours(bench, namespace, "fresh", zone, LARGE)}
    missing = {}
    for name in ("NSD", "Knot"):
        peer = PEERS[name]
        if peer.missing:
            missing[name] = peer.missing
            continue
        port = bench.port()
        servers[name] = Server(name, namespace, port, peer.start(bench, namespace, zone, LARGE, port))
    asked = {name: iter(rest) for name in servers}
    for server in servers.values():
        ask(bench, server, first, None)
    measures = {
        name: lambda name=name, server=server: bench.undisturbed(lambda: ask(bench, server, next(asked[name]), None))
        for name, server in servers.items()
    }
    title = f"DNS, each name asked for the first time, {ASKED_ONCE:,} a round"
    return Result("dns-fresh", title, alternate(measures, bench.rounds), FRESH, missing)


def zone_load(bench: Bench) -> Result:
    """What it takes to load a zone of 1,000,000 records, and to hold it: ours, NSD and Knot, started alternately."""
    namespace = bench.lab.namespace("load")
    zone = bench.folder / "zone-load"
    zones.write_zone(zone, LARGE)
    starts: dict[str, Callable[[], int]] = {"ours": lambda: ours(bench, namespace, "load", zone, LARGE).pid}
    missing = {}
    for name in ("NSD", "Knot"):
        peer = PEERS[name]
        if peer.missing:
            missing[name] = peer.missing
        else:
            starts[name] = lambda peer=peer: peer.start(bench, namespace, zone, LARGE, bench.port())
    measures = {name: lambda start=start: _loaded(bench, start) for name, start in starts.items()}
    title = "DNS, a zone of 1,000,000 records loaded, records a second"
    return Result("zone-load", title, alternate(measures, bench.rounds), ZONE_LOAD, missing)


def _loaded(bench: Bench, start: Callable[[], int]) -> Run:
    """From the start of a server until it is ready; it ends then."""
    kept, began = bench.stack, time.monotonic()
    with contextlib.ExitStack() as own:
        bench.stack = own
        try:
            pid = start()
        finally:
            bench.stack = kept
        elapsed = time.monotonic() - began
        user, system = machine.used_by(pid)
        memory = machine.memory_of(pid)
    return Run(
        rate=LARGE / elapsed,
        cpu_us=(user + system) / LARGE * 1e6,
        user_us=user / LARGE * 1e6,
        memory_mib=memory,
    )


def zone_size(bench: Bench) -> Result:
    """Ours with a zone of 1,000,000 records against itself with 10,000."""
    require_dnsperf()
    namespace = bench.lab.namespace("zones")
    servers = {}
    for names in (SMALL, LARGE):
        zone, queries = bench.folder / f"zone{names}", bench.folder / f"queries{names}"
        zones.write_zone(zone, names)
        zones.write_queries(queries, names, SMALL)
        servers[f"{names:,} records"] = (ours(bench, namespace, f"dns{names}", zone, names), queries)
    return Result("zone-size", "DNS, by size of the zone, answers a second", compare(bench, servers), ZONE_SIZE)
