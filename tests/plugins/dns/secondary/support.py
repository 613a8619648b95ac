"""Primaries that are none: what zones they have, and what they were asked; and a secondary on a fake clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import dns.message
import dns.rcode
import trio
from responder_plugins.dns import Dns, Secondary
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.secondary import copies
from responder_plugins.dns.transfer import versions
from responder_plugins.dns.transfer.primary import Primary, TransferError, Unanswered
from responder_plugins.dns.transfer.upstream import News
from responder_plugins.dns.zone.builder import Line, ZoneBuilder
from responder_plugins.dns.zone.changes import ZoneRecord, difference
from responder_plugins.dns.zone.tables import Zone

from responder import Context, IPAddress, Peer
from responder.errors import ConfigError
from responder.testing import wall_clock
from tests.plugins.dns.support import LINK, ask, handler_of

FIRST, SECOND = Peer("192.0.2.53", 53), Peer("2001:db8::53", 5353)
OTHER = b"\5other\4test\0"

TIMES = "360 60 8640"
"""REFRESH, RETRY and EXPIRE of the zones, in seconds."""


def zone_of(folder: Path, serial: int, more: str = "", *, name: str = "other.test", times: str = TIMES) -> Zone:
    file = folder / f"{name}-{serial}.zone"
    file.write_text(f'$TTL 300\n@ SOA ns host {serial} {times} 60\n@ NS ns\nns A 192.0.2.53\nt TXT "{serial}"\n{more}')
    zones = handler_of(folder, zones={name: file}).processor.catalog.zones
    (zone,) = zones.values()
    assert zone is not None
    return zone


@attrs.define
class Primaries:
    """Zones by server and origin, or why there is none; `asked` has each question with the time."""

    zones: dict[tuple[Peer, bytes], Zone | TransferError] = attrs.field(factory=dict)
    asked: list[tuple[float, str, bytes, Peer]] = attrs.field(factory=list)
    sources: list[IPAddress | None] = attrs.field(factory=list)
    does_ixfr: bool = True
    takes: float = 0.0
    """Seconds of each transfer."""
    answers_after: float = 0.0
    """Seconds until a question for the SOA record has an answer, or none."""
    most: int = 0
    """Transfers at a time, the most there were."""
    _now: int = 0

    def has(self, server: Peer, origin: bytes) -> Zone:
        zone = self.zones.get((server, origin), Unanswered("no answer"))
        if isinstance(zone, TransferError):
            raise zone
        return zone

    @asynccontextmanager
    async def reach(self, primary: Primary, source: IPAddress | None) -> AsyncIterator[Reached]:
        """In the place of `Upstream`."""
        yield Reached(self, primary, source)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def newest(self, origin: bytes, primary: Primary, source: IPAddress | None) -> int:
        self.asked.append((trio.current_time(), "SOA", origin, primary.server))
        self.sources.append(source)
        await trio.sleep(self.answers_after)
        return self.has(primary.server, origin).serial

    async def take(self, origin: bytes, primary: Primary, source: IPAddress | None, soa: ZoneRecord | None) -> News:
        kind = "AXFR" if soa is None else "IXFR"
        self.asked.append((trio.current_time(), kind, origin, primary.server))
        self.sources.append(source)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await trio.sleep(self.takes)
        finally:
            self._now -= 1
        zone = self.has(primary.server, origin)
        if soa is None or not self.does_ixfr:
            return copied(zone)
        older = ZoneBuilder(origin)
        older.add(*soa, Line(Path("older"), 0))
        for record in self.known.get(int.from_bytes(soa.rdata[-20:-16]), ()):
            older.add(*record, Line(Path("older"), 0))
        change = difference(older.finish(Path("older"), {}), zone)
        assert change is not None
        return [change]

    known: dict[int, list[ZoneRecord]] = attrs.field(factory=dict)
    """The records of versions, but for the SOA, that IXFR starts from."""

    def kinds(self, origin: bytes = OTHER) -> list[str]:
        return [kind for _, kind, each, _ in self.asked if each == origin]

    def times(self, kind: str) -> list[float]:
        return [time for time, each, _, _ in self.asked if each == kind]


@attrs.frozen
class Reached:
    """One of them, asked from an own address."""

    primaries: Primaries
    primary: Primary
    source: IPAddress | None

    async def newest(self, origin: bytes) -> int:
        return await self.primaries.newest(origin, self.primary, self.source)

    async def take(self, origin: bytes, soa: ZoneRecord | None) -> News:
        return await self.primaries.take(origin, self.primary, self.source, soa)


def records_of(zone: Zone, *, soa: bool = False) -> list[ZoneRecord]:
    return [
        ZoneRecord(rrset.name, rrset.rdtype, rrset.ttl, rdata)
        for rrset in zone.rrsets()
        for rdata in rrset.rdatas
        if soa or rrset.rdtype != 6
    ]


def copied(zone: Zone) -> Zone:
    """As it comes by a transfer: an object of its own."""
    builder = ZoneBuilder(zone.origin)
    for rrset in zone.rrsets():
        for rdata in rrset.rdatas:
            builder.add(rrset.name, rrset.rdtype, rrset.ttl, rdata, Line(Path("copy"), 0))
    return builder.finish(Path("copy"), {})


class Stopping:
    reason = None

    async def wait(self) -> str:
        await trio.sleep_forever()
        return "stop"


class Network:
    """What the handler uses of its network; without a folder there is no state."""

    instance = "dns"
    interfaces = (LINK,)

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.stopping = Stopping()

    @property
    def state_dir(self) -> Path:
        if self._folder is None:
            raise ConfigError("there is no folder")
        return self._folder


def time_of_day() -> AbstractContextManager[None]:
    """Let the time of day go with trio's clock, where a handler is prepared and while it runs."""
    return wall_clock(1_800_000_000 + trio.current_time())


def secondary(
    folder: Path,
    primaries: Primaries,
    given: Mapping[str, Secondary] | None = None,
    *,
    stateless: bool = False,
    **more: Any,
) -> DnsHandler:
    """A handler with a zone from two primaries, which are asked nothing but what `primaries` has.

    It knows nothing of earlier ones, as in another process.
    """
    copies._in_use.clear()
    versions._journals.clear()
    if given is None:
        given = {"other.test": Secondary(primaries=("192.0.2.53", "[2001:db8::53]:5353"))}
    context = Context("dns", folder, None if stateless else folder)
    with time_of_day():
        handler = Dns(secondary=given, **more).prepare(context)
    assert isinstance(handler, DnsHandler)
    assert handler.secondaries is not None
    handler.secondaries._upstream = primaries  # type: ignore[assignment]  # it has what is used of one
    return handler


@asynccontextmanager
async def running(handler: DnsHandler, state: Path | None) -> AsyncIterator[None]:
    with time_of_day():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler.run, Network(state))
            yield
            nursery.cancel_scope.cancel()


def said(handler: DnsHandler, name: str = "t.other.test") -> str:
    """The text of a TXT record, or the rcode."""
    reply = ask(handler, dns.message.make_query(name, "TXT"))
    if reply.rcode() or not reply.answer:
        return dns.rcode.to_text(reply.rcode())
    return str(reply.answer[0][0].strings[0].decode())
