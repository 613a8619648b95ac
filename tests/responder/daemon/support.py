"""A status with something of everything."""

from __future__ import annotations

import attrs

from responder.daemon.status import (
    BuildStatus,
    GroupStatus,
    InstanceStatus,
    LatencyStatus,
    PortStatus,
    ReloadStatus,
    Status,
    TrafficStatus,
)
from responder.dispatch.outcomes import BOUNDS


def instance(name: str, state: str = "ready", restarts: int = 0) -> InstanceStatus:
    return InstanceStatus(name, "Dns", state, restarts, pending=2, connections=1, slowest=0.25, last_error=None)


STATUS = Status(
    build=BuildStatus("1.2", "3.12.1", "Linux 6.1", compiled=True),
    pid=7,
    uptime=60.5,
    config=None,
    ready=True,
    failed=False,
    lingering=(),
    instances=(attrs.evolve(instance("dns"), events={"formerr": 2**64 - 1}), instance("echo", restarts=3)),
    ports=(
        PortStatus(53, None, ("udp",), ("dns",), None, 5, {"failed-receives": 2}),
        PortStatus(53, "::1", ("udp",), ("dns",), None, 6),
    ),
    groups=(
        GroupStatus(53, "lan", joined=("224.0.0.251",), missing=()),
        GroupStatus(54, "lan", joined=("ff02::fb",), missing=()),
        GroupStatus(53, "guest0", joined=(), missing=("ff02::fb",)),
    ),
    group_failures=4,
    counters={"dns": {"lan": {"answered": 10, "off-link": 2}}, "-": {'a"\n\\b': {"denied": 1}}},
    latencies=(LatencyStatus("dns", "default", tuple((bound, 8) for bound in BOUNDS), 9, 1.5),),
    errors=(),
    traffic=(TrafficStatus(53, "udp", 1000, 5000), TrafficStatus(53, "tcp", 70, 80)),
    reload=ReloadStatus(attempted=1_700_000_060.5, successful=False, in_force=1_700_000_000.25),
)
