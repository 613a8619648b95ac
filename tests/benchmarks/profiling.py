"""Where our time goes: the daemon under the load of a row, looked at from outside.

    python -m tests.benchmarks profile [echo|async|dns|sources] [--seconds S]     (root, Linux; perf of linux-perf)

Three looks, each under a load of its own, since each disturbs a little: system calls an answer (perf stat), functions
and lines of Python (py-spy), and symbols of the interpreter, its libraries and the kernel (perf record).  A tool that
is not installed is left out by name.  What is looked at is slower than what is measured, so nothing here is compared.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from . import names, zones
from .comparing import Run
from .running import Bench, Server, echo_run

T = TypeVar("T")

TARGETS = ("echo", "async", "dns", "sources")
CALLS = ("recvmsg", "recvmmsg", "recvfrom", "sendmsg", "sendmmsg", "sendto", "epoll_wait", "epoll_ctl", "futex")
"""System calls that are counted by name beside all of them."""

TOP = 25
SAMPLES = 400  # a second


def target(bench: Bench, name: str) -> tuple[Server, Callable[[], Run]]:
    """A daemon of ours with what loads it for `bench.seconds`."""
    namespace = bench.lab.namespace("profile")
    if name != "dns":
        server = bench.ours(namespace, name, "async" if name == "async" else "plain")
        return server, lambda: echo_run(bench, server, sources=1 << 20 if name == "sources" else 0)
    names.require_dnsperf()
    count = names.QUERIES - names.QUERIES // 10
    zone, queries = bench.folder / "zone", bench.folder / "queries"
    zones.write_zone(zone, count)
    zones.write_queries(queries, count, names.QUERIES)
    server = names.ours(bench, namespace, "dns", zone, count)
    return server, lambda: names.ask(bench, server, queries, bench.seconds)


def under(load: Callable[[], Run], look: Callable[[], T]) -> tuple[Run, T]:
    """What the load saw, and what a look at the daemon found meanwhile."""
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(load)
        found = look()
        return running.result(), found


def _run(*argv: str) -> str:
    """Everything that a program says.  Raises RuntimeError with it where that fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: status {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def parse_perf_stat(said: str) -> dict[str, int]:
    """Events by name, of `perf stat -x,`: value, unit, event, ..."""
    counts = {}
    for line in said.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            counts[fields[2].removeprefix("raw_syscalls:").removeprefix("syscalls:").removeprefix("sys_enter_")] = int(
                fields[0]
            )
    return counts


def system_calls(pid: int, seconds: float) -> dict[str, int]:
    events = ",".join(["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{call}" for call in CALLS)])
    return parse_perf_stat(_run("perf", "stat", "-x,", "-e", events, "-p", str(pid), "--", "sleep", str(seconds)))


def parse_stacks(raw: str) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Samples of collapsed stacks ("frame;frame;frame count", innermost last; a frame is "function (file:line)").

    Returns them by innermost line, by innermost function, and by every function on the stack.  Threads other than the
    main one are left out: ours all wait.
    """
    by_line: Counter[str] = Counter()
    by_function: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith("process ")]
        if not frames or frames[0].startswith("Thread._bootstrap"):
            continue
        number = int(count)
        by_line[frames[-1]] += number
        functions = [re.sub(r":[0-9]+\)$", ")", frame) for frame in frames]
        by_function[functions[-1]] += number
        inclusive.update(dict.fromkeys(functions, number))
    return by_line, by_function, inclusive


def stacks(bench: Bench, pid: int, seconds: float) -> str:
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    target = bench.folder / "stacks"
    options = ["-f", "raw", "-r", str(SAMPLES), "-d", str(max(1, round(seconds))), "-o", str(target), "-p", str(pid)]
    _run(program, "record", *options)
    return target.read_text()


def symbols(bench: Bench, pid: int, seconds: float) -> list[str]:
    data = str(bench.folder / "perf.data")
    _run(
        "perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", data, "-p", str(pid), "--", "sleep", str(seconds)
    )
    said = _run("perf", "report", "--stdio", "-q", "-i", data, "--no-children", "-s", "dso,symbol")
    return [line.strip(" -") for line in said.splitlines() if re.match(r"\s+[0-9]", line)]


def table(title: str, counts: Counter[str], whole: int) -> Iterator[str]:
    """The largest, as shares of `whole`; what is on every stack says nothing."""
    yield f"\n{title}"
    telling = [(name, count) for name, count in counts.most_common() if count < 0.95 * whole]
    yield from (f"  {count / whole:>6.1%}  {name}" for name, count in telling[:TOP])


def profile(bench: Bench, name: str) -> Iterator[str]:
    """Lines to print, as they are known."""
    server, load = target(bench, name)
    load()  # once, for what is made up when it is first asked
    window = bench.seconds * 0.8
    run = load()
    counts: dict[str, int] = {}
    if shutil.which("perf"):
        counted, counts = under(load, lambda: system_calls(server.pid, window))
    yield f"{name}: {run.rate:,.0f} answers/s, CPU {run.cpu_us:.2f} us each ({run.user_us:.2f} us outside the kernel)"
    if counts:
        calls = {call: count / window / counted.rate for call, count in counts.items() if count}
        yield "system calls an answer: " + ", ".join(
            f"{'all' if call == 'sys_enter' else call} {share:.3f}" for call, share in calls.items()
        )
    if shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy"):
        _, raw = under(load, lambda: stacks(bench, server.pid, window))
        by_line, by_function, inclusive = parse_stacks(raw)
        whole = by_line.total()
        yield from table("Python: time of a line itself", by_line, whole)
        yield from table("Python: time of a function itself", by_function, whole)
        yield from table("Python: time of a function with what it calls", inclusive, whole)
    else:
        yield "py-spy is not installed (pip install '.[benchmark]')"
    if shutil.which("perf"):
        _, found = under(load, lambda: symbols(bench, server.pid, window))
        yield "\nInterpreter, libraries and kernel: time of a symbol itself"
        yield from (f"  {line}" for line in found[:TOP])
    else:
        yield "perf is not installed (Debian: linux-perf)"
