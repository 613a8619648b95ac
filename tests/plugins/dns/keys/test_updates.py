"""Zones that are signed here and take updates: each update is signed, and file, updates and signatures stay one."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.rcode
import dns.rdatatype
import dns.update
import dns.zone
import pytest
import trio
from click.testing import CliRunner
from responder_plugins.dns import commands
from responder_plugins.dns.message import wire
from responder_plugins.dns.options import Update
from responder_plugins.dns.zone.tables import Zone
from trio.testing import MockClock

from tests.plugins.dns.keys.process import TEXT, Running, started
from tests.plugins.dns.keys.support import DENIALS, KEY, validate
from tests.plugins.dns.support import request

pytestmark = pytest.mark.clients("ldns-verify-zone", "dnssec-verify")

CONFIG = """
[daemon]
state = "."

[plugins.state]
use = "dns"
zones = { "example.test" = "zone" }

[plugins.state.update."example.test"]
allow = ["10.71.0.0/24"]

[plugins.state.sign."example.test"]
keys = "keys"
"""

UPDATE = {"update": {"example.test": Update(allow=(ip_network("10.71.0.0/24"),))}}


def process(folder: Path, text: str | None = TEXT, **policy: Any) -> Running:
    return started(folder, text, UPDATE, **policy)


async def update(running: Running, *records: str) -> int:
    """Add records, or with a `-` in front take them away: the rcode."""
    message = dns.update.UpdateMessage("example.test")
    for record in records:
        (message.delete if record.startswith("-") else message.add)(*_words(record))
    answer = running.handler.respond_last(request(message.to_wire()))
    if isinstance(answer, Awaitable):
        answer = await answer
    assert isinstance(answer, bytes)
    return answer[3] & 0xF


def _words(record: str) -> list[Any]:
    name, *rest = record.removeprefix("-").split(" ", 3)
    if record.startswith("-"):
        return [name, *rest[1:]]
    ttl, rdtype, rdata = rest
    return [name, int(ttl), rdtype, rdata]


def addresses(zone: Zone, name: bytes) -> set[bytes]:
    rrset = zone.rrset(name + KEY, wire.A)
    return set() if rrset is None else set(rrset.rdatas)


@pytest.mark.parametrize("denial", DENIALS)
async def test_updates_are_signed_and_outlive_a_restart(denial: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    rng = random.Random(2136)  # noqa: S311 - the same ones each time
    first = process(tmp_path, **DENIALS[denial])
    async with first.running():
        await first.zones.receive()
        validate(first.served, tmp_path / "signed")
        for _ in range(40):
            name = ".".join(rng.choice("abc") for _ in range(rng.randrange(1, 4)))
            record = rng.choice(
                [f"{name} 60 A 192.0.2.{rng.randrange(3)}", f"-{name} 0 A", f"{name} 60 NS ns.x.", f"-{name} 0 NS"]
            )
            before = first.served.serial
            assert await update(first, record) in (dns.rcode.NOERROR, dns.rcode.REFUSED)
            assert first.served.serial in (before, before + 1)
            validate(first.served, tmp_path / "signed", with_bind=False)
    validate(first.served, tmp_path / "signed")
    nodes, hashed, serial = dict(first.served.nodes), dict(first.served.hashed), first.served.serial
    second = process(tmp_path, None, **DENIALS[denial])
    assert (second.served.nodes.keys(), second.served.hashed.keys()) == (nodes.keys(), hashed.keys())
    assert second.served.serial == serial
    validate(second.served, tmp_path / "signed")


async def test_a_file_that_is_edited_under_updates_is_signed(tmp_path: Path, autojump_clock: MockClock) -> None:
    first = process(tmp_path)
    async with first.running():
        await first.zones.receive()
        assert await update(first, "www 60 A 192.0.2.80") == dns.rcode.NOERROR
        serial = first.served.serial
    text = TEXT.replace(" 7 ", " 100 ").replace("192.0.2.53", "192.0.2.54") + "new A 192.0.2.1\n"
    second = process(tmp_path, text)
    async with second.running():
        await second.zones.receive()
    validate(second.served, tmp_path / "signed")
    zone = second.served
    assert zone.serial > serial
    assert addresses(zone, b"\2ns") == {bytes((192, 0, 2, 54))}
    assert addresses(zone, b"\3www") == {bytes((192, 0, 2, 80))}
    assert addresses(zone, b"\3new") == {bytes((192, 0, 2, 1))}


@pytest.mark.parametrize("denial", DENIALS)
async def test_a_file_that_is_edited_while_it_is_served_is_signed_before_it_is(
    denial: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    first = started(tmp_path, TEXT + "old A 192.0.2.7\nsub NS ns.x.\n", UPDATE | {"watch": True}, **DENIALS[denial])
    async with first.running():
        await first.zones.receive()
        assert await update(first, "www 60 A 192.0.2.80", "a.ent 60 A 192.0.2.81") == dns.rcode.NOERROR
        serial = first.served.serial
    text = TEXT.replace("192.0.2.53", "192.0.2.54") + "new A 192.0.2.1\nx.y.z A 192.0.2.2\nother NS ns.x.\n"
    (tmp_path / "zone").write_text(text)
    await first.handler.look()
    validate(first.served, tmp_path / "signed")
    assert first.served.serial == serial + 1
    assert addresses(first.served, b"\2ns") == {bytes((192, 0, 2, 54))}
    assert addresses(first.served, b"\3www") == {bytes((192, 0, 2, 80))}
    assert addresses(first.served, b"\3old") == set()
    # That is what a restart makes of it, and there is nothing to be done again.
    assert await update(first, "www 60 A 192.0.2.82") == dns.rcode.NOERROR
    validate(first.served, tmp_path / "signed")
    second = started(tmp_path, None, UPDATE, **DENIALS[denial])
    assert (second.served.nodes.keys(), second.served.serial) == (first.served.nodes.keys(), serial + 2)
    async with second.running():
        await trio.sleep(100)
        validate(second.served, tmp_path / "signed")
        assert second.served.serial == serial + 2


async def test_keys_and_signatures_are_not_updated_by_others(tmp_path: Path, autojump_clock: MockClock) -> None:
    first = process(tmp_path)
    async with first.running():
        zone = await first.zones.receive()
        before = zone.rrset(KEY, wire.DNSKEY)
        assert await update(first, "@ 60 DNSKEY 257 3 13 AAAA") == dns.rcode.REFUSED
        assert await update(first, "-@ 0 DNSKEY") == dns.rcode.REFUSED
        assert await update(first, "@ 60 RRSIG A 13 2 60 20360101000000 20260101000000 1 . AAAA") == dns.rcode.REFUSED
        assert await update(first, "-ns 0") == dns.rcode.NOERROR
    found = first.served.rrset(KEY, wire.DNSKEY)
    assert before is not None
    assert found is not None
    assert found.rdatas == before.rdatas
    validate(first.served, tmp_path / "signed")


async def test_a_rollover_goes_on_beside_updates(tmp_path: Path, autojump_clock: MockClock) -> None:
    first = process(tmp_path)
    async with first.running():
        await first.zones.receive()
        signer = first.signing.signers[KEY]
        key = signer.succeed(1_000_000_000, leads=True, signs=True)
        assert isinstance(key, str)  # it is the first one's turn: that time it was not there
        (old,) = signer.load_keys()
        signer.folder.save(old.with_times(Publish=1, Activate=1, SyncPublish=1))
        zone = await first.zones.receive()
        assert zone.rrset(KEY, wire.CDS) is not None
        assert await update(first, "www 60 A 192.0.2.80") == dns.rcode.NOERROR
    validate(first.served, tmp_path / "signed")


async def test_an_export_has_no_signatures_and_is_signed_in_the_place_of_the_file(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    first = started(tmp_path, TEXT, UPDATE | {"watch": True})
    async with first.running():
        await first.zones.receive()
        assert await update(first, "www 60 A 192.0.2.80") == dns.rcode.NOERROR
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    done = CliRunner().invoke(commands.dns, ["export", "example.test", "--config", str(config)])
    assert done.exit_code == 0, done.output
    found = dns.zone.from_text(done.stdout, "example.test", relativize=False)
    types = {rdataset.rdtype for node in found.values() for rdataset in node}
    assert types == {dns.rdatatype.SOA, dns.rdatatype.NS, dns.rdatatype.A}
    assert found.get_rdataset("www.example.test.", "A") is not None
    (tmp_path / "zone").write_text(done.stdout.replace("192.0.2.53", "192.0.2.54"))
    await first.handler.look()
    validate(first.served, tmp_path / "signed")
    assert addresses(first.served, b"\2ns") == {bytes((192, 0, 2, 54))}
    assert addresses(first.served, b"\3www") == {bytes((192, 0, 2, 80))}
    assert "has a serial number that updates have used" not in caplog.text
