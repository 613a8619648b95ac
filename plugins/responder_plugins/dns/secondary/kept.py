"""A zone that is looked after: where it comes from, the version that is here, and when it is checked next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

import attrs
import dns.name

from responder import IPAddress, wall_time

from ..transfer.primary import Primary
from ..zone.changes import Change
from ..zone.edit import DoesNotFitError, Edit
from ..zone.tables import Zone
from .timers import Timers

NEVER: Final = float("-inf")

Serve: TypeAlias = Callable[[Mapping[bytes, Zone | None], Collection[bytes]], None]
"""From here on serve these zones (None: SERVFAIL), and those no more."""


@attrs.frozen
class Source:
    """Where a zone comes from, in the order of asking."""

    primaries: tuple[Primary, ...]
    is_catalog: bool = False


@attrs.define(eq=False)
class Kept:
    """A zone that is looked after.

    zone       as it is served; None: never transferred, or too old; serial: that of its version
    checked    when it was last known to be the newest, in seconds since 1970
    due        when it is checked next, by trio's clock; asked: when it was checked last
    looked_at  when it is seen whether it is too old, by trio's clock; NEVER: that is not planned
    failures   checks without success in a row, and `why` the last one had none
    caller     the primary that has sent a NOTIFY: the first to be asked
    is_called  a NOTIFY has come while it was being checked
    """

    origin: bytes
    source: Source
    zone: Zone | None = None
    serial: int = 0
    timers: Timers | None = None
    checked: float = 0.0
    due: float = NEVER
    asked: float = NEVER
    looked_at: float = NEVER
    failures: int = 0
    why: str = "no primary has answered"
    caller: IPAddress | None = None
    is_busy: bool = False
    is_called: bool = False

    def hold(self, zone: Zone, checked: float) -> None:
        self.zone = zone
        self.serial = zone.serial
        self.timers = Timers.of(zone.soa.rdatas[0])
        self.checked = checked

    @property
    def left(self) -> float:
        """Seconds until it is too old; 0 where there is none."""
        return 0.0 if self.timers is None else self.checked + self.timers.expire - wall_time()

    def in_order(self) -> list[Primary]:
        """The primaries as they are to be asked."""
        return sorted(self.source.primaries, key=lambda primary: primary.server.address != self.caller)

    def may_notify(self, peer: IPAddress, key: dns.name.Name | None) -> bool:
        return any(
            primary.server.address == peer or (primary.key is not None and primary.key.name == key)
            for primary in self.source.primaries
        )


def why_not(zone: Zone, changes: Iterable[Change]) -> str | None:
    """Put what IXFR has brought into a zone; why it does not fit: then the zone is at one of the versions between."""
    try:
        for change in changes:
            edit = Edit(zone, change)
            for mistake in edit.mistakes():
                return mistake
            edit.commit()
    except DoesNotFitError as error:
        return str(error)
    return None
