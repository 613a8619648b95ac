"""When a zone is to be checked, and when it is too old: the times of its SOA record, bounded (RFC 1035, 3.3.13)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

import attrs

_NUMBERS: Final = struct.Struct("!IIIII")
"""SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM, behind two names."""

LEAST_REFRESH, LEAST_RETRY, LEAST_EXPIRE = 2.0, 1.0, 3.0
MOST_REFRESH, MOST_RETRY = 28 * 86400.0, 14 * 86400.0
"""Seconds: what a zone says beyond that is taken for the bound."""

LATEST: Final = 0.9
"""A check comes by this share of EXPIRE at the latest, where REFRESH is longer."""

FIRST_RETRY, LAST_RETRY = 2.0, 600.0
"""Seconds between two tries for a zone that has never been transferred: doubled with each, up to the last."""

EARLIEST: Final = 0.9
"""Checks come at this share of their time at the earliest, by chance, so that many zones don't come at once."""

Jitter = Callable[[float, float], float]


@attrs.frozen
class Timers:
    """Seconds: to the next check; after a failure; and without any success until the zone is too old."""

    refresh: float
    retry: float
    expire: float

    @classmethod
    def of(cls, soa: bytes) -> Timers:
        """By the rdata of the SOA record."""
        _, refresh, retry, expire, _ = _NUMBERS.unpack(soa[-_NUMBERS.size :])
        expire = max(expire, LEAST_EXPIRE)
        return cls(
            min(max(refresh, LEAST_REFRESH), MOST_REFRESH, LATEST * expire),
            min(max(retry, LEAST_RETRY), MOST_RETRY),
            expire,
        )


def first_retry(failures: int) -> float:
    """Seconds to the next try for a zone that there is nothing of yet, after so many in a row."""
    return float(min(FIRST_RETRY * 2 ** min(failures - 1, 20), LAST_RETRY))


def spread(seconds: float, jitter: Jitter = random.uniform) -> float:
    return seconds * jitter(EARLIEST, 1.0)
