"""Does a datagram cost more where the host has more addresses?  Echo answers a second with 1 and 1,000 interfaces.

    python -m tests.benchmarks.addresses [--interfaces N] [--rounds N] [--seconds S] [--json]      (root, Linux)

Two hosts, each a network namespace with a client's link; one has N interfaces more, each with an IPv4 and an IPv6
address.  Both daemons run all the time and are asked alternately.  "spread" asks every address of the big host in turn,
so that each datagram comes by another way.

Beside the rate, which the client's and the kernel's work limits as well, it tells what an answer costs the daemon: CPU
time of its main thread, in microseconds, kernel included.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace

PORT = 7007
OUTSTANDING = 64
"""Requests in flight: enough that the daemon always has a burst to take."""
PAYLOAD = bytes(64)


@attrs.frozen(eq=False)
class Host:
    host: Namespace
    client: Namespace
    addresses: Sequence[str]


def make_host(lab: Lab, name: str, interfaces: int) -> Host:
    """A host with a link to its client, 10.71.0.0/24, and that many interfaces more."""
    host, client = lab.namespace(name), lab.namespace(f"{name}-client")
    lab.link(host, "link1", client, "link1")
    host.ip("addr add 10.71.0.1/24 dev link1", "addr add fd71::1/64 dev link1 nodad")
    client.ip("addr add 10.71.0.9/24 dev link1", "route add default via 10.71.0.1")
    commands, addresses = [], ["10.71.0.1"]
    for pair in range(0, interfaces, 2):
        commands.append(f"link add v{pair} type veth peer name v{pair + 1}")
        for number in (pair, pair + 1):
            address = f"10.{100 + number // 250}.{number % 250}.1"
            commands += [
                f"addr add {address}/24 dev v{number}",
                f"addr add fd00:{number:x}::1/64 dev v{number} nodad",
                f"link set v{number} up",
            ]
            addresses.append(address)
    if commands:
        host.ip(*commands)
    return Host(host, client, addresses)


def cpu_seconds(pid: int) -> float:
    """What the main thread of a process has used, user and system time (proc(5))."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(client: Namespace, destinations: Sequence[str], seconds: float) -> tuple[int, float]:
    """Keep OUTSTANDING requests in flight: how many answers came back, and in how many seconds."""
    targets = itertools.cycle([(destination, PORT) for destination in destinations])
    count = 0
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        start = time.perf_counter()
        end = start + seconds
        for _ in range(OUTSTANDING):
            sock.sendto(PAYLOAD, next(targets))
        while time.perf_counter() < end:
            try:
                sock.recv(2048)
            except TimeoutError:  # all in flight were lost: begin anew
                for _ in range(OUTSTANDING):
                    sock.sendto(PAYLOAD, next(targets))
                continue
            count += 1
            sock.sendto(PAYLOAD, next(targets))
        return count, time.perf_counter() - start


def measure(interfaces: int, rounds: int, seconds: float) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = folder / "echo.toml"
        config.write_text(f"[plugins.echo]\nport = {PORT}\n")
        lab = stack.enter_context(Lab())
        small, big = make_host(lab, "small", 0), make_host(lab, "big", interfaces)
        pids = {each: stack.enter_context(daemon(each.host, config, folder=folder)).pid for each in (small, big)}
        cases = {
            "one": (small, small.addresses),
            "many": (big, big.addresses[:1]),
            "spread": (big, big.addresses),
        }
        rates: dict[str, list[float]] = {case: [] for case in cases}
        costs: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case, (host, destinations) in cases.items():
                before = cpu_seconds(pids[host])
                count, elapsed = ask(host.client, destinations, seconds)
                rates[case].append(count / elapsed)
                costs[case].append((cpu_seconds(pids[host]) - before) / count * 1e6)
    rate = {case: statistics.median(found) for case, found in rates.items()}
    cost = {case: statistics.median(found) for case, found in costs.items()}
    return {
        "interfaces": interfaces,
        "rounds": rounds,
        **{f"{case}_per_second": round(rate[case]) for case in cases},
        **{f"{case}_cpu_us": round(cost[case], 2) for case in cases},
        **{f"{case}_cpu_to_one": round(cost[case] / cost["one"], 3) for case in ("many", "spread")},
    }


LABELS = {
    "one": "one address on the only link",
    "many": "the same, with {interfaces:,} interfaces more",
    "spread": "each of their addresses in turn",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interfaces", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.interfaces, arguments.rounds, arguments.seconds)
    if arguments.json:
        print(json.dumps(result))
        return
    for case, label in LABELS.items():
        print(
            f"{label.format(**result):<42}{result[f'{case}_per_second']:>8,} answers/s"
            f"{result[f'{case}_cpu_us']:>8.2f} us CPU each, ratio {result.get(f'{case}_cpu_to_one', 1.0):.2f}"
        )


if __name__ == "__main__":
    main()
