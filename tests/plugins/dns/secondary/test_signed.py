"""A zone from elsewhere that is signed here: what comes is signed before it is served, under serials of its own."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import trio
from responder_plugins.dns import Dns, Secondary, Sign
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.keys import maintenance
from responder_plugins.dns.secondary.copies import Copies
from responder_plugins.dns.zone.rules import MADE_BY_SIGNER
from responder_plugins.dns.zone.tables import Zone
from trio.testing import MockClock

from responder import ConfigErrors, Context, wall_time
from tests.plugins.dns.keys.support import DENIALS, validate
from tests.plugins.dns.secondary.support import (
    FIRST,
    OTHER,
    Network,
    Primaries,
    copied,
    records_of,
    running,
    said,
    secondary,
    zone_of,
)
from tests.plugins.dns.support import ask
from tests.plugins.dns.test_tcp import transferred

GIVEN = {"other.test": Secondary(primaries=("192.0.2.53",))}


def signing(folder: Path, primaries: Primaries, **policy: Any) -> DnsHandler:
    maintenance._live.clear()  # another process doesn't see them
    sign = {"other.test": Sign(keys=Path("keys"), **policy)}
    return secondary(folder, primaries, GIVEN, sign=sign, allow_transfer=(ip_network("10.71.0.0/24"),))


def served(handler: DnsHandler) -> Zone:
    zone = handler.zone(OTHER)
    assert zone is not None
    return zone


def is_signed(handler: DnsHandler) -> bool:
    """Is the answer of a usual client who wants signatures?"""
    reply = ask(handler, dns.message.make_query("t.other.test", "TXT", want_dnssec=True))
    return any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in reply.answer)


async def changes_since(handler: DnsHandler, serial: int) -> list[str]:
    query = dns.message.make_query("other.test", "IXFR")
    query.authority.append(dns.rrset.from_text("other.test.", 1, "IN", "SOA", f". . {serial} 1 2 3 4"))
    messages = await transferred(handler, query)
    return [line for message in messages for rrset in message.answer for line in rrset.to_text().splitlines()]


@pytest.mark.parametrize("policy", [{}, {"denial": "nsec3"}, {"csk": False}], ids=["NSEC", "NSEC3", "KSK and ZSK"])
async def test_what_comes_is_served_signed(autojump_clock: MockClock, tmp_path: Path, policy: dict[str, Any]) -> None:
    """Where there are no keys yet, as it came until that is done; and others get what has changed."""
    primaries = Primaries(takes=1)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    primaries.known[7] = records_of(zone_of(tmp_path, 7))
    handler = signing(tmp_path, primaries, **policy)
    async with running(handler, tmp_path):
        assert said(handler) == "SERVFAIL"
        await trio.sleep(1.1)
        assert (said(handler), served(handler).serial, is_signed(handler)) == ("7", 7, False)
        await trio.sleep(10)
        assert (said(handler), served(handler).serial) == ("7", 8)
        assert is_signed(handler)
        validate(served(handler), tmp_path / "checked.zone", wall_time(), with_bind=False)
        primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 8, "new A 192.0.2.1\n")
        await trio.sleep(400)
        assert primaries.kinds()[-1] in ("SOA", "IXFR")
        assert (said(handler), said(handler, "new.other.test")) == ("8", "NOERROR")
        assert served(handler).serial == 9
        validate(served(handler), tmp_path / "checked.zone", wall_time(), with_bind=False)
        changes = await changes_since(handler, 8)
        assert len(changes) < len([*served(handler).rrsets()])
        assert any("new.other.test. 300 IN A 192.0.2.1" in line for line in changes)
    # What is kept of the primary's is as it came.
    copy = Copies.of(tmp_path, None).read(OTHER)
    assert copy is not None
    assert copy[0].chain is None


async def test_where_there_are_keys_it_is_never_served_unsigned(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A parent may have their DS record: without signatures all would be bogus."""
    primaries = Primaries(takes=1)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    before = signing(tmp_path, primaries)
    async with running(before, tmp_path):
        await trio.sleep(10)
    for copy in (tmp_path / maintenance.FOLDER).glob("*copy"):
        copy.unlink()
    after = signing(tmp_path, primaries)
    assert said(after) == "SERVFAIL"
    async with running(after, tmp_path):
        for _ in range(100):
            assert said(after) == "SERVFAIL" or is_signed(after)
            await trio.sleep(0.1)
        assert is_signed(after)


STEPS = [
    "a A 192.0.2.1\nx.y.b A 192.0.2.2\n",
    "a A 192.0.2.1\na AAAA 2001:db8::1\nx.y.b A 192.0.2.2\nc NS ns.c\nns.c A 192.0.2.3\n",
    "x.y.b A 192.0.2.2\nc NS ns.c\nns.c A 192.0.2.3\nc DS 1 13 2 " + 64 * "0" + "\n*.w TXT wild\n",
    "b A 192.0.2.9\nbelow.c A 192.0.2.4\n*.w TXT wild\n",
    "",
]


@pytest.mark.parametrize("policy", DENIALS.values(), ids=DENIALS)
async def test_what_changes_is_signed_in_the_zone_that_is_served(
    autojump_clock: MockClock, tmp_path: Path, policy: dict[str, Any]
) -> None:
    """Not the whole zone anew; after each step it is as if it were, and a restart has it."""
    same = "".join(f"same{number} A 192.0.2.{number}\n" for number in range(100))
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7, same)
    handler = signing(tmp_path, primaries, **policy)
    async with running(handler, tmp_path):
        await trio.sleep(10)
        first = served(handler)
        for serial, step in enumerate(STEPS, 8):
            primaries.zones[FIRST, OTHER] = zone_of(tmp_path, serial, same + step)
            await trio.sleep(400)
            assert said(handler) == str(serial)
            assert served(handler) is first
            assert served(handler).serial == serial + 1
            validate(served(handler), tmp_path / "checked.zone", wall_time(), with_bind=False)
            data = {record for record in records_of(served(handler)) if record.rdtype not in MADE_BY_SIGNER}
            assert data == {*records_of(zone_of(tmp_path, serial, same + step))}
            assert len(await changes_since(handler, serial)) < 100
        expected = records_of(served(handler), soa=True)
    after = signing(tmp_path, Primaries(), **policy)
    async with running(after, tmp_path):
        await trio.sleep(10)
        assert records_of(served(after), soa=True) == expected


async def test_a_restart_serves_what_was_signed_without_the_primary(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    before = signing(tmp_path, primaries)
    async with running(before, tmp_path):
        await trio.sleep(10)
        signed = served(before)
    after = signing(tmp_path, Primaries())
    assert said(after) == "7"
    assert is_signed(after)
    async with running(after, tmp_path):
        await trio.sleep(10)
        assert records_of(served(after), soa=True) == records_of(signed, soa=True)


async def test_a_version_that_was_not_signed_before_the_end_is_signed_after_the_restart(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    before = signing(tmp_path, primaries)
    async with running(before, tmp_path):
        await trio.sleep(10)
        with monkeypatch.context() as patch:
            patch.setattr(maintenance, "LOOK", 10_000)
            await trio.sleep(10)
            primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 8)
            await trio.sleep(400)
        assert said(before) == "7"
    after = signing(tmp_path, Primaries())
    async with running(after, tmp_path):
        await trio.sleep(10)
        assert said(after) == "8"
        assert is_signed(after)


async def test_signatures_are_renewed_and_serials_never_go_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = signing(tmp_path, primaries, signature_lifetime=7200, signature_refresh=3600, signature_jitter=0)
    async with running(handler, tmp_path):
        await trio.sleep(10)
        first = served(handler)
        await trio.sleep(4000)
        renewed = served(handler)
        serial = renewed.serial
        assert serial > first.serial
        assert renewed.first_end is not None
        assert first.first_end is not None
        assert renewed.first_end > first.first_end
        primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 8)
        await trio.sleep(400)
        assert said(handler) == "8"
        assert served(handler).serial > serial
        validate(served(handler), tmp_path / "checked.zone", wall_time(), with_bind=False)


async def test_a_zone_that_is_too_old_is_not_served_until_it_comes_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = signing(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(10)
        assert said(handler) == "7"
        zone = primaries.zones.pop((FIRST, OTHER))
        await trio.sleep(9_500)
        assert said(handler) == "SERVFAIL"
        primaries.zones[FIRST, OTHER] = zone
        await trio.sleep(100)
        assert said(handler) == "7"
        assert is_signed(handler)


async def test_of_what_the_primary_has_signed_only_the_data_stay(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    primaries, theirs = Primaries(), Primaries()
    theirs.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    primary = signing(tmp_path / "theirs", theirs)
    async with running(primary, tmp_path / "theirs"):
        await trio.sleep(10)
        primaries.zones[FIRST, OTHER] = copied(served(primary))
    handler = signing(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(10)
        zone = served(handler)
        validate(zone, tmp_path / "checked.zone", wall_time(), with_bind=False)
        keys = [served(each).rrset(OTHER, dns.rdatatype.DNSKEY) for each in (primary, handler)]
        assert keys[0] is not None
        assert keys[1] is not None
        assert keys[0].rdatas != keys[1].rdatas


async def test_a_reload_goes_on_with_what_is_served(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    before = signing(tmp_path, primaries)
    async with running(before, tmp_path):
        await trio.sleep(10)
    sign = {"other.test": Sign(keys=Path("keys"))}
    after = Dns(secondary=GIVEN, sign=sign).prepare(Context("dns", tmp_path, tmp_path))
    assert isinstance(after, DnsHandler)
    after.succeed(before)
    assert said(after) == "7"
    assert served(after) is served(before)


async def test_a_process_that_follows_serves_what_the_one_that_signs_does(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    primaries = Primaries(does_ixfr=False)
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    first = signing(tmp_path, primaries)
    async with running(first, tmp_path):
        await trio.sleep(0.1)
        assert first.versions is not None
        first.versions.journal(OTHER)  # or the second one's would be its own, too
        second = signing(tmp_path, Primaries())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second.run, Network(tmp_path))
            await trio.sleep(10)
            for serial in (8, 9):
                assert records_of(served(second), soa=True) == records_of(served(first), soa=True)
                primaries.zones[FIRST, OTHER] = zone_of(tmp_path, serial)
                await trio.sleep(400)
                assert (said(first), said(second)) == (str(serial), str(serial))
                for handler in (first, second):
                    changes = await changes_since(handler, serial)
                    assert len([line for line in changes if " IN SOA " in line]) == 4, "not the whole zone"
            del primaries.zones[FIRST, OTHER]
            await trio.sleep(9_500)
            assert (said(first), said(second)) == ("SERVFAIL", "SERVFAIL")
            nursery.cancel_scope.cancel()


def test_a_catalog_zone_is_not_signed(tmp_path: Path) -> None:
    plugin = Dns(
        secondary={"other.test": Secondary(primaries=("192.0.2.53",), catalog=True)},
        sign={"other.test": Sign(keys=Path("keys"))},
    )
    with pytest.raises(ConfigErrors, match=r'sign\."other\.test": a catalog zone is not signed'):
        plugin.prepare(Context("dns", tmp_path, tmp_path))
