"""When a name is probed for, and how long the next attempt waits as conflicts go on (RFC 6762 section 8).

Fifteen conflicts within ten seconds make each further attempt wait five seconds.  That alone lets a host on the link
that denies every name go on for ever at nearly that pace, so here a conflict is forgotten in `FORGOTTEN` seconds and no
sooner, and while there are too many of them, each one more doubles the wait.

Time comes from outside, in seconds.
"""

from __future__ import annotations

from math import ceil
from typing import Final

import attrs

BEFORE_PROBING: Final = (0.0, 0.250)
"""Seconds, so that hosts that start together don't speak together (section 8.1)."""

PROBES: Final = 3
BETWEEN_PROBES: Final = 0.250

AFTER_DEFEAT: Final = 1.0
"""Seconds before one that lost to another prober tries again (section 8.2)."""

LEFT_FOR: Final = 600.0
"""Seconds for which a name that can't be changed is left to another host; then it is probed for again."""

MANY: Final = 15
"""Conflicts within ten seconds that are too many."""

FORGOTTEN: Final = 120.0
"""Seconds in which one conflict is forgotten."""

SHORTEST_WAIT: Final = 5.0
LONGEST_WAIT: Final = 60.0
"""Seconds; the wait doubles from one to the other."""

MOST: Final = MANY + 4
"""No more is remembered: the last five make the wait grow, and a calm of `FORGOTTEN` seconds for each ends it."""


@attrs.define
class Conflicts:
    """The conflicts of one link, `remembered` as a number that shrinks with time."""

    remembered: float = 0.0
    _at: float = 0.0

    def note(self, count: int, now: float) -> None:
        """So many showed at a time; those of two hosts that offer the same are many, and are over at once."""
        left = max(0.0, self.remembered - (now - self._at) / FORGOTTEN)
        self.remembered, self._at = min(max(left + 1, min(left + count, MANY)), MOST), now

    @property
    def wait(self) -> float:
        """Seconds that an attempt after the last one waits."""
        # Less than one is forgotten in ten seconds, so that fifteen within those are more than fourteen.
        if self.remembered <= MANY - 1:
            return 0.0
        return min(SHORTEST_WAIT * 2.0 ** ceil(self.remembered - MANY), LONGEST_WAIT)
