"""All zones of an instance: which zone is nearest to a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from ..message import wire
from .tables import Zone


@attrs.frozen(eq=False)
class Catalog:
    """All zones of an instance by their origin; None is one that could not be read.

    answers  those of all zones in one table
    """

    zones: Mapping[bytes, Zone | None]
    answers: Mapping[bytes, bytes]

    @classmethod
    def of(cls, zones: Mapping[bytes, Zone | None], without: Iterable[bytes] = ()) -> Catalog:
        """`without` are keys that `answers` must not have."""
        whole = [zone.answers for zone in zones.values() if zone is not None]
        without = tuple(without)
        if len(whole) == 1 and not without:
            return cls(zones, whole[0])  # no copy of millions
        answers = {key: packed for table in whole for key, packed in table.items()}
        for key in without:
            answers.pop(key, None)
        return cls(zones, answers)

    def covers(self, name: bytes) -> bytes | None:
        """The origin of the nearest zone above a name in lower case, or at it."""
        return next((suffix for suffix in wire.suffixes(name) if suffix in self.zones), None)

    def origin_for(self, name: bytes, rdtype: int) -> bytes | None:
        """The zone to be asked: for DS at a cut the one above, where it is here (RFC 4035 section 3.1.4.1)."""
        origin = self.covers(name)
        if rdtype == wire.DS and origin == name and name != wire.ROOT:
            return self.covers(wire.parent(name)) or origin
        return origin
