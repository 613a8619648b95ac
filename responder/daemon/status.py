"""What a running server says of itself, as plain data: for `responderd status` and for metrics.

`take` reads a `ServerCore` at one moment; nothing of it is kept up between two calls, so that not being asked costs
nothing.  This is the one place that knows where a server keeps all this.
"""

from __future__ import annotations

import functools
import itertools
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ..datagram import IPAddress
from ..dispatch.binding import Binding
from ..dispatch.failures import plugin_failure
from ..errors import PluginError
from ..log import Repeated, get_logger
from ..net.memberships import claimed
from ..net.types import CountingSocket, Membership
from ..plugin import Transport
from ..server.live_ports import LivePort
from ..server.server import ServerCore
from ..server.supervisor import Supervised
from .recent_errors import ErrorStatus, RecentErrors

DISTRIBUTION = "responderd"
MAX_KINDS = 64
MAX_TOTAL = 2**64 - 1
MAX_NOTES = 64
MAX_NOTE = 400
"""Characters."""

_KIND = re.compile(r"[a-z0-9-]{1,64}")

_log = get_logger(__name__)

Found = TypeVar("Found")

CountsByInterface = dict[str, dict[str, dict[str, int]]]
"""instance -> interface -> outcome -> count."""


@attrs.frozen
class InstanceStatus:
    """One plugin instance; `state` is the supervisor's, `slowest` the seconds that its slowest `respond` took.

    `events` is what its handler counts itself, by kind (`Handler.counts`), `notes` what it says of itself
    (`Handler.notes`).
    """

    name: str
    plugin: str
    state: str
    restarts: int
    pending: int
    connections: int
    slowest: float
    last_error: ErrorStatus | None
    events: dict[str, int] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()


@attrs.frozen
class LatencyStatus:
    """How long the `respond` of a service took: (seconds, how many took no longer), how many in all, seconds in all."""

    plugin: str
    service: str
    buckets: tuple[tuple[float, int], ...]
    count: int
    total: float


@attrs.frozen
class PortStatus:
    """One socket; `address` None is the wildcard, `receive_buffer` (bytes) None where the platform does not tell.

    `events` is what the socket counts itself, by kind (`responder.net.types.CountingSocket`).
    """

    number: int
    address: str | None
    transports: tuple[str, ...]
    plugins: tuple[str, ...]
    receive_buffer: int | None
    kernel_drops: int
    events: dict[str, int] = attrs.field(factory=dict)


@attrs.frozen
class GroupStatus:
    """The multicast groups of a port on an interface: those it has, and those it should have.

    One that is joined for a source alone reads "232.1.1.1 from 192.0.2.1".
    """

    port: int
    interface: str
    joined: tuple[str, ...]
    missing: tuple[str, ...]


@attrs.frozen
class InterfaceStatus:
    """An interface of the host; `working`: it is up and has its link."""

    name: str
    working: bool
    addresses: tuple[str, ...]


@attrs.frozen
class WorkerStatus:
    """One of several processes that serve together; `state` "starting", "ready", "restarting" or "stopped"."""

    number: int
    pid: int
    state: str
    restarts: int


@attrs.frozen
class TrafficStatus:
    """The bytes of payload that came in by a port, answered or not, and that went out by it, as it has been served."""

    port: int
    transport: Transport
    received: int
    sent: int


@attrs.frozen
class BuildStatus:
    """What runs here; `compiled`: usual datagrams are answered by the compiled module."""

    version: str
    python: str = attrs.field(factory=lambda: ".".join(map(str, sys.version_info[:3])))
    system: str = attrs.field(factory=lambda: f"{platform.system()} {platform.release()}")
    compiled: bool = False


@attrs.frozen
class ReloadStatus:
    """How the last reload went, or the start where there was none yet; times in seconds of the real-time clock.

    attempted   when the configuration was last read
    successful  what was read is in force
    in_force    when the configuration in force was put in force
    """

    attempted: float
    successful: bool
    in_force: float


@attrs.frozen
class Status:
    """All of it.

    `uptime` in seconds; `ready` once every port answers; `failed` where a port ended by itself; `lingering` the
    instances that were replaced or removed but whose `run` goes on; `workers` none where this process serves itself.
    """

    build: BuildStatus
    pid: int
    uptime: float
    config: str | None
    ready: bool
    failed: bool
    lingering: tuple[str, ...]
    instances: tuple[InstanceStatus, ...]
    ports: tuple[PortStatus, ...]
    groups: tuple[GroupStatus, ...]
    group_failures: int
    counters: CountsByInterface
    latencies: tuple[LatencyStatus, ...]
    errors: tuple[ErrorStatus, ...]
    traffic: tuple[TrafficStatus, ...]
    reload: ReloadStatus
    workers: tuple[WorkerStatus, ...] = ()
    interfaces: tuple[InterfaceStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        plain = attrs.asdict(self, filter=attrs.filters.exclude("groups", "interfaces"))
        # Hosts with many interfaces have many of these, and attrs is slow where it looks for nested classes.
        many: dict[str, Any] = {
            "groups": [attrs.asdict(each, recurse=False) for each in self.groups],
            "interfaces": [attrs.asdict(each, recurse=False) for each in self.interfaces],
        }
        return {**plain, "version": self.build.version, **many, "not_ready": self.not_ready()}

    def not_ready(self) -> list[str]:
        """Why requests may go unanswered, a line each; empty: it is ready."""
        reasons = [] if self.ready else ["the ports are not open yet"]
        if self.failed:
            reasons.append("a port can no longer receive")
        reasons += [f"{each.name} is {each.state}" for each in self.instances if each.state != "ready"]
        reasons += [f"worker {each.number} is {each.state}" for each in self.workers if each.state != "ready"]
        return reasons


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # also where no descriptor is free to read it
        return "unknown"


@attrs.define
class Reloads:
    """Keeps how the last one went."""

    last: ReloadStatus = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        now = time.time()
        self.last = ReloadStatus(now, True, now)

    def note(self, successful: bool) -> None:
        now = time.time()
        self.last = ReloadStatus(now, successful, now if successful else self.last.in_force)


@attrs.frozen
class About:
    """What the daemon knows and its server does not; `started` on the monotonic clock."""

    config: Path | None = None
    version: str = attrs.field(factory=_version)
    reloads: Reloads = attrs.field(factory=Reloads)
    errors: RecentErrors = attrs.field(factory=RecentErrors)
    repeated: Repeated = attrs.field(factory=Repeated)
    started: float = attrs.field(factory=time.monotonic)


def take(server: ServerCore, about: About) -> Status:
    """The status now."""
    bindings, traffics = _bindings(server), server.counters.traffics()
    return Status(
        build=BuildStatus(about.version, compiled=any(live.opened.socket.answer for live in _live_ports(server))),
        pid=os.getpid(),
        uptime=time.monotonic() - about.started,
        config=None if about.config is None else str(about.config),
        ready=server.ready.is_set(),
        failed=server.failed,
        lingering=tuple(server.lingering()),
        instances=tuple(_instance(each, bindings, about) for each in server.instances),
        ports=tuple(map(_port, _live_ports(server))),
        groups=tuple(_groups(server)),
        group_failures=sum(live.memberships.failures for live in _live_ports(server)),
        counters=server.counters.snapshot(),
        latencies=tuple(_latencies(bindings)),
        errors=about.errors.latest(),
        traffic=tuple(
            TrafficStatus(port, transport, each["received"], each["sent"]) for port, transport, each in traffics
        ),
        reload=about.reloads.last,
        interfaces=tuple(
            InterfaceStatus(each.name, each.is_working, tuple(str(own.address) for own in each.addresses))
            for each in server.table
        ),
    )


def _live_ports(server: ServerCore) -> list[LivePort]:
    return list(server.ports.serving.values())


def _bindings(server: ServerCore) -> tuple[Binding, ...]:
    """Each once, though a service with several addresses has one binding on several ports."""
    return tuple(dict.fromkeys(binding for live in _live_ports(server) for binding in live.port.bindings))


def _instance(runtime: Supervised, bindings: Iterable[Binding], about: About) -> InstanceStatus:
    own = [binding for binding in bindings if binding.name == runtime.name]
    # Before its last error is looked for, which may come of these.
    events, notes = events_of(runtime, about.repeated), notes_of(runtime, about.repeated)
    return InstanceStatus(
        name=runtime.name,
        plugin=type(runtime.instance.plugin).__name__,
        state=runtime.state,
        restarts=runtime.restarts,
        pending=sum(binding.pending for binding in own),
        connections=sum(len(binding.connections) for binding in own),
        slowest=max((binding.slowest for binding in own), default=0.0),
        last_error=about.errors.of(runtime.name),
        events=events,
        notes=notes,
    )


def events_of(runtime: Supervised, repeated: Repeated) -> dict[str, int]:
    """What the handler counts; nothing, and a line in the log, where that fails."""
    return _asked(runtime, repeated, "counts", _checked, {})


def notes_of(runtime: Supervised, repeated: Repeated) -> tuple[str, ...]:
    """What the handler says of itself; nothing, and a line in the log, where that fails."""
    return _asked(runtime, repeated, "notes", _checked_notes, ())


def _asked(
    runtime: Supervised, repeated: Repeated, method: str, checked: Callable[[object], Found], nothing: Found
) -> Found:
    try:
        ask = getattr(runtime.handler, method, None)
        # Not every handler is a `Handler`, and a plugin may have an option of that name.
        return checked(ask()) if callable(ask) else nothing
    except BaseException as error:
        failure = plugin_failure(error)
        held_back = repeated.due((runtime.name, method))
        if held_back is not None:
            _log.error(f"{method} failed", exc_info=failure, plugin=runtime.name, held_back=held_back)
        return nothing


def _checked_notes(found: object) -> tuple[str, ...]:
    """The first ones, each as one line.  Raises PluginError, and whatever a strange iterable raises."""
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        raise PluginError(f"notes returned {type(found).__name__}, which is no iterable of strings")
    notes = tuple(itertools.islice(found, MAX_NOTES))
    for note in notes:
        if not isinstance(note, str):
            raise PluginError(f"notes returned {type(note).__name__} where a string belongs")
    return tuple(" ".join(note[:MAX_NOTE].split()) for note in notes)


def _checked(found: object) -> dict[str, int]:
    """Raises PluginError, and whatever a strange mapping raises."""
    if not isinstance(found, Mapping):
        raise PluginError(f"counts returned {type(found).__name__}, which is no mapping")
    if len(found) > MAX_KINDS:
        raise PluginError(f"counts returned {len(found)} kinds; {MAX_KINDS} are the most")
    events = dict(found)  # at once: a `blocking` service counts in other threads
    for kind, total in events.items():
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise PluginError(f"counts returned a kind that is not 1 to 64 of a-z, 0-9 and '-': {kind!r:.80}")
        if type(total) is not int or not 0 <= total <= MAX_TOTAL:
            raise PluginError(f"counts returned for {kind} what is no integer from 0 to 2**64-1")
    return events


def _port(live: LivePort) -> PortStatus:
    socket, listener = live.opened.socket, live.opened.listener
    return PortStatus(
        number=socket.port,
        address=None if socket.address is None else str(socket.address),
        transports=("udp",) * live.opened.udp + ("tcp",) * (listener is not None),
        plugins=tuple(dict.fromkeys(str(binding) for binding in live.port.bindings)),
        receive_buffer=socket.receive_buffer,
        kernel_drops=socket.kernel_drops,
        events=_events(live),
    )


def _events(live: LivePort) -> dict[str, int]:
    sides = live.opened.socket, live.opened.listener
    events = {kind: total for side in sides if isinstance(side, CountingSocket) for kind, total in side.counts.items()}
    failed_waits = live.port.sender.failed_waits.count
    return events | ({"failed-waits": failed_waits} if failed_waits else {})


def _groups(server: ServerCore) -> Iterator[GroupStatus]:
    for live in _live_ports(server):
        claims = [(binding.service.groups, binding.access.serves) for binding in live.port.bindings]
        most = len({group for groups, _ in claims for group in groups})
        joined: dict[int, list[Membership]] = {}
        for membership in live.memberships.joined:
            joined.setdefault(membership.interface, []).append(membership)
        for interface in server.table:
            here = joined.get(interface.index, [])
            # Where it has them all there is no need to work out which it should have.
            missing = claimed(claims, interface).difference(here) if len(here) < most else ()
            if here or missing:
                yield GroupStatus(live.opened.socket.port, interface.name, _names(here), _names(missing))


def _names(memberships: Iterable[Membership]) -> tuple[str, ...]:
    return tuple(sorted(_name(membership.group, membership.source) for membership in memberships))


@functools.lru_cache(256)
def _name(group: IPAddress, source: IPAddress | None) -> str:
    return str(group) if source is None else f"{group} from {source}"


def _latencies(bindings: Iterable[Binding]) -> Iterator[LatencyStatus]:
    for binding in bindings:
        latency = binding.latency
        if latency is not None:
            buckets = tuple(latency.cumulative())
            yield LatencyStatus(str(binding), binding.service.name, buckets, sum(latency.counts), latency.total)
