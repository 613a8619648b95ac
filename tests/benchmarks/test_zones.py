"""The zone that all servers get, and the questions: as many as promised, distinct, a tenth of them for nothing."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import dns.zone

from . import zones


def test_the_zone_is_one_that_dnspython_reads(tmp_path: Path) -> None:
    zones.write_zone(tmp_path / "zone", 300)
    zone = dns.zone.from_file(str(tmp_path / "zone"), origin=zones.ORIGIN)
    assert len(zone.nodes) == 302  # the apex and ns beside them


def test_addresses_are_distinct_in_a_large_zone() -> None:
    addresses = [address for _, address in zones.hosts(70_000)]
    assert len(set(map(ipaddress.ip_address, addresses))) == 70_000


def test_questions_are_distinct_and_a_tenth_asks_for_what_is_not_there(tmp_path: Path) -> None:
    zones.write_queries(tmp_path / "queries", 900, 1000)
    asked = (tmp_path / "queries").read_text().splitlines()
    assert len(set(asked)) == len(asked) == 1000
    there = {f"{name}.{zones.ORIGIN} A" for name, _ in zones.hosts(900)}
    assert sum(question not in there for question in asked) == 100
