"""Zones that change while they are served: each answer is that of the version that is there."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.rcode
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.zone.changes import difference
from responder_plugins.dns.zone.edit import apply
from responder_plugins.dns.zone.tables import Zone

from tests.plugins.dns import queries
from tests.plugins.dns.differences import differing
from tests.plugins.dns.support import SMALL, ZONE, ask, ask_bytes, handler_of

ORIGIN = b"\7example\4test\0"
LESS = ("www ", "*.wild ", "sub ", "chain1 ", "dname ", "https ", "deep.cut ", "*.wcname ")
"""Names that other versions of example.test don't have."""


def zone_in(handler: DnsHandler) -> Zone:
    zone = handler.processor.catalog.zones[ORIGIN]
    assert zone is not None
    return zone


def version(folder: Path, number: int) -> DnsHandler:
    """example.test without some names, and with some more."""
    lines, skipped = [], False
    for line in ZONE.read_text().splitlines(keepends=True):
        skipped = line.startswith(LESS[number]) or (skipped and line.startswith(" "))
        if not skipped:
            lines.append(line)
    lines += [f"new{number} A 192.0.2.{number}\n", f"x{number}.label CNAME new{number}\n"]
    file = folder / f"{number}.zone"
    file.write_text("".join(lines).replace("2026010101", str(2026010101 + number)))
    return handler_of(folder, zones={"example.test": file})


def test_nothing_is_remembered_of_a_version_that_has_gone(tmp_path: Path) -> None:
    handler = version(tmp_path, 0)
    asked = list(queries.queries())[::23]
    for number in (1, 2, 3, 4, 5, 6, 7):
        for query in asked * 2:  # the second time it is remembered
            ask_bytes(handler, query)
        other = version(tmp_path, number)
        change = difference(zone_in(handler), zone_in(other))
        assert change is not None
        apply(zone_in(handler), change)
        handler.changed(ORIGIN)
        for query in asked * 2:
            assert differing(ask_bytes(handler, query), ask_bytes(other, query)) == (), query.hex()


def test_a_zone_comes_goes_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "a.zone"
    file.write_text(SMALL)
    handler = handler_of(tmp_path, zones={"example.test": file, "other.test": file})
    zone, query = zone_in(handler), dns.message.make_query("www.example.test", "A")
    for present, rcode in ((None, dns.rcode.SERVFAIL), (zone, dns.rcode.NOERROR)) * 2:
        handler.replace(ORIGIN, present)
        for _ in range(3):
            assert ask(handler, query).rcode() == rcode
            assert ask(handler, dns.message.make_query("www.other.test", "A")).rcode() == dns.rcode.NOERROR
