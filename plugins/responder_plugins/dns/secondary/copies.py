"""The last copy of each zone in the state folder: written whole or not at all, and checked when it is read.

A copy is a file of its own: a first line, the serial, the records (name and data behind their lengths, names as they
are spelled), and a checksum.  Small changes of a large zone stand only in its journal.  The file's time is when the
zone was last known to be the newest, so that a check without news costs no writing.  What can't be read is as if it
weren't there: the zone is transferred again.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from responder import ConfigErrors, get_logger
from responder_plugins.shared.kept_file import end_of_checked, write_checked, write_whole

from ..transfer.journal import JournalError
from ..transfer.versions import Versions, file_name
from ..zone.builder import Line, ZoneBuilder, name_text
from ..zone.changes import Change
from ..zone.edit import DoesNotFitError, apply
from ..zone.tables import Zone
from .catalog_zone import Member

FIRST_LINE: Final = b"responderd zone 1\n"

FOLDER: Final = "secondary"
"""Of the instance's state folder."""

SUFFIX: Final = ".copy"

_HEAD: Final = struct.Struct("!BHIH")
"""Length of the name, type, TTL, length of the data; then both."""

_BEGIN: Final = len(FIRST_LINE) + 4
"""Bytes in front of the records: the first line and the serial."""

MOST_BEHIND: Final = 2**20
"""Bytes of changes beyond which a copy is written anew; the journal keeps more."""

_in_use: weakref.WeakValueDictionary[Path, Zone] = weakref.WeakValueDictionary()
"""The zones that handlers hold.  Of the process, since a new instance is made without knowing the one before it."""

_AT_ONCE: Final = 2**20

_log = get_logger(__name__)


@attrs.frozen
class Copies:
    """The copies in one folder, which must be there."""

    folder: Path
    versions: Versions | None = None

    @classmethod
    def of(cls, state: Path, versions: Versions | None) -> Copies:
        """Those in a state folder.  Raises OSError where the folder can't be made."""
        folder = state / FOLDER
        folder.mkdir(exist_ok=True)
        return cls(folder, versions)

    def path(self, origin: bytes) -> Path:
        return self.folder / file_name(origin, SUFFIX)

    def read(self, origin: bytes) -> tuple[Zone, float] | None:
        """The zone, and when it was last known to be the newest (seconds since 1970); None: there is no good copy.

        A zone that is in use is not read again: it is the same object.
        """
        path = self.path(origin)
        try:
            checked = path.stat().st_mtime
            zone = _in_use.get(path)
            if zone is None:
                zone = _unpacked(origin, path.read_bytes(), path)
                self._change(zone)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the copy of a zone can't be read", zone=name_text(origin), reason=str(error))
            return None
        except (ConfigErrors, ValueError, struct.error) as error:
            message = "the copy of a zone is damaged: it is transferred again"
            _log.warning(message, zone=name_text(origin), reason=str(error))
            return None
        _in_use[path] = zone
        return zone, checked

    def news_of(self, origin: bytes, serial: int | None, checked: float) -> tuple[float, list[Change] | Zone | None]:
        """What another process has written since, for who has the version of that serial, checked then.

        When it was checked last, and what makes the version that is there: changes, a zone, or None: nothing has to be
        done.
        """
        path = self.path(origin)
        try:
            written = path.stat().st_mtime
            if written == checked:
                return checked, None
            if serial is not None and self.versions is not None:
                journal = self.versions.journal(origin)
                journal.refresh()
                changes = journal.since(serial)
                if changes is not None:
                    return written, list(changes)
            with path.open("rb") as file:
                if serial is not None and _serial_in(file.read(_BEGIN)) == serial:
                    return written, []
            zone = _unpacked(origin, path.read_bytes(), path)
            self._change(zone)
        except (OSError, JournalError, ConfigErrors, ValueError, struct.error) as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("the copy of a zone can't be read", zone=name_text(origin), reason=str(error))
            return checked, None
        return written, zone

    def _change(self, zone: Zone) -> None:
        """What the journal has beyond the copy."""
        try:
            journal = None if self.versions is None else self.versions.journal(zone.origin)
            if journal is not None:
                journal.refresh()
                for change in journal.since(zone.serial) or ():
                    apply(zone, change)
        except (JournalError, DoesNotFitError) as error:
            message = "what a zone's journal has beyond its copy is not to be had"
            _log.warning(message, zone=name_text(zone.origin), reason=str(error))

    def hold(self, zone: Zone) -> None:
        """This is the zone that is in use from here on."""
        _in_use[self.path(zone.origin)] = zone

    def write(self, zone: Zone, checked: float) -> None:
        """Raises OSError; the copy before is then still there."""
        write_checked(self.path(zone.origin), _packed(zone), modified=checked)

    def follow(self, zone: Zone, checked: float) -> None:
        """The zone has taken changes that are in the journal: they are enough until they are large beside the copy.

        Raises OSError.
        """
        journal = None if self.versions is None else self.versions.journal(zone.origin)
        if journal is not None and journal.last == zone.serial:
            path = self.path(zone.origin)
            with path.open("rb") as file:
                behind = journal.size_since(_serial_in(file.read(_BEGIN)))
                size = os.fstat(file.fileno()).st_size
            if behind is not None and behind <= min(size, MOST_BEHIND):
                self.touch(zone.origin, checked)
                return
        self.write(zone, checked)

    def touch(self, origin: bytes, checked: float) -> None:
        """It is still the newest.  Raises OSError."""
        os.utime(self.path(origin), (checked, checked))

    def remove(self, origins: Iterable[bytes]) -> None:
        """Raises OSError, but not where there is none."""
        for origin in origins:
            _in_use.pop(self.path(origin), None)
            self.path(origin).unlink(missing_ok=True)
            if self.versions is not None:
                self.versions.journal(origin).path.unlink(missing_ok=True)

    def remove_others(self, origins: Collection[bytes]) -> None:
        """Remove the copies of all other zones, and what was not written to its end.  Raises OSError."""
        known = {self.path(origin).name for origin in origins}
        for path in self.folder.glob(f"*{SUFFIX}*"):
            if path.name not in known:
                path.unlink(missing_ok=True)

    # The members of a catalog: what it listed when it was last right.

    def write_members(self, catalog: bytes, members: Mapping[bytes, Member]) -> None:
        """Raises OSError."""
        rows = [
            [origin.hex(), member.label.hex(), (member.moves_to or b"").hex()] for origin, member in members.items()
        ]
        write_whole(self._members(catalog), json.dumps(rows))

    def read_members(self, catalog: bytes) -> dict[bytes, Member]:
        """None where there is no such file, or a damaged one."""
        try:
            rows = json.loads(self._members(catalog).read_text(encoding="utf-8"))
            return {
                bytes.fromhex(origin): Member(bytes.fromhex(label), bytes.fromhex(moves_to) or None)
                for origin, label, moves_to in rows
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            _log.warning("the list of a catalog's members can't be read", zone=name_text(catalog), reason=str(error))
            return {}

    def _members(self, catalog: bytes) -> Path:
        return self.folder / file_name(catalog, ".members")


def _packed(zone: Zone) -> Iterator[bytes]:
    parts = [FIRST_LINE, zone.serial.to_bytes(4)]
    size = 0
    for rrset in zone.rrsets():
        for rdata in rrset.rdatas:
            parts += [_HEAD.pack(len(rrset.name), rrset.rdtype, rrset.ttl, len(rdata)), rrset.name, rdata]
            size += len(rdata) + 40
        if size > _AT_ONCE:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _serial_in(begin: bytes) -> int:
    return int.from_bytes(begin[-4:])


def _unpacked(origin: bytes, data: bytes, path: Path) -> Zone:
    """Raises ConfigErrors, ValueError and struct.error."""
    end = end_of_checked(data, FIRST_LINE)
    builder = ZoneBuilder(origin)
    line = Line(path, 0)
    at = _BEGIN
    while at < end:
        length, rdtype, ttl, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        builder.add(data[at : at + length], rdtype, ttl, data[at + length : at + length + size], line)
        at += length + size
    return builder.finish(path, {})
