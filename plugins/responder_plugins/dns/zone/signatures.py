"""Of a signed zone: what has no signature (RFC 4035 section 2.2), and when the first signature ends.

Who validates takes an answer without its signature, or with one that has ended, for a forged one.
"""

from __future__ import annotations

import datetime
from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ..message import wire
from .tables import blocks

if TYPE_CHECKING:
    from .tables import Zone

SOON: Final = 86400.0
"""Seconds before the first signature ends in which that is told."""

_AT_A_CUT: Final = {wire.NSEC, wire.DS}
"""What is signed of the names where other zones begin: their NS records are those zones' own."""


def unsigned(
    nodes: Mapping[bytes, bytes],
    hashed: Mapping[bytes, bytes],
    cuts: Container[bytes],
    below: Container[bytes],
    chain: int,
) -> Iterator[tuple[bytes, int]]:
    """The RRsets without a signature, by name and type; also NSEC records that aren't there.

    `below` has the names below the `cuts`, which belong to other zones; `chain` is the type of the zone's chain.
    """
    everywhere = {wire.NSEC} if chain == wire.NSEC else set[int]()
    for table, needed in ((nodes, everywhere), (hashed, frozenset[int]())):
        for name, node in table.items():
            if len(node) <= 1 or name in below:
                continue
            present, signed = set(needed), set()
            for rdtype, covered, _, _ in blocks(node):
                if rdtype == wire.RRSIG:
                    signed.add(covered)
                else:
                    present.add(rdtype)
            if name in cuts:
                present &= _AT_A_CUT
            for rdtype in present - signed:
                yield name, rdtype


@attrs.define(eq=False)
class FirstEnd:
    """When the first of some signatures ends.  `now`: seconds of the real-time clock.

    They are counted by the hour, so that a zone with a million of them can exchange them one by one: of the hour in
    which the first ones end it is told when the first of them ended that there was.
    """

    now: float
    _hours: dict[int, list[int]] = attrs.field(factory=dict, init=False)  # how many, and the first end

    def see(self, rrsig: bytes) -> None:
        """An RRSIG record's rdata."""
        end = self._end(rrsig)
        hour = self._hours.setdefault(end // 3600, [0, end])
        hour[0] += 1
        hour[1] = min(hour[1], end)

    def forget(self, rrsig: bytes) -> None:
        """One that was seen is no longer there."""
        number = self._end(rrsig) // 3600
        hour = self._hours.get(number)
        if hour is not None:
            hour[0] -= 1
            if hour[0] <= 0:
                del self._hours[number]

    def _end(self, rrsig: bytes) -> int:
        """Its times are serial numbers: the nearest is meant (RFC 4034 section 3.1.5)."""
        distance = (int.from_bytes(rrsig[8:12]) - int(self.now) + 2**31) % 2**32 - 2**31
        return int(self.now) + distance

    @property
    def time(self) -> float | None:
        """Seconds of the real-time clock; None where there is no signature."""
        return self._hours[min(self._hours)][1] if self._hours else None


def lack(zone: Zone) -> str | None:
    """What a zone with signatures lacks; None: nothing."""
    if zone.first_end is None:
        return None
    if zone.chain is None:
        return "its signatures are not served: it is not signed as a whole"
    if not zone.unsigned:
        return None
    return f"signed in part: {zone.unsigned} RRset{'s have' if zone.unsigned > 1 else ' has'} no signature"


def remark(ends: float | None, now: float) -> str | None:
    """What is to be told of a zone whose first signature ends then; None: nothing yet."""
    if ends is None or ends > now + SOON:
        return None
    when = datetime.datetime.fromtimestamp(ends, datetime.UTC)
    return f"its first signature {'ended' if ends <= now else 'ends'} at {when:%Y-%m-%d %H:%M:%S} UTC"
