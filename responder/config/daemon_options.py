"""The options of the daemon itself: the table `[daemon]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

import attrs

from .endpoint import Endpoint
from .option_types import Duration, Kind, integer

MAX_WORKERS = 64

MetricsEndpoint: TypeAlias = Annotated[
    Endpoint, Kind("HOST:PORT", Endpoint.parse, example="localhost:9153, 192.0.2.1:9153 or [2001:db8::1]:9153")
]


@attrs.frozen(kw_only=True)
class DaemonOptions:
    """The table `[daemon]`.

    log      from which level on messages are logged
    grace    the time that plugins have for their goodbyes
    settle   how long an interface must have been quiet before plugins are told of its changes
    control  the socket of `responderd status`, `trace` and `reload`; none: they can't ask
    metrics  "HOST:PORT" of the Prometheus endpoint, also /health and /ready; none: there is none
    metrics_names  host names that it may be asked by, beside addresses and localhost
    metrics_page  a web page at its /, with the last datagrams too; none: where `metrics` is at a loopback address
    queries  log a line for each answer, with what was asked in the words of the plugin
    user     become this user once the ports are open
    state    where plugins keep state; none: the service manager's folder, or the user's
    workers  processes that share each port (`responder.daemon.workers`); 1: this one serves
    """

    RESTART_ONLY: ClassVar = (
        "control",
        "metrics",
        "metrics_names",
        "metrics_page",
        "user",
        "settle",
        "state",
        "workers",
    )
    """The keys that a reload can't change."""

    log: Literal["debug", "info", "warning", "error"] = "info"
    grace: Duration = attrs.field(default=2.0, metadata={"such_as": "5s"})
    settle: Duration = attrs.field(default=0.3, metadata={"such_as": "1s"})
    control: Path | None = attrs.field(default=None, metadata={"such_as": "/run/responderd/control.sock"})
    metrics: MetricsEndpoint | None = None
    metrics_names: tuple[str, ...] = attrs.field(default=(), metadata={"such_as": ["server.example.test"]})
    metrics_page: bool | None = attrs.field(default=None, metadata={"such_as": True})
    queries: bool = False
    user: str | None = attrs.field(default=None, metadata={"such_as": "responderd"})
    state: Path | None = attrs.field(default=None, metadata={"such_as": "/var/lib/responderd"})
    workers: Annotated[int, integer("number of processes", 1, MAX_WORKERS)] = attrs.field(
        default=1, metadata={"such_as": 4}
    )

    @property
    def shows_page(self) -> bool:
        """Is there a page?  Who asked what is not for everyone who may read counters."""
        address = None if self.metrics is None else self.metrics.address
        local = address is not None and address.is_loopback
        return local if self.metrics_page is None else self.metrics_page

    def needs_restart(self, new: DaemonOptions) -> list[str]:
        """The keys that differ in `new`, but which only a restart changes."""
        return [f"daemon.{key}" for key in self.RESTART_ONLY if getattr(new, key) != getattr(self, key)]


StateRoot: TypeAlias = Callable[[DaemonOptions], Path | None]


def no_state(_options: DaemonOptions) -> Path | None:
    return None
