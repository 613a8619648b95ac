"""The rows of the echo: a rate with the core full, and latency at a tenth of it.

    python -m tests.benchmarks echo --force --repeat 3 --seconds 1      (a quick look while working on the hot path)

Ours runs by the public contract with pktinfo, an allow and a deny list, the metrics endpoint and the control socket;
the Python peers choose no source, the C loops do.  This file refuses to interpret what it measures.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys

from .comparing import Goal, Result, alternate
from .running import Bench, Server, echo_run, latency_run

PYTHON_PEERS = ("blocking", "uvloop", "asyncio", "trio")

ECHO = (
    Goal("echo against uvloop", "ours", "uvloop", at_least=1.0),
    Goal("echo against the C batch loop", "ours", "C batch", at_least=0.75),
    Goal("echo against asyncio", "ours", "asyncio", at_least=5),
    Goal("async respond against trio.socket", "ours, async", "trio", at_least=1.5),
    Goal("bundled echo against uvloop", "ours, bundled echo", "uvloop"),
    Goal("echo against the C single loop", "ours", "C single"),
    Goal("echo against blocking Python", "ours", "blocking"),
)

LATENCY = (
    Goal("median latency against the C loop", "ours", "C batch", field="median_us", at_most=1.5),
    Goal("99th percentile against the C loop", "ours", "C batch", field="p99_us", at_most=1.5),
)


def echo(bench: Bench) -> Result:
    """Echoes a second, one core, 128 requests in flight."""
    namespace = bench.lab.namespace("echo")
    servers = {
        "ours": bench.ours(namespace, "plain", "plain"),
        "ours, async": bench.ours(namespace, "async", "async"),
        "ours, bundled echo": bench.ours(namespace, "echo", "echo"),
    }
    missing = {}
    for kind in ("batch", "single"):
        port = bench.port()
        pid = bench.child(namespace, str(bench.native("loops")), kind, str(port))
        servers[f"C {kind}"] = Server(f"C {kind}", namespace, port, pid)
    for kind in PYTHON_PEERS:
        if kind == "uvloop" and importlib.util.find_spec("uvloop") is None:
            missing[kind] = "uvloop is not installed (pip install '.[benchmark]')"
            continue
        port = bench.port()
        pid = bench.child(namespace, sys.executable, "-m", "tests.benchmarks.python_loops", kind, str(port))
        servers[kind] = Server(kind, namespace, port, pid)
    measures = {name: lambda server=server: echo_run(bench, server) for name, server in servers.items()}
    return Result("echo", "Echo, answers a second", alternate(measures, bench.rounds), ECHO, missing)


def latency(bench: Bench) -> Result:
    """Latency at a tenth of our capacity; the C loop gets the same load."""
    namespace = bench.lab.namespace("latency")
    ours = bench.ours(namespace, "latency", "plain")
    port = bench.port()
    c_loop = Server("C batch", namespace, port, bench.child(namespace, str(bench.native("loops")), "batch", str(port)))
    capacity = statistics.median(echo_run(bench, ours).rate for _ in range(3))
    rate = round(capacity / 10, -2)
    measures = {
        "ours": lambda: latency_run(bench, ours, rate),
        "C batch": lambda: latency_run(bench, c_loop, rate),
    }
    title = f"Echo, median latency at {rate:,.0f} requests a second, a tenth of our capacity"
    return Result("latency", title, alternate(measures, bench.rounds), LATENCY)
