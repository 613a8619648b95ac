"""When a zone is asked for and from whom, what is served of it, and what a restart, a reload and a NOTIFY do."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import dns.message
import dns.opcode
import dns.rcode
import dns.tsig
import pytest
import trio
from responder_plugins.dns import Dns, Secondary, TransferKey
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.secondary.timers import Timers
from responder_plugins.dns.transfer.primary import TransferError
from trio.testing import MockClock

from responder import Context
from responder.errors import ConfigErrors
from tests.plugins.dns.secondary.support import (
    FIRST,
    OTHER,
    SECOND,
    Primaries,
    records_of,
    running,
    said,
    secondary,
    zone_of,
)
from tests.plugins.dns.support import SMALL, ask, ask_bytes

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
CONFIG = {"other.test": Secondary(primaries=("192.0.2.53", "[2001:db8::53]:5353"))}


async def test_until_the_first_transfer_nothing_is_known(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Then the second primary is asked, since the first does not answer; a name in no zone is still refused."""
    primaries = Primaries(takes=5)
    primaries.zones[SECOND, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(1)
        assert said(handler) == "SERVFAIL"
        assert said(handler, "elsewhere.test") == "REFUSED"
        await trio.sleep(10)
        assert said(handler) == "7"
    assert [(kind, server) for _, kind, _, server in primaries.asked] == [("AXFR", FIRST), ("AXFR", SECOND)]
    assert handler.counts()["transfer-in"] == 1


async def test_tries_for_a_zone_that_was_never_there_come_ever_later(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    handler = secondary(tmp_path, primaries, {"other.test": Secondary(primaries=("192.0.2.53",))})
    async with running(handler, tmp_path):
        await trio.sleep(8_000)
    times = primaries.times("AXFR")
    waits = [after - before for before, after in pairwise(times)]
    for number, wait in enumerate(waits):
        longest = min(2 * 2**number, 600)
        assert 0.9 * longest <= wait <= longest
    assert len(waits) > 10
    assert handler.counts()["transfer-in-failed"] == len(times)


@pytest.mark.parametrize("times", ["0 0 0", "4294967295 4294967295 4294967295"])
async def test_times_of_a_zone_are_bounded(autojump_clock: MockClock, tmp_path: Path, times: str) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7, times=times)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(100)
        if times.startswith("0"):
            assert 100 / 2 <= len(primaries.times("SOA")) <= 100 / 1.8 + 1
        else:
            assert primaries.times("SOA") == []
            assert Timers.of(zone_of(tmp_path, 7, times=times).soa.rdatas[0]) == Timers(
                28 * 86400, 14 * 86400, 2**32 - 1
            )
        assert said(handler) == "7"


async def test_an_older_or_equal_version_is_not_taken(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By serial number arithmetic (RFC 1982); then the other primary is asked."""
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 2**32 - 1)
    primaries.zones[SECOND, OTHER] = zone_of(tmp_path, 3)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(400)
        assert said(handler) == str(2**32 - 1)
        primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 2**32 - 2)
        primaries.does_ixfr = False
        await trio.sleep(400)
        assert said(handler) == "3"
    assert primaries.kinds()[-1] != "AXFR"


@pytest.mark.parametrize("fits", [True, False])
async def test_changes_are_put_into_the_zone(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, fits: bool
) -> None:
    """Where they don't fit, the whole zone is asked for at once."""
    primaries = Primaries()
    old, new = zone_of(tmp_path, 7, "old A 192.0.2.1\n"), zone_of(tmp_path, 8, "new A 192.0.2.1\n")
    primaries.zones[FIRST, OTHER] = old
    primaries.known[7] = records_of(old if fits else zone_of(tmp_path, 7, "other A 192.0.2.1\n"))
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(10)
        assert said(handler) == "7"
        assert said(handler, "new.other.test") == "NXDOMAIN"
        primaries.zones[FIRST, OTHER] = new
        await trio.sleep(360)
        assert said(handler) == "8"
        assert said(handler, "old.other.test") == "NXDOMAIN"
        assert said(handler, "new.other.test") == "NOERROR"
    assert primaries.kinds() == ["AXFR", "SOA", "IXFR", *([] if fits else ["AXFR"])]
    assert ("does not fit" in caplog.text) is not fits
    again = secondary(tmp_path, Primaries())
    async with running(again, tmp_path):
        await trio.sleep(1)
        assert said(again) == "8"


# NOTIFY


def notify(name: str = "other.test", key: dns.tsig.Key | None = None) -> dns.message.Message:
    message = dns.message.make_query(name, "SOA", flags=dns.flags.AA)
    message.set_opcode(dns.opcode.NOTIFY)
    if key is not None:
        message.use_tsig(key)
    return message


async def test_a_primary_s_notify_leads_to_a_check_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """From the address that it came to; and that primary is asked first."""
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(100)
        primaries.asked.clear()
        primaries.sources.clear()
        primaries.zones[SECOND, OTHER] = zone_of(tmp_path, 8)
        primaries.does_ixfr = False
        reply = ask(handler, notify(), "fd71::1", peer="2001:db8::53")
        assert (reply.rcode(), reply.opcode(), reply.flags & dns.flags.AA) == (0, dns.opcode.NOTIFY, dns.flags.AA)
        await trio.sleep(0.5)
        assert said(handler) == "8"
        assert [(kind, server) for _, kind, _, server in primaries.asked] == [("SOA", SECOND), ("IXFR", SECOND)]
        assert set(primaries.sources) == {ip_address("fd71::1")}
        assert handler.counts()["notify-received"] == 1


async def test_many_notifications_lead_to_a_check_a_second(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(100)
        primaries.asked.clear()
        for _ in range(1000):
            ask_bytes(handler, notify().to_wire(), peer="192.0.2.53")
            await trio.sleep(0.01)
        await trio.sleep(5)
    assert 10 <= len(primaries.asked) <= 12


async def test_nobody_else_may_notify(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Only an address of a primary, and the owner of a primary's key."""
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    (tmp_path / "own.zone").write_text(SMALL)
    names = ("right.test", "wrong.test")
    handler = secondary(
        tmp_path,
        primaries,
        {"other.test": Secondary(primaries=("192.0.2.53",), key="right.test")},
        zones={"own.test": tmp_path / "own.zone"},
        transfer_keys={name: TransferKey(secret=SECRET) for name in names},
    )
    right, wrong = (dns.tsig.Key(name, SECRET, "hmac-sha256") for name in names)
    forged = dns.tsig.Key("right.test", "b3RoZXI=", "hmac-sha256")
    async with running(handler, tmp_path):
        await trio.sleep(100)
        before = list(primaries.asked)
        for message, rcode in (
            (notify(), dns.rcode.REFUSED),
            (notify(key=wrong), dns.rcode.REFUSED),
            (notify(key=forged), dns.rcode.NOTAUTH),
            (notify("own.test"), dns.rcode.REFUSED),
            (notify("nowhere.test"), dns.rcode.REFUSED),
        ):
            assert ask_bytes(handler, message.to_wire())[3] & 0xF == rcode
        await trio.sleep(10)
        assert primaries.asked == before
        assert handler.counts()["notify-rejected"] == 4
        assert ask_bytes(handler, notify(key=right).to_wire())[3] & 0xF == dns.rcode.NOERROR
        await trio.sleep(1)
        assert len(primaries.asked) == len(before) + 1


# What outlives a restart


async def test_the_last_copy_is_served_before_any_primary_answers(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7, "W\\032eird TXT x\n")
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(1)
    again = secondary(tmp_path, Primaries())
    async with running(again, tmp_path):
        await trio.sleep(1)
        assert said(again) == "7"
        assert said(again, "w\\032eird.other.test") == "x"
    before, after = (each.processor.catalog.zones[OTHER] for each in (handler, again))
    assert before is not None
    assert after is not None
    assert list(before.rrsets()) == list(after.rrsets())


async def test_a_copy_is_too_old_when_nothing_was_heard_for_as_long_as_the_zone_says(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also over restarts: each check without news counts as hearing of it."""
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(5_000)
    asked = primaries.times("SOA")[-1]
    await trio.sleep_until(asked + 8600)
    again = secondary(tmp_path, Primaries())
    async with running(again, tmp_path):
        await trio.sleep(1)
        assert said(again) == "7"
    await trio.sleep_until(asked + 8641)
    again = secondary(tmp_path, Primaries())
    async with running(again, tmp_path):
        await trio.sleep(1)
        assert said(again) == "SERVFAIL"
    assert "EXPIRE" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"x", b"responderd zone 2\n" + bytes(100)])
async def test_a_damaged_copy_is_as_none(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries)
    async with running(handler, tmp_path):
        await trio.sleep(1)
    (copy,) = (tmp_path / "secondary").glob("*.copy")
    whole = copy.read_bytes()
    for damaged in (damage, whole[:-1], whole[:20] + b"\xff" + whole[21:]):
        copy.write_bytes(damaged)
        again = secondary(tmp_path, Primaries())
        async with running(again, tmp_path):
            await trio.sleep(1)
            assert said(again) == "SERVFAIL"
        assert "damaged" in caplog.text
        caplog.clear()


async def test_copies_of_zones_that_are_no_longer_here_go(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    async with running(secondary(tmp_path, primaries), tmp_path):
        await trio.sleep(1)
    assert [path.name for path in (tmp_path / "secondary").glob("*.copy")] == ["zone.other.test.copy"]
    async with running(secondary(tmp_path, primaries, {"new.test": CONFIG["other.test"]}), tmp_path):
        await trio.sleep(1)
    assert list((tmp_path / "secondary").glob("*.copy")) == []


async def test_without_a_state_folder_it_serves_and_says_what_is_lost(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries, stateless=True)
    async with running(handler, None):
        await trio.sleep(1)
        assert said(handler) == "7"
    assert "no copies of zones can be kept" in caplog.text


async def test_a_reload_goes_on_with_what_is_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Also where there is no state folder, and a new zone is asked for beside it."""
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    before = secondary(tmp_path, primaries, stateless=True)
    async with running(before, None):
        await trio.sleep(100)
    primaries.asked.clear()
    after = secondary(tmp_path, primaries, {**CONFIG, "new.test": CONFIG["other.test"]}, stateless=True)
    assert said(after) == "SERVFAIL"
    after.succeed(before)
    assert said(after) == "7"
    async with running(after, None):
        await trio.sleep(100)
        assert primaries.kinds() == []
        assert primaries.kinds(b"\3new\4test\0") != []
        await trio.sleep(360)
        assert primaries.kinds() == ["SOA"]


async def test_a_zone_file_that_changes_leaves_the_others_alone(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    file = tmp_path / "own.zone"
    file.write_text(SMALL)
    handler = secondary(tmp_path, primaries, zones={"own.test": file}, watch=True)
    async with running(handler, tmp_path):
        await trio.sleep(1)
        file.write_text(SMALL + "t TXT new\n")
        await trio.sleep(5)
        assert said(handler, "t.own.test") == "new"
        assert said(handler) == "7"


# Many zones


async def test_so_many_transfers_are_under_way_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    primaries = Primaries(takes=1)
    names = [f"z{number}.test" for number in range(100)]
    for name in names:
        origin = dns.name.from_text(name).to_digestable()
        primaries.zones[FIRST, origin] = zone_of(tmp_path, 7, name=name)
    handler = secondary(tmp_path, primaries, {name: Secondary(primaries=("192.0.2.53",)) for name in names})
    async with running(handler, tmp_path):
        await trio.sleep(8)
        assert all(said(handler, f"t.{name}") == "7" for name in names)
    assert primaries.most == 16


async def test_a_primary_that_is_away_does_not_hold_up_the_zones_of_others(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    primaries = Primaries(takes=10)
    sources = {f"away{number}.test": Secondary(primaries=("192.0.2.99",)) for number in range(1000)}
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries, {**sources, **CONFIG})
    async with running(handler, tmp_path):
        await trio.sleep(60)
        assert said(handler) == "7"


async def test_a_transfer_that_can_t_be_used_changes_nothing(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primaries = Primaries()
    primaries.zones[FIRST, OTHER] = zone_of(tmp_path, 7)
    handler = secondary(tmp_path, primaries, {"other.test": Secondary(primaries=("192.0.2.53",))})
    async with running(handler, tmp_path):
        await trio.sleep(1)
        primaries.zones[FIRST, OTHER] = TransferError("the connection ended before the transfer did")
        await trio.sleep(500)
        assert said(handler) == "7"
    assert "the connection ended before the transfer did" in caplog.text


# Configuration


def mistakes(folder: Path, **options: object) -> str:
    with pytest.raises(ConfigErrors) as caught:
        Dns(**options).prepare(Context("dns", folder))  # type: ignore[arg-type]
    return "\n".join(map(str, caught.value.errors))


def test_mistakes_of_the_config_are_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.zone").write_text(SMALL)
    text = mistakes(
        tmp_path,
        zones={"own.test": tmp_path / "own.zone"},
        secondary={
            "own.test": Secondary(primaries=("192.0.2.1",)),
            "b.test": Secondary(primaries=("ns1",), key="none.test"),
            "c.test": Secondary(primaries=()),
        },
        notify={"d.test": ()},
    )
    for expected in (
        'secondary."own.test": this zone is also in zones',
        'secondary."b.test".primaries[0]: expected an address',
        'secondary."b.test".key: there is no such key in transfer_keys',
        'secondary."c.test".primaries: expected at least one address',
        'notify."d.test": there is no such zone',
    ):
        assert expected in text


def test_secondaries_alone_are_enough(tmp_path: Path) -> None:
    handler = Dns(secondary={"other.test": Secondary(primaries=("192.0.2.1",))}).prepare(Context("dns", tmp_path))
    assert isinstance(handler, DnsHandler)
