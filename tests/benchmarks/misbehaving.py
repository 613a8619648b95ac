"""What do four plugins that misbehave cost a good one beside them?  Its answers a second with and without.

    python -m tests.benchmarks.misbehaving [--rounds N] [--seconds S] [--requests N] [--json]      (root, Linux)

Two daemons, each with `echo` and four more instances that are asked steadily, each N times a second: in one they are
well-behaved echoes; in the other they are one that raises on each datagram, a blocking one that takes a second, one
whose `run` dies at once, and one that answers 20 bytes with 60 KB.  `echo` is asked as fast as it answers, alternately
in both daemons, so that a busy moment of the machine meets both; medians, and their ratio, which should not be below
0.9.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins_for_tests import install, with_plugins

from .addresses import PORT, ask

PORTS = (7101, 7102, 7103, 7104)
GOOD = f"[plugins.echo]\nport = {PORT}\n"
WELL_BEHAVED = GOOD + "".join(f'[plugins.echo{port}]\nuse = "echo"\nport = {port}\n' for port in PORTS)
MISBEHAVING = GOOD + "[plugins.raising]\n[plugins.sleeping]\n[plugins.stillborn]\n[plugins.amplifying]\n"
BOUNDED = MISBEHAVING + "amplification = 3.0\n"
CASES = {"well-behaved": WELL_BEHAVED, "misbehaving": MISBEHAVING, "misbehaving, bounded": BOUNDED}


@contextlib.contextmanager
def asked_steadily(namespace: Namespace, requests: int) -> Iterator[None]:
    """The four others are asked so often a second each, and nobody waits for their answers."""
    done = threading.Event()
    sock = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def ask_them() -> None:
        # In tens: a thread that wakes for each would cost the measured client more than the requests do.
        while not done.wait(10 / requests):
            for port in PORTS:
                for _ in range(10):
                    with contextlib.suppress(ConnectionRefusedError):
                        sock.sendto(bytes(20), ("127.0.0.1", port))

    thread = threading.Thread(target=ask_them)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sock.close()


def measure(rounds: int, seconds: float, requests: int) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = install(folder)
        lab = stack.enter_context(Lab())
        hosts: dict[str, Namespace] = {}
        for number, (case, text) in enumerate(CASES.items()):
            config = folder / f"{number}.toml"
            config.write_text(text)
            hosts[case] = lab.namespace(f"host{number}")
            stack.enter_context(daemon(hosts[case], config, folder=folder, under=with_plugins(site)))
        rates: dict[str, list[float]] = {case: [] for case in CASES}
        for _ in range(rounds):
            for case, host in hosts.items():
                with asked_steadily(host, requests):
                    count, elapsed = ask(host, ["127.0.0.1"], seconds)
                rates[case].append(count / elapsed)
    rate = {case: statistics.median(found) for case, found in rates.items()}
    return {
        "rounds": rounds,
        "requests": requests,
        **{case: round(rate[case]) for case in CASES},
        **{f"{case}: ratio": round(rate[case] / rate["well-behaved"], 3) for case in CASES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--requests", type=int, default=100, help="a second to each of the four others")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.rounds, arguments.seconds, arguments.requests)
    if arguments.json:
        print(json.dumps(result))
        return
    for case in CASES:
        print(f"beside four {case:<24}{result[case]:>8,} answers/s, ratio {result[f'{case}: ratio']:.2f}")


if __name__ == "__main__":
    main()
