"""A status in Prometheus's text form: what /metrics says.

The hot path does nothing for it: a scrape reads the counters that dispatch keeps anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import attrs
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .status import Status

PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The form that every Prometheus reads; what newer ones add (names in UTF-8) isn't used here."""


def render(status: Status) -> bytes:
    """A status in Prometheus's text form, with the processes' own metrics where the platform has them."""
    return generate_latest(_Families(status))


@attrs.frozen(eq=False)
class _Families(Collector):
    status: Status

    def collect(self) -> Iterator[Metric]:
        yield from families(self.status)
        yield from processes([each.pid for each in self.status.workers if each.state == "ready"])


_SUMMED = frozenset({"process_cpu_seconds", "process_virtual_memory_bytes", "process_resident_memory_bytes"})


def processes(others: Sequence[int]) -> Iterator[Metric]:
    """This process's metrics; time and memory are those of `others`, process ids, as well."""
    own = list(ProcessCollector(registry=None).collect())
    theirs = [each for pid in others for each in ProcessCollector(pid=partial(int, pid), registry=None).collect()]
    for metric in own:
        if metric.name in _SUMMED:
            (sample,) = metric.samples
            more = sum(each.samples[0].value for each in theirs if each.name == metric.name)
            metric.samples = [sample._replace(value=sample.value + more)]
        yield metric


def families(status: Status) -> Iterator[Metric]:
    """Every metric.  `plugin` is the instance's name, `interface` the arrival interface's."""
    build = GaugeMetricFamily(
        "responderd_build_info", "1, with what runs here.", labels=["version", "python", "system", "compiled"]
    )
    of = status.build
    build.add_metric([of.version, of.python, of.system, str(of.compiled).lower()], 1)
    yield build
    yield GaugeMetricFamily("responderd_uptime_seconds", "Seconds since the start.", value=status.uptime)
    yield GaugeMetricFamily("responderd_ready", "1 where nothing stands in the way.", value=not status.not_ready())
    yield GaugeMetricFamily(
        "responderd_config_last_reload_successful",
        "1 where the configuration that was last read is in force.",
        value=status.reload.successful,
    )
    yield GaugeMetricFamily(
        "responderd_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was put in force, in seconds since 1970.",
        value=status.reload.in_force,
    )
    yield from _of_datagrams(status)
    yield from _of_instances(status)
    yield from _of_ports(status)
    if status.workers:
        yield from _of_workers(status)


def _of_datagrams(status: Status) -> Iterator[Metric]:
    datagrams = CounterMetricFamily(
        "responderd_datagrams",
        'What became of each datagram; plugin "-": none of several on the port took it.',
        labels=["plugin", "interface", "outcome"],
    )
    for plugin, interfaces in status.counters.items():
        for interface, outcomes in interfaces.items():
            for outcome, count in outcomes.items():
                datagrams.add_metric([plugin, interface, outcome], count)
    yield datagrams
    latencies = HistogramMetricFamily(
        "responderd_respond_seconds",
        "How long respond took; of an async answer, until it began.",
        labels=["plugin", "service"],
    )
    for each in status.latencies:
        buckets = [*((str(bound), count) for bound, count in each.buckets), ("+Inf", each.count)]
        latencies.add_metric([each.plugin, each.service], buckets, each.total)
    yield latencies


def _of_instances(status: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily("responderd_plugin_up", "1 where the instance is ready.", labels=["plugin"])
    restarts = CounterMetricFamily("responderd_restarts", "Crashes of run.", labels=["plugin"])
    pending = GaugeMetricFamily("responderd_pending_answers", "Async answers in flight.", labels=["plugin"])
    connections = GaugeMetricFamily("responderd_connections", "TCP connections in flight.", labels=["plugin"])
    slowest = GaugeMetricFamily("responderd_slowest_respond_seconds", "The slowest respond so far.", labels=["plugin"])
    events = CounterMetricFamily(
        "responderd_plugin_events", "What the plugin itself counts, by its own kinds.", labels=["plugin", "kind"]
    )
    for each in status.instances:
        up.add_metric([each.name], each.state == "ready")
        restarts.add_metric([each.name], each.restarts)
        pending.add_metric([each.name], each.pending)
        connections.add_metric([each.name], each.connections)
        slowest.add_metric([each.name], each.slowest)
        for kind, total in each.events.items():
            events.add_metric([each.name, kind], total)
    yield from (up, restarts, pending, connections, slowest, events)


def _of_workers(status: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily("responderd_worker_up", "1 where the worker serves.", labels=["worker"])
    restarts = CounterMetricFamily(
        "responderd_worker_restarts", "Ends of a worker that were not meant.", labels=["worker"]
    )
    for each in status.workers:
        up.add_metric([str(each.number)], each.state == "ready")
        restarts.add_metric([str(each.number)], each.restarts)
    yield from (up, restarts)


def _of_ports(status: Status) -> Iterator[Metric]:
    received = CounterMetricFamily(
        "responderd_received_bytes", "Bytes of payload that came in, answered or not.", labels=["port", "transport"]
    )
    sent = CounterMetricFamily("responderd_sent_bytes", "Bytes of payload that went out.", labels=["port", "transport"])
    for each in status.traffic:
        received.add_metric([str(each.port), each.transport], each.received)
        sent.add_metric([str(each.port), each.transport], each.sent)
    yield from (received, sent)
    drops = CounterMetricFamily(
        "responderd_kernel_drops", "Datagrams that the kernel had no room for.", labels=["port", "address"]
    )
    events = CounterMetricFamily(
        "responderd_port_events", "What a port's socket itself counts.", labels=["port", "address", "kind"]
    )
    for port in status.ports:
        labels = [str(port.number), port.address or "*"]
        drops.add_metric(labels, port.kernel_drops)
        for kind, total in port.events.items():
            events.add_metric([*labels, kind], total)
    yield from (drops, events)
    counts: dict[tuple[str, str], int] = {}
    for group in status.groups:
        # Both states of each interface: a series that comes and goes can't be watched.
        for state, names in (("joined", group.joined), ("missing", group.missing)):
            key = (group.interface, state)
            counts[key] = counts.get(key, 0) + len(names)
    memberships = GaugeMetricFamily(
        "responderd_memberships", "Multicast groups by interface.", labels=["interface", "state"]
    )
    for (interface, state), count in counts.items():
        memberships.add_metric([interface, state], count)
    yield memberships
    yield CounterMetricFamily(
        "responderd_membership_failures", "Joins and leaves that the system refused.", value=status.group_failures
    )
