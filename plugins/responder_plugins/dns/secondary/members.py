"""Which zone belongs to which catalog, and what is to be done where a catalog changes.  Pure.

A zone belongs to the first catalog that lists it, and not to one at all where the configuration names it (RFC 9432
section 5.2).  It goes on to another catalog only where its own says so (coo, section 4.4.1); with the same label it
keeps its data then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, TypeAlias

import attrs

from .catalog_zone import Member

Step: TypeAlias = tuple[Literal["add", "remove", "reset", "move", "clash"], bytes, bytes]
"""What is to be done, with which zone, and the catalog that it belongs to; of "clash" the one that can't have it.

"reset" is of a zone that begins anew, "move" of one that changes hands with its data.
"""


@attrs.define(eq=False)
class Members:
    """`configured` has the zones that the configuration names."""

    configured: Collection[bytes]
    listed: dict[bytes, Mapping[bytes, Member]] = attrs.field(factory=dict, init=False)
    """By the catalog's origin, what it last listed."""
    owners: dict[bytes, tuple[bytes, Member]] = attrs.field(factory=dict, init=False)
    """By the zone's origin, the catalog that it belongs to, and its entry there."""

    def update(self, catalog: bytes, members: Mapping[bytes, Member]) -> list[Step]:
        """A catalog lists these members now; what is to be done."""
        before = self.listed.get(catalog, {})
        self.listed[catalog] = members
        return [step for origin in dict.fromkeys([*before, *members]) for step in self._settle(origin, catalog)]

    def _settle(self, origin: bytes, changed: bytes) -> Iterator[Step]:
        if origin in self.configured:
            if origin in self.listed[changed]:
                yield "clash", origin, changed
            return
        listing = {catalog: entries[origin] for catalog, entries in self.listed.items() if origin in entries}
        owner, entry = self.owners.get(origin, (None, None))
        here = None if owner is None else listing.get(owner)
        moves_to = here.moves_to if here is not None else entry.moves_to if entry is not None else None
        new = owner
        if moves_to in listing:
            new = moves_to
        elif here is None:
            new = next(iter(listing), None)
        if new is None:
            if owner is not None:
                del self.owners[origin]
                yield "remove", origin, owner
            return
        self.owners[origin] = new, listing[new]
        if entry is None:
            yield "add", origin, new
        elif entry.label != listing[new].label or new not in (owner, moves_to):
            yield "reset", origin, new
        elif new != owner:
            yield "move", origin, new
        if changed in listing and changed != new:
            yield "clash", origin, changed
