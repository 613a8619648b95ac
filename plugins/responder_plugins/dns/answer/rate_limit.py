"""Response rate limiting: so many equal answers a second to a source prefix, the rest silence or "ask by TCP".

As BIND and Knot mean it: what counts is the prefix and the kind of answer (the name that was found; the zone, for all
negative answers; one kind for all errors), since a victim gets the same answers again and again, and an honest resolver
does not ask twice.  Who asks for many names in turn is bounded by the answers of all kinds together.  Each `slip`-th
answer over the limit is sent empty with TC, so that an honest client in the prefix of a victim gets through by TCP.

The table is bounded: what was not counted for longest is forgotten.
"""

from __future__ import annotations

import enum
from typing import Final

from responder import IPAddress

from ..cache import BoundedCache

MAX_KINDS: Final = 50_000
"""Counts kept, once in use and once from before (see `BoundedCache`)."""

_ANY_KIND: Final = -1
"""In place of an rcode: all answers to a prefix."""

_PREFIX: Final = {4: 3, 6: 7}
"""Bytes of an address that count: /24 and /56."""


class Verdict(enum.Enum):
    SEND = "send"
    DROP = "drop"
    SLIP = "slip"


class RateLimit:
    """`rate` equal answers a second to a prefix, and `total` of any kind (0: no bound), with a burst of as many.

    Each `slip`-th answer beyond slips; 0: none.
    """

    def __init__(self, rate: float, slip: int, total: float = 0.0) -> None:
        self._rate = rate
        self._total = total
        self._slip = slip
        # Tokens left, seconds when that was, answers held back.
        self._kinds: BoundedCache[tuple[bytes, int, bytes], tuple[float, float, int]] = BoundedCache(MAX_KINDS)

    def judge(self, address: IPAddress, rcode: int, kind: bytes, now: float) -> Verdict:
        prefix = address.packed[: _PREFIX[address.version]]
        if self._total:
            verdict = self._take((prefix, _ANY_KIND, b""), self._total, now)
            if verdict is not Verdict.SEND:
                return verdict
        return self._take((prefix, rcode, kind), self._rate, now)

    def _take(self, key: tuple[bytes, int, bytes], rate: float, now: float) -> Verdict:
        burst = max(rate, 1.0)
        entry = self._kinds.get(key)
        if entry is None:
            self._kinds.put(key, (burst - 1, now, 0))
            return Verdict.SEND
        tokens, since, held_back = entry
        tokens = min(burst, tokens + (now - since) * rate)
        if tokens >= 1:
            self._kinds.put(key, (tokens - 1, now, held_back))
            return Verdict.SEND
        held_back += 1
        self._kinds.put(key, (tokens, now, held_back))
        return Verdict.SLIP if self._slip and held_back % self._slip == 0 else Verdict.DROP
