"""Plain lines of master files: what is read without the tokenizer is what the tokenizer reads, mistakes included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.name
import pytest
from responder_plugins.dns.zone import master_file, plain_lines

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
    return zone.answers, zone.linked, zone.names, zone.spelled


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("head", [SMALL, "@ 60 SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\n"], ids=["ttl", "no-ttl"])
def test_both_ways_read_the_same(line: str, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [loaded(tmp_path, f"{head}{line}\n A 192.0.2.9\nz A 192.0.2.10\n"), loaded(tmp_path, f"{head}{line}")]
    monkeypatch.setattr(plain_lines, "read", lambda *_: None)
    (tmp_path / "a.zone").unlink()
    assert found == [
        loaded(tmp_path, f"{head}{line}\n A 192.0.2.9\nz A 192.0.2.10\n"),
        loaded(tmp_path, f"{head}{line}"),
    ]


def test_the_zone_of_the_tests_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ZONE.read_text()
    found = loaded(tmp_path, text)
    monkeypatch.setattr(plain_lines, "read", lambda *_: None)
    (tmp_path / "a.zone").unlink()
    assert found == loaded(tmp_path, text)


def test_what_large_zones_are_made_of_goes_this_way() -> None:
    read = [
        plain_lines.read(f"{line}\n", b"\1o" + BASE, BASE) for line in ("a A 192.0.2.1", " 60 IN A 192.0.2.1", "a NS b")
    ]
    assert read == [
        (b"\1a" + BASE, None, 1, bytes((192, 0, 2, 1))),
        (b"\1o" + BASE, 60, 1, bytes((192, 0, 2, 1))),
        (b"\1a" + BASE, None, 2, b"\1b" + BASE),
    ]
