"""What the relay does: hear a packet, queue it, repeat it on the other links.

It answers nobody: everything it sends goes to the machines that are to wake.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import attrs
import trio
from responder import ChangeKind, Datagram, Handler, Interface, Network, PeerError, SendError

from .wire import Wake, build, parse

if TYPE_CHECKING:
    from . import WakeRelay

ALL_NODES = "ff02::1"
BROADCAST = "255.255.255.255"

QUEUE = 16
"""Packets that wait for their turn; what comes beyond it is dropped, as the network may do any time."""

REMEMBERED = 1024
"""Machines whose last waking is remembered; the oldest is forgotten first."""


@attrs.frozen
class _Order:
    """A machine to wake on every link but `heard_on` (an interface index; 0: on all)."""

    wake: Wake
    heard_on: int


class Relay(Handler):
    """The state: what waits to be sent, and who was woken when."""

    def __init__(self, options: WakeRelay) -> None:
        self._options = options
        self._orders, self._queue = trio.open_memory_channel[_Order](QUEUE)
        self._woken: dict[bytes, float] = {}

    def respond(self, request: Datagram) -> None:
        """Raises PeerError for what is no magic packet, or not one for us."""
        wake = parse(request.payload)
        if wake is None:
            raise PeerError("no magic packet")
        if self._options.machines and wake.machine not in self._options.machines:
            raise PeerError(f"{wake.machine.hex(':')} may not be woken")
        if wake.password != self._options.password and self._options.password:
            raise PeerError("the password is missing or wrong")
        self._order(_Order(wake, request.interface.index))

    def _order(self, order: _Order) -> None:
        """Queue it, unless that machine was woken just now: that also ends a loop between two relays."""
        now = trio.current_time()
        if now - self._woken.get(order.wake.machine, -float("inf")) < self._options.hold:
            return
        try:
            self._orders.send_nowait(order)
        except trio.WouldBlock:
            return
        self._woken.pop(order.wake.machine, None)
        self._woken[order.wake.machine] = now
        while len(self._woken) > REMEMBERED:
            del self._woken[next(iter(self._woken))]

    async def run(self, network: Network) -> None:
        """Send what is queued, and follow the links, until it is time to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_queued, network)
            nursery.start_soon(self._follow, network)
            await network.stopping.wait()
            nursery.cancel_scope.cancel()

    async def _follow(self, network: Network) -> None:
        """Wake who is to be woken when a link comes up."""
        async for change in network.changes():
            came = change.kind in (ChangeKind.UP, ChangeKind.APPEARED) and change.interface.is_working
            if came and self._is_ours(change.interface):
                for machine in self._options.wake_on_up:
                    self._order(_Order(Wake(machine, self._options.password), 0))

    async def _send_queued(self, network: Network) -> None:
        async for order in self._queue:
            packet = build(order.wake)
            for number in range(self._options.repeat):
                if number:
                    await trio.sleep(self._options.pause)
                for interface in network.interfaces:
                    if interface.index != order.heard_on and self._is_ours(interface) and interface.is_working:
                        await _send(network, packet, interface)

    def _is_ours(self, interface: Interface) -> bool:
        return any(fnmatchcase(interface.name, pattern) for pattern in self._options.onto)


async def _send(network: Network, packet: bytes, interface: Interface) -> None:
    """To all on a link, by each family that it has."""
    for to in _everyone(interface):
        try:
            await network.send(packet, to=to, interface=interface)
        except (SendError, ValueError):
            continue  # the link went away just now; the next repetition may find it


def _everyone(interface: Interface) -> Iterable[str]:
    versions = {own.address.version for own in interface.addresses}
    if 4 in versions:
        yield BROADCAST
    if 6 in versions:
        yield ALL_NODES
