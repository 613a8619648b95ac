"""What `responderd top` shows of a status: tables that fit the terminal, the most important first.

Names, messages and paths are others' words, so each cell goes through `printable`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import attrs
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..daemon.figures import bars, clock, duration, rate, rates, size
from ..daemon.rates import Rates, answered
from ..daemon.status import Status
from ..log import printable

NARROW = 80
"""Columns of a terminal below which what can be missed is left out."""

HEAD = 3
"""Lines above the tables."""

LEAST_ROWS = 3
"""Rows that each table has before any gets more."""

FRAME = 3
"""Lines of a table beside its rows: its head, a rule, and the line before."""

CHART = 24
"""Bars of a chart."""


@attrs.frozen
class Heading:
    """`may_miss`: left out on a narrow terminal.  `wide`: takes what room the others leave."""

    name: str
    number: bool = False
    may_miss: bool = False
    wide: bool = False


@attrs.frozen
class Section:
    columns: Sequence[Heading]
    rows: Sequence[Sequence[str]]


def view(
    status: Status, seen: Rates, note: str = "", *, width: int, height: int | None, ascii_only: bool = False
) -> RenderableType:
    """All of it, in so many lines; None: as many as there are.  `note` stands beside the daemon's state."""
    # Bars can't be drawn in ASCII.
    narrow = width < NARROW or ascii_only
    sections = [each for each in _sections(status, seen) if each.rows]
    room = None
    if height is not None:
        del sections[max(1, (height - HEAD) // (FRAME + LEAST_ROWS)) :]
        room = height - HEAD - FRAME * len(sections)
    shown = _shares([len(each.rows) for each in sections], room)
    tables = [_table(each, count, narrow) for each, count in zip(sections, shown, strict=True) if count]
    return Group(*_head(status, seen, note), *(part for table in tables for part in (_line(""), table)))


def _head(status: Status, seen: Rates, note: str) -> Iterable[Text]:
    reasons = status.not_ready()
    build = status.build
    yield _line(f"responderd {build.version}, process {status.pid}, {status.config or 'the embedded default'}")
    state = _line(f"up {duration(status.uptime)}, ")
    state.append(printable("ready" if not reasons else f"not ready: {'; '.join(reasons)}"), _state_style(not reasons))
    if note:
        state.append(printable(f"  {note}"), "bold yellow")
    yield state
    over = "since the start" if seen.since_start else f"over {duration(seen.span)}"
    otherwise = sum(seen.by_outcome.values()) - answered(seen.by_outcome)
    yield _line(
        f"{rate(answered(seen.by_outcome))} answered/s, {rate(otherwise)} otherwise/s; "
        f"{size(seen.received)}/s in, {size(seen.sent)}/s out; {over}"
    )


def _sections(status: Status, seen: Rates) -> Iterable[Section]:
    yield Section(
        [Heading("worker"), Heading("process", number=True), Heading("state"), Heading("restarts", number=True)],
        [(str(each.number), str(each.pid), each.state, str(each.restarts)) for each in status.workers],
    )
    yield Section(
        [
            *(
                Heading("plugin"),
                Heading("state"),
                Heading("answered/s", number=True),
                Heading("otherwise/s", wide=True),
            ),
            *(Heading("pending", number=True, may_miss=True), Heading("slowest", number=True, may_miss=True)),
            Heading("two minutes", may_miss=True),
        ],
        list(_plugins(status, seen)),
    )
    yield Section(
        [Heading("plugin"), Heading("says of itself", wide=True)],
        [(each.name, note) for each in status.instances for note in each.notes],
    )
    yield Section(
        [
            *(
                Heading("interface"),
                Heading("link"),
                Heading("answered/s", number=True),
                Heading("otherwise/s", wide=True),
            ),
            *(Heading("groups", number=True), Heading("missing")),
        ],
        list(_interfaces(status, seen)),
    )
    yield Section(
        [Heading("outcome"), Heading("/s", number=True), Heading("in all", number=True)],
        list(_outcomes(status, seen)),
    )
    yield Section(
        [
            *(Heading("service"), Heading("calls/s", number=True), Heading("mean time", number=True)),
            Heading("99 of 100 within", number=True),
        ],
        [
            (
                each.plugin if each.service == "default" else f"{each.plugin} {each.service}",
                *(rate(each.calls), duration(each.mean)),
                "more" if math.isinf(each.most) else duration(each.most),
            )
            for each in seen.times
        ],
    )
    yield Section(
        [Heading("at"), Heading("level", may_miss=True), Heading("last warnings and errors", wide=True)],
        [(clock(each.time), each.level, " ".join(each.message.split())) for each in reversed(status.errors)],
    )


def _plugins(status: Status, seen: Rates) -> Iterable[Sequence[str]]:
    states = {each.name: each for each in status.instances}
    charts: dict[str, list[float]] = {}
    for point in seen.history[-CHART:]:
        for name in {*states, *seen.by_plugin}:
            charts.setdefault(name, []).append(point.by_plugin.get(name, 0.0))
    names = sorted({*states, *seen.by_plugin}, key=lambda name: (-sum(seen.by_plugin.get(name, {}).values()), name))
    for name in names:
        each, here = states.get(name), seen.by_plugin.get(name, {})
        yield (
            *(name, "" if each is None else each.state, rate(answered(here)), rates(here, but="answered")),
            "" if each is None else str(each.pending),
            duration(each.slowest) if each is not None and each.slowest else "",
            bars(charts.get(name, ())),
        )


def _interfaces(status: Status, seen: Rates) -> Iterable[Sequence[str]]:
    joined: dict[str, int] = {}
    missing: dict[str, list[str]] = {}
    for group in status.groups:
        joined[group.interface] = joined.get(group.interface, 0) + len(group.joined)
        missing.setdefault(group.interface, []).extend(group.missing)
    links = {each.name: "up" if each.working else "down" for each in status.interfaces}

    def order(name: str) -> tuple[bool, float, str]:
        return not missing.get(name), -sum(seen.by_interface.get(name, {}).values()), name

    for name in sorted({*links, *joined, *seen.by_interface}, key=order):
        here = seen.by_interface.get(name, {})
        yield (
            *(name, links.get(name, ""), rate(answered(here)), rates(here, but="answered")),
            *(str(joined.get(name, "")), ", ".join(missing.get(name, ()))),
        )


def _outcomes(status: Status, seen: Rates) -> Iterable[Sequence[str]]:
    totals: dict[str, int] = {}
    for interfaces in status.counters.values():
        for outcomes in interfaces.values():
            for outcome, count in outcomes.items():
                totals[outcome] = totals.get(outcome, 0) + count
    for outcome in sorted(totals, key=lambda outcome: (-seen.by_outcome.get(outcome, 0.0), -totals[outcome])):
        yield outcome, rate(seen.by_outcome.get(outcome, 0.0)), f"{totals[outcome]:,}"


def _shares(wanted: Sequence[int], room: int | None) -> Sequence[int]:
    """How many rows each table gets of so many lines: some each, and the first ones what is left."""
    if room is None:
        return wanted
    given = [0] * len(wanted)
    for most in (LEAST_ROWS, math.inf):
        for number, each in enumerate(wanted):
            more = max(0, min(min(each, most) - given[number], room))
            given[number] += int(more)
            room -= int(more)
    return given


def _table(section: Section, count: int, narrow: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, show_edge=False, padding=(0, 2, 0, 0))
    kept = [number for number, each in enumerate(section.columns) if not (narrow and each.may_miss)]
    for column in (section.columns[number] for number in kept):
        table.add_column(
            column.name,
            justify="right" if column.number else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.wide else None,
        )
    rows = section.rows[:count]
    left = len(section.rows) - len(rows)
    if left:
        rows = rows[:-1]
    for row in rows:
        table.add_row(*(_cell(section.columns[number].name, row[number]) for number in kept))
    if left:
        table.add_row(_line(f"{left + 1} more"))
    return table


def _cell(column: str, text: str) -> Text:
    styles: Mapping[str, str] = {"state": _state_style(text == "ready"), "missing": "bold red"}
    return Text(printable(text), styles.get(column, ""))


def _state_style(well: bool) -> str:
    return "green" if well else "bold red"


def _line(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")
