"""All zones of an instance: which zone is nearest to a name, and what stands where one zone is within another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import attrs

from ..message import wire
from .tables import Zone, blocks

_AT_CUTS: Final = frozenset({wire.NS, wire.DS, wire.RRSIG, wire.NSEC})
"""What a zone may have where a zone within it begins."""


@attrs.frozen(eq=False)
class Catalog:
    """All zones of an instance by their origin; None is one that could not be read.

    A zone may take the place of another one, or of None, at any time; other origins make another catalog.

    within  the origins of zones that are in another one here, and the names between the two: they exist in the outer
            zone, whether it delegates or not
    """

    zones: dict[bytes, Zone | None]
    within: frozenset[bytes]

    @classmethod
    def of(cls, zones: Mapping[bytes, Zone | None]) -> Catalog:
        within = set()
        for origin in zones:
            above = [] if origin == wire.ROOT else list(wire.suffixes(wire.parent(origin)))
            for number, suffix in enumerate(above):
                if suffix in zones:
                    within.update([origin, *above[:number]])
                    break
        return cls(dict(zones), frozenset(within))

    def with_zones(self, zones: Mapping[bytes, Zone | None], gone: Collection[bytes] = ()) -> Catalog:
        """The catalog that has these too, or in place of others of theirs, and those no more."""
        present = {**self.zones, **zones}
        for origin in gone:
            present.pop(origin, None)
        return Catalog.of(present)

    def covers(self, name: bytes) -> bytes | None:
        """The origin of the nearest zone above a name in lower case, or at it."""
        return next((suffix for suffix in wire.suffixes(name) if suffix in self.zones), None)

    def origin_for(self, name: bytes, rdtype: int) -> bytes | None:
        """The zone to be asked: for DS at a cut the one above, where it is here (RFC 4035 section 3.1.4.1)."""
        origin = self.covers(name)
        if rdtype == wire.DS and origin == name and name != wire.ROOT:
            return self.covers(wire.parent(name)) or origin
        return origin

    def hidden(self) -> Iterator[tuple[Zone, bytes, list[bytes]]]:
        """Zones with an origin within them, and the names of the outer zone there that are not served.

        The nearest zone decides: of the outer one there are the delegation and its DS records, and nothing below.
        What stands below a delegation is glue, and told of only where there is no delegation.
        """
        inner = [origin for origin in self.zones if origin in self.within]
        for zone in self.zones.values():
            origins = {each for each in inner if zone is not None and self.covers(wire.parent(each)) == zone.origin}
            if zone is None or not origins:
                continue
            found: dict[bytes, list[bytes]] = {}
            for name, node in list(zone.nodes.items()):  # at once: it may be changing
                origin = next((above for above in wire.suffixes(name) if above in origins), None)
                if origin is None or len(node) <= 1:
                    continue
                if name == origin:
                    hidden = not _AT_CUTS.issuperset(rdtype for rdtype, _, _, _ in blocks(node))
                else:
                    hidden = origin not in zone.cuts
                if hidden:
                    found.setdefault(origin, []).append(name)
            yield from ((zone, origin, names) for origin, names in found.items())
