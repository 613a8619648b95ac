"""Says Hello on each link where the endpoint comes or gets another address, and Bye at the end.

Each message is repeated as SOAP-over-UDP 1.1 section 3.4 says, with growing delays.  This holds for both versions of
WS-Discovery: a listener takes the one that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final

import attrs
import trio

from responder import Interface, IPAddress, Network

from ..shared.delays import Uniform
from ..shared.links import Links, Place, group_places
from .message import VERSIONS, Match, Version, Writer

GROUPS: Final = tuple(map(ip_address, ("239.255.255.250", "ff02::c")))

APP_MAX_DELAY: Final = 0.5
"""Seconds at most before a Hello, or an answer to a multicast (WS-Discovery 2005/04 section 2.4)."""

MULTICAST_REPEAT: Final = 1
UNICAST_REPEAT: Final = 1
"""How often a message is repeated, each time with the same MessageID (DPWS 1.1 appendix B)."""

MIN_DELAY: Final = 0.05
MAX_DELAY: Final = 0.25
UPPER_DELAY: Final = 0.5
"""Seconds before the first repetition, at least and at most; the delay doubles up to the last."""


def places_of(interface: Interface) -> dict[Place, IPAddress]:
    """Where WS-Discovery is spoken on an interface."""
    return group_places(interface, GROUPS)


def repetitions(count: int, uniform: Uniform) -> list[float]:
    """Seconds from the first transmission of a message to each other one."""
    moments, at = [], 0.0
    delay = uniform(MIN_DELAY, MAX_DELAY)
    for _ in range(count):
        at += delay
        moments.append(at)
        delay = min(delay * 2, UPPER_DELAY)
    return moments


@attrs.define(eq=False)
class Announcer:
    """Keeps the clients of all links informed; `match` tells what a version's listeners are told at an address."""

    network: Network
    writer: Writer
    match: Callable[[Version, IPAddress], Match]
    uniform: Uniform
    announced: dict[Place, IPAddress] = attrs.field(factory=dict, init=False)
    _announcing: dict[Place, trio.CancelScope] = attrs.field(factory=dict, init=False)

    async def run(self) -> None:
        """Announce until the network's `stopping` fires, then say Bye."""
        links = Links(self.network, places_of)
        async with trio.open_nursery() as nursery:
            await nursery.start(links.watch)
            nursery.start_soon(self._follow, links, nursery)
            await self.network.stopping.wait()
            nursery.cancel_scope.cancel()
        await self._say_bye(links)

    async def _follow(self, links: Links, nursery: trio.Nursery) -> None:
        self._begin(links, links.begin(), nursery)
        while True:
            change = await links.change()
            for place in (*change.gone, *change.left):
                self._forget(place)
            self._begin(links, change.new, nursery)

    def _forget(self, place: Place) -> None:
        self.announced.pop(place, None)
        if place in self._announcing:
            self._announcing.pop(place).cancel()

    def _begin(self, links: Links, places: Mapping[Place, IPAddress], nursery: trio.Nursery) -> None:
        for place, address in places.items():
            self._forget(place)
            scope = self._announcing[place] = trio.CancelScope()
            nursery.start_soon(self._say_hello, links, place, address, scope)

    async def _say_hello(self, links: Links, place: Place, address: IPAddress, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(self.uniform(0.0, APP_MAX_DELAY))
            self.announced[place] = address
            messages = [self.writer.hello(version, self.match(version, address)) for version in VERSIONS]
            await self._send_repeated(links, {place: messages})
        if self._announcing.get(place) is scope:
            del self._announcing[place]

    async def _say_bye(self, links: Links) -> None:
        """At every place that was announced and is still there."""
        messages = {
            place: [self.writer.bye(version, self.match(version, address).endpoint) for version in VERSIONS]
            for place, address in self.announced.items()
            if links.is_there(place)
        }
        self.announced.clear()
        await self._send_repeated(links, messages)

    async def _send_repeated(self, links: Links, messages: Mapping[Place, list[bytes]]) -> None:
        began = trio.current_time()
        for moment in (0.0, *(repetitions(MULTICAST_REPEAT, self.uniform) if messages else ())):
            await trio.sleep_until(began + moment)
            for place, payloads in messages.items():
                for payload in payloads:
                    await links.send(place, payload)
