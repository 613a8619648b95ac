"""A server on a fake platform, with a plugin that answers as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from responder import Answer, Datagram, Plugin, Service
from responder.config.instance import Instance, Prepared
from responder.server.server import ServerCore, open_server
from tests.fakes import FakePlatform, FakeReceived, FakeSocket

Respond = Callable[[Datagram], Any]


@attrs.frozen
class Probe(Plugin):
    """Answers as the test says."""

    answer: Respond = attrs.field(default=lambda request: request.payload)
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, groups=["239.255.70.7", "ff02::7007"]),)

    def respond(self, request: Datagram) -> Answer:
        return self.answer(request)  # type: ignore[no-any-return] # the test's own word


@attrs.frozen
class Threaded(Probe):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, blocking=True),)


@attrs.frozen
class Neighbourly(Probe):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, groups=["239.255.70.7"], shared=True),)


@attrs.frozen
class Twofold(Probe):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, name="one"), Service(port=7008, name="two"))


@attrs.define
class Bench:
    """A server on a fake platform."""

    server: ServerCore
    platform: FakePlatform

    @property
    def socket(self) -> FakeSocket:
        return self.platform.sockets[0]

    async def deliver(self, *datagrams: FakeReceived) -> None:
        """Hand them to the first socket, and let the server finish all that it can without time passing."""
        self.socket.deliver(*datagrams)
        await wait_all_tasks_blocked()

    def replies(self) -> list[bytes]:
        return [message.payload for message in self.socket.sent]

    def count(self, outcome: str) -> int:
        return self.server.counters.total(outcome)


@asynccontextmanager
async def bench(*instances: Instance | Respond, platform: FakePlatform | None = None) -> AsyncIterator[Bench]:
    platform = platform or FakePlatform()
    made = [each if isinstance(each, Instance) else Instance.of(Probe(each)) for each in instances]
    handlers = [Prepared(instance, instance.plugin) for instance in made]
    async with open_server(handlers, platform=platform) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield Bench(server, platform)
        server.stop()


def echo(request: Datagram) -> Answer:
    return request.payload
