"""The versions of an instance's zones: changes are made one after the other, each kept in the zone's journal first.

A zone takes updates, or is only read from its file.  Of the first the journal is as much worth as the file: both make
the zone (`merged`).  Of the others it only has what IXFR needs.

Where several processes serve an instance (`workers`), who makes a change takes its turn, and the others read of it in
the journal, at the latest when they look a second later.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias
from urllib.parse import quote

import trio

from responder import ConfigError, ConfigErrors, get_logger

from ...shared.threads import in_thread
from ..zone.builder import name_text
from ..zone.catalog import Catalog
from ..zone.changes import (
    Change,
    ZoneRecord,
    composed,
    difference,
    fitting,
    is_newer,
    next_serial,
    serial_of,
    soa_record,
    with_serial,
)
from ..zone.edit import DoesNotFitError, Edit, apply
from ..zone.rules import MADE_BY_SIGNER
from ..zone.tables import Zone
from .journal import Journal, JournalError
from .turn import Turn

LOOK: Final = 1.0
"""Seconds between two looks at what other processes have changed."""

SMALL: Final = 2**16
"""Bytes of changes that are always worth sending instead of the zone."""

MAX_FILE_NAME: Final = 200
"""Bytes of a journal's name."""

JOURNAL, APART = ".journal", ".unsigned.journal"
"""What the names of journals end with."""

Complete: TypeAlias = Callable[[Zone, Change], Change]
"""Adds to a change of a zone what else has to change with it.  Raises ConfigErrors."""

_log = get_logger(__name__)

_journals: weakref.WeakValueDictionary[Path, Journal] = weakref.WeakValueDictionary()
"""Those that handlers hold.  Of the process, since a new handler goes on where the one before it stands."""


class Serving(Protocol):
    """What serves the zones."""

    @property
    def catalog(self) -> Catalog: ...
    def changed(self, origin: bytes) -> None:
        """A zone has taken a change."""

    def replace(self, origin: bytes, zone: Zone | None) -> None: ...


class Versions:
    """`folder` is where the journals are; `updated` are the origins of zones that take updates.

    The journals of those `apart` are of other versions than the ones that are served.  `read` reads a zone once more,
    in a thread; None where it has become unreadable.  `complete` signs the change that an edited file makes of a zone
    that is signed here.
    """

    def __init__(
        self,
        folder: Path,
        updated: Collection[bytes],
        read: Callable[[bytes], Zone | None],
        apart: Collection[bytes] = (),
    ) -> None:
        self._folder = folder
        self._apart = apart
        self._read = read
        self._turn = Turn(folder / "turn")
        self._by_origin: dict[bytes, Journal] = {}
        self._edited: dict[bytes, Zone] = {}
        self.updated = updated
        self.complete: Complete = lambda _zone, change: change

    def journal(self, origin: bytes) -> Journal:
        journal = self._by_origin.get(origin)
        if journal is None:
            path = self._folder / file_name(origin, APART if origin in self._apart else JOURNAL)
            journal = _journals.get(path)
            if journal is None or journal.durable != (origin in self.updated):
                journal = _journals[path] = Journal(path, durable=origin in self.updated)
            self._by_origin[origin] = journal
        return journal

    # Zones that take updates, when their file is read; in `prepare`'s thread

    def live(self, origin: bytes) -> Zone | None:
        """The zone as the handler in force has it."""
        return self.journal(origin).zone

    def merged(self, base: Zone) -> Zone:
        """The zone that a file and its journal make.

        Where a handler has it already, that goes on with the zone that it has, and puts the new file under it when it
        runs.  Raises ConfigErrors.
        """
        journal = self.journal(base.origin)
        if journal.zone is not None:
            self._edited[base.origin] = base
            return journal.zone
        try:
            journal.refresh()
            journal.coming_base = _grow(base, journal)
        except (JournalError, DoesNotFitError) as error:
            raise ConfigErrors([ConfigError(f"its updates are not to be had: {error}")]) from error
        len(base.children)  # worked out here, and not at the first change
        journal.zone = base
        return base

    # Changes

    @asynccontextmanager
    async def changing(self, serving: Serving, origin: bytes) -> AsyncIterator[Zone]:
        """The newest version of a zone that takes updates, which nobody else changes meanwhile.

        Raises JournalError.
        """
        async with self._taken():
            journal = self.journal(origin)
            if journal.coming_base is not None:
                await in_thread(_put_base, journal)
            await self.follow(serving, origin)
            if journal.zone is None:
                raise JournalError(f"the zone {name_text(origin)} is not to be had")
            yield journal.zone

    async def put(self, serving: Serving, edit: Edit) -> None:
        """Make the change, within `changing`: it is on the disk before it is served.  Raises JournalError."""
        origin = edit.zone.origin
        await in_thread(self.journal(origin).append, edit.change)
        edit.commit()
        serving.changed(origin)

    async def note(self, catalog: Catalog) -> None:
        """Versions of zones that take no updates, read from their files a moment ago, go into the history."""
        for origin, zone in catalog.zones.items():
            if zone is not None and zone.came_by is not None and origin not in self.updated:
                await self.record(origin, zone.came_by)

    async def record(self, origin: bytes, change: Change) -> None:
        """A change of a zone that is not kept here goes into the history; what fails is logged."""
        try:
            async with self._taken():
                journal = self.journal(origin)
                journal.refresh()
                if journal.last != change.after:
                    await in_thread(journal.append, change)
        except JournalError as error:
            _log.error("a change can't be kept for IXFR", zone=name_text(origin), reason=str(error))

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[None]:
        try:
            async with self._turn.taken():
                yield
        except OSError as error:
            raise JournalError(f"{self._folder}: {error.strerror}") from error

    def since(self, zone: Zone, serial: int, room: int | None = None) -> Iterator[Change] | None:
        """What was changed since a version; None: not known, or more than `room` bytes, by default about the zone's."""
        journal = self.journal(zone.origin)
        try:
            if journal.last != zone.serial:  # another process may have made this version
                journal.refresh()
            size = journal.size_since(serial)
            most = max(SMALL, 32 * len(zone.nodes)) if room is None else room
            if journal.last != zone.serial or size is None or size > most:
                return None
            return journal.since(serial)
        except JournalError as error:
            _log.error("the changes of a zone can't be told", zone=name_text(zone.origin), reason=str(error))
            return None

    async def follow(self, serving: Serving, origin: bytes) -> None:
        """Take the changes that other processes have made, in one's turn.  Raises JournalError."""
        journal = self.journal(origin)
        zone = journal.zone
        if zone is None:
            return
        journal.refresh()
        if journal.last in (None, zone.serial):
            return
        changes = journal.since(zone.serial)
        reason = f"its journal does not go on from {zone.serial}"
        if changes is not None:
            try:
                for change in changes:
                    apply(zone, change)
                    serving.changed(origin)
            except DoesNotFitError as error:
                reason = str(error)
            else:
                return
        _log.warning("a zone is read again", zone=name_text(origin), reason=reason)
        journal.zone = None
        serving.replace(origin, await in_thread(self._read, origin))

    # While the zones are served

    async def run(self, serving: Serving) -> None:
        while True:
            await trio.sleep(LOOK)
            for origin in self.updated:
                if not self.journal(origin).is_behind:
                    continue
                try:
                    async with self._taken():
                        await self.follow(serving, origin)
                except JournalError as error:
                    _log.error("updates can't be followed", zone=name_text(origin), reason=str(error))

    async def settle(self, serving: Serving) -> None:
        """Put files that were read just now under the updates of their zones."""
        edited, self._edited = self._edited, {}
        for origin, base in edited.items():
            try:
                async with self.changing(serving, origin) as live:
                    journal = self.journal(origin)
                    fresh = await in_thread(_put_under, journal, base, live, self.complete)
                    if fresh is not None:
                        serving.replace(origin, fresh)
                    else:
                        live.files = base.files
            except (JournalError, DoesNotFitError, ConfigErrors) as error:
                _log.error("a zone is served as it was", zone=name_text(origin), reason=str(error))


def file_name(origin: bytes, suffix: str = JOURNAL) -> str:
    """Of a zone's journal, or another of its files; nothing in it is special to any system, or too long for one."""
    text = quote(name_text(origin).rstrip(".").lower(), safe="")
    return f"zone.{text if len(text) <= MAX_FILE_NAME else hashlib.sha256(origin).hexdigest()}{suffix}"


def _grow(base: Zone, journal: Journal) -> Change | None:
    """Make the zone of its file, with what the journal has; the base that this journal should get, if another one.

    Raises JournalError and DoesNotFitError.
    """
    of_file = soa_record(base)
    net, known = _net(base, journal)
    if net is not None:
        after = net.added[0] if known else with_serial(of_file, _next(base.serial, net.after))
        net = _fit(base, net, after)
    if journal.base is None or journal.base.before == serial_of(of_file.rdata):
        return None
    return Change.of([of_file], [of_file]) if known or net is None else net


def _net(base: Zone, journal: Journal) -> tuple[Change | None, bool]:
    """What updates made of a zone file, and whether the journal knows the file.

    One with the serial number of a version that updates made is that version, as `export` writes it, if it has what
    they made until then.  Otherwise it was edited, and got that number by chance.  Raises JournalError.
    """
    if journal.base is not None and journal.base.before != base.serial:
        made = journal.until(base.serial)
        if made is not None and not _has(base, made):
            message = (
                "a zone file has a serial number that updates have used, and lacks what they made: it goes under all"
            )
            _log.warning(message, zone=name_text(base.origin), serial=base.serial)
            return journal.net(None)
    return journal.net(base.serial)


def _has(base: Zone, change: Change) -> bool:
    """Has a zone file what a change makes?  What a signer makes is in none."""
    removed, added = (
        [record for record in side if record.rdtype not in MADE_BY_SIGNER] for side in (change.removed, change.added)
    )
    return len(fitting(base, Change.of(removed, added), soa_record(base))) == 2


def _fit(base: Zone, change: Change, after: ZoneRecord) -> Change:
    """Put what updates made onto another version of the file; what was left to be made.  Raises DoesNotFitError."""
    change = fitting(base, change, after)
    edit = Edit(base, change)
    for mistake in edit.mistakes():
        raise DoesNotFitError(f"updates and zone file do not go together: {mistake}")
    edit.commit()
    return change


def _next(serial: int, other: int) -> int:
    """The serial number after both."""
    return next_serial(serial if is_newer(serial, other) else other)


def _put_base(journal: Journal) -> None:
    journal.refresh()
    base, journal.coming_base = journal.coming_base, None
    if base is not None and (journal.base is None or journal.base.before != base.before):  # nobody else has, meanwhile
        journal.rebase(base)


def _put_under(journal: Journal, base: Zone, live: Zone, complete: Complete) -> Zone | None:
    """Put the updates of a zone onto its edited file; None where that is what is served.

    Nobody changes `live` meanwhile.  Raises JournalError, DoesNotFitError and ConfigErrors.
    """
    of_file = soa_record(base)
    net, known = _net(base, journal)
    done = Change.of([of_file], [of_file]) if net is None else _fit(base, net, net.added[0])
    step = difference(live.snapshot(), base)
    assert step is not None  # noqa: S101 - there is no limit
    if known and len(step) == 2 and with_serial(step.removed[0], 0) == with_serial(step.added[0], 0):
        if journal.base is not None and journal.base.before != serial_of(of_file.rdata):
            journal.rebase(Change.of([of_file], [of_file]))
        return None
    after = with_serial(step.added[0] if known else of_file, _next(serial_of(of_file.rdata), live.serial))
    change = complete(live, Change.of(step.removed, [after, *step.added[1:]]))
    rest = composed([Change.of(step.added, step.removed), change])
    apply(base, rest)
    journal.rebase(composed([done, rest]), change)
    journal.zone = base
    return base
