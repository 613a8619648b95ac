"""The links that a protocol speaks on, as they come, change and go.

A *place* is an interface with an address that many hear there: a multicast group, or a broadcast address.  What a
protocol says at a place depends on the host's own address there, so a place with another own address is a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import trio

from responder import (
    ChangeKind,
    Interface,
    InterfaceChange,
    IPAddress,
    Network,
    Peer,
    Repeated,
    SendError,
    get_logger,
    is_link_scope_group,
)

GATHERING: Final = 0.2
"""Seconds that changes are gathered, so that many interfaces that come together are one change."""

MAX_NAMED: Final = 4096
"""Interfaces whose last warning is remembered; the oldest is forgotten first."""

Place: TypeAlias = tuple[int, IPAddress]
"""An interface's index, and the group or broadcast address."""

PlacesOf: TypeAlias = Callable[[Interface], Mapping[Place, IPAddress]]
"""An interface -> where to speak on it, each with the host's own address there."""

_log = get_logger(__name__)


def group_places(interface: Interface, groups: Sequence[IPAddress]) -> dict[Place, IPAddress]:
    """The places of an interface for these groups; none where it has no link, is the loopback, or can't multicast."""
    if not interface.is_working or "multicast" not in interface.flags or "loopback" in interface.flags:
        return {}
    places: dict[Place, IPAddress] = {}
    for group in groups:
        address = interface.source_for(group)
        # What is told beyond the link must be reachable there.
        beyond = group.version == 6 and not is_link_scope_group(group)
        if address is not None and not (beyond and address.is_link_local):
            places[interface.index, group] = address
    return places


@attrs.frozen
class Change:
    """What changed about the places.

    new   places that came, came back, or have another own address, each with that address
    left  places where the host has no address any more, each with its interface as it is now
    gone  places whose link is no more: nobody hears anything there
    """

    new: Mapping[Place, IPAddress]
    left: Mapping[Place, Interface]
    gone: Sequence[Place]


@attrs.define(eq=False)
class Links:
    """Follows the places of a handler's network and sends to them.

    places_of  where the protocol speaks
    service    the name of the plugin's service to send from
    """

    network: Network
    places_of: PlacesOf
    service: str = "default"
    places: dict[Place, IPAddress] = attrs.field(factory=dict, init=False)
    """The places as the last change left them."""
    _changed: dict[int, Interface] = attrs.field(factory=dict, init=False)
    _gone: set[int] = attrs.field(factory=set, init=False)
    _change: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failing: set[Place] = attrs.field(factory=set, init=False)
    _warnings: Repeated = attrs.field(factory=lambda: Repeated(limit=MAX_NAMED, clock=trio.current_time), init=False)

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Note changes until the network's `stopping` fires; start this before anything else is called."""
        changes = self.network.changes()
        task_status.started()
        async for change in changes:
            self._note(change)

    def _note(self, change: InterfaceChange) -> None:
        index = change.interface.index
        if change.kind in {ChangeKind.DISAPPEARED, ChangeKind.DOWN}:
            self._gone.add(index)
        self._changed[index] = change.interface
        self._change.set()

    def begin(self) -> Mapping[Place, IPAddress]:
        """The places that there are now."""
        for interface in self.network.interfaces:
            self.places.update(self.places_of(interface))
        return dict(self.places)

    async def change(self) -> Change:
        """Wait for the next changes, and gather them."""
        await self._change.wait()
        await trio.sleep(GATHERING)
        changed, self._changed, self._change = self._changed, {}, trio.Event()
        # Should the same index be back already, it is a new place.
        gone = [place for place in self.places if place[0] in self._gone]
        self._gone.clear()
        for place in gone:
            self._forget(place)
        new: dict[Place, IPAddress] = {}
        left: dict[Place, Interface] = {}
        for interface in changed.values():
            present = self.network.interface(interface.index) is not None
            wanted = self.places_of(interface) if present else {}
            for place in [place for place in self.places if place[0] == interface.index and place not in wanted]:
                left[place] = interface
                self._forget(place)
            new.update({place: address for place, address in wanted.items() if self.places.get(place) != address})
        self.places.update(new)
        return Change(new, left, gone)

    def _forget(self, place: Place) -> None:
        del self.places[place]
        self._failing.discard(place)

    def is_there(self, place: Place) -> bool:
        """Is it a place at this very moment?"""
        interface = self.network.interface(place[0])
        return interface is not None and place in self.places_of(interface)

    async def send(self, place: Place, payload: bytes, *, port: int | None = None) -> bool:
        """Send one datagram; False where the system refused.  `port` defaults to the service's own.

        A place that refuses, as a VPN's link may, is named in the log once until it works again, and an interface at
        most once a minute.
        """
        index, group = place
        to = group if port is None else Peer(group, port)
        try:
            await self.network.send(payload, to=to, interface=index, service=self.service)
        except SendError as error:
            # Where the interface or its address went a moment ago, the change that says so is on its way.
            if place not in self._failing and self.is_there(place):
                self._failing.add(place)
                self._warn(place, error)
            return False
        self._failing.discard(place)
        return True

    def _warn(self, place: Place, error: Exception) -> None:
        index, group = place
        held_back = self._warnings.due(index)
        interface = self.network.interface(index)
        if held_back is not None:
            _log.warning(
                "can't announce",
                plugin=self.network.instance,
                group=group,
                interface=index if interface is None else interface.name,
                error=error,
                held_back=held_back,
            )
