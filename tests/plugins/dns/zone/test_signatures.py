"""Signatures that a zone lacks, or that end soon: told at loading, and while the zone is served."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dns.name
import pytest
import trio
from responder_plugins.dns import Dns
from responder_plugins.dns.zone import master_file
from responder_plugins.dns.zone.changes import difference
from responder_plugins.dns.zone.edit import apply
from responder_plugins.dns.zone.signatures import FirstEnd
from responder_plugins.dns.zone.tables import Zone
from trio.testing import MockClock

from responder import Context
from responder.testing import bench, wall_clock
from tests.plugins.dns.zone.comparing import assert_same

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
DAY, HOUR = 86400.0, 3600.0
BITMAP = "A AAAA RRSIG NSEC"

ZONE = {
    "@": (
        "SOA ns h 1 2 3 4 60",
        "NS ns",
        "DNSKEY 257 3 13 AAAA",
        f"NSEC alias.example.test. {BITMAP}",
    ),
    "ns": ("A 192.0.2.53", "AAAA 2001:db8::53", f"NSEC sub.example.test. {BITMAP}"),
    "alias": ("CNAME ns", f"NSEC ns.example.test. {BITMAP}"),
    "sub": ("NS ns.sub", "DS 1 13 2 " + "ab" * 32, f"NSEC example.test. {BITMAP}"),
    "ns.sub": ("A 192.0.2.54",),
}
LABELS = ("a", "b", "deep.a", "x.deep.a", "cut", "ns.cut", "y.ns.cut", "z.b")
DATA = ("A 192.0.2.1", "AAAA 2001:db8::1", "MX 10 a", "TXT one", "NS ns.cut", "NS b", "DS 1 13 2 " + "00" * 32)

UNSIGNED = {("sub", "NS"), ("ns.sub", "A")}
"""What other zones own."""


def stamp(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y%m%d%H%M%S}"


def write(
    folder: Path,
    *,
    ends: float = NOON + 30 * DAY,
    leave_out: Sequence[tuple[str, str]] = (),
    first: float | None = None,
) -> Path:
    """A signed zone, the signatures of the SOA records ending at `first`; without those to be left out."""
    lines = ["$TTL 300"]
    for name, records in ZONE.items():
        lines += [f"{name} {record}" for record in records if (name, f"{record.split()[0]} itself") not in leave_out]
        for rdtype in {record.split()[0] for record in records}:
            if (name, rdtype) not in UNSIGNED and (name, rdtype) not in leave_out:
                end = stamp(first if first is not None and rdtype == "SOA" else ends)
                lines.append(f"{name} RRSIG {rdtype} 13 2 300 {end} 20260501000000 1 example.test. AAAA")
    file = folder / "example.test.zone"
    file.write_text("\n".join(lines) + "\n")
    return file


async def warnings(file: Path) -> list[str]:
    context = Context("dns", file.parent)
    with wall_clock(NOON):
        await trio.to_thread.run_sync(Dns(zones={"example.test": file}).prepare, context)
    return [str(each) for each in context.warnings]


async def test_of_a_zone_signed_as_a_whole_nothing_is_told(tmp_path: Path) -> None:
    assert await warnings(write(tmp_path)) == []


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ([("ns", "AAAA")], "ns.example.test. AAAA"),
        ([("alias", "CNAME")], "alias.example.test. CNAME"),
        ([("sub", "DS")], "sub.example.test. DS"),
        ([("alias", "NSEC"), ("alias", "NSEC itself")], "alias.example.test. NSEC"),
        ([("@", "NS"), ("ns", "A"), ("ns", "AAAA"), ("ns", "NSEC"), ("alias", "CNAME")], "and 2 more"),
    ],
)
async def test_what_has_no_signature_is_told(left_out: list[tuple[str, str]], told: str, tmp_path: Path) -> None:
    (warning,) = await warnings(write(tmp_path, leave_out=left_out))
    assert "zone example.test.: signed in part, without a signature: " in warning
    assert told in warning


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (NOON + DAY + 1, None),
        (NOON + DAY, "ends at 2026-06-02 12:00:00 UTC"),
        (NOON - 1, "ended at 2026-06-01 11:59:59 UTC"),
    ],
)
async def test_a_signature_that_ends_within_a_day_is_told_at_loading(
    first: float, told: str | None, tmp_path: Path
) -> None:
    found = await warnings(write(tmp_path, first=first))
    assert found == ([f"zone example.test.: its first signature {told}"] if told else [])


@pytest.mark.parametrize("seed", range(100))
def test_what_has_no_signature_is_counted_over_changes(seed: int, tmp_path: Path) -> None:
    """Also of names that come to be below a delegation, or that a delegation leaves."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated

    def zone_of(serial: int) -> Zone:
        lines = [f"$TTL 300\n@ SOA ns h {serial} 2 3 4 60\n@ NS ns\n@ DNSKEY 257 3 13 AAAA"]
        lines += [f"{rng.choice(LABELS)} {rng.choice(DATA)}" for _ in range(rng.randrange(20))]
        lines += [f"{label} NSEC @ A" for label in ("@", *LABELS) if label == "@" or rng.random() < 0.5]
        present = {tuple(line.split()[:2]) for line in "\n".join(lines).splitlines()[1:]}
        for name, rdtype in sorted(present):
            if rng.random() < (1 if rdtype == "SOA" else 0.9):
                lines.append(f"{name} RRSIG {rdtype} 13 2 300 20360601000000 20260501000000 1 example.test. AAAA")
        file = tmp_path / f"{serial}.zone"
        file.write_text("\n".join(lines) + "\n")
        return master_file.load(dns.name.from_text("example.test"), file, Context("dns", tmp_path))

    zone = zone_of(1)
    for serial in range(2, 8):
        wanted = zone_of(serial)
        change = difference(zone, wanted)
        assert change is not None
        apply(zone, change)
        zone.spelled = wanted.spelled
        assert_same(zone, wanted)


def test_the_nearest_second_of_that_number_is_meant() -> None:
    """RFC 4034 section 3.1.5, about the wrap of 2106."""
    first = FirstEnd(2.0**32 - 100)
    first.see(bytes(8) + (50).to_bytes(4) + bytes(6))
    assert first.time == 2**32 + 50


async def test_a_signature_that_ends_while_the_zone_is_served_is_told_once_before_and_once_after(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, first=NOON + DAY + HOUR)
    caplog.set_level(logging.WARNING)
    with wall_clock(NOON):
        async with bench(Dns(zones={"example.test": file})):
            for hours, told in ((0.9, []), (1, ["ends"]), (23, []), (1, ["ended"]), (48, [])):
                caplog.clear()
                await trio.sleep(hours * HOUR)
                assert [word for word in ("ends", "ended") if f"signature {word}" in caplog.text] == told
