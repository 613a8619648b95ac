"""How many DNS queries a second, against NSD and Knot on the same zone in the same run, by dnsperf.

    python -m tests.benchmarks.dns [--names N] [--rounds N] [--seconds S] [--large N] [--json]        (root, Linux)
    python -m tests.benchmarks.dns --handler [--names N]                                       (anyone, anywhere)

12,500 distinct names are asked, a tenth of which do not exist.  All servers run all the time, each on the first core
with one worker, and are asked alternately over a loopback of their own by a dnsperf on the second core.  With `--large`
another instance of ours has a zone of that many records, and is asked for as many of its names.  It tells what each
server's process used as well, in microseconds of CPU a query: where dnsperf is the limit, that is the honest figure.

With `--handler` it is `respond` alone that is measured, without a socket or a framework: CPU for 10,000 distinct
queries of each kind when first asked and when asked again, of a zone with that many names; the least of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import dns.message
import dns.name
from dns.edns import GenericOption, Option
from dns.rdatatype import RdataType
from responder_plugins.dns import Dns
from responder_plugins.dns.handler import DnsHandler

from responder import Context, Datagram, Handler, Interface, InterfaceAddress, Peer
from tests.lab.daemon import BOUND, Child
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers

PORTS = {"responderd": 5300, "nsd": 5301, "knot": 5302, "large": 5303}
ON_FIRST, ON_SECOND = ("taskset", "-c", "0"), ("taskset", "-c", "1")

HEAD = "$TTL 300\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n"


def write_zone(path: Path, names: int) -> None:
    with path.open("w") as file:
        file.write(HEAD)
        file.writelines(f"host{n} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n" for n in range(names))


def write_queries(path: Path, names: int, count: int) -> None:
    """`count` distinct names in random order, nine of ten of the zone's, as far as it has so many."""
    rng = random.Random(53)  # noqa: S311 - the same ones each time
    asked = [f"host{n}" for n in rng.sample(range(names), min(names, count * 9 // 10))] + [
        f"none{n}" for n in range(count // 10)
    ]
    rng.shuffle(asked)
    path.write_text("".join(f"{name}.example.test A\n" for name in asked))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and the children it has (proc(5)): NSD answers in one."""
    total = 0.0
    for each in (pid, *_children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _children(pid: int) -> list[int]:
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [below for child in children for below in _children(child)]


@attrs.frozen
class Result:
    rate: float
    lost: int
    cpu: float


def dnsperf(namespace: Namespace, port: int, pid: int, queries: Path, seconds: float) -> Result:
    before = cpu_seconds(pid)
    argv = [
        "dnsperf",
        "-s",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        str(queries),
        "-l",
        str(seconds),
        "-c",
        "8",
        "-q",
        "128",
    ]
    said = namespace.run(*ON_SECOND, *argv)

    def number(label: str) -> float:
        found = re.search(rf"{label}:\s+([0-9.]+)", said)
        assert found, said
        return float(found[1])

    completed = number("Queries completed")
    return Result(
        number("Queries per second"), int(number("Queries lost")), (cpu_seconds(pid) - before) / completed * 1e6
    )


def start(stack: contextlib.ExitStack, lab: Lab, names: int, large: int) -> tuple[Namespace, dict[str, int], Path]:
    """The namespace, the servers' process ids, and the folder with `queries` and `large-queries`."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    namespace = lab.namespace("dns")
    count = 12_500
    sizes = {"zone": names, **({"large": large} if large else {})}
    for name, size in sizes.items():
        write_zone(folder / f"{name}.zone", size)
    write_queries(folder / "queries", names, count)
    pids = {}
    # Seconds: a large zone is read at some 15,000 records a second, on a busy machine at fewer.
    bound = max(BOUND, large / 2000)
    for server, zone in (("responderd", "zone"), *([("large", "large")] if large else ())):
        config = folder / f"{server}.toml"
        config.write_text(
            f'[plugins.dns]\nport = {PORTS[server]}\nallow = ["127.0.0.0/8"]\ndeny = ["192.0.2.0/24"]\n'
            f'zones = {{ "example.test" = "{zone}.zone" }}\n'
        )
        argv = [*ON_FIRST, sys.executable, "-m", "responder", "run", str(config)]
        pids[server] = stack.enter_context(Child(namespace, argv, cwd=folder, bound=bound)).pid
    if large:
        write_queries(folder / "large-queries", large, count)
    zone = folder / "zone.zone"
    for server, make, text in (
        ("nsd", peers.nsd, f'zone:\n    name: example.test\n    zonefile: "{zone}"\n'),
        ("knot", peers.knot, f"zone:\n  - domain: example.test\n    file: {zone}\n"),
    ):
        own = folder / server
        own.mkdir()
        argv = [*ON_FIRST, *make(own, PORTS[server], text)]
        ready = ["nsd started"] if server == "nsd" else ["server started", "loaded"]
        pids[server] = stack.enter_context(peers.running(namespace, argv, ready)).pid
    return namespace, pids, folder


def measure(names: int, rounds: int, seconds: float, large: int) -> dict[str, dict[str, float]]:
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab())
        namespace, pids, folder = start(stack, lab, names, large)
        results: dict[str, list[Result]] = {server: [] for server in pids}
        for _ in range(rounds):
            for server, pid in pids.items():
                queries = folder / ("large-queries" if server == "large" else "queries")
                results[server].append(dnsperf(namespace, PORTS[server], pid, queries, seconds))
        memory = {server: _peak_memory(pid) for server, pid in pids.items()}
    ours = statistics.median(each.rate for each in results["responderd"])
    return {server: summary(found, ours) | {"peak_mib": memory[server]} for server, found in results.items()}


# The handler alone

KINDS = {
    "address": ("host{}", 1),
    "no such name": ("none{}", 1),
    "no such type": ("host{}", 16),
    "MX": ("mx{}", 15),
    "alias": ("alias{}", 1),
    "wildcard": ("n{}.wild", 1),
    "wildcard's alias": ("n{}.wildalias", 1),
    "referral": ("n{}.cut", 1),
    "DNAME": ("host{}.dname", 1),
    "not our zone": ("n{}.invalid.", 1),
}
ASKED = 10_000
RULES = """*.wild A 192.0.2.1
*.wildalias CNAME ns
cut NS ns.cut
ns.cut A 192.0.2.2
dname DNAME @
"""


def queries_of(kind: str, cookie: bool) -> list[bytes]:
    form, rdtype = KINDS[kind]
    options: list[Option] = [GenericOption("COOKIE", b"12345678")] if cookie else []
    origin = dns.name.from_text("example.test")
    return [
        dns.message.make_query(
            dns.name.from_text(form.format(number), origin),
            RdataType.make(rdtype),
            use_edns=0,
            options=options,
            id=number,
        ).to_wire()
        for number in range(ASKED)
    ]


def cost(handler: Handler, queries: Sequence[bytes]) -> float:
    """Microseconds of CPU a query."""
    link = Interface(1, "lo", addresses=(InterfaceAddress("127.0.0.1", 8),))
    datagrams = [Datagram(query, Peer("127.0.0.1", 40000), "127.0.0.1", link, port=53) for query in queries]
    gc.collect()
    began = time.thread_time()
    for datagram in datagrams:
        handler.respond_last(datagram)
    return (time.thread_time() - began) / len(queries) * 1e6


def measure_handler(names: int, rounds: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "zone")
        write_zone(path, names)
        with path.open("a") as file:
            file.write(RULES)
            file.writelines(f"mx{n} MX 1 host{n}\nalias{n} CNAME host{n}\n" for n in range(ASKED))
        handler = Dns(zones={"example.test": path}).prepare(Context("dns"))
    assert isinstance(handler, DnsHandler)
    result = {}
    for kind, cookie in [(kind, False) for kind in KINDS] + [("address", True)]:
        queries = queries_of(kind, cookie)
        first, again = [], []
        for _ in range(rounds):
            handler.swap(handler.processor.catalog)
            cost(handler, queries[:1])  # clients' flags and sizes are known by then
            first.append(cost(handler, queries))
            again.append(cost(handler, queries))
        result[kind + (" and a cookie" if cookie else "")] = {"first": min(first), "again": min(again)}
    return result


def _peak_memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+([0-9]+) kB", status)
    assert found, status
    return round(int(found[1]) / 1024)


def summary(results: Sequence[Result], ours: float) -> dict[str, float]:
    rates = [each.rate for each in results]
    rate = statistics.median(rates)
    return {
        "per_second": round(rate),
        "spread": round((max(rates) - min(rates)) / rate, 3),
        "ours_to_it": round(ours / rate, 3),
        "lost": sum(each.lost for each in results),
        "cpu_us": round(statistics.median(each.cpu for each in results), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--names", type=int, default=11_250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--large", type=int, default=0, help="records of the large zone; 0: without")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--handler", action="store_true", help="the handler alone")
    arguments = parser.parse_args()
    if arguments.handler:
        for kind, costs in measure_handler(arguments.names, arguments.rounds).items():
            print(f"{kind:<22} first {costs['first']:6.2f} us, again {costs['again']:6.2f} us")
        return
    result = measure(arguments.names, arguments.rounds, arguments.seconds, arguments.large)
    if arguments.json:
        print(json.dumps(result))
        return
    for server, found in result.items():
        print(
            f"{server:<12}{found['per_second']:>10,.0f} queries/s, spread {found['spread']:.0%}, lost {found['lost']},"
            f"{found['cpu_us']:>8.2f} us CPU each, {found['peak_mib']:,.0f} MiB; ours to it {found['ours_to_it']:.2f}"
        )


if __name__ == "__main__":
    main()
