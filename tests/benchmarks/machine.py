"""The machine: its cores, what it is, and whether anything else was at work on it.

Load is CPU time of processes that are not ours, taken from /proc/PID/stat, and time that the hypervisor took, from
/proc/stat; both in shares of one core.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import click

if sys.platform == "linux":
    TICKS = os.sysconf("SC_CLK_TCK")  # of /proc's times, a second
else:
    TICKS = 100  # imported there only by type checkers and by tests of what is pure

PROC = Path("/proc")

LIMIT = 0.05
"""Of one core, that other processes may use before a measurement counts as disturbed."""

STOLEN_LIMIT = 0.25
"""Of one core, that the hypervisor may take.  More is allowed: on a rented machine some is always taken while both
cores are full, from ours and from the peers alike, and each run tells how much."""


def cores() -> tuple[int, int]:
    """The server's core and the load generator's.  Raises ClickException where there are fewer than two."""
    if sys.platform != "linux":
        raise click.ClickException("the benchmarks need Linux")
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise click.ClickException("two cores are needed: one for the server, one for the load")
    return mine[0], mine[1]


def cpu_model() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def description() -> dict[str, str | int]:
    """What a reader must know to judge the numbers."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "system": _system(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


@attrs.frozen
class Process:
    """CPU seconds of one process, its own and those of children that it has waited for."""

    name: str
    parent: int
    user: float
    system: float
    waited: float

    @property
    def own(self) -> float:
        return self.user + self.system

    @property
    def total(self) -> float:
        return self.own + self.waited


def parse_stat(text: str) -> Process:
    """One /proc/PID/stat (proc(5)); the name is in parentheses and may itself contain some."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    user, system, waited_user, waited_system = (int(field) / TICKS for field in fields[11:15])
    return Process(head.partition("(")[2], int(fields[1]), user, system, waited_user + waited_system)


def processes() -> dict[int, Process]:
    """All of them, by process id."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = parse_stat((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def descendants(of: Mapping[int, Process], ancestor: int) -> set[int]:
    """The process ids of `ancestor` and all below it."""
    ours = {ancestor}
    while more := {pid for pid, process in of.items() if process.parent in ours} - ours:
        ours |= more
    return ours


def used_by(pid: int) -> tuple[float, float]:
    """User and system seconds of a process and all below it (NSD answers in a child)."""
    found = processes()
    tree = [found[each] for each in descendants(found, pid) if each in found]
    return sum(each.user for each in tree), sum(each.system for each in tree)


def memory_of(pid: int) -> float:
    """MiB of a process and all below it: what is each one's own, and what they share once.

    Not the sum of proportional shares: a child that is made just now would be missing from it.
    """
    own, shared = 0, [0]
    for each in descendants(processes(), pid):
        fields = dict(re.findall(r"(\w+): +([0-9]+) kB", Path(f"/proc/{each}/smaps_rollup").read_text()))
        own += int(fields["Private_Clean"]) + int(fields["Private_Dirty"])
        shared.append(int(fields["Shared_Clean"]) + int(fields["Shared_Dirty"]))
    return (own + max(shared)) / 1024


@attrs.frozen
class Snapshot:
    """The machine at one moment: CPU seconds of others by process id, and of the cores."""

    time: float
    others: Mapping[int, Process]
    idle: Mapping[int, float]
    """Seconds by core."""
    stolen: float

    @classmethod
    def take(cls) -> Snapshot:
        found = processes()
        # Kernel threads (parent 2) work for whoever sends: for us as well.
        ours = descendants(found, os.getpid())
        others = {pid: each for pid, each in found.items() if pid not in ours and pid != 2 and each.parent != 2}
        idle, stolen = parse_cores((PROC / "stat").read_text())
        return cls(time.monotonic(), others, idle, stolen)


def parse_cores(text: str) -> tuple[dict[int, float], float]:
    """Of /proc/stat: idle seconds by core, and the seconds that the hypervisor took from all of them."""
    idle, stolen = {}, 0.0
    for line in text.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            numbers = [int(field) / TICKS for field in fields]
            idle[int(name.removeprefix("cpu"))] = numbers[3] + numbers[4]
            stolen += numbers[7]
    return idle, stolen


@attrs.frozen
class Load:
    """What was at work between two snapshots beside us, in shares of one core."""

    others: float
    stolen: float
    busiest: tuple[tuple[str, float], ...] = ()
    idle: Mapping[int, float] = attrs.field(factory=dict)
    """By core: the share of the time that it had nothing to do."""

    @classmethod
    def between(cls, before: Snapshot, after: Snapshot) -> Load:
        """What ended in between shows in its parent's time, if that waited for it, so the totals are compared."""
        elapsed = max(after.time - before.time, 1e-6)
        total = sum(each.total for each in after.others.values()) - sum(each.total for each in before.others.values())
        shares = []
        for pid, process in after.others.items():
            earlier = before.others.get(pid)
            shares.append((process.name, (process.own - (earlier.own if earlier else 0.0)) / elapsed))
        shares.sort(key=lambda each: -each[1])
        return cls(
            max(0.0, total / elapsed),
            (after.stolen - before.stolen) / elapsed,
            tuple((name, round(share, 3)) for name, share in shares[:3] if share > 0.005),
            {core: (after.idle[core] - before.idle[core]) / elapsed for core in after.idle if core in before.idle},
        )

    @property
    def disturbs(self) -> bool:
        return self.others > LIMIT or self.stolen > STOLEN_LIMIT

    def __str__(self) -> str:
        words = [f"{name} {share:.0%}" for name, share in self.busiest]
        named = f" ({', '.join(words)})" if words else ""
        return f"other processes used {self.others:.0%} of a core{named}, the hypervisor took {self.stolen:.0%}"


def watch(seconds: float) -> Load:
    """The machine's load while we do nothing for so long."""
    before = Snapshot.take()
    time.sleep(seconds)  # a measurement of the machine, not a wait for something to happen
    return Load.between(before, Snapshot.take())
