"""The changes of a zone in a file, which outlives the process: for IXFR, and for updates, which stand nowhere else.

A header, then entries, each one change with checksums of its head and its body:

    history  a change that was made: what IXFR answers with (RFC 1995)
    base     one, of a journal that is `durable`: all that updates made of the zone file, whose serial number it begins
             with, before the history goes on; so file, base and the history behind it are the zone

A file is only ever longer, or another one that takes its place at once.  One task at a time writes (`Turn`), any number
read.  What an end of power or process left of the last entry is cut off by the next writer; an entry that is
broken in front of others is told, since those behind it were acknowledged.

Bounded: of history beyond `limit` bytes the older half goes, once a durable journal has it in its base.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from responder import Stamp, get_logger, stamp_of

from ..zone.changes import Change, composed
from ..zone.tables import Zone

LIMIT: Final = 2**22
"""Bytes of history that a journal keeps."""

MAGIC: Final = b"responderd journal 1\n"
_HEADER: Final = len(MAGIC) + 8
"""Behind the magic: what tells one file from the one whose place it takes."""

_HEAD: Final = struct.Struct("!BIIII")
"""Kind, serial before, serial after, size and checksum of the body; behind it its own checksum."""

_ENTRY: Final = _HEAD.size + 4
_BASE, _HISTORY = 1, 2


_log = get_logger(__name__)


class JournalError(Exception):
    """The journal can't be read, or not be written."""


class Entry(NamedTuple):
    """Where a change stands in the file: its body from `at` on, `size` bytes."""

    before: int
    after: int
    at: int
    size: int


class Journal:
    """What a file holds, as far as it was looked at: `refresh` looks again.  No file is an empty journal.

    durable      it has what stands nowhere else
    zone         the zone that all processes make of file and journal, as this one has it; only of a durable journal
    coming_base  the base that it is to have before anything else is written
    """

    def __init__(self, path: Path, *, durable: bool = False, limit: int = LIMIT) -> None:
        self.path = path
        self.durable = durable
        self.zone: Zone | None = None
        self.coming_base: Change | None = None
        self._limit = limit
        self._forget()

    def _forget(self) -> None:
        self._name = b""
        self._end = 0
        self._stamp: Stamp = None
        self.base: Entry | None = None
        self.history: list[Entry] = []
        self._size = 0

    # Reading

    @property
    def is_behind(self) -> bool:
        """Has the file become another one since it was looked at?"""
        return stamp_of(self.path) != self._stamp

    def refresh(self) -> None:
        """Look at what the file has beyond what was known, or whether it is another one.  Raises JournalError.

        Not while another thread writes.
        """
        if self._stamp is not None and not self.is_behind:
            return
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                header = file.read(_HEADER)
                if header != self._name or status.st_size < self._end:
                    self._forget()
                    if len(header) < _HEADER or not header.startswith(MAGIC):
                        raise JournalError(f"{self.path} is no journal")
                    self._name, self._end = header, _HEADER
                file.seek(self._end)
                self._scan(file.read())
                self._stamp = _stamp_of(status)
        except FileNotFoundError:
            self._forget()
        except OSError as error:
            raise JournalError(f"{self.path} can't be read: {error.strerror}") from error

    def _scan(self, data: bytes) -> None:
        at = 0
        while (found := _entry_at(data, at)) is not None:
            kind, entry = found
            self._note(kind, entry._replace(at=self._end + _ENTRY))
            at += _ENTRY + entry.size
            self._end += _ENTRY + entry.size
        if _is_followed(data, at):
            raise JournalError(f"{self.path} is damaged at byte {self._end}, and has entries behind that")

    def _note(self, kind: int, entry: Entry) -> None:
        if kind == _BASE:
            self.base = entry
            return
        if self.history and self.history[-1].after != entry.before:
            self.history.clear()  # what can't be gone on from
            self._size = 0
        self.history.append(entry)
        self._size += entry.size

    @property
    def last(self) -> int | None:
        """The serial number of the version that the journal ends with."""
        if self.history:
            return self.history[-1].after
        return None if self.base is None else self.base.after

    def size_since(self, serial: int) -> int | None:
        """Bytes of the history from that version on; None where that is not known."""
        entries = self._since(serial)
        return None if entries is None else sum(entry.size for entry in entries)

    def since(self, serial: int) -> Iterator[Change] | None:
        """The history from that version on; None where it isn't known.  Raises JournalError."""
        entries = self._since(serial)
        return None if entries is None else self._read(entries)

    def net(self, serial: int | None) -> tuple[Change | None, bool]:
        """What updates made of a zone file of that serial number; and whether the journal knows such a file.

        Of another file (None) it is all that updates made of any.  Raises JournalError.
        """
        if self.base is None:  # it is of a time when the zone took no updates
            return None, True
        entries: Sequence[Entry] = (self.base, *self._behind(self.base))
        known = self.base.before == serial
        if not known and serial is not None:
            later = self._since(serial)
            known = later is not None
            entries = entries if later is None else later
        changes = [change for change in self._read(entries) if len(change) > 2 or change.before != change.after]
        return composed(changes) if changes else None, known

    def until(self, serial: int) -> Change | None:
        """What made a version of the history of the zone file; None where there is no such version, or no base.

        Raises JournalError.
        """
        later = self._since(serial)
        if self.base is None or later is None:
            return None
        behind = self._behind(self.base)
        if len(later) <= len(behind):
            return composed(self._read((self.base, *behind[: len(behind) - len(later)])))
        base, *back = self._read((self.base, *later[: len(later) - len(behind)]))
        return composed([base, *(Change(change.added, change.removed) for change in reversed(back))])

    def _since(self, serial: int) -> Sequence[Entry] | None:
        if serial == self.last:
            return ()
        # From the end: the serial number may have come around.
        for number in range(len(self.history) - 1, -1, -1):
            if self.history[number].before == serial:
                return self.history[number:]
        return None

    def _behind(self, base: Entry) -> Sequence[Entry]:
        return self._since(base.after) or ()

    def _read(self, entries: Sequence[Entry]) -> Iterator[Change]:
        """All at once, so that no other file takes its place meanwhile; but the changes as they are asked for."""
        if not entries:
            return iter(())
        try:
            with self.path.open("rb") as file:
                if file.read(_HEADER) != self._name:
                    raise JournalError(f"{self.path} is another file than it was")
                bodies = []
                for entry in entries:
                    file.seek(entry.at)
                    bodies.append(file.read(entry.size))
        except OSError as error:
            raise JournalError(f"{self.path} can't be read: {error.strerror}") from error
        return map(Change.decoded, bodies)  # each is whole: its checksum was looked at

    # Writing, by who has the lock and has refreshed

    def append(self, change: Change) -> None:
        """Add to the history, on the disk when it returns.  Raises JournalError, and then it is as it was."""
        if self.durable and self.base is None:
            soa = change.removed[:1]
            history = list(self._read(self.history)) if self.last == change.before else []
            self._write(Change(soa, soa), [*history, change])
            return
        if self.last != change.before:
            if self.durable:
                raise JournalError(f"{self.path} ends with another version than the one that changes")
            if self.base is not None:
                self._put_aside()
            self._write(None, [change])
            return
        data = _packed(_HISTORY, change)
        try:
            with self.path.open("r+b") as file:
                file.truncate(self._end)
                file.seek(self._end)
                try:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(self._end)
                    raise
                status = os.fstat(file.fileno())
        except OSError as error:
            raise JournalError(f"{self.path} can't be written: {error.strerror}") from error
        self._note(_HISTORY, Entry(change.before, change.after, self._end + _ENTRY, len(data) - _ENTRY))
        self._end += len(data)
        self._stamp = _stamp_of(status)
        self._shorten()

    def rebase(self, base: Change, change: Change | None = None) -> None:
        """From here on `base` is what updates made of the zone file; `change` is one more of the history.

        Raises JournalError.
        """
        history = list(self._read(self.history))
        if change is not None:
            history = [*history, change] if not history or history[-1].after == change.before else [change]
        if base.after not in {serial for each in history for serial in (each.before, each.after)}:
            history = []  # what the zone now is can't be reached by it
        self._write(base, history)

    def _put_aside(self) -> None:
        """The zone no longer takes updates: those that it took stay on the disk, for who misses them."""
        aside = self.path.with_suffix(".updates")
        try:
            self.path.replace(aside)
        except OSError as error:
            raise JournalError(f"{self.path} can't be written: {error.strerror}") from error
        _log.warning("updates of a zone that takes none any more are put aside", file=str(aside))

    def _shorten(self) -> None:
        held = 0 if self.base is None else self.base.size
        if self._size <= max(self._limit, held):
            return
        base = None
        if self.base is not None:
            base = composed(self._read((self.base, *self._behind(self.base))))
        kept: list[Entry] = []
        room = self._limit // 2
        for entry in reversed(self.history):
            room -= entry.size
            if room < 0 and kept:
                break
            kept.insert(0, entry)
        self._write(base, list(self._read(kept)))

    def _write(self, base: Change | None, history: Sequence[Change]) -> None:
        """A file in place of the one that is there."""
        new = self.path.with_suffix(".new")
        name = MAGIC + secrets.token_bytes(8)
        parts = [name] if base is None else [name, _packed(_BASE, base)]
        parts += [_packed(_HISTORY, change) for change in history]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(b"".join(parts))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise JournalError(f"{self.path} can't be written: {error.strerror}") from error
        self._forget()
        self.refresh()


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _packed(kind: int, change: Change) -> bytes:
    body = change.encoded()
    head = _HEAD.pack(kind, change.before, change.after, len(body), zlib.crc32(body))
    return head + zlib.crc32(head).to_bytes(4) + body


def _entry_at(data: bytes, at: int) -> tuple[int, Entry] | None:
    """The kind and the entry that is whole there; None where there is none."""
    head = data[at : at + _HEAD.size]
    if len(head) < _HEAD.size or zlib.crc32(head).to_bytes(4) != data[at + _HEAD.size : at + _ENTRY]:
        return None
    kind, before, after, size, checksum = _HEAD.unpack(head)
    body = data[at + _ENTRY : at + _ENTRY + size]
    if len(body) < size or zlib.crc32(body) != checksum:
        return None
    return kind, Entry(before, after, at + _ENTRY, size)


def _is_followed(data: bytes, at: int) -> bool:
    """Is there an entry behind the place where none begins?"""
    head = data[at : at + _HEAD.size]
    if zlib.crc32(head).to_bytes(4) == data[at + _HEAD.size : at + _ENTRY]:
        return _entry_at(data, at + _ENTRY + _HEAD.unpack(head)[3]) is not None
    return any(_entry_at(data, later) is not None for later in range(at + 1, len(data) - _ENTRY + 1))


def _sync_folder(folder: Path) -> None:
    """So that a file's new name is on the disk too."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
