"""Plain lines of master files: what is read without the tokenizer is what the tokenizer reads, mistakes included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.name
import pytest
from responder_plugins.dns.zone import master_file, plain_lines
from responder_plugins.dns.zone.builder import ZoneBuilder
from responder_plugins.dns.zone.names import NameReader
from responder_plugins.dns.zone.record import Ttls
from responder_plugins.dns.zone.tables import blocks, pack_record

from responder import ConfigErrors, Context
from tests.plugins.dns.support import SMALL, ZONE

BASE = b"\7example\4test\0"

LINES = [
    "a A 192.0.2.1",
    "a  \t IN\tA  192.0.2.1  ",
    "a 300 IN A 192.0.2.1",
    "a IN 300 A 192.0.2.1",
    "a a 192.0.2.1",
    "A A 192.0.2.1",
    "IN A 192.0.2.1",
    "IN IN IN A 192.0.2.1",
    "300 300 A 192.0.2.1",
    "@ A 192.0.2.1",
    " A 192.0.2.1",
    "\tAAAA 2001:DB8::1",
    "  ; a comment",
    "a A 192.0.2.1 ; a comment",
    "a A 192.0.2.1;",
    "a CNAME @",
    "a CNAME B.c",
    "a CNAME B.c.example.org.",
    "a PTR x",
    "sub NS ns.sub",
    "*.w A 192.0.2.1",
    "a.* A 192.0.2.1",
    "_a._b A 192.0.2.1",
    "-a A 192.0.2.1",
    "a.example.test. A 192.0.2.1",
    "a.other. A 192.0.2.1",
    "a..b A 192.0.2.1",
    ".a A 192.0.2.1",
    ". A 192.0.2.1",
    f"{'l' * 63} A 192.0.2.1",
    f"{'l' * 64} A 192.0.2.1",
    f"{'.'.join(['l' * 60] * 4)} A 192.0.2.1",
    f"{'.'.join(['l' * 60] * 3)}.{'l' * 57} A 192.0.2.1",
    f"a CNAME {'l' * 64}",
    "a CNAME b:c",
    "a CNAME .",
    "a CNAME b..c",
    "a A 192.0.2",
    "a A 192.0.2.256",
    "a A 192.0.02.1",
    "a AAAA 192.0.2.1",
    "a AAAA ::ffff:192.0.2.1",
    "a AAAA 1:2:3",
    "a A 192.0.2.1 192.0.2.2",
    "a A ( 192.0.2.1 )",
    "a A (\n192.0.2.1 )",
    "a 999999999 A 192.0.2.1",
    "a 2147483647 A 192.0.2.1",
    "a 2147483648 A 192.0.2.1",
    "a 1h A 192.0.2.1",
    "a CH A 192.0.2.1",
    'a TXT "b\nc"',
    "a\\.b A 192.0.2.1",
    "$ORIGIN deeper\nx A 192.0.2.1\n@ AAAA ::1",
    "$TTL 7\nx A 192.0.2.1",
    "m\u00fcller A 192.0.2.1",
    "a A \u0661.2.3.4",
    "a A 192.0.2.1\r",
    "a A 192.0.2.1\fx",
    "a\u2028b A 192.0.2.1",
    "\n\n\na NOTYPE x",
]


def loaded(folder: Path, text: str) -> Any:
    """The zone's tables, or the mistakes."""
    (folder / "a.zone").write_bytes(text.encode())
    try:
        zone = master_file.load(dns.name.from_text("example.test"), Path("a.zone"), Context("dns", folder))
    except ConfigErrors as errors:
        return [(error.line, error.message) for error in errors.errors]
    return zone.nodes, zone.spelled, zone.cuts


def not_plain(lines: Sequence[bytes], first: int, *_: object) -> int:
    return first


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("head", [SMALL, "@ 60 SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\n"], ids=["ttl", "no-ttl"])
def test_both_ways_read_the_same(line: str, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{head}{line}\n A 192.0.2.9\nz A 192.0.2.10\n", f"{head}{line}"]
    found = [loaded(tmp_path, text) for text in texts]
    monkeypatch.setattr(plain_lines, "read", not_plain)
    (tmp_path / "a.zone").unlink()
    assert found == [loaded(tmp_path, text) for text in texts]


def test_the_zone_of_the_tests_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ZONE.read_text()
    found = loaded(tmp_path, text)
    monkeypatch.setattr(plain_lines, "read", not_plain)
    (tmp_path / "a.zone").unlink()
    assert found == loaded(tmp_path, text)


def test_what_large_zones_are_made_of_goes_this_way() -> None:
    builder = ZoneBuilder(BASE)
    position = plain_lines.Position(NameReader(BASE), b"\1o" + BASE, Ttls(300))
    lines = [
        b"a A 192.0.2.1",
        b" 60 IN A 192.0.2.1",
        b"a NS b",
        b"",
        b"b AAAA ::1",
        b"c MX 10 a",
        b"d SRV 0 0 443 a.example.org.",
        b"e IN 300 RRSIG A 13 3 60 20361101000000 20260101000000 12312 @ XmN172oddsY0s2n0 4flUAiNYnCDSyS3E",
        b"e NSEC f A RRSIG NSEC",
        b"f DS 1 13 2 " + b"ab" * 32,
    ]
    assert plain_lines.read(lines, 0, position, builder, Path("a"), 1) == len(lines)
    assert builder.records == len(lines) - 2  # a line without a record, and one that is there already
    assert list(blocks(builder.nodes[b"\1a" + BASE])) == [
        (1, 0, 1, pack_record(1, 300, bytes((192, 0, 2, 1)))),
        (2, 0, 1, pack_record(2, 300, b"\1b" + BASE)),
    ]
