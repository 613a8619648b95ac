"""Announces a handler's devices: alive, its refreshing, update where addresses change, byebye (UDA 2.0 section 1.2).

Each place that was announced (see `shared.links`) is remembered until byebye is said there or its link is gone.  When
places come or change their address, the boot id moves on: update is said at the places that stay as they are, then
alive at all (section 1.2.4), which tells a control point on two links that it is still one device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

import attrs
import trio

from responder import Interface, IPAddress, Network

from ..shared.boot_number import BootNumber
from ..shared.delays import Uniform, by_chance
from ..shared.links import Change, Links, Place, group_places
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

UPDATE_REPEATS: Final = 2
UPDATE_WAIT: Final = 0.1
"""Seconds between them: who misses the update takes the next alive for a device that was started again."""

BYEBYE_REPEATS: Final = 2
BYEBYE_WAIT: Final = 0.1
"""Seconds between them: all has to be said within the grace period."""


def places_of(interface: Interface) -> dict[Place, IPAddress]:
    """Where a device speaks on an interface, each place with the address that it has there."""
    return group_places(interface, GROUPS)


@attrs.define(eq=False)
class Announcer:
    """Keeps the control points of all links informed, from start to byebye."""

    network: Network
    matches: Sequence[Match]
    writer: Writer
    boot: BootNumber
    uniform: Uniform = attrs.field(factory=by_chance)
    announced: dict[Place, IPAddress] = attrs.field(factory=dict, init=False)
    _links: Links = attrs.field(init=False)
    _announcing: dict[Place, trio.CancelScope] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._links = Links(self.network, places_of, "discovery")

    async def run(self) -> None:
        """Announce until the network's `stopping` fires, then say byebye."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._links.watch)
            nursery.start_soon(self._announce_all, nursery)
            await self.network.stopping.wait()
            nursery.cancel_scope.cancel()
        await self._say_byebye()

    async def _announce_all(self, nursery: trio.Nursery) -> None:
        await trio.sleep(self.uniform(0.0, FIRST_WAIT))
        self._begin(self._links.begin(), nursery)
        nursery.start_soon(self._follow, nursery)
        while True:
            await trio.sleep(self.writer.max_age * self.uniform(*REFRESH))
            async with trio.open_nursery() as refreshing:
                for place in self.announced:
                    refreshing.start_soon(self._say_alive, place)

    # Changes

    async def _follow(self, nursery: trio.Nursery) -> None:
        while True:
            change = await self._links.change()
            for place in (*change.gone, *change.left, *change.new):
                self._forget(place)  # an address that is no more is not to be told again
            await self._leave(change)
            if change.new:
                await self._come(change.new, nursery)

    async def _leave(self, change: Change) -> None:
        """Say byebye at places without an address, where the group's family still has one to speak from."""
        for place, interface in change.left.items():
            if interface.is_working and interface.source_for(place[1]) is not None:
                await self._send_set(place, [self.writer.byebye(match, place[1]) for match in self.matches])

    async def _come(self, new: Mapping[Place, IPAddress], nursery: trio.Nursery) -> None:
        unaffected = dict(self.announced)
        await self._say_update(unaffected)
        self.boot.advance()
        self.writer.boot_id = self.boot.value
        self._begin(new, nursery)
        # Once will do there: they know the device, and were told of the new boot id.
        self._begin(unaffected, nursery, repeats=1)

    def _begin(self, places: Mapping[Place, IPAddress], nursery: trio.Nursery, *, repeats: int = REPEATS) -> None:
        # Noted before anything is sent: whatever happens then, byebye follows.
        self.announced.update(places)
        for place in places:
            interrupted = self._announcing.pop(place, None)
            if interrupted is not None:
                interrupted.cancel()
            scope = self._announcing[place] = trio.CancelScope()
            nursery.start_soon(self._introduce, place, scope, REPEATS if interrupted else repeats)

    async def _introduce(self, place: Place, scope: trio.CancelScope, repeats: int) -> None:
        with scope:
            for number in range(repeats):
                if number:
                    await trio.sleep(self.uniform(*REPEAT_WAIT))
                await self._say_alive(place)
        if self._announcing.get(place) is scope:
            del self._announcing[place]

    def _forget(self, place: Place) -> None:
        if place in self._announcing:
            self._announcing.pop(place).cancel()
        self.announced.pop(place, None)

    # Sending

    async def _say_alive(self, place: Place) -> None:
        for match in self.matches:
            address = self.announced.get(place)
            if address is None:
                return  # gone meanwhile
            await self._links.send(place, self.writer.alive(match, place[1], address))
            await trio.sleep(self.uniform(0.0, PACE))

    async def _say_update(self, places: Mapping[Place, IPAddress]) -> None:
        for number in range(UPDATE_REPEATS if places else 0):
            if number:
                await trio.sleep(UPDATE_WAIT)
            for place, address in places.items():
                messages = [self.writer.update(match, place[1], address, self.boot.next) for match in self.matches]
                await self._send_set(place, messages)

    async def _say_byebye(self) -> None:
        """At every place that was announced and is still there."""
        places = [place for place in self.announced if self._links.is_there(place)]
        for number in range(BYEBYE_REPEATS):
            if number:
                await trio.sleep(BYEBYE_WAIT)
            for place in places:
                await self._send_set(place, [self.writer.byebye(match, place[1]) for match in self.matches])
        self.announced.clear()

    async def _send_set(self, place: Place, messages: Iterable[bytes]) -> None:
        for message in messages:
            await self._links.send(place, message)
