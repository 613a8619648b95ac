"""What secondaries keep: copies of zones, members of catalogs, and changes for IXFR; what can't be kept is told.

Without a state folder nothing is kept, and only the process that leads writes there (see `leadership`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import trio

from responder import ConfigError, Network, Repeated, get_logger, wall_time

from ...shared.threads import in_thread
from ..transfer.versions import Versions
from ..zone.changes import Change, difference, is_newer
from ..zone.tables import Zone
from ..zone.zone_files import SOME_RECORDS
from .catalog_zone import Member
from .copies import Copies

_log = get_logger(__name__)


class Storage:
    """`versions` has the journals of the instance's zones, where it has some."""

    def __init__(self, versions: Versions | None) -> None:
        self.versions = versions
        self.leads = True
        self.copies: Copies | None = None
        self._instance = ""
        self._repeated = Repeated(clock=trio.current_time)

    async def open(self, network: Network) -> None:
        self._instance = network.instance
        try:
            self.copies = await in_thread(Copies.of, network.state_dir, self.versions)
        except (ConfigError, OSError) as error:
            message = "no copies of zones can be kept: after a restart each is served once it was transferred again"
            _log.warning(message, plugin=self._instance, reason=str(error))

    async def save(self, zone: Zone, before: Zone | None) -> None:
        """A zone came as a whole, in place of another version; small differences are changes for others."""
        if self.copies is not None:
            self.copies.hold(zone)
        if self.versions is not None and before is not None and is_newer(zone.serial, before.serial):
            most = SOME_RECORDS + len(before.nodes) // 2
            change = await in_thread(difference, before, zone.snapshot(), most)
            if change is not None:
                await self.versions.record(zone.origin, change)
        await self._do(Copies.write, zone.snapshot(), wall_time())

    async def save_changes(self, zone: Zone, changes: Sequence[Change]) -> None:
        """A zone has taken these changes."""
        if self.versions is not None:
            for change in changes:
                await self.versions.record(zone.origin, change)
        await self._do(Copies.follow, zone.snapshot(), wall_time())

    async def touch(self, origin: bytes) -> None:
        """A zone is known to be the newest."""
        await self._do(Copies.touch, origin, wall_time())

    async def save_members(self, catalog: bytes, members: Mapping[bytes, Member], outdated: Collection[bytes]) -> None:
        """A catalog lists these; the copies of the outdated are of zones that are gone, or begin anew."""
        await self._do(Copies.write_members, catalog, members)
        await self._do(Copies.remove, outdated)

    async def remove_others(self, origins: Collection[bytes]) -> None:
        await self._do(Copies.remove_others, origins)

    async def _do(self, do: Callable[..., None], *args: object) -> None:
        if self.copies is None or not self.leads:
            return
        try:
            await in_thread(partial(do, self.copies, *args))
        except OSError as error:
            self._fails(error)

    def _fails(self, error: OSError) -> None:
        held_back = self._repeated.due("")
        if held_back is not None:
            message = "the copy of a zone can't be kept"
            _log.warning(message, plugin=self._instance, reason=str(error), held_back=held_back)
