"""Several processes that serve together, as one status: counts are summed, states are those of the worst.

The counts of a process that has ended are kept (`departed`), so that no counter goes back because a worker died.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from typing import TypeVar

import attrs

from ...dispatch.outcomes import OTHER
from ..recent_errors import MAX_ERRORS
from ..status import (
    About,
    BuildStatus,
    CountsByInterface,
    InstanceStatus,
    LatencyStatus,
    PortStatus,
    Status,
    TrafficStatus,
    WorkerStatus,
)

Part = TypeVar("Part")


def combined(statuses: Sequence[Status]) -> Status:
    """The sum of one or more.  Version, process, config and time are the first's."""
    first = statuses[0]
    errors = sorted({error for each in statuses for error in each.errors}, key=lambda error: error.time)
    return attrs.evolve(
        first,
        ready=all(each.ready for each in statuses),
        failed=any(each.failed for each in statuses),
        lingering=tuple(dict.fromkeys(name for each in statuses for name in each.lingering)),
        instances=tuple(map(_instance, _alike([each.instances for each in statuses], lambda one: one.name))),
        ports=tuple(map(_port, _alike([each.ports for each in statuses], lambda one: (one.number, one.address or "")))),
        groups=tuple(group for each in statuses for group in each.groups),
        group_failures=sum(each.group_failures for each in statuses),
        counters=_counters(each.counters for each in statuses),
        latencies=tuple(
            map(_latency, _alike([each.latencies for each in statuses], lambda one: (one.plugin, one.service)))
        ),
        errors=tuple(errors[-MAX_ERRORS:]),
        build=attrs.evolve(first.build, compiled=any(each.build.compiled for each in statuses)),
        traffic=tuple(
            map(_traffic, _alike([each.traffic for each in statuses], lambda one: (one.port, one.transport)))
        ),
        # Each process sees the host's.
        interfaces=next((each.interfaces for each in statuses if each.interfaces), ()),
    )


def departed(status: Status) -> Status:
    """The part of a status that is kept when its process has ended: what it counted.

    The kernel's drops are not kept: the kernel counts them for the socket, which outlives the process.
    """
    return attrs.evolve(
        status,
        ready=True,
        failed=False,
        lingering=(),
        instances=tuple(
            attrs.evolve(each, state="ready", pending=0, connections=0, last_error=None, notes=())
            for each in status.instances
        ),
        ports=(),
        groups=(),
        errors=(),
        interfaces=(),
    )


def without_interfaces(status: Status, known: Container[str]) -> Status:
    """What stays of a process that ended long ago: its counts for interfaces that are not `known` count as `OTHER`."""
    counters: CountsByInterface = {}
    for instance, interfaces in status.counters.items():
        for interface, outcomes in interfaces.items():
            name = interface if interface in known else OTHER
            sums = counters.setdefault(instance, {}).setdefault(name, {})
            for outcome, count in outcomes.items():
                sums[outcome] = sums.get(outcome, 0) + count
    return attrs.evolve(status, counters=counters)


def together(
    about: About, workers: Sequence[WorkerStatus], present: Sequence[Status], gone: Sequence[Status]
) -> Status:
    """The status of this process, which serves nothing itself, with those of its workers and of departed ones."""
    own = Status(
        build=BuildStatus(about.version),
        pid=os.getpid(),
        uptime=time.monotonic() - about.started,
        config=None if about.config is None else str(about.config),
        ready=True,
        failed=False,
        lingering=(),
        instances=(),
        ports=(),
        groups=(),
        group_failures=0,
        counters={},
        latencies=(),
        errors=about.errors.latest(),
        traffic=(),
        reload=about.reloads.last,
        workers=tuple(workers),
    )
    # A reload that removes an instance leaves its counters, as without workers, and nothing else of it.
    names = {each.name for one in present for each in one.instances}
    remains = [
        attrs.evolve(one, instances=tuple(each for each in one.instances if not present or each.name in names))
        for one in gone
    ]
    return combined([own, *present, *remains])


def _alike(parts: Iterable[Iterable[Part]], key: Callable[[Part], Hashable]) -> list[list[Part]]:
    """Group the parts by their key; the groups are in the order in which their keys first come."""
    found: dict[Hashable, list[Part]] = {}
    for several in parts:
        for one in several:
            found.setdefault(key(one), []).append(one)
    return list(found.values())


def _instance(several: Sequence[InstanceStatus]) -> InstanceStatus:
    errors = [each.last_error for each in several if each.last_error is not None]
    return attrs.evolve(
        several[0],
        state=next((each.state for each in several if each.state != "ready"), "ready"),
        restarts=sum(each.restarts for each in several),
        pending=sum(each.pending for each in several),
        connections=sum(each.connections for each in several),
        slowest=max(each.slowest for each in several),
        last_error=max(errors, key=lambda error: error.time, default=None),
        events=_events(several),
        notes=tuple(dict.fromkeys(note for each in several for note in each.notes)),
    )


def _port(several: Sequence[PortStatus]) -> PortStatus:
    buffers = [each.receive_buffer for each in several if each.receive_buffer is not None]
    return attrs.evolve(
        several[0],
        receive_buffer=sum(buffers) if buffers else None,
        kernel_drops=sum(each.kernel_drops for each in several),
        events=_events(several),
    )


def _traffic(several: Sequence[TrafficStatus]) -> TrafficStatus:
    return attrs.evolve(
        several[0], received=sum(each.received for each in several), sent=sum(each.sent for each in several)
    )


def _events(several: Sequence[InstanceStatus | PortStatus]) -> dict[str, int]:
    return dict(sum((Counter(each.events) for each in several), Counter()))


def _latency(several: Sequence[LatencyStatus]) -> LatencyStatus:
    bounds = [bound for bound, _ in several[0].buckets]
    counts = (sum(counts) for counts in zip(*([count for _, count in each.buckets] for each in several), strict=True))
    return attrs.evolve(
        several[0],
        buckets=tuple(zip(bounds, counts, strict=True)),
        count=sum(each.count for each in several),
        total=sum(each.total for each in several),
    )


def _counters(several: Iterable[CountsByInterface]) -> CountsByInterface:
    result: CountsByInterface = {}
    for counters in several:
        for instance, interfaces in counters.items():
            for interface, outcomes in interfaces.items():
                sums = result.setdefault(instance, {}).setdefault(interface, {})
                for outcome, count in outcomes.items():
                    sums[outcome] = sums.get(outcome, 0) + count
    return result
