"""A process, as far as signing is concerned: it starts, signs what it serves, and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from responder_plugins.dns import Dns, Sign
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.keys import maintenance
from responder_plugins.dns.keys.maintenance import Signing
from responder_plugins.dns.transfer import versions as versions_module
from responder_plugins.dns.transfer.versions import Versions
from responder_plugins.dns.zone.catalog import Catalog
from responder_plugins.dns.zone.tables import Zone

from responder import Context
from tests.plugins.dns.keys.support import KEY

TEXT = "$TTL 300\n@ SOA ns h 7 2 3 4 60\n@ NS ns\nns A 192.0.2.53\n"


@attrs.define
class StateOnly:
    """Of a network what signing asks for."""

    state_dir: Path
    instance: str = "dns"


@attrs.define
class Running:
    """A process, as far as signing is concerned: a handler, and the zones that it was given to serve."""

    handler: DnsHandler
    state: Path
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    zones: trio.MemoryReceiveChannel[Zone] = attrs.field(init=False)
    _given: trio.MemorySendChannel[Zone] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._given, self.zones = trio.open_memory_channel[Zone](100)

    @property
    def signing(self) -> Signing:
        signing = self.handler._signing
        assert signing is not None
        return signing

    @property
    def served(self) -> Zone:
        zone = self.handler.processor.catalog.zones[KEY]
        assert zone is not None
        return zone

    async def run(self) -> None:
        with self.scope:
            await self.signing.run(StateOnly(self.state), self)

    # As who signs sees a handler

    def zone(self, origin: bytes) -> Zone | None:
        return self.handler.zone(origin)

    def replace(self, origin: bytes, zone: Zone | None) -> None:
        assert zone is not None
        self.handler.replace(origin, zone)
        self._given.send_nowait(zone)

    @property
    def catalog(self) -> Catalog:
        return self.handler.catalog

    @property
    def versions(self) -> Versions | None:
        return self.handler.versions

    def changed(self, origin: bytes) -> None:
        self.handler.changed(origin)
        self._given.send_nowait(self.served)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            yield
            self.scope.cancel()


def started(folder: Path, text: str | None = TEXT, options: dict[str, Any] | None = None, **policy: Any) -> Running:
    """A process that has started; the ones before it have ended, unless somebody holds them."""
    maintenance._live.clear()  # another process doesn't see them
    versions_module._journals.clear()
    if text is not None:
        (folder / "zone").write_text(text)
    plugin = Dns(
        zones={"example.test": folder / "zone"},
        sign={"example.test": Sign(keys=Path("keys"), **policy)},
        **(options or {}),
    )
    handler = plugin.prepare(Context("dns", folder, folder / "state"))
    assert isinstance(handler, DnsHandler)
    return Running(handler, folder / "state")
