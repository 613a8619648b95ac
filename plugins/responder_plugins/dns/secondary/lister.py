"""Keeps the catalog zone (RFC 9432) that lists the zones of this instance (the option `catalog`), as they come and go.

Its serial goes up with each change, also over restarts: it is in the copy in the state folder, or begins with the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import trio

from responder import Network, get_logger, wall_time

from ...shared.threads import in_thread
from ..transfer.versions import Versions
from ..zone.builder import name_text
from ..zone.catalog import Catalog
from ..zone.changes import is_newer, next_serial
from ..zone.edit import DoesNotFitError, apply
from ..zone.tables import Zone
from . import catalog_zone
from .copies import FOLDER, Copies
from .kept import Serve
from .leadership import LOOK, Leadership
from .secondaries import Secondaries
from .storage import Storage

_log = get_logger(__name__)


class Lister:
    """`lists` are the origins of all catalog zones, which are in none."""

    def __init__(self, origin: bytes, lists: Collection[bytes], versions: Versions | None) -> None:
        self.origin = origin
        self.serve: Serve = lambda _zones, _gone: None
        self._lists = lists
        self._storage = Storage(versions)
        self._listed: frozenset[bytes] = frozenset()
        self._wanted: frozenset[bytes] = frozenset()
        self._woken = trio.Event()
        self._zone: Zone | None = None
        self._older: Zone | None = None

    def load(self, state: Path | None, catalog: Catalog) -> Zone:
        """The zone as an earlier run has left it, where that still is right; in the thread of `prepare`."""
        self._zone = self._load(state, catalog)
        return self._zone

    def served(self) -> dict[bytes, Zone | None]:
        return {self.origin: self._zone}

    def _load(self, state: Path | None, catalog: Catalog) -> Zone:
        self._listed = self._wanted = self._members(catalog)
        copy = None if state is None else Copies(state / FOLDER, self._storage.versions).read(self.origin)
        serial = int(wall_time()) % 2**32
        if copy is not None:
            try:
                if catalog_zone.read(copy[0]).members.keys() == self._listed:
                    return copy[0]
            except catalog_zone.BrokenCatalog:  # of another version of this program
                pass
            self._older = copy[0]
            serial = _after(copy[0].serial)
        return catalog_zone.make(self.origin, self._listed, serial)

    def see(self, catalog: Catalog) -> None:
        """From here on these are the zones."""
        self._wanted = self._members(catalog)
        self._woken.set()

    def may_list(self, origin: bytes) -> bool:
        """A catalog zone is in none, whoever has made it."""
        return origin not in self._lists

    def _members(self, catalog: Catalog) -> frozenset[bytes]:
        return frozenset(catalog.zones.keys() - self._lists)

    async def run(self, network: Network) -> None:
        await self._storage.open(network)
        copies = self._storage.copies
        leadership = Leadership(None if copies is None else copies.folder, network.instance, "catalog-")
        try:
            while not await leadership.lead():
                await self._follow(copies)
                await trio.sleep(LOOK)
            await self._lead(network.instance)
        finally:
            leadership.resign()

    async def _follow(self, copies: Copies | None) -> None:
        """What another process has made of it."""
        zone = self._zone
        if zone is None or copies is None:
            return
        _, news = await in_thread(copies.news_of, self.origin, zone.serial, 0.0)
        if isinstance(news, list):
            try:
                for change in news:
                    apply(zone, change)
            except DoesNotFitError:  # this process has made another one of that serial
                _, news = await in_thread(copies.news_of, self.origin, None, 0.0)
        if isinstance(news, Zone):
            self._zone = news
        if news:
            self._listed = frozenset(catalog_zone.read(self._zone or zone).members)
            self.serve({self.origin: self._zone}, ())

    async def _lead(self, instance: str) -> None:
        zone = self._zone
        assert zone is not None  # noqa: S101 - it was loaded
        await self._storage.save(zone, self._older)
        self._older = None
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            wanted = self._wanted
            if wanted == self._listed:
                continue
            made = await in_thread(catalog_zone.make, self.origin, wanted, _after(zone.serial))
            message = "a catalog zone was made anew"
            _log.info(message, plugin=instance, zone=name_text(self.origin), serial=made.serial, zones=len(wanted))
            await self._storage.save(made, zone)
            zone = self._zone = made
            self._listed = wanted
            self.serve({self.origin: made}, ())


def _after(serial: int) -> int:
    """The time, where that is newer."""
    now = int(wall_time()) % 2**32
    return now if is_newer(now, serial) else next_serial(serial)


def lists_of(secondaries: Secondaries | None, lister: Lister | None, origin: bytes) -> Iterator[bytes]:
    """The catalog zones that a zone is in."""
    if secondaries is not None and origin in secondaries.members.owners:
        yield secondaries.members.owners[origin][0]
    if lister is not None and lister.may_list(origin):
        yield lister.origin
