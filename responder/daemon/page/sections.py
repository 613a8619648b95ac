"""What the page shows of a status: a section each, by its id.  Everything goes through `markup`, which escapes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final

import attrs

from ...datagram import Peer
from ...dispatch.outcomes import REASONS
from ..figures import clock, duration, rate, rates, size
from ..rates import Rates, answered
from ..status import Status
from .chart import chart
from .markup import Markup, joined, tag

MAX_ROWS = 100
"""Rows of a table: a host may have thousands of interfaces, and `responderd status` shows all."""

SECTIONS: Final = {
    "state": "Daemon",
    "rates": "Now",
    "plugins": "Plugins",
    "notes": "What plugins say of themselves",
    "interfaces": "Interfaces and groups",
    "errors": "Last warnings and errors",
    "datagrams": "Last datagrams",
    "outcomes": "Outcomes",
    "times": "How long answers took",
    "ports": "Ports",
    "workers": "Workers",
}
"""Their titles by their ids, in the order of the page."""


@attrs.frozen
class Shown:
    """What is shown: the status, the rates up to it, and some of the last datagrams, the newest first."""

    status: Status
    seen: Rates
    datagrams: Sequence[Mapping[str, Any]]


@attrs.frozen
class Column:
    """A column of a table, of numbers, or of what is better read in letters of one width; `minor`: not on a phone."""

    name: str
    kind: str = ""
    minor: bool = False

    @property
    def classes(self) -> str | None:
        return " ".join(filter(None, (self.kind, "minor" if self.minor else ""))) or None


def sections(shown: Shown) -> dict[str, Markup]:
    """The content of each of `SECTIONS` that this daemon has."""
    made: dict[str, Callable[[Shown], Markup]] = {
        "state": _state,
        "rates": _rates,
        "plugins": _plugins,
        "notes": _notes,
        "interfaces": _interfaces,
        "errors": _errors,
        "datagrams": _datagrams,
        "outcomes": _outcomes,
        "times": _times,
        "ports": _ports,
    }
    if shown.status.workers:
        made["workers"] = _workers
    return {name: make(shown) for name, make in made.items()}


def _state(shown: Shown) -> Markup:
    status = shown.status
    reasons = status.not_ready()
    reload, build = status.reload, status.build
    state = tag("span", "ready", class_="good") if not reasons else tag("span", "; ".join(reasons), class_="bad")
    last = f"in force since {clock(reload.in_force)}"
    if not reload.successful:
        last = f"refused at {clock(reload.attempted)}; that of {clock(reload.in_force)} is in force"
    return _facts(
        {
            "State": state,
            "Up": duration(status.uptime),
            "Configuration": f"{status.config or 'the embedded default'}, {last}",
            "Version": f"{build.version}, {'compiled' if build.compiled else 'not compiled'}",
            "Runs on": f"Python {build.python}, {build.system.partition(' ')[0]}",
            "Process": status.pid,
        }
    )


def _rates(shown: Shown) -> Markup:
    seen = shown.seen
    total = sum(seen.by_outcome.values())
    facts = _facts(
        {
            "Answered a second": rate(answered(seen.by_outcome)),
            "Otherwise a second": rate(total - answered(seen.by_outcome)),
            "Bytes a second, in": size(seen.received),
            "Bytes a second, out": size(seen.sent),
            "Seen": "since the start" if seen.since_start else f"over {duration(seen.span)}",
        }
    )
    points = [(point.at, point.total) for point in seen.history]
    highest = rate(max((value for _, value in points), default=0.0))
    caption = f"Datagrams a second in the last two minutes, all outcomes together; {highest} at most"
    line = chart(points, shown.status.uptime, "all")
    return joined([facts, tag("figure", line, tag("figcaption", caption))])


def _workers(shown: Shown) -> Markup:
    return _table(
        [Column("worker", "number"), Column("state"), Column("process", "number"), Column("restarts", "number")],
        [(each.number, _state_of(each.state), each.pid, each.restarts) for each in shown.status.workers],
        "There is none.",
    )


def _plugins(shown: Shown) -> Markup:
    states = {each.name: each for each in shown.status.instances}
    by_plugin = shown.seen.by_plugin
    rows: list[Sequence[object]] = []
    for name in dict.fromkeys((*states, *by_plugin)):
        each, here = states.get(name), by_plugin.get(name, {})
        points = [(point.at, point.by_plugin.get(name, 0.0)) for point in shown.seen.history]
        line = chart(points, shown.status.uptime, name) if len(rows) < MAX_ROWS else ""
        own: tuple[object, ...] = ("",) * 7
        if each is not None:
            error = each.last_error
            own = (
                *(each.plugin, _state_of(each.state), each.pending, each.connections),
                *(duration(each.slowest) if each.slowest else "", each.restarts),
                "" if error is None else f"{clock(error.time)} {error.message}",
            )
        kind, state, *others = own
        rows.append((name, kind, state, rate(answered(here)), rates(here, but="answered"), line, *others))
    return _table(
        [
            *(Column("plugin"), Column("kind", minor=True), Column("state"), Column("answered/s", "number")),
            *(Column("otherwise/s"), Column("two minutes"), Column("pending", "number", minor=True)),
            *(Column("connections", "number", minor=True), Column("slowest", "number", minor=True)),
            *(Column("restarts", "number", minor=True), Column("last error", minor=True)),
        ],
        rows,
        "There is none.",
    )


def _notes(shown: Shown) -> Markup:
    return _table(
        [Column("plugin"), Column("says")],
        [(each.name, note) for each in shown.status.instances for note in each.notes],
        "Nothing.",
    )


def _datagrams(shown: Shown) -> Markup:
    rows = [
        (
            _time(each["time"], "milliseconds"),
            _peer(each),
            _asked(each),
            each["interface"],
            each["plugin"],
            each["outcome"] + (f" ({each['reason']})" if each["reason"] else ""),
            " ".join(f"{name}={word}" for name, word in each["words"].items()),
            "" if each["bytes"] is None else each["bytes"],
            sum(answer["bytes"] for answer in each["answers"]) or "",
        )
        for each in shown.datagrams
    ]
    return _table(
        [
            *(Column("at"), Column("peer", "code"), Column("asked", "code", minor=True)),
            *(Column("interface", minor=True), Column("plugin"), Column("outcome"), Column("said", "code")),
            *(Column("in", "number", minor=True), Column("out", "number", minor=True)),
        ],
        rows,
        "None was seen yet: they are kept from the first look at this page on, and of many a part.",
    )


def _peer(datagram: Mapping[str, Any]) -> str:
    return str(Peer(ip_address(datagram["peer"]), datagram["peer_port"], datagram["scope_id"]))


def _asked(datagram: Mapping[str, Any]) -> str:
    transport = "" if datagram["transport"] == "udp" else f" {datagram['transport']}"
    if datagram["destination"] is None:
        return f"port {datagram['port']}{transport}"
    return f"{Peer(ip_address(datagram['destination']), datagram['port'])}{transport}"


def _interfaces(shown: Shown) -> Markup:
    status, by_interface = shown.status, shown.seen.by_interface
    known = {each.name: each for each in status.interfaces}
    joined_groups: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for group in status.groups:
        joined_groups.setdefault(group.interface, []).extend(group.joined)
        missing.setdefault(group.interface, []).extend(group.missing)
    names = sorted(
        {*known, *joined_groups, *by_interface},
        key=lambda name: (not missing.get(name), -sum(by_interface.get(name, {}).values()), name),
    )
    rows = []
    for name in names[: MAX_ROWS + 1]:
        each, here = known.get(name), by_interface.get(name, {})
        rows.append(
            (
                name,
                "" if each is None else "up" if each.working else tag("span", "down", class_="quiet"),
                "" if each is None else _lines(each.addresses),
                *(rate(answered(here)), rates(here, but="answered"), _lines(joined_groups.get(name, ()))),
                tag("span", _lines(missing.get(name, ())), class_="bad"),
            )
        )
    return _table(
        [
            *(Column("interface"), Column("link"), Column("addresses", "code", minor=True)),
            *(Column("answered/s", "number"), Column("otherwise/s"), Column("groups joined", "code", minor=True)),
            Column("missing"),
        ],
        rows,
        "There is none.",
        left_out=len(names) - len(rows),
    )


def _ports(shown: Shown) -> Markup:
    traffic: dict[int, list[int]] = {}
    for each in shown.status.traffic:
        sums = traffic.setdefault(each.port, [0, 0])
        sums[0] += each.received
        sums[1] += each.sent
    rows = [
        (
            *(port.number, port.address or "*", " ".join(port.transports), ", ".join(port.plugins)),
            *(size(each) for each in traffic.get(port.number, (0, 0))),
            *(port.kernel_drops, "" if port.receive_buffer is None else size(port.receive_buffer)),
        )
        for port in shown.status.ports
    ]
    return _table(
        [
            *(Column("port", "number"), Column("address", "code"), Column("transport"), Column("plugins")),
            *(Column("in", "number", minor=True), Column("out", "number", minor=True)),
            *(Column("kernel drops", "number"), Column("receive buffer", "number", minor=True)),
        ],
        rows,
        "None is open.",
    )


def _outcomes(shown: Shown) -> Markup:
    totals: dict[str, int] = {}
    for interfaces in shown.status.counters.values():
        for outcomes in interfaces.values():
            for outcome, count in outcomes.items():
                totals[outcome] = totals.get(outcome, 0) + count
    now = shown.seen.by_outcome
    return _table(
        [Column("outcome"), Column("a second", "number"), Column("in all", "number"), Column("why", minor=True)],
        [
            (outcome, rate(now.get(outcome, 0.0)), f"{totals[outcome]:,}", REASONS.get(outcome, ""))
            for outcome in sorted(totals, key=lambda outcome: -totals[outcome])
        ],
        "Nothing came yet.",
    )


def _times(shown: Shown) -> Markup:
    return _table(
        [
            *(Column("plugin"), Column("service"), Column("calls a second", "number"), Column("mean", "number")),
            Column("99 of 100 within", "number"),
        ],
        [
            (
                *(each.plugin, each.service, rate(each.calls), duration(each.mean)),
                "more" if math.isinf(each.most) else duration(each.most),
            )
            for each in shown.seen.times
        ],
        "No answer was timed in this time.",
    )


def _errors(shown: Shown) -> Markup:
    return _table(
        [Column("at"), Column("level"), Column("plugin"), Column("message")],
        [
            (_time(each.time), tag("span", each.level, class_="bad"), each.plugin, each.message)
            for each in reversed(shown.status.errors)
        ],
        "There were none.",
    )


# Parts


def _facts(facts: Mapping[str, object]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", fact)) for name, fact in facts.items()))


def _state_of(state: str) -> Markup:
    return tag("span", state, class_="good" if state == "ready" else "bad")


def _time(timestamp: float, timespec: str = "seconds") -> Markup:
    return tag("time", clock(timestamp, timespec))


def _lines(lines: Iterable[str]) -> Markup:
    return joined([tag("div", line) for line in lines])


def _table(columns: Sequence[Column], rows: Sequence[Sequence[object]], none: str, left_out: int = 0) -> Markup:
    """A table whose first column names the row; a sentence where there are no rows."""
    if not rows:
        return tag("p", none, class_="quiet")
    left_out += max(0, len(rows) - MAX_ROWS)
    head = tag("tr", *(tag("th", each.name, scope="col", class_=each.classes) for each in columns))
    body = [
        tag(
            "tr",
            *(
                tag("td", cell, class_=column.classes)
                if number
                else tag("th", cell, scope="row", class_=column.classes)
                for number, (column, cell) in enumerate(zip(columns, row, strict=True))
            ),
        )
        for row in rows[:MAX_ROWS]
    ]
    table = tag("table", tag("thead", head), tag("tbody", *body))
    if not left_out:
        return table
    return joined([table, tag("p", f"{left_out} more: `responderd status` shows all.", class_="quiet")])
