"""Tells other servers that a zone has changed: NOTIFY (RFC 1996), to each until it has answered, or all tries are over.

Told are the servers that the option names for the zone, and those of its NS records but for the primary's own name and
this host's addresses.  A zone has changed where its serial is another one than was last told; after a reload of the
config that is still known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from itertools import chain
from typing import Final, TypeAlias

import attrs
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import trio

from responder import InterfaceAddress, IPAddress, Network, Peer, get_logger

from ...shared.threads import with_thread
from ..zone.builder import name_text
from ..zone.catalog import Catalog
from ..zone.tables import Zone
from . import servers

WAITS: Final = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds for an answer at each try (RFC 1996 section 3.6 leaves them to the implementation)."""

APART: Final = 0.05
"""Seconds between two servers that are told for the first time, so that many zones make no burst."""

Ask: TypeAlias = Callable[[dns.message.Message, Peer, IPAddress | None, float], Awaitable[dns.message.Message]]
"""Asks a server, from an own address or as the routing table has it, and waits so many seconds for the answer.

Raises OSError and DNSException, of which Timeout is one."""

Told: TypeAlias = dict[tuple[bytes, Peer], int]
"""The serial that a server was last told of a zone."""

_log = get_logger(__name__)


async def ask(message: dns.message.Message, server: Peer, source: IPAddress | None, wait: float) -> dns.message.Message:
    """By UDP; what is no answer to this message is not looked at."""
    return await dns.asyncquery.udp(
        message,
        str(server.address),
        wait,
        server.port,
        None if source is None else str(source),
        ignore_unexpected=True,
        ignore_errors=True,
    )


def notification(zone: Zone) -> dns.message.Message:
    """RFC 1996 section 3.7: the question is the SOA, and the answer section says what it is now."""
    origin = dns.name.from_wire(zone.origin, 0)[0]
    message = dns.message.make_query(origin, dns.rdatatype.SOA, flags=dns.flags.AA)
    message.set_opcode(dns.opcode.NOTIFY)
    soa = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SOA, zone.soa.rdatas[0], 0, len(zone.soa.rdatas[0]))
    message.answer.append(dns.rrset.from_rdata(origin, zone.soa.ttl, soa))
    return message


@attrs.define(eq=False)
class Notifier:
    """`servers` has what the option names, by origin; others are told of where they are in a catalog zone of these.

    lists_of  the catalog zones that list a zone
    """

    servers: Mapping[bytes, tuple[Peer, ...]]
    lists_of: Callable[[bytes], Iterable[bytes]] = lambda _origin: ()
    counts: Counter[str] = attrs.field(factory=Counter)
    ask: Ask = ask
    told: Told = attrs.field(factory=dict, init=False)
    _catalog: Catalog | None = attrs.field(default=None, init=False)
    _changed: set[bytes] = attrs.field(factory=set, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _telling: dict[tuple[bytes, Peer], trio.CancelScope] = attrs.field(factory=dict, init=False)

    def see(self, catalog: Catalog, changed: Set[bytes] | None = None) -> None:
        """From here on these are the zones; the origins of those that can have changed, None being all."""
        self._catalog = catalog
        self._changed |= catalog.zones.keys() if changed is None else changed
        self._wake.set()

    async def run(self, network: Network) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                catalog = self._catalog
                assert catalog is not None  # noqa: S101 - who sets the event has one
                changed, self._changed = self._changed, set()
                for origin in changed:
                    zone = catalog.zones.get(origin)
                    named = [self.servers[each] for each in (origin, *self.lists_of(origin)) if each in self.servers]
                    if zone is not None and named:
                        await self._tell_all(zone, chain(*named), catalog, network, nursery)

    async def _tell_all(
        self, zone: Zone, named: Iterable[Peer], catalog: Catalog, network: Network, nursery: trio.Nursery
    ) -> None:
        own = [each for interface in network.interfaces for each in interface.addresses]
        known = dict.fromkeys(
            address
            for name in (servers.primary(zone), *servers.names(zone))
            for address in servers.addresses(catalog, name) or ()
        )
        others = await self._named_by(zone, catalog, own)
        gone_back = None
        for server in dict.fromkeys([*named, *others]):
            key = zone.origin, server
            last = self.told.get(key)
            if last == zone.serial:
                continue
            if last is not None and (zone.serial - last) % 2**32 >= 2**31:  # serial number arithmetic (RFC 1982)
                gone_back = last
            self.told[key] = zone.serial
            before = self._telling.get(key)
            if before is not None:
                before.cancel()
            scope = self._telling[key] = trio.CancelScope()
            nursery.start_soon(
                self._tell, key, zone, servers.source_for(server.address, known, own), network.instance, scope
            )
            await trio.sleep(APART)
        if gone_back is not None:
            _log.warning(
                "a zone's serial went back: servers that have the other one keep it",
                plugin=network.instance,
                zone=name_text(zone.origin),
                serial=zone.serial,
                told=gone_back,
            )

    async def _named_by(self, zone: Zone, catalog: Catalog, own: Iterable[InterfaceAddress]) -> list[Peer]:
        """The servers that the zone's NS records name; those whose addresses no zone here has are looked up."""
        ours = {each.address for each in own}
        found = []
        for name in servers.names(zone):
            if name == servers.primary(zone):
                continue
            addresses = servers.addresses(catalog, name)
            if addresses is None:
                addresses = await _look_up(name_text(name))
            found += [Peer(each, servers.PORT) for each in addresses if each not in ours]
        return found

    async def _tell(
        self, key: tuple[bytes, Peer], zone: Zone, source: IPAddress | None, instance: str, scope: trio.CancelScope
    ) -> None:
        reply = None
        server = key[1]
        with scope:
            for wait in WAITS:
                end = trio.current_time() + wait
                try:
                    reply = await self.ask(notification(zone), server, source, wait)
                    break
                except (OSError, dns.exception.DNSException) as error:
                    reason = str(error)
                    await trio.sleep_until(end)
        if self._telling[key] is scope:
            del self._telling[key]
        if scope.cancelled_caught:
            return
        if reply is None:
            self.counts["notify-unanswered"] += 1
        elif reply.rcode() == dns.rcode.NOERROR:
            self.counts["notified"] += 1
            return
        else:
            self.counts["notify-refused"] += 1
            reason = dns.rcode.to_text(reply.rcode())
        _log.warning(
            "a server can't be told that a zone has changed",
            plugin=instance,
            zone=name_text(zone.origin),
            server=str(server),
            reason=reason,
        )


async def _look_up(name: str) -> list[IPAddress]:
    """The addresses of a name by the system's resolver; none where it knows none."""
    try:
        found = await with_thread(trio.socket.getaddrinfo, name, servers.PORT, type=trio.socket.SOCK_DGRAM)
    except OSError:
        return []
    return [Peer(str(each[4][0]), servers.PORT).address for each in found]
