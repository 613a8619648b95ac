"""The zones of an instance that are signed here: signed when they are loaded, and kept signed while they are served.

Of several processes that serve the same zones (`daemon.workers`) the one that has locked the state folder signs.  The
others follow the copies that it leaves there, so that all give the same signatures under the same serial number: what
they read of an edited file waits for its copy.  Work on a zone goes on in a thread, and gives way to answers now and
then.

A zone may come from other servers: then each version of it that comes is signed, and until that is done the last signed
one is served, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import attrs
import trio

from responder import ConfigError, ConfigErrors, Context, FileLock, Network, Stamp, get_logger, stamp_of, wall_time

from ...shared.threads import in_thread
from ..message import wire
from ..transfer.journal import JournalError
from ..transfer.versions import Versions
from ..zone.builder import name_text
from ..zone.catalog import Catalog
from ..zone.changes import Change, ZoneRecord, difference, is_newer
from ..zone.edit import Edit
from ..zone.rules import covered_by
from ..zone.tables import Zone
from . import signed_copy
from .key_files import file_name
from .zone_signer import ZoneSigner

FOLDER: Final = "signed"
"""Of the instance's state folder."""

LOOK: Final = 2.0
"""Seconds between two looks at what others may have changed: the folder of keys, the copies."""

AGAIN: Final = 60.0
"""Seconds until what has failed is tried again."""

T = TypeVar("T")

SOME_RECORDS: Final = 100
"""Records by which versions may differ, beside half as many as there are names, to be told as a difference."""


class Serving(Protocol):
    """What serves the zones; `versions` is where their changes are kept."""

    @property
    def catalog(self) -> Catalog: ...
    @property
    def versions(self) -> Versions | None: ...
    def zone(self, origin: bytes) -> Zone | None: ...
    def replace(self, origin: bytes, zone: Zone | None) -> None: ...
    def changed(self, origin: bytes) -> None: ...


_log = get_logger(__name__)

_live: WeakValueDictionary[tuple[object, ...], Zone] = WeakValueDictionary()
"""The signed zones that handlers hold, by origin and policy: of the process, as `zone.master_file` has the others."""


@attrs.define(eq=False)
class Signing:
    """`signers` by origin; `state` is the instance's state folder as far as it is known, maybe not there yet.

    read       reads a zone's file and signs it, in a thread; None: it can't be read
    elsewhere  the origins of those that come from other servers: `_known` has what has come last and its serial,
               `_coming` what is not signed yet, as it was, `_bases` what the signed zones were made of, `_away` those
               that are not to be served, `_keyless` whether there were no keys
    """

    signers: Mapping[bytes, ZoneSigner]
    state: Path | None
    elsewhere: Collection[bytes] = ()
    read: Callable[[bytes], Zone | None] = attrs.field(default=lambda _origin: None, init=False)
    _follows: bool = attrs.field(default=False, init=False)
    _waiting: set[bytes] = attrs.field(factory=set, init=False)
    _coming: dict[bytes, Zone] = attrs.field(factory=dict, init=False)
    _known: dict[bytes, tuple[Zone, int]] = attrs.field(factory=dict, init=False)
    _bases: dict[bytes, Zone] = attrs.field(factory=dict, init=False)
    _keyless: dict[bytes, bool] = attrs.field(factory=dict, init=False)
    _away: set[bytes] = attrs.field(factory=set, init=False)
    _saved: dict[bytes, Zone] = attrs.field(factory=dict, init=False)
    _checked: dict[bytes, Zone] = attrs.field(factory=dict, init=False)
    _read: dict[bytes, Stamp] = attrs.field(factory=dict, init=False)

    # Preparing

    def last(self, origin: bytes) -> Zone | None:
        """The signed zone that is in use."""
        signer = self.signers[origin]
        return _live.get((origin, signer.policy))

    def unchanged(self, origin: bytes, context: Context) -> Zone | None:
        """The same, where the files that it was read from are as they were."""
        zone = self.last(origin)
        if zone is None or not zone.files or any(stamp_of(each) != stamp for each, stamp in zone.files.items()):
            return None
        context.files.update(zone.files)
        for warning in zone.warnings:
            context.warn(warning)
        return zone

    def check(self, zone: Zone, file: Path, context: Context) -> None:
        """Raises ConfigErrors where the zone of a file can't be signed here."""
        signer = self.signers[zone.origin]
        signer.refuse_signed(zone, file)
        for doubt in signer.doubts(zone):
            context.warn(ConfigError(f"zone {name_text(zone.origin)}: {doubt}", path=signer.path))

    def sign(self, zone: Zone, file: Path, context: Context) -> Zone:
        """The zone of a file, signed; as it is where it has no keys yet, which `run` makes.  Raises ConfigErrors."""
        self.check(zone, file, context)
        signer = self.signers[zone.origin]
        last = self.last(zone.origin)
        if self._follows and last is not None:
            self._waiting.add(zone.origin)
            return last
        before = last or self._copy(signer, self.state)
        if before is not None and zone.origin not in self._saved:
            self._saved[zone.origin] = before
        keys = signer.load_keys()
        # A rollover that was due meanwhile, as it will be written by `run`; nothing of it is made up here.
        signed = signer.sign(zone, keys, before, wall_time())
        if signed.chain is not None:
            _live[zone.origin, signer.policy] = signed
        return signed

    def instead(self, zones: Mapping[bytes, Zone | None]) -> Mapping[bytes, Zone | None]:
        """What is to be served in place of zones from elsewhere that are signed here: their last signed versions.

        None: it is too old, or nothing of it was signed yet; but where there were no keys, so that nobody can expect
        signatures, it is served as it came.  `run` signs what is new.
        """
        return {
            **zones,
            **{origin: self._instead(origin, zones[origin]) for origin in self.elsewhere if origin in zones},
        }

    def _instead(self, origin: bytes, zone: Zone | None) -> Zone | None:
        signer = self.signers[origin]
        if origin not in self._keyless:  # in `prepare`, which has read them a moment ago
            self._keyless[origin] = not signer.folder.load()
        if zone is None:
            self._away.add(origin)
            self._coming.pop(origin, None)
            self._known.pop(origin, None)
            return None
        self._away.discard(origin)
        known = self._known.get(origin)
        if known is None or known[0] is not zone or known[1] != zone.serial:
            self._known[origin] = zone, zone.serial
            self._coming[origin] = zone.snapshot()
        signed = self.last(origin) or self._copy(signer, self.state)
        if signed is not None:
            _live[origin, signer.policy] = self._saved[origin] = signed
            return signed
        return zone if self._keyless[origin] else None

    def _copy(self, signer: ZoneSigner, state: Path | None) -> Zone | None:
        if state is None:
            return None
        path = self._path(signer.origin, state)
        self._read[signer.origin] = stamp_of(path)
        return signed_copy.read(path, signer.origin)

    @staticmethod
    def _path(origin: bytes, state: Path) -> Path:
        return state / FOLDER / f"zone-{file_name(origin)}copy"

    def complete(self, zone: Zone, change: Change) -> Change:
        """A change of a zone, signed where the zone is signed here.  Raises ConfigErrors."""
        signer = self.signers.get(zone.origin)
        return change if signer is None else signer.complete(zone, change, wall_time())

    # Serving

    async def run(self, network: Network, serving: Serving) -> None:
        """Sign, or follow who does."""
        state = network.state_dir
        lock = FileLock(state / FOLDER / ".lock")
        while not lock.acquire(wait=False):
            self._follows = True
            await self._follow(state, serving)
            await trio.sleep(LOOK)
        self._follows = False
        try:
            async with trio.open_nursery() as nursery:
                for signer in self.signers.values():
                    nursery.start_soon(self._keep, signer, state, network.instance, serving)
        finally:
            lock.release()

    async def _follow(self, state: Path, serving: Serving) -> None:
        for origin, signer in self.signers.items():
            if _takes_updates(serving, origin) or origin in self._away:
                continue  # its journal is followed, or there is nothing to be served
            if stamp_of(self._path(origin, state)) != self._read.get(origin):
                copy = await _in_thread(self._copy, signer, state)
                if copy is not None:
                    self._saved[origin] = copy
            zone, saved = serving.zone(origin), self._saved.get(origin)
            # What this process has signed by itself, since it has read the file, gives way to what all have.
            if saved is not None and saved is not zone and (zone is None or not is_newer(zone.serial, saved.serial)):
                _live[origin, signer.policy] = saved
                serving.replace(origin, saved)
                _log.info("a zone was signed by another process", zone=name_text(origin), serial=saved.serial)

    async def _keep(self, signer: ZoneSigner, state: Path, instance: str, serving: Serving) -> None:
        origin = signer.origin
        while True:
            if origin in self._waiting:  # since it followed
                self._waiting.remove(origin)
                fresh = await _in_thread(self.read, origin)
                serving.replace(origin, fresh or serving.zone(origin))
            zone, coming = serving.zone(origin), self._coming.get(origin)
            seen = stamp_of(signer.folder.path)
            until = wall_time() + AGAIN
            try:
                if coming is not None:
                    zone = await self._sign_new(signer, coming, state, instance, serving)
                elif zone is None:
                    pass
                elif _takes_updates(serving, origin):
                    zone = await self._renew_in_place(signer, state, instance, serving)
                else:
                    zone = await self._renew(signer, zone, state, instance, serving)
                if zone is not None:
                    until = signer.next_time(zone, wall_time())
            except (OSError, ConfigErrors, JournalError) as error:
                _log.error("a zone can't be signed", plugin=instance, zone=name_text(origin), reason=str(error))
            while True:
                await trio.sleep(LOOK)
                if (
                    wall_time() >= until
                    or stamp_of(signer.folder.path) != seen
                    or serving.zone(origin) is not zone
                    or self._coming.get(origin) not in (None, coming)
                    or origin in self._waiting
                ):
                    break

    async def _sign_new(
        self, signer: ZoneSigner, coming: Zone, state: Path, instance: str, serving: Serving
    ) -> Zone | None:
        """Serve a version that has come from elsewhere, signed: by what has changed since the last one, or whole."""
        origin = signer.origin
        before, served, was = self._saved.get(origin), serving.zone(origin), self._bases.pop(origin, None)
        edit = change = None
        if was is not None and served is not None and served is before:
            edit = await _in_thread(signer.follow, served, was, coming, wall_time())
        signed = served
        if edit is None or signed is None:
            signed = await _in_thread(signer.take, coming, before, wall_time())
            if signed is not before:
                change = await _in_thread(self._keep_copy, signed, before, state)
        if self._coming.get(origin) is coming:
            del self._coming[origin]
        if origin in self._away:
            return serving.zone(origin)
        if edit is not None and signed is served:
            await self._make(signer, edit, state, instance, serving)
        elif signed is not served:
            await self._put(signer, signed, change, instance, serving)
        self._bases[origin] = coming
        return serving.zone(origin)

    async def _make(self, signer: ZoneSigner, edit: Edit, state: Path, instance: str, serving: Serving) -> None:
        """Make a change of the zone that is served."""
        origin, zone = signer.origin, edit.zone
        if serving.versions is not None:  # before others are told, who ask for it at once
            await serving.versions.record(origin, edit.change)
        edit.commit()
        serving.changed(origin)
        path = self._path(origin, state)
        await _in_thread(signed_copy.write, path, zone.snapshot())
        self._read[origin] = stamp_of(path)
        _tell(signer, zone, instance)

    async def _renew(self, signer: ZoneSigner, zone: Zone, state: Path, instance: str, serving: Serving) -> Zone:
        """Serve another version where one is due."""
        before = self._saved.get(signer.origin) or await _in_thread(self._copy, signer, state)
        # Signed without knowing the version that was kept meanwhile: one number would stand for two versions.
        doubtful = before is not None and before is not zone and not is_newer(zone.serial, before.serial)
        renewed = await _in_thread(partial(signer.renew, zone, before, wall_time(), doubtful=doubtful))
        if renewed.chain is None or renewed is before is zone:
            return renewed
        change = None if renewed is before else await _in_thread(self._keep_copy, renewed, before, state)
        if serving.zone(signer.origin) is not zone:
            return zone  # another version has come meanwhile
        await self._put(signer, renewed, change, instance, serving)
        return renewed

    async def _put(
        self, signer: ZoneSigner, zone: Zone, change: Change | None, instance: str, serving: Serving
    ) -> None:
        """Serve a version."""
        _live[signer.origin, signer.policy] = zone
        if serving.versions is not None and change is not None:  # before others are told, who ask for it at once
            await serving.versions.record(zone.origin, change)
        serving.replace(zone.origin, zone)
        _tell(signer, zone, instance)

    async def _renew_in_place(self, signer: ZoneSigner, state: Path, instance: str, serving: Serving) -> Zone:
        """The same for a zone that takes updates, which a change is made of.

        What another file has brought below the updates may not be what the signatures are of: then all are looked at.
        """
        versions = serving.versions
        assert versions is not None  # noqa: S101 - the zone takes updates
        origin = signer.origin
        async with versions.changing(serving, origin) as zone:
            doubtful = self._checked.get(origin) is not zone
            before = (self._saved.get(origin) or await _in_thread(self._copy, signer, state)) if doubtful else None
            change = await _in_thread(_change_of, signer, zone, before, doubtful)
            if change is not None:
                await versions.put(serving, Edit(zone, change))
            self._checked[origin] = self._saved[origin] = zone
            snapshot = zone.snapshot()
        if change is not None:
            await _in_thread(signed_copy.write, self._path(origin, state), snapshot)
            _tell(signer, zone, instance)
        return zone

    def _keep_copy(self, zone: Zone, before: Zone | None, state: Path) -> Change | None:
        """Keep a version that is to be served: on the disk when this returns.  What made it of the last one.

        Raises OSError.
        """
        path = self._path(zone.origin, state)
        signed_copy.write(path, zone)
        self._read[zone.origin] = stamp_of(path)
        self._saved[zone.origin] = zone
        if before is None or not is_newer(zone.serial, before.serial):
            return None
        return difference(before, zone, SOME_RECORDS + len(before.nodes) // 2)


def _takes_updates(serving: Serving, origin: bytes) -> bool:
    return serving.versions is not None and origin in serving.versions.updated


def _change_of(signer: ZoneSigner, zone: Zone, before: Zone | None, doubtful: bool) -> Change | None:
    """What makes of a zone the one that it is to be; None: it is.  Raises OSError and ConfigErrors."""
    renewed = signer.renew(zone, before, wall_time(), doubtful=doubtful)
    if renewed is zone or renewed.chain is None:
        return None
    change = difference(zone, renewed)
    assert change is not None  # noqa: S101 - there is no limit
    records = (*change.removed, *change.added)
    return None if all(_is_of_soa(record) for record in records) else change


def _is_of_soa(record: ZoneRecord) -> bool:
    return wire.SOA in (record.rdtype, covered_by(record.rdtype, record.rdata))


def _tell(signer: ZoneSigner, zone: Zone, instance: str) -> None:
    _log.info(
        "a zone was signed",
        plugin=instance,
        zone=name_text(zone.origin),
        serial=zone.serial,
        signatures=signer.made,
    )


_in_thread = partial(in_thread, abandon_on_cancel=True)
