"""The host's interfaces, followed: the table, the memberships and the plugins' change events.

What the platform's watch tells goes into the table at once, and each socket's memberships on that interface follow.
All interfaces are read anew (a re-scan) where the platform only says "something changed", where messages were lost,
where a datagram or a failed send shows that the table is old, and now and then in case something was missed.

Plugins are told later, once an interface has been quiet for `settle` seconds: its state has then settled.  A link may
flap for ever, so after `PATIENCE` times as long plugins are told in any case.  A `Subscription` tells the difference
between the state that it told last and the settled one.  So it needs no queue: it remembers which interfaces to
compare.

The system may give an index to another interface.  The old interface is then reported gone before the new one appears,
to the memberships and to plugins.

How a platform enumerates, hears of changes and joins is in `responder.net`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Self
from weakref import WeakSet

import attrs
import trio

from ..datagram import Interface, InterfaceChange
from ..log import Repeated, get_logger
from ..net.interface_table import InterfaceTable, diff, is_another
from ..net.memberships import Claim, Memberships, claimed
from ..net.types import Changes, InterfaceWatch, Platform

SETTLE = 0.3
"""Seconds of quiet after which plugins are told of an interface's changes."""

PATIENCE = 10
"""So many times `settle` is the longest that changes are held back."""

RESCAN_INTERVAL = 30.0
"""Seconds between two looks at all interfaces where nothing says that they changed."""

RESCAN_PAUSE = 1.0
"""Seconds that at least lie between two looks, however often a datagram shows that the table is old."""

FIRST_RETRY = 0.1
"""Seconds before refused joins are tried again; doubled as long as some are refused."""

LAST_RETRY = 30.0
"""Seconds: no delay is longer."""

_log = get_logger(__name__)


@attrs.frozen
class _Numbered:
    """An interface's state, with the number of the interface: another one of the same index has another number."""

    number: int
    interface: Interface


@attrs.define
class _Unsettled:
    """When the changes began that plugins have not been told of, and the last was (seconds of trio's clock)."""

    first: float
    last: float

    def due(self, settle: float) -> float:
        return min(self.last + settle, self.first + settle * PATIENCE)


class Subscription:
    """The settled changes of the interfaces that `may_use` holds for, from now on until `end`.  For one task."""

    def __init__(self, following: Following, may_use: Callable[[Interface], bool]) -> None:
        self._following = following
        self._may_use = may_use
        self._told = {seen.interface.index: seen for seen in following.present() if may_use(seen.interface)}
        self._marked: dict[int, None] = {}
        self._ready: deque[InterfaceChange] = deque()
        self._waiting = trio.lowlevel.ParkingLot()
        self._ended = False

    def end(self) -> None:
        """The iteration ends, once what is settled has been told."""
        self._ended = True
        self._waiting.unpark_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> InterfaceChange:
        await trio.lowlevel.checkpoint()
        while not self._ready:
            while not self._marked:
                if self._ended:
                    raise StopAsyncIteration
                await self._waiting.park()
            index = next(iter(self._marked))
            del self._marked[index]
            self._ready.extend(self._advance(index))
        return self._ready.popleft()

    def mark(self, index: int) -> None:
        """The interface of that index has settled."""
        if index in self._told or self._following.settled(index) is not None:
            self._marked[index] = None
            self._waiting.unpark_all()
        else:  # it came and went before it was told of
            self._marked.pop(index, None)

    def _advance(self, index: int) -> tuple[InterfaceChange, ...]:
        old, new = self._told.pop(index, None), self._following.settled(index)
        if new is not None and not self._may_use(new.interface):
            new = None
        if new is not None:
            self._told[index] = new
        before = None if old is None else old.interface
        after = None if new is None else new.interface
        if old is not None and new is not None and old.number != new.number:
            return (*diff(before, None), *diff(None, after))
        return diff(before, after)


class Following:
    """The interfaces of a host.  `open_following` makes it; `run` keeps it current."""

    def __init__(self, watch: InterfaceWatch, table: InterfaceTable, settle: float) -> None:
        self.table = table
        self.on_change: list[Callable[[], None]] = []
        """Called after each change of the table."""
        self._watch = watch
        self._watch_works = True
        self._settle = settle
        self._repeated = Repeated()

        self._rescan_at = trio.current_time() + RESCAN_INTERVAL
        self._last_rescan = -float("inf")
        self._waiting = trio.CancelScope()

        self._counter = itertools.count()
        self._numbers = {interface.index: next(self._counter) for interface in table}
        self._settled = {seen.interface.index: seen for seen in self.present()}
        self._unsettled: dict[int, _Unsettled] = {}
        self._settling = trio.CancelScope()
        self._subscriptions: WeakSet[Subscription] = WeakSet()

        self._claims: dict[Memberships, tuple[Claim, ...]] = {}
        self._incomplete: dict[tuple[Memberships, int], None] = {}
        self._refused = trio.Event()

    # For plugins

    def subscribe(self, may_use: Callable[[Interface], bool] = lambda _interface: True) -> Subscription:
        """The changes from now on; it ends by being forgotten."""
        subscription = Subscription(self, may_use)
        self._subscriptions.add(subscription)
        return subscription

    def present(self) -> list[_Numbered]:
        """The interfaces as they are now."""
        return [_Numbered(self._numbers[interface.index], interface) for interface in self.table]

    def settled(self, index: int) -> _Numbered | None:
        """An interface as it last settled."""
        return self._settled.get(index)

    # For sockets

    def claim(self, memberships: Memberships, claims: Collection[Claim]) -> None:
        """Join what the users of a socket want, now and as the interfaces change, until `leave` or the next claim."""
        self._claims[memberships] = tuple(claims)
        for index in {interface.index for interface in self.table}.union(
            membership.interface for membership in memberships.joined
        ):
            self._reconcile(memberships, index)

    def leave(self, memberships: Memberships) -> None:
        """Leave all groups of a socket that is about to be closed, so that the network hears of it."""
        self._claims.pop(memberships, None)
        for key in [key for key in self._incomplete if key[0] is memberships]:
            del self._incomplete[key]
        memberships.reconcile((), self.table.get)

    def _reconcile(self, memberships: Memberships, index: int) -> None:
        interface = self.table.get(index)
        desired = claimed(self._claims[memberships], interface) if interface is not None else frozenset()
        if memberships.reconcile_on(index, desired, interface):
            self._incomplete.pop((memberships, index), None)
        else:
            self._incomplete[memberships, index] = None
            self._refused.set()

    async def _retry(self) -> None:
        """Try refused joins again: the system may have had no room, or not known a new interface yet."""
        delay = FIRST_RETRY
        while True:
            await self._refused.wait()
            await trio.sleep(delay)
            refused, self._refused = list(self._incomplete), trio.Event()
            for memberships, index in refused:
                self._reconcile(memberships, index)
            better = len(self._incomplete) < len(refused) or not refused
            delay = FIRST_RETRY if better else min(LAST_RETRY, delay * 2)

    # The table

    def stale(self) -> None:
        """Something shows that the table is old: look at all interfaces, soon."""
        self._rescan_at = min(self._rescan_at, max(trio.current_time(), self._last_rescan + RESCAN_PAUSE))
        self._waiting.deadline = self._rescan_at

    async def run(self) -> None:
        """Follow the interfaces until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._settle_changes)
            nursery.start_soon(self._retry)
            while True:
                changes: Changes | None = None
                with trio.CancelScope(deadline=self._rescan_at) as self._waiting:
                    changes = await self._next_changes()
                if changes is None:
                    await self._rescan()
                else:
                    self._apply(changes)

    async def _next_changes(self) -> Changes | None:
        if not self._watch_works:
            await trio.sleep_forever()
        try:
            return await self._watch.changes()
        except OSError as error:
            _log.error("changes of the interfaces are no longer heard of, only found by looking", error=error)
            self._watch_works = False
            return None

    async def _rescan(self) -> None:
        self._last_rescan = trio.current_time()
        self._rescan_at = self._last_rescan + RESCAN_INTERVAL
        try:
            interfaces = await self._watch.interfaces()
        except OSError as error:
            held_back = self._repeated.due("rescan")
            if held_back is not None:
                _log.warning("the interfaces can't be read", error=error, held_back=held_back)
            # Changes told from here on may build on ones that were lost.
            self._rescan_at = self._last_rescan + RESCAN_PAUSE
            return
        there = {interface.index for interface in interfaces}
        gone = [interface.index for interface in self.table if interface.index not in there]
        self._apply([*((index, None) for index in gone), *((interface.index, interface) for interface in interfaces)])

    def _apply(self, changes: Changes) -> None:
        generation = self.table.generation
        for index, new in changes:
            old = self.table.get(index)
            if old is not None and new is not None and is_another(old, new):
                self._update(index, None)
            self._update(index, new)
        if self.table.generation != generation:
            for changed in self.on_change:
                changed()

    def _update(self, index: int, new: Interface | None) -> None:
        if not self.table.update(index, new):
            return
        if new is None:
            del self._numbers[index]
        elif index not in self._numbers:
            self._numbers[index] = next(self._counter)
        now = trio.current_time()
        unsettled = self._unsettled.setdefault(index, _Unsettled(now, now))
        unsettled.last = now
        self._settling.deadline = min(self._settling.deadline, unsettled.due(self._settle))
        for memberships in self._claims:
            self._reconcile(memberships, index)

    async def _settle_changes(self) -> None:
        while True:
            due = min((each.due(self._settle) for each in self._unsettled.values()), default=float("inf"))
            with trio.CancelScope(deadline=due) as self._settling:
                await trio.sleep_forever()
            now = trio.current_time()
            for index in [index for index, each in self._unsettled.items() if each.due(self._settle) <= now]:
                del self._unsettled[index]
                interface = self.table.get(index)
                if interface is None:
                    self._settled.pop(index, None)
                else:
                    self._settled[index] = _Numbered(self._numbers[index], interface)
                for subscription in self._subscriptions:
                    subscription.mark(index)


@asynccontextmanager
async def open_following(platform: Platform, *, settle: float = SETTLE) -> AsyncIterator[Following]:
    """The interfaces as they are now, to be kept current by `run`.  `settle` in seconds.  Raises OSError."""
    async with platform.watch_interfaces() as watch:
        yield Following(watch, InterfaceTable(await watch.interfaces()), settle)
