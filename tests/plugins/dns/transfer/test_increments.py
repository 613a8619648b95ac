"""IXFR with what has changed (RFC 1995): of zone files that were edited, by TCP and by UDP, also after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
import dns.versioned
import dns.xfr
import dns.zone
import pytest
from responder_plugins.dns import TransferKey
from responder_plugins.dns.handler import DnsHandler

from tests.plugins.dns.support import ask, ask_bytes, handler_of, texts
from tests.plugins.dns.test_tcp import KEYRING, SECRET, axfr, records, transferred

ORIGIN = dns.name.from_text("example.test")
ALLOWED = {"allow_transfer": ("10.0.0.0/8",)}


def write(folder: Path, serial: int, *, hosts: int = 3) -> Path:
    file = folder / "a.zone"
    file.write_text(
        f"$TTL 300\n@ SOA ns h {serial} 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nv{serial} TXT version{serial}\n"
        + "".join(f"host{number} A 192.0.2.2\n" for number in range(hosts))
    )
    return file


def served(folder: Path, **options: Any) -> DnsHandler:
    options = {"zones": {"example.test": folder / "a.zone"}, "watch": True, **ALLOWED, **options}
    return handler_of(folder, state=folder / "state", **options)


async def edited(handler: DnsHandler, folder: Path, serial: int, **more: Any) -> None:
    write(folder, serial, **more)
    await handler.look()


def secondary(file: Path) -> dns.versioned.Zone:
    zone = dns.zone.from_file(str(file), ORIGIN, relativize=False, zone_factory=dns.versioned.Zone)
    assert isinstance(zone, dns.versioned.Zone)
    return zone


def take(zone: dns.versioned.Zone, serial: int, messages: Sequence[dns.message.Message], *, udp: bool = False) -> None:
    with dns.xfr.Inbound(zone, dns.rdatatype.IXFR, serial, udp) as inbound:
        done = [inbound.process_message(message) for message in messages]
    assert done[-1]


async def ixfr(handler: DnsHandler, serial: int, **more: Any) -> list[dns.message.Message]:
    return await transferred(handler, axfr("IXFR", serial=serial, **more))


async def test_a_secondary_gets_what_has_changed(tmp_path: Path) -> None:
    handler = served(write(tmp_path, 1, hosts=3).parent)
    copy = secondary(tmp_path / "a.zone")
    for serial in (2, 3, 5):
        await edited(handler, tmp_path, serial)
    messages = await ixfr(handler, 1)
    assert [line for line in records(messages) if "SOA" not in line] == [
        f'v{number}.example.test. 300 TXT "version{number}"' for number in (1, 2, 2, 3, 3, 5)
    ]
    take(copy, 1, messages)
    assert copy == secondary(tmp_path / "a.zone")
    # From the middle, and from nowhere.
    assert len(records(await ixfr(handler, 3))) == 6
    assert " SOA " not in records(await ixfr(handler, 4))[1]
    assert len(records(await ixfr(handler, 5))) == 1


async def test_a_restart_forgets_none_of_it(tmp_path: Path) -> None:
    handler = served(write(tmp_path, 1).parent)
    await edited(handler, tmp_path, 2)
    del handler
    handler = served(tmp_path)
    assert len(records(await ixfr(handler, 1))) == 6
    # What was edited meanwhile leads from nothing that is known.
    write(tmp_path, 3)
    del handler
    handler = served(tmp_path)
    for serial in (1, 2):
        assert " SOA " not in records(await ixfr(handler, serial))[1]
    await edited(handler, tmp_path, 4)
    assert len(records(await ixfr(handler, 3))) == 6


async def test_a_reload_of_the_config_keeps_it_too(tmp_path: Path) -> None:
    before = served(write(tmp_path, 1).parent)
    write(tmp_path, 2)
    after = served(tmp_path)
    assert after._versions is not None
    await after._versions.note(after.catalog)
    assert len(records(await ixfr(after, 1))) == 6
    assert before.catalog is not after.catalog


@pytest.mark.parametrize("edns", [False, True])
@pytest.mark.parametrize("signed", [False, True])
async def test_by_udp_it_comes_where_it_fits(signed: bool, edns: bool, tmp_path: Path) -> None:
    options = {"transfer_keys": {"key.test": TransferKey(SECRET)}, "allow_transfer": ()} if signed else {}
    handler = served(write(tmp_path, 1).parent, **options)
    copy = secondary(tmp_path / "a.zone")
    await edited(handler, tmp_path, 2)
    query = axfr("IXFR", serial=1)
    if edns:
        query.use_edns(payload=1232)
    if signed:
        query.use_tsig(KEYRING)
    wire = ask_bytes(handler, query.to_wire())
    reply = dns.message.from_wire(wire, keyring=KEYRING, request_mac=query.mac, xfr=True)
    assert reply.had_tsig == signed
    take(copy, 1, [reply], udp=True)
    assert copy == secondary(tmp_path / "a.zone")
    await edited(handler, tmp_path, 3, hosts=90)
    # What does not, and for who may not have the zone, is the SOA record alone.
    for peer in ("10.71.0.9", "192.0.2.9"):
        (only,) = texts(ask(handler, axfr("IXFR", serial=1), peer=peer).answer)
        assert " SOA " in only


async def test_more_than_the_zone_is_worth_comes_as_the_zone(tmp_path: Path) -> None:
    handler = served(write(tmp_path, 1, hosts=4000).parent)
    for serial in (2, 3):
        await edited(handler, tmp_path, serial, hosts=4000 if serial == 3 else 2200)
    assert " SOA " not in records(await ixfr(handler, 1))[1]
    assert len(records(await ixfr(handler, 1))) == 4005


async def test_a_state_that_can_not_be_written_costs_the_differences_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("no folder")
    handler = served(write(tmp_path, 1).parent)
    await edited(handler, tmp_path, 2)
    assert len(records(await ixfr(handler, 1))) == 8
    assert "a change can't be kept for IXFR" in caplog.text
