"""Does a change on one link cost more where there are more of them?  The daemon with 30 and with 300 links.

    python -m tests.benchmarks.links [--links N] [--rounds N] [--changes N] [--json]      (root, Linux)

Two hosts, each a network namespace with its client, both daemons with two groups of each family on every link.  On one
link of each, in rounds, its IPv4 address is removed and added again, one change after the other: the groups are left
and joined, and a request to one, answered, says that the daemon is through with both.  What such a pair costs the
daemon is CPU time of its main thread in microseconds, kernel and answer included; the ratio is that of the medians.
"ready" is the time from the start of each daemon, in seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import attrs

from tests.lab.changing import GROUPS, MORE_GROUPS, Client, address_of, config, many_links
from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace

FEW = 30


@attrs.frozen(eq=False)
class Host:
    namespace: Namespace
    client: Client
    child: Child
    ready: float


def cpu_microseconds(pid: int) -> float:
    """What the main thread has run (Documentation/scheduler/sched-stats.rst: nanoseconds)."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1000


def cost(host: Host, changes: int) -> float:
    """Microseconds for each pair of changes."""
    before = cpu_microseconds(host.child.pid)
    for _ in range(changes):
        host.namespace.ip(f"addr del {address_of(0)}/24 dev link0")
        host.namespace.ip(f"addr add {address_of(0)}/24 dev link0")
        host.client.ask(GROUPS[0], "link0")
    return (cpu_microseconds(host.child.pid) - before) / changes


def measure(links: int, rounds: int, changes: int) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "links.toml"
        file.write_text(config(GROUPS + MORE_GROUPS))
        lab = stack.enter_context(Lab())
        hosts = {}
        for count in (FEW, links):
            namespace, client = many_links(lab, count)
            start = time.monotonic()
            child = stack.enter_context(daemon(namespace, file, folder=folder))
            hosts[count] = Host(namespace, stack.enter_context(Client(client)), child, time.monotonic() - start)
        costs: dict[int, list[float]] = {count: [] for count in hosts}
        for _ in range(rounds):
            for count, host in hosts.items():
                costs[count].append(cost(host, changes))
    few, many = statistics.median(costs[FEW]), statistics.median(costs[links])
    return {
        "links": links,
        "changes": changes,
        f"us_per_change_{FEW}": round(few, 1),
        f"us_per_change_{links}": round(many, 1),
        "ratio": round(many / few, 3),
        f"ready_{FEW}": round(hosts[FEW].ready, 3),
        f"ready_{links}": round(hosts[links].ready, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--links", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.links, arguments.rounds, arguments.changes)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
