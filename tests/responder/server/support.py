"""An instance that runs as a test says, on a host made of memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import attrs
import trio

from responder import (
    Network,
    Plugin,
    Service,
)
from responder.config.instance import Instance, Prepared
from responder.server.server import ServerCore, open_server
from responder.server.state import folder_below
from tests.fakes import FakePlatform

Run = Callable[[Network], Awaitable[None]]


async def _nothing(network: Network) -> None:
    del network


@attrs.frozen
class Runner(Plugin):
    """Background work as the test says."""

    work: Run = _nothing
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, hop_limit=2),)

    async def run(self, network: Network) -> None:
        await self.work(network)


@asynccontextmanager
async def serving(
    *instances: Instance, grace: float = 2.0, state_root: Path = Path(), platform: FakePlatform | None = None
) -> AsyncIterator[tuple[ServerCore, FakePlatform]]:
    platform = platform or FakePlatform()
    handlers = [Prepared(instance, instance.plugin) for instance in instances]
    async with (
        open_server(
            handlers, platform=platform, grace=grace, state_folder=partial(folder_below, state_root, "state")
        ) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield server, platform
        server.stop()
