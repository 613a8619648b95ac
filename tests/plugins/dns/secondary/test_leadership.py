"""Several processes that serve the same zones: one takes them over, the others follow, and one of them goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from responder_plugins.dns import Secondary
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.secondary import board
from responder_plugins.dns.secondary.board import Board
from responder_plugins.dns.transfer.primary import Unanswered
from trio.testing import MockClock

from tests.plugins.dns.secondary.support import (
    FIRST,
    OTHER,
    Network,
    Primaries,
    records_of,
    said,
    secondary,
    time_of_day,
    zone_of,
)
from tests.plugins.dns.secondary.test_catalogs import CATALOG, ONE, catalog, members_of
from tests.plugins.dns.secondary.test_secondaries import notify
from tests.plugins.dns.support import ask

SHORT = "100 50 300"
"""REFRESH, RETRY, EXPIRE."""

ONE_PRIMARY = {"other.test": Secondary(primaries=("192.0.2.53",))}


class Workers:
    """Handlers as in processes of their own, of which each may end."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self._scopes: dict[DnsHandler, trio.CancelScope] = {}

    def start(self, primaries: Primaries, given: dict[str, Secondary] | None = None, **more: Any) -> DnsHandler:
        handler = secondary(self._folder, primaries, given or ONE_PRIMARY, **more)
        scope = self._scopes[handler] = trio.CancelScope()

        async def live() -> None:
            with scope:
                await handler.run(Network(self._folder))

        self._nursery.start_soon(live)
        return handler

    def end(self, handler: DnsHandler) -> None:
        self._scopes.pop(handler).cancel()


async def test_one_takes_a_zone_over_and_the_others_follow(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Whole zones and changes, in a second or two; and a NOTIFY to any process reaches the one that leads."""
    leading, following = Primaries(), Primaries()
    leading.zones[FIRST, OTHER] = zone_of(tmp_path, 7, times=SHORT)
    leading.known[7] = records_of(zone_of(tmp_path, 7, times=SHORT))
    with time_of_day():
        async with trio.open_nursery() as nursery:
            workers = Workers(nursery, tmp_path)
            first = workers.start(leading)
            await trio.sleep(0.1)
            second = workers.start(following)
            await trio.sleep(3)
            assert (said(first), said(second)) == ("7", "7")
            leading.zones[FIRST, OTHER] = zone_of(tmp_path, 8, times=SHORT)
            ask(second, notify(), peer="192.0.2.53")
            await trio.sleep(4)
            assert leading.kinds() == ["AXFR", "SOA", "IXFR"]
            assert (said(first), said(second)) == ("8", "8")
            leading.does_ixfr = False
            leading.zones[FIRST, OTHER] = zone_of(tmp_path, 9, times=SHORT)
            ask(first, notify(), peer="192.0.2.53")
            await trio.sleep(4)
            assert (said(first), said(second)) == ("9", "9")
            assert following.asked == []
            # What has expired has so for all.
            leading.zones[FIRST, OTHER] = Unanswered("no answer")
            await trio.sleep(400)
            assert (said(first), said(second)) == ("SERVFAIL", "SERVFAIL")
            nursery.cancel_scope.cancel()


async def test_another_one_goes_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    leading, following = Primaries(), Primaries()
    leading.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    following.zones[FIRST, OTHER] = zone_of(tmp_path, 8)
    following.does_ixfr = False
    with time_of_day():
        async with trio.open_nursery() as nursery:
            workers = Workers(nursery, tmp_path)
            first = workers.start(leading)
            await trio.sleep(0.1)
            second = workers.start(following)
            await trio.sleep(3)
            assert said(second) == "7"
            workers.end(first)
            await trio.sleep(3)
            assert following.kinds() == ["SOA", "IXFR"]
            assert said(second) == "8"
            nursery.cancel_scope.cancel()


async def test_members_of_a_catalog_come_and_go_in_all(autojump_clock: MockClock, tmp_path: Path) -> None:
    leading = Primaries(does_ixfr=False)
    given = {"cat.test": Secondary(primaries=("192.0.2.53",), catalog=True)}
    leading.zones[FIRST, ONE] = zone_of(tmp_path, 7, name="one.test")
    leading.zones[FIRST, CATALOG] = catalog(tmp_path, 1, "")
    with time_of_day():
        async with trio.open_nursery() as nursery:
            workers = Workers(nursery, tmp_path)
            workers.start(leading, given)
            await trio.sleep(0.1)
            second = workers.start(Primaries(), given)
            await trio.sleep(3)
            assert said(second, "t.one.test") == "REFUSED"
            leading.zones[FIRST, CATALOG] = catalog(tmp_path, 2, "a.zones PTR one.test.\n")
            ask(second, notify("cat.test"), peer="192.0.2.53")
            await trio.sleep(6)
            assert said(second, "t.one.test") == "7"
            leading.zones[FIRST, CATALOG] = catalog(tmp_path, 3, "")
            ask(second, notify("cat.test"), peer="192.0.2.53")
            await trio.sleep(6)
            assert said(second, "t.one.test") == "REFUSED"
            nursery.cancel_scope.cancel()


async def test_a_made_catalog_is_the_same_in_all(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Also where they begin at different times; and another one goes on with it."""
    given = {"upper.test": Secondary(primaries=("192.0.2.53",), catalog=True)}
    upper = b"\5upper\4test\0"
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, upper] = catalog(tmp_path, 1, "a.zones PTR one.test.\n", name="upper.test")
    with time_of_day():
        async with trio.open_nursery() as nursery:
            workers = Workers(nursery, tmp_path)
            first = workers.start(primaries, given, catalog="cat.test")
            second = workers.start(primaries, given, catalog="cat.test")
            await trio.sleep(5)
            third = workers.start(primaries, given, catalog="cat.test")
            await trio.sleep(5)
            served = [each.zone(CATALOG) for each in (first, second, third)]
            assert len({zone.serial for zone in served if zone is not None}) == 1
            assert all(members_of(each) == {ONE} for each in (first, second, third))
            workers.end(first)
            primaries.zones[FIRST, upper] = catalog(tmp_path, 2, "", name="upper.test")
            ask(second, notify("upper.test"), peer="192.0.2.53")
            await trio.sleep(8)
            assert (members_of(second), members_of(third)) == (set(), set())
            assert second.zone(CATALOG).serial == third.zone(CATALOG).serial > served[0].serial
            nursery.cancel_scope.cancel()


def test_a_board_is_read_from_where_one_was(tmp_path: Path) -> None:
    writer, reader = Board(tmp_path / "board"), Board(tmp_path / "board")
    assert reader.read() == ([], False)
    writer.begin()
    assert reader.read() == ([], True)
    writer.add(["a", "b"])
    assert reader.read() == (["a", "b"], False)
    assert reader.read() == ([], False)
    writer.begin()
    writer.add(["c"])
    assert reader.read() == (["c"], True)


def test_a_board_is_bounded(tmp_path: Path) -> None:
    writer, reader = Board(tmp_path / "board"), Board(tmp_path / "board")
    writer.begin()
    reader.read()
    for _ in range(board.LARGEST // 2**16 + 1):
        writer.add(["x" * 2**16])
    assert (tmp_path / "board").stat().st_size < board.LARGEST
    assert reader.read()[1]
