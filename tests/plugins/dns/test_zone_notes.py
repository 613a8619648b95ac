"""What the handler says of its zones as long as it is so: which get SERVFAIL and why, and whose signatures end."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from responder_plugins.dns import Dns, Etcd, Secondary
from responder_plugins.dns.etcd.client import EtcdError
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.message import wire
from responder_plugins.dns.zone.changes import Change, records_of, soa_record, with_serial
from responder_plugins.dns.zone.edit import apply
from responder_plugins.dns.zone_notes import SIGNATURES, watch_signatures
from trio.testing import MockClock

from responder import Context
from responder.testing import wall_clock
from tests.plugins.dns.etcd.test_follower import follower_of
from tests.plugins.dns.secondary.support import FIRST, OTHER, Primaries, running, secondary, zone_of
from tests.plugins.dns.support import SMALL
from tests.plugins.dns.zone.test_signatures import NOON, write


@pytest.mark.usefixtures("no_threads")
async def test_a_zone_that_never_came_and_one_that_is_too_old(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    handler = secondary(tmp_path, primaries, {"other.test": Secondary(primaries=("192.0.2.53",))})
    async with running(handler, tmp_path):
        await trio.sleep(1)
        assert list(handler.notes()) == ["SERVFAIL: never transferred yet: other.test."]
        primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
        await trio.sleep(10)
        assert list(handler.notes()) == []
        del primaries.zones[FIRST, OTHER]
        await trio.sleep(10_000)
        assert list(handler.notes()) == ["SERVFAIL: too old (EXPIRE): other.test."]


def test_files_with_mistakes_and_many_zones(tmp_path: Path) -> None:
    (tmp_path / "good.zone").write_text(SMALL)
    (tmp_path / "bad.zone").write_text("@ SOA\n")
    zones = {f"z{number}.test": Path("bad.zone") for number in range(5)} | {"good.test": Path("good.zone")}
    handler = Dns(zones=zones).prepare(Context("dns", tmp_path))
    assert isinstance(handler, DnsHandler)
    assert list(handler.notes()) == ["SERVFAIL: the zone file has mistakes: z0.test., z1.test., z2.test. and 2 more"]


async def test_zones_of_etcd(autojump_clock: MockClock, tmp_path: Path) -> None:
    handler = Dns(etcd=Etcd(zones=("cluster.test",))).prepare(Context("dns", tmp_path))
    assert isinstance(handler, DnsHandler)
    assert list(handler.notes()) == ["SERVFAIL: not heard from etcd for too long, or never yet: cluster.test."]
    follower = follower_of(handler)
    (origin,) = follower.served()
    follower._note_contact()
    handler.replace(origin, follower._state.services.zone_of(origin, 7))
    follower._state.zones[origin] = handler.zone(origin)
    follower._note_failure("http://127.0.0.1:2379", EtcdError("no answer"))
    await trio.sleep(59)
    assert list(handler.notes()) == []
    await trio.sleep(2)
    assert list(handler.notes()) == ["etcd is away for 60 s or more: what it said last is served"]


async def test_signatures_that_end(tmp_path: Path) -> None:
    context = Context("dns", tmp_path)
    with wall_clock(NOON):
        handler = Dns(zones={"example.test": write(tmp_path, first=NOON + 3600)}).prepare(context)
        assert isinstance(handler, DnsHandler)
        assert list(handler.notes()) == ["zone example.test.: its first signature ends at 2026-06-01 13:00:00 UTC"]


async def test_signatures_that_are_not_there(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as it is so: told by the log too, where it comes to be so."""
    context = Context("dns", tmp_path)
    with wall_clock(NOON):
        file = write(tmp_path, leave_out=[("alias", "CNAME"), ("ns", "A")])
        handler = Dns(zones={"example.test": file}).prepare(context)
        assert isinstance(handler, DnsHandler)
        assert list(handler.notes()) == ["zone example.test.: signed in part: 2 RRsets have no signature"]
        (zone,) = handler.catalog.zones.values()
        assert zone is not None
        rrsig = next(record for record in records_of(zone) if record.rdtype == wire.RRSIG)
        of_cname = rrsig._replace(name=b"\5alias" + zone.origin, rdata=wire.CNAME.to_bytes(2) + rrsig.rdata[2:])
        of_a = rrsig._replace(name=b"\2ns" + zone.origin, rdata=wire.A.to_bytes(2) + rrsig.rdata[2:])
        soa = soa_record(zone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_signatures, lambda: handler.catalog, "dns")
            await trio.sleep(1)
            apply(zone, Change.of([soa], [with_serial(soa, 2), of_cname, of_a]))
            assert list(handler.notes()) == []
            await trio.sleep(SIGNATURES)
            assert caplog.text == ""
            apply(zone, Change.of([with_serial(soa, 2), of_a], [with_serial(soa, 3)]))
            await trio.sleep(SIGNATURES)
            nursery.cancel_scope.cancel()
        assert list(handler.notes()) == ["zone example.test.: signed in part: 1 RRset has no signature"]
        assert caplog.text.count("signed in part: 1 RRset has no signature") == 1
        write(tmp_path, leave_out=[("@", "DNSKEY")])
        handler = Dns(zones={"example.test": file}).prepare(Context("dns", tmp_path))
        told = "zone example.test.: its signatures are not served: it is not signed as a whole"
        assert list(handler.notes()) == [told]
