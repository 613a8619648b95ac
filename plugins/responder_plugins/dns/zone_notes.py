"""What people should know of the zones that are served: for `status` and `/ready` as long as it is so, and for the log.

A note of zones that have no answers begins with "SERVFAIL", by which programs that read `/ready` know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import trio

from responder import get_logger, wall_time

from .secondary.secondaries import Secondaries
from .zone import signatures
from .zone.builder import name_text
from .zone.catalog import Catalog

if TYPE_CHECKING:
    from .etcd.follower import Follower

SIGNATURES: Final = 600.0
"""Seconds between two looks at when the zones' signatures end."""

SOME: Final = 3
"""Zones that a note names of many."""

_log = get_logger(__name__)


def notes(catalog: Catalog, secondaries: Secondaries | None, etcd: Follower | None) -> Iterator[str]:
    """A line for each reason why zones have no answers, one of etcd's silence, and those of each zone's signatures."""
    reasons: dict[str, list[bytes]] = {}
    for origin, zone in catalog.zones.items():
        if zone is None:
            reasons.setdefault(_reason(origin, secondaries, etcd), []).append(origin)
    for reason, origins in reasons.items():
        some = ", ".join(map(name_text, origins[:SOME]))
        yield f"SERVFAIL: {reason}: {some}" + (f" and {len(origins) - SOME} more" if len(origins) > SOME else "")
    if etcd is not None and etcd.away and any(etcd.served().values()):
        yield f"etcd is away for {etcd.away:.0f} s or more: what it said last is served"
    for origin, remark in _remarks(catalog):
        yield f"zone {name_text(origin)}: {remark}"


def _reason(origin: bytes, secondaries: Secondaries | None, etcd: Follower | None) -> str:
    if secondaries is not None and origin in secondaries.zones:
        return "never transferred yet" if secondaries.zones[origin].timers is None else "too old (EXPIRE)"
    if etcd is not None and origin in etcd.served():
        return "not heard from etcd for too long, or never yet"
    return "the zone file has mistakes"


async def watch_signatures(catalog: Callable[[], Catalog], instance: str) -> None:
    """Log once what signatures a zone lacks, that its first one ends soon, and that it has; of files loading tells."""
    zones = catalog().zones
    told = {(origin, remark) for origin, remark in _remarks(catalog()) if (zone := zones[origin]) and zone.files}
    while True:
        remarks = dict.fromkeys(_remarks(catalog()))
        for origin, remark in remarks:
            if (origin, remark) not in told:
                message = "the signatures of a zone need a look"
                _log.warning(message, plugin=instance, zone=name_text(origin), reason=remark)
        told = set(remarks)
        await trio.sleep(SIGNATURES)


def _remarks(catalog: Catalog) -> Iterator[tuple[bytes, str]]:
    for origin, zone in catalog.zones.items():
        if zone is not None:
            for remark in filter(None, (signatures.lack(zone), signatures.remark(zone.first_end, wall_time()))):
                yield origin, remark
