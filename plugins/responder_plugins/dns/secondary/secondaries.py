"""Looks after the zones that are taken from other servers: when to check each, from whom, and what becomes of it.

One task waits for the next zone that is due, in one heap of times, however many zones there are; so many checks and so
many transfers are under way at once at most.  The primaries of a zone are asked in their order, one that has sent a
NOTIFY first, until one has a newer version or the same.  A zone that no primary has answered for as long as its SOA
record says (EXPIRE) is no longer served, and neither is one that was never transferred: SERVFAIL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import dns.name
import trio

from responder import IPAddress, Network, Peer, Repeated, get_logger, wall_time

from ...shared.threads import in_thread
from ..transfer.primary import Primary, TlsFailed, TransferError, Unanswered
from ..transfer.upstream import Upstream
from ..transfer.versions import Versions
from ..zone.builder import name_text
from ..zone.changes import Change, is_newer, soa_record
from ..zone.tables import Zone
from . import catalog_zone
from .catalog_zone import BrokenCatalog, Member
from .copies import FOLDER, Copies
from .kept import NEVER, Kept, Serve, Source, why_not
from .leadership import LOOK, Leadership
from .members import Members
from .schedule import Expiries, Schedule
from .storage import Storage
from .timers import first_retry, spread

CHECKS: Final = 64
"""Zones whose primaries are asked at once."""

TRANSFERS: Final = 16
"""Transfers under way at once."""

APART: Final = 1.0
"""Seconds between two checks of a zone, however many NOTIFY messages come."""

SILENT: Final = 10.0
"""Seconds in which a primary that did not answer is not asked about other zones, where there are many."""

_log = get_logger(__name__)


class Secondaries:
    """All of an instance's.  `others` are the zones that it has from elsewhere; `serve` puts zones in place."""

    def __init__(
        self,
        sources: Mapping[bytes, Source],
        others: Iterable[bytes] = (),
        versions: Versions | None = None,
        upstream: Upstream | None = None,
    ) -> None:
        self.zones = {origin: Kept(origin, source) for origin, source in sources.items()}
        self.counts: Counter[str] = Counter()
        self.serve: Serve = lambda _zones, _gone: None
        self.members = Members(frozenset([*sources, *others]))
        self._upstream = upstream or Upstream()
        self._storage = Storage(versions)
        self._leadership = Leadership(None, "")
        self._schedule = Schedule(self.zones)
        self._expiries = Expiries(self.zones)
        self._checks = trio.Semaphore(CHECKS)
        self._transfers = trio.Semaphore(TRANSFERS)
        self._asked_at: dict[IPAddress, IPAddress] = {}
        self._silent: dict[Peer, float] = {}
        self._told: dict[Peer, str] = {}
        self._repeated = Repeated(clock=trio.current_time)
        self._instance = ""

    def hear(self, origin: bytes, peer: IPAddress, key: dns.name.Name | None, destination: IPAddress | None) -> bool:
        """A NOTIFY (RFC 1996) for a zone, `key` being the name of the one that signs it; is it a primary's?

        Then the zone is checked at once; and that primary is from here on asked from the address that it has called.
        """
        kept = self.zones.get(origin)
        if kept is None or not kept.may_notify(peer, key):
            self.counts["notify-rejected"] += 1
            return False
        self.counts["notify-received"] += 1
        if self._leadership.leads:
            self._call(kept, peer, destination)
        else:
            self._leadership.call(origin, peer, destination)
        return True

    def _call(self, kept: Kept, peer: IPAddress, destination: IPAddress | None) -> None:
        """Check it at once, or when it was checked a moment ago, as soon as that is allowed."""
        for primary in kept.source.primaries:
            if primary.server.address == peer:
                kept.caller = peer
                self._silent.pop(primary.server, None)
                if destination is not None and not destination.is_multicast:
                    self._asked_at[peer] = destination
        if kept.is_busy:
            kept.is_called = True
        else:
            self._schedule.plan(kept, max(trio.current_time(), kept.asked + APART))

    def succeed(self, before: Secondaries) -> None:
        """Go on from where another one is, as far as the zones are the same."""
        for catalog, listed in before.members.listed.items():
            kept = self.zones.get(catalog)
            if kept is not None and kept.source.is_catalog:
                self._enlist(catalog, listed)
        for origin, old in before.zones.items():
            kept = self.zones.get(origin)
            if kept is None or (kept.source.is_catalog and not old.source.is_catalog):
                continue
            if old.zone is not None:
                kept.hold(old.zone, old.checked)
            if kept.source == old.source:
                kept.due, kept.failures = old.due, old.failures
        self._asked_at.update(before._asked_at)

    def served(self) -> dict[bytes, Zone | None]:
        return {origin: kept.zone for origin, kept in self.zones.items()}

    async def run(self, network: Network) -> None:
        """Serve the copies, and keep the zones new."""
        await self._storage.open(network)
        copies = self._storage.copies
        self._leadership = Leadership(None if copies is None else copies.folder, network.instance)
        self._storage.leads = self._leadership.leads
        try:
            await self._follow()
            await self._lead()
        finally:
            self._leadership.resign()
            await self._upstream.aclose()

    async def _follow(self) -> None:
        """Serve what the leading process has taken over, until this one leads."""
        while not await self._leadership.lead():
            origins, missed = await self._leadership.news()
            for origin in list(self.zones) if missed else origins:
                if origin in self.zones:
                    await self._renew(self.zones[origin])
            await trio.sleep(LOOK)
        for kept in list(self.zones.values()):
            await self._renew(kept)

    async def _renew(self, kept: Kept) -> None:
        """What another process has written of a zone."""
        if self._storage.copies is None:
            return
        known = None if kept.zone is None else kept.zone.serial
        read = self._storage.copies.news_of
        checked, news = await in_thread(read, kept.origin, known, kept.checked)
        if isinstance(news, Zone):
            kept.hold(news, checked)
            self.serve({kept.origin: news}, ())
        elif news and not self._change(kept, news):
            return
        kept.checked = checked
        if kept.zone is not None and kept.left <= 0:
            self._expire(kept, "as another process tells")
        if news and kept.source.is_catalog and kept.zone is not None:
            await self._process(kept)

    async def _lead(self) -> None:
        self._storage.leads = True
        for each in list(self.zones.values()):
            if each.zone is not None and each.zone.serial != each.serial:  # changed by who looked after it before
                each.hold(each.zone, each.checked)
                self.serve({each.origin: each.zone}, ())
            if each.zone is not None and each.source.is_catalog:
                await self._process(each)
        for each in self.zones.values():
            self._schedule.plan(each, each.due)
            self._expiries.note(each)
        await self._storage.remove_others([*self.zones, *self.members.configured])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_expiries, nursery)
            if self._storage.copies is not None:
                nursery.start_soon(self._take_calls)
            while True:
                kept = await self._schedule.next()
                await self._checks.acquire()
                nursery.start_soon(self._check, kept)

    async def _take_calls(self) -> None:
        """NOTIFY messages that came to other processes."""
        while True:
            await trio.sleep(LOOK)
            for origin, peer, destination in await self._leadership.calls():
                if origin in self.zones:
                    self._call(self.zones[origin], peer, destination)

    # Checks

    async def _check(self, kept: Kept) -> None:
        try:
            kept.asked = trio.current_time()
            kept.is_called = False
            reasons = await self._ask(kept)
        finally:
            kept.is_busy = False
            self._checks.release()
        if self.zones.get(kept.origin) is not kept:
            return
        if reasons is None:
            kept.failures = 0
            assert kept.timers is not None  # noqa: S101 - what was checked is there
            wait = spread(kept.timers.refresh)
        else:
            kept.failures += 1
            self.counts["transfer-in-failed"] += 1
            wait = self._failed(kept, reasons)
        self._expiries.note(kept)
        now = trio.current_time()
        self._schedule.plan(kept, max(now, kept.asked + APART) if kept.is_called else now + wait)

    async def _ask(self, kept: Kept) -> list[str] | None:
        """Ask the primaries; None: the zone is the newest now, otherwise why not."""
        reasons = []
        without_tls: dict[Peer, str] = {}
        for primary in kept.in_order():
            server = primary.server
            if len(self.zones) > CHECKS and trio.current_time() < self._silent.get(server, NEVER):
                reasons.append(f"{server}: no answer a moment ago")
                continue
            try:
                if await self._ask_one(kept, primary):
                    self._tell_without_tls(server, without_tls)
                    return None
                reasons.append(f"{server}: an older version than here")
            except TransferError as error:
                if isinstance(error, Unanswered):
                    self._silent[server] = trio.current_time() + SILENT
                reasons.append(f"{server}: {error}")
                if isinstance(error, TlsFailed):
                    self.counts["transfer-in-tls-failed"] += 1
                    without_tls[server] = reasons[-1]
        return reasons

    def _tell_without_tls(self, reached: Peer, others: Mapping[Peer, str]) -> None:
        """Each once, until it is reached again; of a zone that none is reached for, all is told anyway."""
        self._told.pop(reached, None)
        for server, why in others.items():
            if self._told.get(server) != why:
                self._told[server] = why
                _log.warning("a primary can't be asked", plugin=self._instance, reason=why)

    async def _ask_one(self, kept: Kept, primary: Primary) -> bool:
        """Is the zone as new as the primary's now?  Raises TransferError."""
        source = self._asked_at.get(primary.server.address)
        before = kept.zone
        async with self._upstream.reach(primary, source) as reached:
            # A catalog is asked for by TCP at once: Knot answers nothing about one by UDP.
            if before is not None and not kept.source.is_catalog:
                serial = await reached.newest(kept.origin)
                if kept.zone is before and not is_newer(serial, before.serial):
                    return serial == before.serial and await self._touch(kept)
                before = kept.zone  # none where it has expired meanwhile
            async with self._transfers:
                began = trio.current_time()
                news = await reached.take(kept.origin, None if before is None else soa_record(before))
                if isinstance(news, list) and before is not None:
                    await in_thread(getattr, before, "children")  # a look at all names, at the first time
                if not isinstance(news, Zone) and (kept.zone is not before or (news and not self._change(kept, news))):
                    news = await reached.take(kept.origin, None)
        if self.zones.get(kept.origin) is not kept:
            return True
        if news is None:
            return await self._touch(kept)
        if isinstance(news, Zone):
            if kept.zone is not None and is_newer(kept.zone.serial, news.serial):
                return False
            kept.hold(news, wall_time())
            self.serve({kept.origin: news}, ())
            await self._storage.save(news, before)
        elif before is not None:
            kept.checked = wall_time()
            await self._storage.save_changes(before, news)
        await self._leadership.tell(kept.origin)
        zone = kept.zone
        assert zone is not None  # noqa: S101 - it was changed, or is new
        self.counts["transfer-in"] += 1
        changes, seconds = len(news) if isinstance(news, list) else None, round(trio.current_time() - began, 3)
        told = {"primary": str(primary), "serial": zone.serial, "changes": changes, "seconds": seconds}
        _log.info("a zone was transferred", plugin=self._instance, zone=name_text(kept.origin), **told)
        if kept.source.is_catalog:
            await self._process(kept)
        return True

    async def _touch(self, kept: Kept) -> bool:
        """It is the newest: True."""
        kept.checked = wall_time()
        await self._storage.touch(kept.origin)
        return True

    def _change(self, kept: Kept, changes: Iterable[Change]) -> bool:
        """Put what IXFR has brought into the zone; does it fit?  The zone is then at one of the versions in between."""
        zone = kept.zone
        if zone is None or self.zones.get(kept.origin) is not kept:
            return True
        why = why_not(zone, changes)
        kept.hold(zone, kept.checked)
        self.serve({kept.origin: zone}, ())
        if why is not None:
            message = "an incremental transfer does not fit: the whole zone is asked for"
            _log.warning(message, plugin=self._instance, zone=name_text(kept.origin), reason=why)
        return why is None

    def _failed(self, kept: Kept, reasons: Iterable[str]) -> float:
        """Tell it; the seconds to the next check."""
        why = kept.why = "; ".join(reasons)
        held_back = self._repeated.due(why)
        if held_back is not None:
            message, zone = "a zone can't be checked or transferred", name_text(kept.origin)
            _log.warning(message, plugin=self._instance, zone=zone, reason=why, held_back=held_back)
        return spread(first_retry(kept.failures) if kept.timers is None else kept.timers.retry)

    async def _watch_expiries(self, nursery: trio.Nursery) -> None:
        while True:
            kept = await self._expiries.next()
            self._expire(kept, kept.why)
            nursery.start_soon(self._leadership.tell, kept.origin)

    def _expire(self, kept: Kept, why: str) -> None:
        kept.zone = None
        self.serve({kept.origin: None}, ())
        self._tell_expired(kept, why)

    def _tell_expired(self, kept: Kept, why: str) -> None:
        self.counts["expired"] += 1
        message = "a zone is too old, and no longer served (EXPIRE)"
        _log.error(message, plugin=self._instance, zone=name_text(kept.origin), reason=why)

    # Copies

    def load(self, state: Path | None, instance: str) -> None:
        """What an earlier run of the instance has left in its state folder; in the thread of `prepare`."""
        self._instance = instance
        if state is not None:
            copies = Copies(state / FOLDER, self._storage.versions)
            self._hold_copies(copies, self.zones.values())
            for catalog in [each.origin for each in self.zones.values() if each.source.is_catalog]:
                self._hold_copies(copies, self._enlist(catalog, copies.read_members(catalog))[0])

    def _hold_copies(self, copies: Copies, wanted: Iterable[Kept]) -> None:
        for kept in wanted:
            copy = copies.read(kept.origin)
            if copy is not None:
                kept.hold(*copy)
                if kept.left <= 0:
                    kept.zone = None
                    self._tell_expired(kept, "nothing was heard since it was copied")

    # Catalog zones

    async def _process(self, kept: Kept) -> None:
        """Take over what a catalog zone lists now; a broken one leaves all as it is (RFC 9432 section 5.1)."""
        zone = name_text(kept.origin)
        assert kept.zone is not None  # noqa: S101 - the caller has seen it
        try:
            listed = await in_thread(catalog_zone.read, kept.zone.snapshot())
        except BrokenCatalog as error:
            message = "a catalog zone is broken: its members stay as they were"
            _log.error(message, plugin=self._instance, zone=zone, reason=str(error))
            return
        if listed.ignored:
            message = "properties of a catalog zone are ignored, groups among them"
            _log.info(message, plugin=self._instance, zone=zone, records=listed.ignored)
        new, gone = self._enlist(kept.origin, listed.members)
        self.serve({each.origin: None for each in new}, gone)
        for each in new:
            self._schedule.plan(each, each.due)
            if not self._leadership.leads:
                await self._renew(each)
        if new or gone:
            _log.info("a catalog zone was processed", plugin=self._instance, zone=zone, new=len(new), gone=len(gone))
        await self._storage.save_members(kept.origin, listed.members, [*gone, *(each.origin for each in new)])

    def _enlist(self, catalog: bytes, members: Mapping[bytes, Member]) -> tuple[list[Kept], list[bytes]]:
        """The catalog lists these members; the zones that begin, and those that are gone."""
        new = {}
        gone = []
        for step, origin, owner in self.members.update(catalog, members):
            source = Source(self.zones[owner].source.primaries)
            if step in ("add", "reset"):
                new[origin] = self.zones[origin] = Kept(origin, source)
            elif step == "remove":
                del self.zones[origin]
                gone.append(origin)
            elif step == "move":
                self.zones[origin].source = source
            elif self._repeated.due(("clash", owner)) is not None:
                message = "a catalog zone lists a zone that is here already (RFC 9432 section 5.2)"
                _log.error(message, plugin=self._instance, catalog=name_text(owner), zone=name_text(origin))
        return list(new.values()), gone
