"""The announcements of a handler's life: alive, its refreshing, update where addresses change, byebye (UDA 2.0 1.2).

A *place* is an interface with a group that can be spoken to from it; it is announced with the address that the group
hears.  Each place that was announced is remembered until byebye is said there or it is gone, so that nothing is left
behind.  When places come or change their address, the boot id moves on: update is said at the places that stay as they
are, and then alive at all (section 1.2.4), which tells a control point on two links that it is still one device.

This file refuses to answer, and to know what the messages look like.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from random import Random
from typing import Final, TypeAlias

import attrs
import trio

from responder import ChangeKind, Interface, InterfaceChange, IPAddress, Network, SendError

from .identity import BootId
from .targets import Match
from .writer import Writer

GROUPS: Final = tuple(map(ip_address, ("239.255.255.250", "ff02::c", "ff05::c")))
"""UDA 2.0 section 1.2.2 and annex A."""

FIRST_WAIT: Final = 0.1
"""Seconds at most before the first announcement, so that devices that start together don't speak together (1.2.2)."""

REPEATS: Final = 3
"""How often a set is sent when a place is new, since datagrams get lost (section 1.2.2: thrice at most)."""

REPEAT_WAIT: Final = (0.3, 0.8)
"""Seconds between two of those."""

PACE: Final = 0.01
"""Seconds at most between two messages of a set: no bursts."""

REFRESH: Final = (0.25, 0.45)
"""Parts of max_age after which all is said again; section 1.2.2 wants it random and below a half."""

GATHERING: Final = 0.2
"""Seconds that changes are gathered, so that many interfaces that come together are one change of the boot id."""

UPDATE_REPEATS: Final = 2
UPDATE_WAIT: Final = 0.1
"""Seconds between them: who misses the update takes the next alive for a device that was started again."""

BYEBYE_REPEATS: Final = 2
BYEBYE_WAIT: Final = 0.1
"""Seconds between them: all has to be said within the grace period."""

Key: TypeAlias = tuple[int, IPAddress]
"""A place: an interface's index, and the group."""

Uniform: TypeAlias = Callable[[float, float], float]

_log = logging.getLogger(__name__)


def places_of(interface: Interface) -> dict[Key, IPAddress]:
    """Where a device speaks on an interface, each with the address that it has there."""
    if not interface.is_working or "multicast" not in interface.flags or "loopback" in interface.flags:
        return {}
    places: dict[Key, IPAddress] = {}
    for group in GROUPS:
        address = interface.source_for(group)
        if address is None or (group == GROUPS[2] and address.is_link_local):
            continue  # what is told to the whole site must be reachable there (annex A)
        places[interface.index, group] = address
    return places


@attrs.define(eq=False)
class Announcer:
    """Keeps a link's control points informed, from start to byebye."""

    network: Network
    matches: Sequence[Match]
    writer: Writer
    boot: BootId
    uniform: Uniform = attrs.field(factory=lambda: Random().uniform)  # noqa: S311 - spreads load, keeps no secret
    announced: dict[Key, IPAddress] = attrs.field(factory=dict, init=False)
    _announcing: dict[Key, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _failing: set[Key] = attrs.field(factory=set, init=False)
    _changed: dict[int, Interface] = attrs.field(factory=dict, init=False)
    _gone: set[int] = attrs.field(factory=set, init=False)
    _change: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self) -> None:
        """Announce until the network's `stopping` fires, then say byebye."""
        changes = self.network.changes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, changes)
            nursery.start_soon(self._announce_all, nursery)
            await self.network.stopping.wait()
            nursery.cancel_scope.cancel()
        await self._say_byebye()

    async def _announce_all(self, nursery: trio.Nursery) -> None:
        await trio.sleep(self.uniform(0.0, FIRST_WAIT))
        for interface in self.network.interfaces:
            self._begin(places_of(interface), nursery)
        nursery.start_soon(self._follow, nursery)
        while True:
            await trio.sleep(self.writer.max_age * self.uniform(*REFRESH))
            async with trio.open_nursery() as refreshing:
                for key in self.announced:
                    refreshing.start_soon(self._say_alive, key)

    # Changes

    async def _watch(self, changes: AsyncIterator[InterfaceChange]) -> None:
        async for change in changes:
            index = change.interface.index
            if change.kind in {ChangeKind.DISAPPEARED, ChangeKind.DOWN}:
                self._gone.add(index)
            self._changed[index] = change.interface
            self._change.set()

    async def _follow(self, nursery: trio.Nursery) -> None:
        while True:
            await self._change.wait()
            await trio.sleep(GATHERING)
            changed, self._changed, self._change = self._changed, {}, trio.Event()
            for index in self._gone:
                # Nobody hears byebye there any more, and should the same index be back already, it is a new place.
                for key in [key for key in self.announced if key[0] == index]:
                    self._forget(key)
            self._gone.clear()
            await self._adapt(changed.values(), nursery)

    async def _adapt(self, changed: Iterable[Interface], nursery: trio.Nursery) -> None:
        new: dict[Key, IPAddress] = {}
        for interface in changed:
            present = self.network.interface(interface.index) is not None
            wanted = places_of(interface) if present else {}
            for key in [key for key in self.announced if key[0] == interface.index and key not in wanted]:
                await self._leave(key, interface)
            new.update({key: address for key, address in wanted.items() if self.announced.get(key) != address})
        if not new:
            return
        for key in new:
            self._forget(key)  # an address that is no more is not to be told again
        unaffected = dict(self.announced)
        await self._say_update(unaffected)
        self.boot.advance()
        self.writer.boot_id = self.boot.value
        self._begin(new, nursery)
        # Once will do there: they know the device, and were told of the new boot id.
        self._begin(unaffected, nursery, repeats=1)

    def _begin(self, places: Mapping[Key, IPAddress], nursery: trio.Nursery, *, repeats: int = REPEATS) -> None:
        # Noted before anything is sent: whatever happens then, byebye follows.
        self.announced.update(places)
        for key in places:
            interrupted = self._announcing.pop(key, None)
            if interrupted is not None:
                interrupted.cancel()
            scope = self._announcing[key] = trio.CancelScope()
            nursery.start_soon(self._introduce, key, scope, REPEATS if interrupted else repeats)

    async def _introduce(self, key: Key, scope: trio.CancelScope, repeats: int) -> None:
        with scope:
            for number in range(repeats):
                if number:
                    await trio.sleep(self.uniform(*REPEAT_WAIT))
                await self._say_alive(key)
        if self._announcing.get(key) is scope:
            del self._announcing[key]

    async def _leave(self, key: Key, interface: Interface) -> None:
        """A place is gone: say so where the group's family still has an address to speak from."""
        self._forget(key)
        if interface.is_working and interface.source_for(key[1]) is not None:
            await self._send_set(key, [self.writer.byebye(match, key[1]) for match in self.matches])

    def _forget(self, key: Key) -> None:
        if key in self._announcing:
            self._announcing.pop(key).cancel()
        self.announced.pop(key, None)
        self._failing.discard(key)

    # Sending

    async def _say_alive(self, key: Key) -> None:
        for match in self.matches:
            address = self.announced.get(key)
            if address is None:
                return  # gone meanwhile
            await self._send(key, self.writer.alive(match, key[1], address))
            await trio.sleep(self.uniform(0.0, PACE))

    async def _say_update(self, places: Mapping[Key, IPAddress]) -> None:
        for number in range(UPDATE_REPEATS if places else 0):
            if number:
                await trio.sleep(UPDATE_WAIT)
            for key, address in places.items():
                await self._send_set(
                    key, [self.writer.update(match, key[1], address, self.boot.next) for match in self.matches]
                )

    async def _say_byebye(self) -> None:
        """At every place that was announced and is still there."""
        places = [key for key in self.announced if self._is_there(key)]
        for number in range(BYEBYE_REPEATS):
            if number:
                await trio.sleep(BYEBYE_WAIT)
            for key in places:
                await self._send_set(key, [self.writer.byebye(match, key[1]) for match in self.matches])
        self.announced.clear()

    def _is_there(self, key: Key) -> bool:
        interface = self.network.interface(key[0])
        return interface is not None and key in places_of(interface)

    async def _send_set(self, key: Key, messages: Iterable[bytes]) -> None:
        for message in messages:
            await self._send(key, message)

    async def _send(self, key: Key, message: bytes) -> None:
        """One message at one place; a place that refuses (a VPN link may) is named in the log once, not each time."""
        index, group = key
        try:
            await self.network.send(message, to=group, interface=index, service="discovery")
        except ValueError:
            pass  # the interface went, or its address, a moment ago: the change that says so is on its way
        except SendError as error:
            if key not in self._failing and self._is_there(key):
                self._failing.add(key)
                _log.warning("can't announce to %s on interface %d: %s", group, index, error)
        else:
            self._failing.discard(key)
