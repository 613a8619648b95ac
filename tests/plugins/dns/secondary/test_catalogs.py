"""Catalog zones (RFC 9432): members that come, go, begin anew, change hands and clash; and the one made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import pytest
import trio
from responder_plugins.dns import Dns, Secondary
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.secondary import catalog_zone
from responder_plugins.dns.secondary.catalog_zone import BrokenCatalog, Listed, Member
from responder_plugins.dns.secondary.lister import lists_of
from responder_plugins.dns.secondary.members import Members
from responder_plugins.dns.zone.builder import Line, ZoneBuilder
from responder_plugins.dns.zone.tables import Zone
from trio.testing import MockClock

from responder import Context
from responder.errors import ConfigErrors
from tests.plugins.dns.secondary.support import FIRST, Primaries, records_of, running, said, secondary, zone_of
from tests.plugins.dns.secondary.test_secondaries import notify
from tests.plugins.dns.support import SMALL, ask, ask_bytes, handler_of

CATALOG = b"\3cat\4test\0"
ONE, TWO = b"\3one\4test\0", b"\3two\4test\0"
VERSION = 'version TXT "2"\n'
"""Of a catalog zone."""


def catalog(folder: Path, serial: int, more: str, *, version: str = VERSION, name: str = "cat.test") -> Zone:
    return zone_of(folder, serial, version + more, name=name)


# Reading


def test_what_a_catalog_lists(tmp_path: Path) -> None:
    zone = catalog(
        tmp_path,
        1,
        "a.zones PTR one.test.\nb.zones PTR TWO.test.\ncoo.b.zones PTR Other.cat.test.\n"
        'group.a.zones TXT "x"\nx.ext.b.zones TXT "y"\nlost.zones TXT "z"\n',
    )
    listed = catalog_zone.read(zone)
    moved = Member(b"\1b", b"\5other\3cat\4test\0")
    assert listed == Listed({ONE: Member(b"\1a"), TWO: moved}, 3)


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("", ""),
        ('version TXT "1"\n', ""),
        ('version TXT "2" "2"\n', ""),
        ('version TXT "2"\nversion TXT "3"\n', ""),
        (VERSION, "a.zones PTR one.test.\na.zones PTR two.test.\n"),
        (VERSION, "a.zones PTR one.test.\nb.zones PTR ONE.test.\n"),
    ],
)
def test_a_broken_catalog_is_not_processed(tmp_path: Path, version: str, more: str) -> None:
    with pytest.raises(BrokenCatalog):
        catalog_zone.read(catalog(tmp_path, 1, more, version=version))


def test_what_is_made_is_what_is_read(tmp_path: Path) -> None:
    made = catalog_zone.make(CATALOG, [TWO, ONE, b"\0"], 7)
    assert (made.serial, catalog_zone.read(made).members.keys()) == (7, {ONE, TWO, b"\0"})
    again = catalog_zone.make(CATALOG, [ONE], 8)
    assert catalog_zone.read(again).members[ONE] == catalog_zone.read(made).members[ONE]


# Which zone belongs to which catalog

X, Y = b"\1x\0", b"\1y\0"
A, B = Member(b"\1a"), Member(b"\1b")


def test_members_come_go_and_begin_anew() -> None:
    members = Members(set())
    assert members.update(X, {ONE: A}) == [("add", ONE, X)]
    assert members.update(X, {ONE: A}) == []
    assert members.update(X, {ONE: B}) == [("reset", ONE, X)]
    assert members.update(X, {TWO: B}) == [("remove", ONE, X), ("add", TWO, X)]


def test_a_zone_that_is_here_already_is_left_alone() -> None:
    members = Members({ONE})
    assert members.update(X, {ONE: A, TWO: B}) == [("clash", ONE, X), ("add", TWO, X)]
    assert members.update(Y, {TWO: A}) == [("clash", TWO, Y)]
    # The one that had it gives it up: it begins anew.
    assert members.update(X, {}) == [("reset", TWO, Y)]
    assert members.update(Y, {}) == [("remove", TWO, Y)]


@pytest.mark.parametrize("first", ["old", "new"])
@pytest.mark.parametrize(("label", "step"), [(b"\1a", "move"), (b"\1b", "reset")])
def test_a_zone_changes_hands_where_both_say_so(first: str, label: bytes, step: str) -> None:
    members = Members(set())
    members.update(X, {ONE: A})
    steps = []
    for which in (first, "new" if first == "old" else "old"):
        steps += (
            members.update(X, {ONE: Member(b"\1a", Y)}) if which == "old" else members.update(Y, {ONE: Member(label)})
        )
    assert [each for each in steps if each[0] != "clash"] == [(step, ONE, Y)]
    assert members.update(X, {}) == []
    assert members.owners[ONE][0] == Y


def test_nobody_takes_a_zone_that_the_other_does_not_give() -> None:
    members = Members(set())
    members.update(X, {ONE: Member(b"\1a", Y)})
    assert members.update(b"\1z\0", {ONE: A}) == [("clash", ONE, b"\1z\0")]
    assert members.owners[ONE][0] == X


# As zones are served


def secondary_of_catalog(folder: Path, primaries: Primaries, **more: Any) -> DnsHandler:
    return secondary(folder, primaries, {"cat.test": Secondary(primaries=("192.0.2.53",), catalog=True)}, **more)


async def test_zones_are_served_as_the_catalog_lists_them(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primaries = Primaries()
    for origin, name in ((ONE, "one.test"), (TWO, "two.test")):
        primaries.zones[FIRST, origin] = zone_of(tmp_path, 7, name=name)
    primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 1, "a.zones PTR one.test.\n")
    primaries.does_ixfr = False
    handler = secondary_of_catalog(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(1)
        assert (said(handler, "t.one.test"), said(handler, "t.two.test")) == ("7", "REFUSED")
        primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 2, "a.zones PTR one.test.\nb.zones PTR two.test.\n")
        await trio.sleep(360)
        assert (said(handler, "t.one.test"), said(handler, "t.two.test")) == ("7", "7")
        primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 3, "b.zones PTR two.test.\n", version="")
        await trio.sleep(360)
        assert "broken" in caplog.text
        assert (said(handler, "t.one.test"), said(handler, "t.two.test")) == ("7", "7")
        assert len(list((tmp_path / "secondary").glob("*.copy"))) == 3
    # What was right last outlives a restart, beside the broken one.
    again = secondary_of_catalog(tmp_path, Primaries())
    assert (said(again, "t.one.test"), said(again, "t.two.test")) == ("7", "7")
    async with running(again, tmp_path):
        await trio.sleep(1)
        assert (said(again, "t.one.test"), said(again, "t.two.test")) == ("7", "7")
    again = secondary_of_catalog(tmp_path, primaries)
    primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 4, "b.zones PTR two.test.\n")
    async with running(again, tmp_path):
        await trio.sleep(1)
        assert (said(again, "t.one.test"), said(again, "t.two.test")) == ("REFUSED", "7")
        assert len(list((tmp_path / "secondary").glob("*.copy"))) == 2


async def test_another_label_lets_a_zone_begin_anew(autojump_clock: MockClock, tmp_path: Path) -> None:
    """So that an older version can be taken (section 5.6)."""
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, ONE] = zone_of(tmp_path, 7, name="one.test")
    primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 1, "a.zones PTR one.test.\n")
    handler = secondary_of_catalog(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(1)
        assert said(handler, "t.one.test") == "7"
        primaries.zones[FIRST, ONE] = zone_of(tmp_path, 3, name="one.test")
        primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 2, "b.zones PTR one.test.\n")
        await trio.sleep(361)
        assert said(handler, "t.one.test") == "3"


async def test_a_reload_keeps_the_members(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, ONE] = zone_of(tmp_path, 7, name="one.test")
    primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 1, "a.zones PTR one.test.\n")
    before = secondary_of_catalog(tmp_path, primaries, stateless=True)
    async with running(before, None):
        await trio.sleep(1)
    after = secondary_of_catalog(tmp_path, Primaries(), stateless=True)
    assert said(after, "t.one.test") == "REFUSED"
    after.succeed(before)
    assert said(after, "t.one.test") == "7"


async def test_many_members_are_transferred_a_few_at_a_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    """And served after a restart at once; one of them changing costs one check."""
    primaries = Primaries(takes=1, does_ixfr=False)
    names = [f"z{number}.test" for number in range(500)]
    member = zone_of(tmp_path, 7, name="other.test")
    for name in names:
        origin = dns.name.from_text(name).to_digestable()
        builder = ZoneBuilder(origin)
        for owner, rdtype, ttl, rdata in records_of(member, soa=True):
            builder.add(owner[: -len(member.origin)] + origin, rdtype, ttl, rdata, Line(tmp_path, 0))
        primaries.zones[FIRST, origin] = builder.finish(tmp_path, {})
    listed = "".join(f"m{number}.zones PTR {name}.\n" for number, name in enumerate(names))
    primaries.zones[FIRST, CATALOG] = catalog(tmp_path, 1, listed)
    handler = secondary_of_catalog(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(500 / 16 + 3)
        assert all(said(handler, f"t.{name}") == "7" for name in names)
        assert primaries.most == 16
        primaries.asked.clear()
        ask(handler, notify("z7.test"), peer="192.0.2.53")
        await trio.sleep(2)
        assert primaries.kinds(b"\2z7\4test\0") == ["SOA"]
        assert len(primaries.asked) == 1
    again = secondary_of_catalog(tmp_path, Primaries())
    assert all(said(again, f"t.{name}") == "7" for name in names)


# The catalog zone that is made here


def members_of(handler: DnsHandler) -> set[bytes]:
    zone = handler.zone(CATALOG)
    assert zone is not None
    return set(catalog_zone.read(zone).members)


async def test_a_catalog_is_made_of_the_instance_s_zones(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its serial goes up where it changes, and stays where it does not, also over restarts."""
    (tmp_path / "own.zone").write_text(SMALL)
    own = {"one.test": tmp_path / "own.zone"}
    primaries = Primaries()

    def made(zones: dict[str, Path]) -> DnsHandler:
        given = {"other.test": Secondary(primaries=("192.0.2.53",))}
        return secondary(tmp_path, primaries, given, zones=zones, catalog="cat.test")

    serials = []
    for zones in (own, own, {**own, "two.test": tmp_path / "own.zone"}, own):
        handler = made(zones)
        async with running(handler, tmp_path):
            await trio.sleep(1)
        assert members_of(handler) == {b"\5other\4test\0", ONE, *([TWO] if len(zones) > 1 else [])}
        serials.append(handler.zone(CATALOG).serial)
    assert serials[0] == serials[1] < serials[2] < serials[3]


async def test_a_made_catalog_follows_the_members_of_others(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Catalogs are in none, so that two servers with each other's catalogs find an end."""
    primaries = Primaries(does_ixfr=False)
    upper = b"\5upper\4test\0"
    primaries.zones[FIRST, upper] = catalog(tmp_path, 1, "a.zones PTR one.test.\n", name="upper.test")
    given = {"upper.test": Secondary(primaries=("192.0.2.53",), catalog=True)}
    handler = secondary(tmp_path, primaries, given, catalog="cat.test")
    async with running(handler, tmp_path):
        await trio.sleep(1)
        assert members_of(handler) == {ONE}
        primaries.zones[FIRST, upper] = catalog(tmp_path, 2, "b.zones PTR two.test.\n", name="upper.test")
        before = handler.zone(CATALOG).serial
        await trio.sleep(361)
        assert members_of(handler) == {TWO}
        assert handler.zone(CATALOG).serial > before
        assert [*lists_of(handler.secondaries, handler._lister, TWO)] == [upper, CATALOG]
        assert [*lists_of(handler.secondaries, handler._lister, upper)] == []


def test_a_catalog_is_answered_to_those_who_may_have_it_whole(tmp_path: Path) -> None:
    (tmp_path / "own.zone").write_text(SMALL)
    handler = handler_of(
        tmp_path, zones={"one.test": tmp_path / "own.zone"}, catalog="cat.test", allow_transfer=["10.71.0.9/32"]
    )
    for _ in range(3):  # neither answer is remembered for the other
        for name in ("cat.test", "version.cat.test", "none.cat.test"):
            assert said(handler, name) != "REFUSED"
            query = dns.message.make_query(name, "TXT")
            assert ask_bytes(handler, query.to_wire(), peer="10.71.0.8")[3] & 0xF == dns.rcode.REFUSED


def test_a_catalog_with_the_name_of_another_zone_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "own.zone").write_text(SMALL)
    with pytest.raises(ConfigErrors, match="catalog: this zone is also in zones or secondary"):
        Dns(zones={"cat.test": tmp_path / "own.zone"}, catalog="cat.test").prepare(Context("dns", tmp_path))
