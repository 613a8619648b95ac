"""Does a flood of forged sources cost honest clients answers?  60,000 a second for 20 s, beside 500 honest queries.

    python -m tests.benchmarks.forged [--forged N] [--honest N] [--seconds S] [--json]      (root, Linux, dnsperf)

Two daemons in turn, each with the plugin `dns` on a host with one link (veth) to who asks: one without bounds, the
other with `rate` and `amplification`.  Each forged query comes from a source that none before it had, and its answer
ends at the other side of the link.  Of the honest queries none must get lost; exit status 1 says that one was.

Beside what was lost it tells the longest time that an honest answer took, how many datagrams the daemon's socket had no
room for, and what an answer cost the daemon: CPU time in microseconds, kernel included.  What else was at work is told
where that was much: such a machine may lose what a quiet one would not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
import dns.message

from tests.lab.namespaces import Namespace

from . import machine, names, zones
from .running import Bench, Cost, Server, bench

HOST, CLIENT = "10.71.0.1", "10.71.0.9"
FORGED = "11.0.0.0/8"
"""The sources of native/forger.c."""

NAMES = 10_000
CASES = {"without bounds": "", "with rate and amplification": "rate = 1000\namplification = 10.0"}
LONGER = 2.0
"""Seconds that the flood lasts beyond the honest queries, so that none of them has it easier."""


@attrs.frozen
class Outcome:
    """What became of a flood.

    asked, lost  honest queries
    slowest_ms   until the last of their answers that came within a second
    forged       datagrams that were sent
    no_room      datagrams of both kinds for which the server's socket had no room
    cpu_us       CPU microseconds of the server's process for an answer to either, kernel included
    disturbed    what else was at work
    """

    asked: int
    lost: int
    slowest_ms: float
    forged: int
    no_room: int
    cpu_us: float
    disturbed: str


def udp_counters(host: Namespace) -> dict[str, int]:
    """What the kernel counts of all sockets of a namespace (RFC 4113, and its own)."""
    text = host.call(Path("/proc/thread-self/net/snmp").read_text)
    head, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Udp:"))
    return dict(zip(head, map(int, values), strict=True))


def flood(bench: Bench, server: Server, client: Namespace, queries: Path, forged: int, honest: int) -> Outcome:
    payload = dns.message.make_query(f"host1.{zones.ORIGIN}", "A", id=1).to_wire().hex()
    told = [str(each) for each in (HOST, server.port, forged, bench.seconds + LONGER, payload)]
    command = client.argv(*bench.on_core(bench.load_core, str(bench.native("forger")), *told))
    counted, before = udp_counters(server.namespace), machine.Snapshot.take()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as forger, Cost.of(bench, server) as costs:
        said = names.dnsperf(bench, client, HOST, server.port, queries, "-Q", str(honest), "-l", f"{bench.seconds:g}")
        output, _ = forger.communicate()
    load = machine.Load.between(before, machine.Snapshot.take())
    after = udp_counters(server.namespace)
    (cost,) = costs
    answered, lost, _, _ = names.parse_dnsperf(said)
    slowest = re.search(r"Average Latency \(s\):.*max ([0-9.]+)", said)
    if slowest is None:
        raise ValueError(f"dnsperf did not say how long answers took:\n{said}")
    return Outcome(
        asked=answered + lost,
        lost=lost,
        slowest_ms=round(float(slowest[1]) * 1e3, 1),
        forged=json.loads(output)["sent"],
        no_room=after["RcvbufErrors"] - counted["RcvbufErrors"],
        cpu_us=round((cost.user + cost.system) / (after["OutDatagrams"] - counted["OutDatagrams"]) * 1e6, 1),
        disturbed=str(load) if load.disturbs else "",
    )


def measure(bench: Bench, forged: int, honest: int) -> dict[str, Outcome]:
    names.require_dnsperf()
    zone, queries = bench.folder / "zone", bench.folder / "queries"
    zones.write_zone(zone, NAMES)
    zones.write_queries(queries, NAMES, NAMES)
    results = {}
    for number, (case, bounds) in enumerate(CASES.items()):
        host, client = bench.lab.namespace(f"host{number}"), bench.lab.namespace(f"client{number}")
        bench.lab.link(host, "link1", client, "link1")
        host.ip(f"addr add {HOST}/24 dev link1", f"route add {FORGED} via {CLIENT}")
        client.ip(f"addr add {CLIENT}/24 dev link1")
        options = f'zones = {{ "{zones.ORIGIN}" = {json.dumps(str(zone))} }}\n{bounds}'
        server = bench.ours(host, f"dns{number}", "dns", allow=["0.0.0.0/0"], options=options)
        results[case] = flood(bench, server, client, queries, forged, honest)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--forged", type=int, default=60_000, help="datagrams a second")
    parser.add_argument("--honest", type=int, default=500, help="queries a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with bench(arguments.seconds, 1, force=True, say=print) as own:
        results = measure(own, arguments.forged, arguments.honest)
    if arguments.json:
        print(json.dumps({case: attrs.asdict(found) for case, found in results.items()}))
    else:
        for case, found in results.items():
            print(
                f"{case:<28} {found.lost} of {found.asked:,} honest queries lost, slowest {found.slowest_ms} ms;"
                f" {found.forged:,} forged, no room for {found.no_room:,}; {found.cpu_us} us CPU an answer"
            )
            if found.disturbed:
                print(f"    disturbed: {found.disturbed}")
    sys.exit(any(found.lost for found in results.values()))


if __name__ == "__main__":
    main()
