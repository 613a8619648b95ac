"""Small plugins that the kit's tests serve: well-behaved ones, and some that a check must catch."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import ClassVar

import attrs
import trio

from responder import Answer, Context, Datagram, Handler, Network, PeerError, Plugin, Reply, Service


@attrs.frozen
class Echo(Plugin):
    """Gives back what comes."""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Silent(Plugin):
    """Hears, and says nothing."""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return None


@attrs.frozen
class Twice(Plugin):
    """Amplifies: two answers, each of the request's size."""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return (request.payload, request.payload)


@attrs.frozen
class Late(Plugin):
    """Answers after a random time between `least` and `most` seconds."""

    least: float = 1.0
    most: float = 3.0

    services: ClassVar = (Service(port=7007, groups=["239.255.70.7", "ff02::7007"]),)

    async def respond(self, request: Datagram) -> bytes:
        await trio.sleep(random.uniform(self.least, self.most))  # noqa: S311 - no secret
        return b"late"


@attrs.frozen
class Drip(Plugin):
    """Answers in pieces, a second apart."""

    services: ClassVar = (Service(port=7007),)

    async def respond(self, request: Datagram) -> AsyncIterator[Reply]:
        for number in range(3):
            await trio.sleep(1)
            yield Reply(bytes([number]))


@attrs.frozen
class Converses(Plugin):
    """Answers from a port of its own, as TFTP does."""

    services: ClassVar = (Service(port=7007),)

    async def respond(self, request: Datagram) -> None:
        async with request.conversation() as conversation:
            await conversation.send(b"ready")
            await conversation.send(b"got " + await conversation.receive())


@attrs.frozen
class Strict(Plugin):
    """Refuses all but `ok`."""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        if request.payload != b"ok":
            raise PeerError("not ok")
        return b"fine"


@attrs.frozen
class Hoarder(Plugin):
    """Remembers every peer for ever, which forged sources turn into memory."""

    services: ClassVar = (Service(port=7007),)

    def prepare(self, context: Context) -> Handler:
        return _Hoard()


class _Hoard(Handler):
    def __init__(self) -> None:
        self.peers: dict[str, int] = {}

    def respond(self, request: Datagram) -> Answer:
        self.peers[str(request.peer)] = len(self.peers)
        return b"noted"


@attrs.frozen
class Beacon(Plugin):
    """Says hello to a group on every interface, each minute and when a link comes up, and bye at the end."""

    services: ClassVar = (Service(port=7007, groups=["239.255.70.7"]),)

    async def run(self, network: Network) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, network)
            with trio.CancelScope() as until_stop:
                nursery.start_soon(_cancel_on_stop, network, until_stop)
                while True:
                    await self._tell(network, b"hello")
                    await trio.sleep(60)
            await self._tell(network, b"bye")
            nursery.cancel_scope.cancel()

    async def _follow(self, network: Network) -> None:
        async for change in network.changes():
            if change.kind == "up":
                await network.send(b"hello", to="239.255.70.7", interface=change.interface)

    async def _tell(self, network: Network, payload: bytes) -> None:
        for interface in network.interfaces:
            if "multicast" in interface.flags and interface.is_working:
                await network.send(payload, to="239.255.70.7", interface=interface)


async def _cancel_on_stop(network: Network, scope: trio.CancelScope) -> None:
    await network.stopping.wait()
    scope.cancel()
