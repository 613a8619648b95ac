"""What do four plugins that misbehave cost a good one beside them?  Its answers a second with and without.

    python -m tests.benchmarks.misbehaving [--rounds N] [--seconds S] [--requests N] [--json] [--force]   (root, Linux)

Three daemons, each with `echo` and four more instances that are asked steadily, each N times a second: in one they are
well-behaved echoes; in the others they are one that raises on each datagram, a blocking one that takes a second, one
whose `run` dies at once, and one that answers 20 bytes with 60 KB, in the third with `amplification` set.

How it is measured: `echo` is asked as fast as it answers, for a short time, in each daemon in turn, many rounds, each
round beginning with another of them.  A round's ratio is what misbehaving neighbours left of that round's rate beside
well-behaved ones, so that a slow minute of the machine meets both sides of it; the result is the median of those
ratios, with the middle half of them.  It should not be below 0.9, and exit status 1 says that it is.  On a busy machine
nothing is measured; `--force` measures all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins_for_tests import install, with_plugins

from . import machine
from .addresses import PORT, ask

PORTS = (7101, 7102, 7103, 7104)
GOOD = f"[plugins.echo]\nport = {PORT}\n"
WELL_BEHAVED = GOOD + "".join(f'[plugins.echo{port}]\nuse = "echo"\nport = {port}\n' for port in PORTS)
MISBEHAVING = GOOD + "[plugins.raising]\n[plugins.sleeping]\n[plugins.stillborn]\n[plugins.amplifying]\n"
BOUNDED = MISBEHAVING + "amplification = 3.0\n"
LOWEST = 0.9
"""Of the rate beside well-behaved neighbours."""

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


def measure(rounds: int, seconds: float, requests: int) -> dict[str, Any]:
    """Medians of the rates; of the ratios the median and the quartiles around it."""
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
        for number in range(rounds + 1):
            first = number % len(CASES)
            for case in [*CASES][first:] + [*CASES][:first]:
                with asked_steadily(hosts[case], requests):
                    count, elapsed = ask(hosts[case], ["127.0.0.1"], seconds)
                if number:  # the first round is for caches
                    rates[case].append(count / elapsed)
    ratios = {
        case: [rate / usual for rate, usual in zip(rates[case], rates["well-behaved"], strict=True)] for case in CASES
    }
    return {
        "rounds": rounds,
        "seconds": seconds,
        "requests": requests,
        "rates": {case: round(statistics.median(rates[case])) for case in CASES},
        "ratios": {
            case: [round(each, 3) for each in statistics.quantiles(ratios[case], n=4, method="inclusive")]
            for case in CASES
            if case != "well-behaved"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--requests", type=int, default=100, help="a second to each of the four others")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too")
    arguments = parser.parse_args()
    if not arguments.force and (load := machine.watch(1.0)).disturbs:
        sys.exit(f"the machine is busy, so nothing is measured: {load} (--force measures all the same)")
    result = measure(arguments.rounds, arguments.seconds, arguments.requests)
    if arguments.json:
        print(json.dumps(result))
    else:
        for case, rate in result["rates"].items():
            low, middle, high = result["ratios"].get(case, (1.0, 1.0, 1.0))
            print(f"beside four {case:<24}{rate:>8,} answers/s, ratio {middle:.2f} ({low:.2f} to {high:.2f})")
    sys.exit(any(middle < LOWEST for _, middle, _ in result["ratios"].values()))


if __name__ == "__main__":
    main()
