"""Zone files under their updates, and processes that share a journal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import dns.rcode
import pytest
import trio
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.transfer import versions
from responder_plugins.dns.transfer.versions import file_name
from trio.testing import MockClock

from tests.plugins.dns.test_tcp import axfr, records, transferred
from tests.plugins.dns.transfer.test_update import ZONE, has, rcode_of, serial, served, update


async def add(handler: DnsHandler, name: str, data: str = "192.0.2.1") -> None:
    message = update()
    message.replace(name, 60, "A", data)
    assert await rcode_of(handler, message) == "NOERROR"


async def whole(handler: DnsHandler) -> list[str]:
    return sorted(line.lower() for line in records(await transferred(handler, axfr(sign=True))))


def write(folder: Path, text: str) -> None:
    (folder / "a.zone").write_text(text)


def again(folder: Path, **more: Any) -> DnsHandler:
    """As another process has it: what this one knows of the journals is not found."""
    versions._journals.clear()
    return served(folder, zone=None, **more)


async def settled(handler: DnsHandler) -> None:
    assert handler._versions is not None
    await handler._versions.settle(handler)


async def test_an_edited_file_goes_under_the_updates(tmp_path: Path) -> None:
    handler = served(tmp_path, watch=True)
    await add(handler, "dynamic")
    message = update()
    message.delete("www")
    assert await rcode_of(handler, message) == "NOERROR"
    write(tmp_path, ZONE.replace("h 7 ", "h 20 ").replace("ns A 192.0.2.53", "ns A 192.0.2.54") + "new TXT text\n")
    await handler.look()
    assert serial(handler) == 21
    assert (has(handler, "dynamic", "A"), has(handler, "www", "A")) == (["60 192.0.2.1"], [])
    assert (has(handler, "ns", "A"), has(handler, "new", "TXT")) == (["300 192.0.2.54"], ['300 "text"'])
    # Its secondaries get the difference, and after a restart it is the same.
    changes = records(await transferred(handler, axfr("IXFR", serial=9, sign=True)))
    assert [" ".join(line.split()[::3]) for line in changes if " SOA " not in line] == [
        "ns.example.test. 192.0.2.53",
        "ns.example.test. 192.0.2.54",
        'new.example.test. "text"',
    ]
    before = await whole(handler)
    assert await whole(again(tmp_path)) == before
    # The same file once more is no new version; and updates go on.
    write(tmp_path, (tmp_path / "a.zone").read_text() + "\n; a remark\n")
    await handler.look()
    assert (serial(handler), await whole(handler)) == (21, before)
    await add(handler, "more")
    assert await whole(again(tmp_path)) == await whole(handler)


@pytest.mark.usefixtures("few_threads")
async def test_so_it_does_where_each_thread_is_waited_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    handler = served(tmp_path, watch=True)
    await add(handler, "dynamic")
    write(tmp_path, ZONE.replace("h 7 ", "h 20 ") + "new TXT text\n")
    await handler.look()
    assert (has(handler, "dynamic", "A"), has(handler, "new", "TXT")) == (["60 192.0.2.1"], ['300 "text"'])


@pytest.mark.parametrize(("file_serial", "expected"), [(7, 9), (3, 9), (8, 9), (20, 21)])
async def test_a_file_that_was_edited_while_nothing_ran(file_serial: int, expected: int, tmp_path: Path) -> None:
    """With a serial number that the journal knows it is the same file, that may look otherwise; else it is another."""
    handler = served(tmp_path)
    await add(handler, "dynamic")
    write(tmp_path, ZONE.replace("h 7 ", f"h {file_serial} ") + "new TXT text\n")
    handler = again(tmp_path)
    assert (has(handler, "dynamic", "A"), has(handler, "new", "TXT")) == (["60 192.0.2.1"], ['300 "text"'])
    if file_serial != 7:
        assert serial(handler) == expected
    await add(handler, "more")
    before = await whole(handler)
    assert await whole(again(tmp_path)) == before


@pytest.mark.parametrize("file_serial", [8, 9])
@pytest.mark.parametrize("is_running", [True, False])
async def test_an_edited_file_with_a_serial_number_that_updates_have_used(
    is_running: bool, file_serial: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no export, since it lacks what they made: nothing of theirs or of the file's is lost."""
    handler = served(tmp_path, watch=True)
    await add(handler, "one")
    await add(handler, "two")
    write(tmp_path, ZONE.replace("h 7 ", f"h {file_serial} ") + "new TXT text\n")
    if is_running:
        await handler.look()
    else:
        handler = again(tmp_path, watch=True)
    assert "has a serial number that updates have used" in caplog.text
    for name, rdtype in (("one", "A"), ("two", "A"), ("new", "TXT")):
        assert has(handler, name, rdtype) != []
    assert serial(handler) == 10
    await add(handler, "three")
    before = await whole(handler)
    caplog.clear()
    assert await whole(again(tmp_path)) == before
    assert "has a serial number" not in caplog.text


@pytest.mark.parametrize(("limit", "kept"), [(2**22, 8), (900, 2)])
@pytest.mark.parametrize("is_running", [True, False])
async def test_an_export_that_is_edited_keeps_its_number(
    is_running: bool, limit: int, kept: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of an older version, after which the history was shortened or was not; updates behind it stay."""
    handler = served(tmp_path, watch=True)
    assert handler._versions is not None
    journal = handler._versions.journal(b"\7example\4test\0")
    journal._limit = limit
    for number in range(6):
        await add(handler, f"h{number}")
    lines = records(await transferred(handler, axfr(sign=True)))[:-1]
    gone = update()
    gone.delete("h5")
    assert await rcode_of(handler, gone) == "NOERROR"
    await add(handler, "later")
    assert len(journal.history) == kept
    write(tmp_path, "\n".join(lines) + "\nnew.example.test. 300 IN TXT text\n")
    if is_running:
        await handler.look()
        assert serial(handler) == 16
    else:
        handler = again(tmp_path, watch=True)
    assert "has a serial number" not in caplog.text
    assert (has(handler, "h5", "A"), has(handler, "h4", "A")) == ([], ["60 192.0.2.1"])
    assert (has(handler, "later", "A"), has(handler, "new", "TXT")) == (["60 192.0.2.1"], ['300 "text"'])


async def test_what_does_not_go_together_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handler = served(tmp_path, watch=True)
    await add(handler, "dynamic")
    before = await whole(handler)
    write(tmp_path, ZONE.replace("h 7 ", "h 20 ") + "dynamic CNAME www\n")
    await handler.look()
    assert await whole(handler) == before
    assert "updates and zone file do not go together: dynamic.example.test. has a CNAME record" in caplog.text
    # At a start there is nothing to go on with.
    message = "do not go together"
    with pytest.raises(Exception, match=message):
        again(tmp_path)
    # An update makes the way free.
    gone = update()
    gone.delete("dynamic")
    assert await rcode_of(handler, gone) == "NOERROR"
    assert has(again(tmp_path), "dynamic", "CNAME") == ["300 www.example.test."]


async def test_a_reload_of_the_config_goes_on_with_the_zone_as_it_is(tmp_path: Path) -> None:
    before = served(tmp_path)
    await add(before, "first")
    after = served(tmp_path, zone=None)
    await add(before, "second")
    assert has(after, "second", "A") == ["60 192.0.2.1"]
    await add(after, "third")
    assert await whole(after) == await whole(before)
    # With an edited file too.
    write(tmp_path, ZONE.replace("h 7 ", "h 20 ") + "new TXT text\n")
    last = served(tmp_path, zone=None)
    await add(after, "fourth")
    await settled(last)
    assert (has(last, "fourth", "A"), has(last, "new", "TXT")) == (["60 192.0.2.1"], ['300 "text"'])
    assert await whole(again(tmp_path)) == await whole(last)


async def test_a_reload_that_is_given_up_loses_no_edited_file(tmp_path: Path) -> None:
    """Where another part of the configuration has a mistake, nobody serves what was prepared."""
    handler = served(tmp_path)
    await add(handler, "dynamic")
    write(tmp_path, ZONE.replace("h 7 ", "h 20 ") + "new TXT text\n")
    served(tmp_path, zone=None)
    await settled(handler)
    assert has(handler, "new", "TXT") == []
    last = served(tmp_path, zone=None)
    await settled(last)
    assert (has(last, "dynamic", "A"), has(last, "new", "TXT")) == (["60 192.0.2.1"], ['300 "text"'])


async def test_what_was_written_in_the_place_of_the_file_is_the_new_base(tmp_path: Path) -> None:
    handler = served(tmp_path, watch=True)
    await add(handler, "dynamic")
    lines = records(await transferred(handler, axfr(sign=True)))[:-1]
    write(tmp_path, "\n".join(lines) + "\n")
    await handler.look()
    assert serial(handler) == 8
    # The file has the update, and so it can take it back.
    write(tmp_path, "\n".join(line for line in lines if "dynamic" not in line).replace(" 8 2 3", " 30 2 3") + "\n")
    await handler.look()
    assert (serial(handler), has(handler, "dynamic", "A")) == (31, [])
    assert await whole(again(tmp_path)) == await whole(handler)


async def test_processes_see_each_other_s_updates(tmp_path: Path) -> None:
    processes = [served(tmp_path)] + [again(tmp_path) for _ in range(2)]
    rng = random.Random(2136)  # noqa: S311 - to be repeated
    for number in range(30):
        await add(rng.choice(processes), f"h{number % 7}", f"192.0.2.{number}")
    for handler in processes:
        assert handler._versions is not None
        await handler._versions.follow(handler, b"\7example\4test\0")
    assert len({tuple(await whole(handler)) for handler in processes}) == 1
    assert serial(processes[0]) == 37
    # At the same time, too: each update is one version.
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(add, rng.choice(processes), f"x{number}")
    fresh = again(tmp_path)
    assert serial(fresh) == 67
    assert sum(line.startswith("x") and " a " in line for line in await whole(fresh)) == 30


async def test_processes_see_an_edited_file_in_whatever_order(tmp_path: Path) -> None:
    first = served(tmp_path, watch=True)
    second = again(tmp_path, watch=True)
    await add(first, "one")
    write(tmp_path, ZONE.replace("h 7 ", "h 20 ") + "new TXT text\n")
    await first.look()
    await add(first, "two")
    await add(second, "three")
    await second.look()
    await add(first, "four")
    await settled(first)
    assert await whole(second) != await whole(first)
    assert second._versions is not None
    await second._versions.follow(second, b"\7example\4test\0")
    assert await whole(second) == await whole(first) == await whole(again(tmp_path))
    assert serial(first) == 24


async def test_others_follow_within_a_second(autojump_clock: MockClock, tmp_path: Path) -> None:
    first, second = served(tmp_path), again(tmp_path)
    async with trio.open_nursery() as nursery:
        assert second._versions is not None
        nursery.start_soon(second._versions.run, second)
        await add(first, "one")
        await trio.sleep(1.5)
        assert has(second, "one", "A") == ["60 192.0.2.1"]
        nursery.cancel_scope.cancel()


async def test_a_journal_that_is_damaged_is_told_and_the_zone_not_served(tmp_path: Path) -> None:
    handler = served(tmp_path)
    for number in range(3):
        await add(handler, f"h{number}")
    journal = tmp_path / "state" / "journals" / file_name(b"\7example\4test\0")
    data = journal.read_bytes()
    journal.write_bytes(data[:200] + bytes((data[200] ^ 1,)) + data[201:])
    with pytest.raises(Exception, match=r"its updates are not to be had: .* is damaged at byte"):
        again(tmp_path)
    # With another zone the instance starts.
    (tmp_path / "b.zone").write_text(ZONE)
    handler = again(tmp_path, zones={"example.test": tmp_path / "a.zone", "other.test": tmp_path / "b.zone"})
    assert await rcode_of(handler, update()) == dns.rcode.to_text(dns.rcode.SERVFAIL)


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        (b"\7example\4test\0", "zone.example.test.journal"),
        (b"\7EXAMPLE\0", "zone.example.journal"),
        (b"\3a/b\3..\\\0", "zone.a%2Fb.%5C.%5C.%5C%5C.journal"),
        (b"\0", "zone..journal"),
    ],
)
def test_a_journal_s_file_has_a_name_for_any_system(origin: bytes, name: str) -> None:
    assert file_name(origin) == name
    for byte in b"a/":
        assert len(file_name((b"\x3f" + bytes((byte,)) * 63) * 3 + b"\0")) < 255
