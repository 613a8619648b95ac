"""A journal is what was written to it, whatever happens to its end; and stays bounded."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from responder_plugins.dns.transfer.journal import Journal, JournalError
from responder_plugins.dns.zone.changes import Change, ZoneRecord

NAME = b"\7example\4test\0"


def soa(serial: int) -> ZoneRecord:
    return ZoneRecord(NAME, 6, 300, b"\2ns\0\1h\0" + serial.to_bytes(4) + bytes(16))


def host(number: int, size: int = 4) -> ZoneRecord:
    return ZoneRecord(b"\1h" + NAME, 16, 300, number.to_bytes(size))


def change(before: int, size: int = 4) -> Change:
    """From a version to the next; each takes away what the one before has brought."""
    gone = [host(before, size)] if before > 1 else []
    return Change.of([soa(before), *gone], [soa(before + 1), host(before + 1, size)])


def written(path: Path, count: int, *, durable: bool = False) -> Journal:
    journal = Journal(path, durable=durable)
    for before in range(1, count + 1):
        journal.append(change(before))
    return journal


def reread(path: Path, *, durable: bool = False) -> Journal:
    journal = Journal(path, durable=durable)
    journal.refresh()
    return journal


def test_what_was_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.journal"
    journal = Journal(path)
    journal.refresh()
    assert (journal.last, journal.since(1), journal.net(1)) == (None, None, (None, True))
    written(path, 5)
    for journal in (written(path, 0), reread(path)):
        journal.refresh()
        assert journal.last == 6
        changes = journal.since(3)
        assert changes is not None
        assert list(changes) == [change(3), change(4), change(5)]
        assert journal.since(9) is None
        assert list(journal.since(6) or ()) == []


def test_who_reads_sees_what_others_write(tmp_path: Path) -> None:
    journal, other = written(tmp_path / "a.journal", 2), reread(tmp_path / "a.journal")
    assert not other.is_behind
    journal.append(change(3))
    assert other.is_behind
    other.refresh()
    assert (other.last, other.is_behind) == (4, False)
    # And goes on itself.
    other.append(change(4))
    journal.refresh()
    assert journal.last == 5


def test_a_tail_that_is_torn_is_cut_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    written(path, 3)
    whole = path.read_bytes()
    start = len(whole) - len(change(3).encoded()) - 21
    for end in range(start, len(whole)):
        for tail in (b"", bytes(len(whole) - end)):  # the file was as long already, its end not on the disk
            path.write_bytes(whole[:end] + tail)
            journal = reread(path)
            assert journal.last == 3
            journal.append(change(3))
            assert path.read_bytes() == whole


def test_damage_in_front_of_others_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    written(path, 3)
    whole = path.read_bytes()
    sizes = [len(change(before).encoded()) + 21 for before in (1, 2, 3)]
    for at in range(29, len(whole) - sizes[2]):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        with pytest.raises(JournalError, match=r"is damaged at byte (29|\d\d\d), and has entries behind that"):
            reread(path)
    path.write_bytes(b"something else")
    with pytest.raises(JournalError, match="is no journal"):
        reread(path)


def test_random_bytes_are_no_journal(tmp_path: Path) -> None:
    rng = random.Random(1995)  # noqa: S311 - to be repeated
    path = tmp_path / "a.journal"
    written(path, 3)
    whole = path.read_bytes()
    for _ in range(300):
        path.write_bytes(whole[: rng.randrange(60)] + rng.randbytes(rng.randrange(200)))
        try:
            assert reread(path).last in (None, 2, 3, 4)
        except JournalError:
            continue


def test_a_disk_that_is_full_leaves_it_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.journal"
    journal = written(path, 2)
    whole = path.read_bytes()

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(JournalError, match="can't be written: No space left"):
            journal.append(change(3))
    assert path.read_bytes() == whole
    journal.append(change(3))
    assert reread(path).last == 4


def test_a_history_that_does_not_go_on_begins_anew(tmp_path: Path) -> None:
    journal = written(tmp_path / "a.journal", 3)
    journal.append(change(9))
    assert (journal.last, journal.since(1)) == (10, None)
    kept = written(tmp_path / "b.journal", 3, durable=True)
    with pytest.raises(JournalError, match="ends with another version"):
        kept.append(change(9))


def test_a_history_from_before_there_were_updates_is_no_base(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    written(path, 3)
    for before in (4, 9):
        journal = reread(path, durable=True)
        assert journal.net(2) == (None, True)
        journal.append(change(before))
        net = Change.of([soa(before), host(before)], [soa(before + 1), host(before + 1)])
        assert reread(path, durable=True).net(before) == (net, True)
        assert (reread(path).since(1) is None) == (before == 9)
        path.unlink()
        written(path, 3)


def test_updates_of_a_zone_that_takes_none_any_more_are_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.journal"
    written(path, 3, durable=True)
    before = path.read_bytes()
    reread(path).append(change(9))
    assert reread(path).last == 10
    assert (tmp_path / "a.updates").read_bytes() == before
    assert "are put aside" in caplog.text


def test_it_is_bounded_and_what_a_zone_is_made_of_stays(tmp_path: Path) -> None:
    for durable in (False, True):
        journal = Journal(tmp_path / f"{durable}.journal", durable=durable, limit=2000)
        for before in range(1, 200):
            journal.append(change(before, 30))
            assert journal.path.stat().st_size < 3000
        again = Journal(journal.path, durable=durable)
        again.refresh()
        assert again.last == 200
        assert again.since(1) is None
        assert list(again.since(199) or ()) == [change(199, 30)]
        if durable:
            net, known = again.net(1)
            assert known
            assert net == Change.of([soa(1)], [soa(200), host(200, 30)])


def test_what_was_made_of_a_file_is_known_by_its_serial(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = written(path, 4, durable=True)
    for again in (journal, reread(path, durable=True)):
        assert again.net(1) == (Change.of([soa(1)], [soa(5), host(5)]), True)
        assert again.net(3) == (Change.of([soa(3), host(3)], [soa(5), host(5)]), True)
        assert again.net(5) == (None, True)
        # Of a file that is another one it is all of it.
        assert again.net(77) == (Change.of([soa(1)], [soa(5), host(5)]), False)
    base, step = Change.of([soa(77)], [soa(78), host(5)]), Change.of([soa(5)], [soa(78)])
    journal.rebase(base, step)
    again = reread(path, durable=True)
    assert (again.last, again.net(77)) == (78, (base, True))
    assert list(again.since(4) or ()) == [change(4), step]
    journal.append(change(78))
    assert journal.net(77)[0] == Change.of([soa(77), host(78)], [soa(79), host(5), host(79)])
    # What can't be gone on from goes.
    journal.rebase(Change.of([soa(500)], [soa(501)]))
    assert (journal.last, journal.history) == (501, [])
