"""Metrics for Prometheus, and health for whoever watches over the daemon, by HTTP.

    GET /metrics  counters and gauges in Prometheus's text form
    GET /health   200 while the event loop runs
    GET /ready    200, or 503 with a line for each reason why requests may go unanswered

The hot path does nothing for it: a scrape reads the counters that dispatch keeps anyway.  Each connection has one
request, and all is bounded: connections, bytes, time, how often there is anything to do.  Where all places are taken, a
new connection takes that of the one that has been silent for longest, so that idle ones keep nobody out.

Everything else is refused: other paths (404), other methods (405), names that are not this host's (421), what is no
HTTP (400), TLS.  Whoever may not read this must not reach it: bind it to a loopback or management address.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Final

import attrs
import h11
import trio
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..config.endpoint import Endpoint
from ..dispatch.connections import Connections
from ..dispatch.failures import only_the_peer
from ..errors import NetworkError
from ..log import Repeated, get_logger
from ..net.types import Accepted, Platform, StreamListener
from .paced import Paced
from .status import Status

MAX_CONNECTIONS = 16

MAX_HEADERS = 8192
"""Bytes of a request's line and headers."""

HEAD_PATIENCE = 1.0
"""Seconds that a client has to ask."""

PATIENCE = 5.0
"""Seconds for making the answer, and again for the client to read it."""

ACCEPT_PAUSE = 0.005
STATUS_PAUSE = 0.05
"""Seconds between two connections, and two readings: a flood of either costs a small part of the daemon's time."""

DRAIN = 0.5
"""Seconds to wait for the client to close: what it has yet to read of the answer is lost by a reset."""

TEXT: Final = "text/plain; charset=utf-8"
PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The form that every Prometheus reads; what newer ones add (names in UTF-8) isn't used here."""

_log = get_logger(__name__)


def open_exporter(platform: Platform, endpoint: Endpoint) -> StreamListener:
    """Bind.  Raises BindError, which names the port and, where that can be told, who has it."""
    return platform.open_tcp(endpoint.port, endpoint.address)


async def serve_exporter(
    listener: StreamListener, take: Callable[[], Status | Awaitable[Status]], names: Collection[str] = ()
) -> None:
    """Answer until cancelled; the listener is closed at the end.

    `take` gives the status of the moment; `names` are those that clients may call this host by.
    """
    exporter = _Exporter(Paced(take, STATUS_PAUSE), frozenset(map(_folded, names)))
    try:
        async with trio.open_nursery() as nursery:
            while True:
                accepted = await listener.accept()
                nursery.start_soon(exporter.serve, accepted)
                await trio.sleep(ACCEPT_PAUSE)
    except* NetworkError as group:
        # The daemon serves without it.
        _log.error("metrics can no longer be asked for", exc_info=group)
    finally:
        listener.close()


@attrs.frozen
class _Answer:
    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen(eq=False)
class _Exporter:
    _take: Paced[Status]
    _names: frozenset[str]
    _repeated: Repeated = attrs.field(factory=Repeated)
    _connections: Connections = attrs.field(factory=Connections)

    async def serve(self, accepted: Accepted) -> None:
        """One connection, to its end."""
        try:
            with self._connections.place(accepted.stream, accepted.flow, MAX_CONNECTIONS) as place:
                await self._converse(place.stream)
        except Exception as error:  # of one connection, which must not end the others
            held_back = None if only_the_peer(error) else self._repeated.due(type(error).__name__)
            if held_back is not None:
                _log.error("a metrics request failed", exc_info=error, held_back=held_back)
        finally:
            await trio.aclose_forcefully(accepted.stream)

    async def _converse(self, stream: trio.abc.HalfCloseableStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADERS)
        answer = None
        try:
            request = await self._head(http, stream)
        except h11.RemoteProtocolError as error:
            answer = _Answer(error.error_status_hint, b"bad request\n")
        else:
            if request is None:
                return
            with trio.move_on_after(PATIENCE):
                answer = await self._answer(request)
        if answer is None or http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        with trio.move_on_after(PATIENCE):
            await stream.send_all(_encode(http, answer))
            await stream.send_eof()
            with trio.move_on_after(DRAIN):
                while await stream.receive_some(MAX_HEADERS):
                    pass

    async def _head(self, http: h11.Connection, stream: trio.abc.HalfCloseableStream) -> h11.Request | None:
        """None where the client left without a request, or is slow.  Raises h11.RemoteProtocolError."""
        with trio.move_on_after(HEAD_PATIENCE):
            return await _request(http, stream)
        return None

    async def _answer(self, request: h11.Request) -> _Answer:
        if not self._is_ours(request):
            return _Answer(421, b"ask by an address, as localhost, or by one of metrics_names\n")
        if request.method != b"GET":
            # Without a body, which an answer to HEAD must not have.
            return _Answer(405, b"", headers=(("allow", "GET"),))
        path = request.target.partition(b"?")[0]
        if path not in {b"/metrics", b"/health", b"/ready"}:
            return _Answer(404, b"there are /metrics, /health and /ready\n")
        if path == b"/health":
            return _Answer(200, b"alive\n")
        status = await self._take()
        if path == b"/ready":
            reasons = status.not_ready()
            return _Answer(503 if reasons else 200, ("\n".join(reasons or ["ready"]) + "\n").encode())
        # In a thread: many interfaces make a long text, and the loop has datagrams to answer.
        body = await trio.to_thread.run_sync(render, status)
        return _Answer(200, body, PROMETHEUS_TEXT)

    def _is_ours(self, request: h11.Request) -> bool:
        """Is it asked of an address, or of a name of ours?

        A page in a browser can have a name of its own lead here (DNS rebinding), and read what is answered.
        """
        host = next((value.decode("ascii", "replace") for name, value in request.headers if name == b"host"), None)
        if host is None:  # HTTP/1.0, which browsers don't speak
            return True
        name = _folded(_PORT.sub("", host))
        try:
            ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name == "localhost" or name in self._names
        return True


_PORT: Final = re.compile(r":[0-9]*\Z")


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")


async def _request(http: h11.Connection, stream: trio.abc.HalfCloseableStream) -> h11.Request | None:
    """The request's head; None where the client left without one.  Raises h11.RemoteProtocolError."""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(MAX_HEADERS)))
        else:
            return event if isinstance(event, h11.Request) else None


def _encode(http: h11.Connection, answer: _Answer) -> bytes:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        ("connection", "close"),
        *answer.headers,
    ]
    parts = (
        http.send(h11.Response(status_code=answer.status, headers=headers)),
        http.send(h11.Data(data=answer.body)),
        http.send(h11.EndOfMessage()),
    )
    return b"".join(part or b"" for part in parts)


# Prometheus


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
