"""The rows of the echo: a rate with the core full, and latency at a tenth of it.

    python -m tests.benchmarks echo --force --repeat 3 --seconds 1      (a quick look while working on the hot path)

Ours runs by the public contract with pktinfo, an allow and a deny list, the metrics endpoint and the control socket;
of the Python peers `pktinfo` alone chooses the source, the C loops do.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys

from .comparing import Goal, Result, alternate
from .running import Bench, Server, echo_run, latency_run

PYTHON_PEERS = ("blocking", "pktinfo", "uvloop", "asyncio", "trio")

ECHO = (
    Goal("payload only against the C batch loop", "payload", "C batch", at_least=0.88),
    Goal("bundled echo against the C batch loop", "echo", "C batch", at_least=0.80),
    Goal("payload only against a C loop that sends segments too", "payload", "C segments"),
    Goal("user CPU: peer read against payload only", "peer", "payload", field="user_us", at_most=1.5),
    Goal("user CPU: six fields against payload only", "six fields", "payload", field="user_us", at_most=2),
    Goal("user CPU: all fields against payload only", "all fields", "payload", field="user_us", at_most=3),
    Goal("bundled echo against uvloop", "echo", "uvloop", at_least=1.35),
    Goal("payload only, without a compiler, against uvloop", "not compiled", "uvloop", at_least=0.65),
    Goal("payload only, without a compiler, against recvmsg and sendmsg alone", "not compiled", "pktinfo"),
    Goal("recvmsg and sendmsg alone, by Python, against uvloop", "pktinfo", "uvloop"),
    Goal("async with a checkpoint against trio.socket", "async, waits", "trio", at_least=1.2),
    Goal("async that never waits against trio.socket", "async", "trio", at_least=1.5),
    Goal("payload only against asyncio", "payload", "asyncio"),
    Goal("bundled echo against uvloop, rate", "echo", "uvloop", field="rate"),
)

OURS = {
    "payload": "plain",
    "peer": "peer",
    "six fields": "six-fields",
    "all fields": "all-fields",
    "echo": "echo",
    "async": "async",
    "async, waits": "waits",
}
"""Servers with their plugins."""

WORKERS = (Goal("CPU: two workers against one process", "two workers", "one process", field="cpu_us", at_most=1.1),)

SOURCES = (
    Goal("CPU: 2**20 sources against 2**8", "2**20 sources", "2**8 sources", field="cpu_us", at_most=2),
    Goal("CPU: 2**13 sources against 2**8", "2**13 sources", "2**8 sources", field="cpu_us"),
    Goal("CPU: 2**20 sources against 2**8, C batch loop", "C batch, 2**20", "C batch, 2**8", field="cpu_us"),
)

LATENCY = (
    Goal("median latency against the C loop", "ours", "C batch", field="median_us", at_most=1.5),
    Goal("99th percentile against the C loop", "ours", "C batch", field="p99_us", at_most=1.5),
)


def echo(bench: Bench) -> Result:
    """Echoes, one core, 128 requests in flight."""
    namespace = bench.lab.namespace("echo")
    servers = {name: bench.ours(namespace, plugin, plugin) for name, plugin in OURS.items()}
    off = {"RESPONDER_COMPILED": "off"}
    servers["not compiled"] = bench.ours(namespace, "not-compiled", "plain", environment=off)
    missing = {}
    for kind in ("batch", "segments", "single"):
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
    return Result("echo", "Echo", alternate(measures, bench.rounds), ECHO, missing)


def workers(bench: Bench) -> Result:
    """What sharing a port costs: two processes against one, on the same core."""
    namespace = bench.lab.namespace("workers")
    servers = {
        "one process": bench.ours(namespace, "one", "echo"),
        "two workers": bench.ours(namespace, "two", "echo", daemon="workers = 2"),
    }
    measures = {name: lambda server=server: echo_run(bench, server) for name, server in servers.items()}
    return Result("workers", "Echo, two workers", alternate(measures, bench.rounds), WORKERS)


def sources(bench: Bench) -> Result:
    """Peers that ask in turn, each from an address of its own: few, more than our tables hold, and as a flood."""
    namespace = bench.lab.namespace("sources")
    server = bench.ours(namespace, "sources", "echo")
    measures = {
        f"2**{bits} sources": lambda bits=bits: echo_run(bench, server, sources=1 << bits) for bits in (8, 13, 20)
    }
    port = bench.port()
    loop = Server("C batch", namespace, port, bench.child(namespace, str(bench.native("loops")), "batch", str(port)))
    measures |= {f"C batch, 2**{bits}": lambda bits=bits: echo_run(bench, loop, sources=1 << bits) for bits in (8, 20)}
    return Result("sources", "Echo, by number of sources", alternate(measures, bench.rounds), SOURCES)


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
