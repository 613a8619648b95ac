"""What the README says about amplification, measured: the largest answer to the smallest query."""

from __future__ import annotations

import re
from pathlib import Path

import dns.edns
import dns.message
import responder_plugins.dns
from responder_plugins.dns.handler import DnsHandler

from tests.plugins.dns import queries
from tests.plugins.dns.support import ask_bytes, handler_of, request

README = Path(responder_plugins.dns.__file__).with_name("README.md")


def stated() -> dict[str, float]:
    """The README's table: its first column and its last."""
    rows = re.findall(r"^\| ([^|]+) \| \d+ \| \d+ \| ([0-9.]+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return {label: float(factor) for label, factor in rows}


def worst_of(handler: DnsHandler, *, edns: bool, cookie: bytes = b"") -> float:
    """For an RRset that fills each size: no other query of a zone of the shortest name makes more of its bytes."""
    options = [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie)] if cookie else []
    query = dns.message.make_query("t.", "TXT", use_edns=0 if edns else -1, payload=4096, options=options).to_wire()
    return max(
        len(ask_bytes(handler, each)) / len(each) for each in (query, query.replace(b"\0\x10\0\1", b"\0\xff\0\1"))
    )


def full_zone(folder: Path, size: int) -> DnsHandler:
    """A zone of the name "t" with a TXT record that makes an answer of exactly `size` bytes."""
    room = size - 19 - 12 - 11 if size > 512 else size - 19 - 12
    strings = []
    while room:
        length = min(room - 1, 255)
        strings.append(f'"{"x" * length}"')
        room -= length + 1
    (folder / "t.zone").write_text(f"$TTL 1\n@ SOA . . 1 2 3 4 5\n@ NS ns.invalid.\n@ TXT {' '.join(strings)}\n")
    return handler_of(folder, zones={"t": Path("t.zone")})


def test_the_worst_zone_there_can_be(tmp_path: Path) -> None:
    table = stated()
    assert round(worst_of(full_zone(tmp_path, 512), edns=False), 1) == table["no EDNS"]
    handler = full_zone(tmp_path, 1232)
    assert round(worst_of(handler, edns=True), 1) == table["EDNS"]
    cookie = full_zone(tmp_path, 1232 - 28)
    assert round(worst_of(cookie, edns=True, cookie=b"12345678"), 1) == table["EDNS and a cookie"]


def test_a_usual_zone() -> None:
    handler = handler_of()
    worst = 0.0
    for query in queries.queries():
        answer = handler.respond_last(request(query))
        assert isinstance(answer, bytes)
        worst = max(worst, len(answer) / len(query))
    assert round(worst, 1) == stated()["the zone of our tests, any query"]


async def test_what_slips_through_the_rate_limit_is_no_longer_than_its_query() -> None:
    handler = handler_of(rate_limit=1, slip=1, edns_size=4096)
    query = dns.message.make_query("big.example.test", "TXT", use_edns=0, payload=4096).to_wire()
    first, *slipped = [handler.respond_last(request(query)) for _ in range(4)]
    assert isinstance(first, bytes)
    assert all(isinstance(answer, bytes) and len(answer) <= len(query) for answer in slipped)
