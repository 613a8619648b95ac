"""Several statuses as one: sums, worst states, and counts that never go back."""

from __future__ import annotations

from typing import Any

import attrs
from prometheus_client.parser import text_string_to_metric_families

from responder.daemon.prometheus import render
from responder.daemon.recent_errors import ErrorStatus
from responder.daemon.status import (
    About,
    BuildStatus,
    InstanceStatus,
    LatencyStatus,
    PortStatus,
    ReloadStatus,
    Status,
    TrafficStatus,
    WorkerStatus,
)
from responder.daemon.workers.combined_status import combined, departed, together, without_interfaces


def error(time: float, message: str = "m") -> ErrorStatus:
    return ErrorStatus(time, "error", "dns", message)


def instance(name: str = "dns", state: str = "ready", last: ErrorStatus | None = None) -> InstanceStatus:
    return InstanceStatus(name, "Dns", state, 1, pending=2, connections=3, slowest=0.25, last_error=last)


def status(answered: int = 10, **changes: Any) -> Status:
    one = Status(
        build=BuildStatus("1.2", "3.12.1", "Linux 6.1"),
        pid=7,
        uptime=60.5,
        config=None,
        ready=True,
        failed=False,
        lingering=(),
        instances=(instance(),),
        ports=(
            PortStatus(53, None, ("udp", "tcp"), ("dns",), 4096, 5, {"failed-receives": 2}),
            PortStatus(53, "::1", ("udp",), (), None, 1),
        ),
        groups=(),
        group_failures=0,
        counters={"dns": {"lan": {"answered": answered}}},
        latencies=(LatencyStatus("dns", "default", ((0.1, 4), (1.0, 9)), 10, 2.5),),
        errors=(),
        traffic=(TrafficStatus(53, "udp", 100, 200),),
        reload=ReloadStatus(1.0, True, 1.0),
    )
    return attrs.evolve(one, **changes)


def test_what_is_counted_is_summed() -> None:
    sum_ = combined([status(), status(counters={"dns": {"lan": {"answered": 1, "rate": 2}, "wan": {"answered": 3}}})])
    assert sum_.counters == {"dns": {"lan": {"answered": 11, "rate": 2}, "wan": {"answered": 3}}}
    assert sum_.latencies == (LatencyStatus("dns", "default", ((0.1, 8), (1.0, 18)), 20, 5.0),)
    (dns,) = sum_.instances
    assert (dns.restarts, dns.pending, dns.connections, dns.slowest) == (2, 4, 6, 0.25)
    assert [(port.receive_buffer, port.kernel_drops) for port in sum_.ports] == [(8192, 10), (None, 2)]
    assert [port.events for port in sum_.ports] == [{"failed-receives": 4}, {}]


def test_what_one_says_of_itself_is_told_once_and_not_of_one_that_has_ended() -> None:
    (dns,) = status().instances
    one, other = (status(instances=(attrs.evolve(dns, notes=notes),)) for notes in (("a", "b"), ("b", "c")))
    assert combined([one, other]).instances[0].notes == ("a", "b", "c")
    assert combined([one, departed(other)]).instances[0].notes == ("a", "b")


def test_one_that_has_the_compiled_module_makes_a_daemon_that_has_it() -> None:
    assert not combined([status(), status()]).build.compiled
    assert combined([status(), status(build=BuildStatus("1.2", compiled=True))]).build.compiled


def test_the_worst_state_and_the_latest_error_are_shown() -> None:
    one = status(instances=(instance(last=error(2.0)),), errors=(error(2.0), error(4.0)))
    other = status(instances=(instance(state="restarting", last=error(3.0)),), errors=(error(3.0),), failed=True)
    sum_ = combined([one, other])
    assert (sum_.instances[0].state, sum_.instances[0].last_error) == ("restarting", error(3.0))
    assert [each.time for each in sum_.errors] == [2.0, 3.0, 4.0]
    assert sum_.failed
    assert "dns is restarting" in sum_.not_ready()


def test_what_a_dead_one_counted_stays() -> None:
    gone = combined([departed(status(7)), departed(status(5))])
    workers = (WorkerStatus(0, 11, "ready", 2),)
    now = together(About(version="1"), workers, [status(1)], [gone])
    assert now.counters == {"dns": {"lan": {"answered": 13}}}
    assert now.latencies[0].count == 30
    assert now.traffic == (TrafficStatus(53, "udp", 300, 600),)
    (dns,) = now.instances
    assert (dns.restarts, dns.pending, dns.connections) == (3, 2, 3)
    # The kernel counts a socket's drops, and the socket outlives the worker.
    assert now.ports == status().ports


def test_an_instance_that_is_removed_is_no_longer_shown() -> None:
    gone = departed(status(instances=(instance("old"), instance())))
    assert [each.name for each in together(About(version="1"), (), [status()], [gone]).instances] == ["dns"]


def test_with_no_worker_there_it_is_not_ready() -> None:
    now = together(About(version="1"), (WorkerStatus(0, 0, "restarting", 3),), [], [departed(status())])
    assert now.not_ready() == ["worker 0 is restarting"]
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(render(now).decode())
        for sample in family.samples
    }
    assert found["responderd_ready",] == 0
    assert found["responderd_worker_up", "0"] == 0
    assert found["responderd_worker_restarts_total", "0"] == 3


def test_interfaces_that_nobody_knows_any_more_are_counted_together() -> None:
    counters = {"dns": {"lan": {"answered": 1}, "veth1": {"answered": 2}, "veth2": {"answered": 3, "silent": 1}}}
    old = without_interfaces(attrs.evolve(status(), counters=counters), {"lan"})
    assert old.counters == {"dns": {"lan": {"answered": 1}, "other": {"answered": 5, "silent": 1}}}
