"""The zone files of an instance: read into a catalog, and read again where a file has changed.

A zone with mistakes is not served, others are: each mistake is told with file and line, the version of the zone that
is in use goes on being served, and where there is none its names are answered with SERVFAIL.  If that leaves an
instance with nothing to serve, the mistakes are the instance's own: `ConfigErrors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import dns.name

from responder import ConfigError, ConfigErrors, Context, get_logger, stamp_of, wall_time

from ..options import key_path
from . import master_file, signatures
from .builder import name_text
from .catalog import Catalog
from .changes import difference, is_newer
from .tables import Zone

if TYPE_CHECKING:
    from ..keys.maintenance import Signing

SOME: Final = 3
"""Names that a warning tells of many."""

SOME_RECORDS: Final = 100
"""Records by which versions of a zone may differ, beside half as many as it has names, to be told as a difference."""

_log = get_logger(__name__)


class Updates(Protocol):
    """What zones that take updates (`updated`, by origin) are beside their files: see `transfer.versions`."""

    @property
    def updated(self) -> Collection[bytes]: ...
    def live(self, origin: bytes) -> Zone | None: ...
    def merged(self, base: Zone) -> Zone: ...


class ZoneFiles:
    """The zones of an instance by name, each with its option's name and its file.

    `are_all`: the instance serves nothing else.  `have_secondaries`: others may transfer the zones.  `updates` is where
    changes are kept: without, nobody wants to know them.
    """

    def __init__(
        self,
        files: Mapping[dns.name.Name, tuple[str, Path]],
        *,
        include_anywhere: bool = False,
        signing: Signing | None = None,
        are_all: bool = True,
        have_secondaries: bool = False,
    ) -> None:
        self._files = files
        self._have_secondaries = have_secondaries
        self._are_all = are_all
        self._signing = signing
        self._include_anywhere = include_anywhere
        self.updates: Updates | None = None

    def load(self, context: Context) -> Catalog:
        zones: dict[bytes, Zone | None] = {}
        mistakes: list[ConfigError] = []
        for number, (name, (text, file)) in enumerate(self._files.items()):
            key = name.to_digestable()
            try:
                zones[key] = self._read(name, file, context, partial(self._tell, context, number))
            except ConfigErrors as broken:
                zones[key] = self._last_good(name, context.path(file))
                serving = "not served" if zones[key] is None else "still served as it was"
                for error in broken.errors:
                    message = f"zone {name} is {serving}: {error.message}"
                    mistakes.append(
                        ConfigError(message, path=key_path("zones", text), file=error.file, line=error.line)
                    )
        context.progress(1.0)
        if mistakes and self._are_all and not any(zones.values()):
            raise ConfigErrors(mistakes)
        for mistake in mistakes:
            context.complain(mistake)
        for zone in filter(None, zones.values()):
            remark = signatures.remark(zone.first_end, wall_time())
            if remark is not None:
                context.warn(ConfigError(f"zone {name_text(zone.origin)}: {remark}"))
        catalog = Catalog.of(zones)
        for zone, origin, names in catalog.hidden():
            some = ", ".join(map(name_text, names[:SOME])) + (" ..." if len(names) > SOME else "")
            inner, outer = name_text(origin), name_text(zone.origin)
            context.warn(ConfigError(f"zone {outer}: not served, since the zone {inner} is served too: {some}"))
        return catalog

    def _tell(self, context: Context, done: int, share: float) -> None:
        """So many zones are read, and a share of the next."""
        context.progress((done + share) / len(self._files))

    def _read(self, name: dns.name.Name, file: Path, context: Context, progress: Callable[[float], None]) -> Zone:
        """Raises ConfigErrors, whatever happens: one zone never takes the others down."""
        key = name.to_digestable()
        signing = self._signing if self._signing is not None and key in self._signing.signers else None
        try:
            if self.updates is not None and key in self.updates.updated:
                live = self.updates.live(key)
                if live is not None and master_file.is_as_read(live, context):
                    return live
                base = self._load(name, file, context, progress, shared=False)
                if signing is not None:  # which is done while it is served, by changes as updates are
                    signing.check(base, context.path(file), context)
                return self.updates.merged(base)
            zone = None if signing is None else signing.unchanged(key, context)
            if zone is not None:
                return zone
            before = self._last_good(name, context.path(file))
            zone = self._load(name, file, context, progress)
            if signing is not None:
                zone = signing.sign(zone, context.path(file), context)
        except ConfigErrors:
            raise
        except Exception as error:
            _log.error("a zone can't be read", exc_info=error, plugin=context.instance, zone=str(name))
            raise ConfigErrors([ConfigError(f"{type(error).__name__}: {error}", file=context.path(file))]) from error
        # Of a zone that is signed here the one process that signs tells what has changed, and gives it its serial.
        if signing is None and before is not None and before is not zone:
            if not is_newer(zone.serial, before.serial):
                self._warn_of_serial(before, zone, context.path(file), context)
            elif self.updates is not None:
                zone.came_by = difference(before, zone, SOME_RECORDS + len(before.nodes) // 2)
        return zone

    def _warn_of_serial(self, before: Zone, zone: Zone, path: Path, context: Context) -> None:
        """Tell that secondaries don't see a change, since by its serial number (RFC 1982) it is none."""
        problem = f"its serial went back from {before.serial} to {zone.serial}"
        if zone.serial == before.serial:
            change = difference(before, zone, 2) if self._have_secondaries else None  # 2: the SOA records
            if not self._have_secondaries or (change is not None and change.removed == change.added):
                return
            problem = f"has changed, but its serial is {zone.serial} as before"
        message = f"zone {name_text(zone.origin)}: {problem}: secondaries do not transfer it"
        context.warn(ConfigError(message, file=path))

    def _load(
        self,
        name: dns.name.Name,
        file: Path,
        context: Context,
        progress: Callable[[float], None],
        *,
        shared: bool = True,
    ) -> Zone:
        anywhere = self._include_anywhere
        return master_file.load(name, file, context, include_anywhere=anywhere, shared=shared, progress=progress)

    def _last_good(self, name: dns.name.Name, path: Path) -> Zone | None:
        """The version in use."""
        key = name.to_digestable()
        if self.updates is not None and key in self.updates.updated:
            return self.updates.live(key)
        if self._signing is not None and key in self._signing.signers:
            return self._signing.last(key)
        return master_file.last_good(name, path, include_anywhere=self._include_anywhere)

    def read_again(self, context: Context) -> Callable[[bytes], Zone | None]:
        """What reads one zone once more, by its origin; None where that fails, which is logged."""

        def read(origin: bytes) -> Zone | None:
            name, (_, file) = next(item for item in self._files.items() if item[0].to_digestable() == origin)
            fresh = Context(context.instance, context.folder)
            try:
                return self._read(name, file, fresh, lambda _share: None)
            except ConfigErrors as broken:
                for error in broken.errors:
                    _log.error("a zone file has a mistake", plugin=context.instance, reason=str(error))
                return None

        return read

    def reload_in(self, context: Context) -> Callable[[], Catalog | None]:
        """What looks whether a file has changed since it was last looked at, and reads the zones again if so."""
        seen = dict(context.files)

        def reload() -> Catalog | None:
            if all(stamp_of(path) == stamp for path, stamp in seen.items()):
                return None
            fresh = Context(context.instance, context.folder)
            try:
                catalog = self.load(fresh)
            except ConfigErrors as broken:
                fresh.complaints += broken.errors
                return None
            finally:
                for complaint in fresh.complaints:
                    _log.error("a zone file has a mistake", plugin=context.instance, reason=str(complaint))
                for warning in fresh.warnings:
                    _log.warning("a zone file is doubtful", plugin=context.instance, reason=str(warning))
                seen.clear()
                seen.update(fresh.files)
            return catalog

        return reload
