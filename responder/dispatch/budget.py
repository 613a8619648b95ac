"""How much a peer gets: token buckets by source prefix, for `rate` and `amplification`.  Pure: time comes from outside.

A source address may be forged, so that the answers hit somebody else (reflection).  What a victim gets is bounded by
its network's bucket, whoever asks in its name: a /24 of IPv4 or a /56 of IPv6, which is what one customer usually has.

The table is bounded, and the bucket that was not used for longest goes first: one that is asked from all the time, a
victim's, stays however many other prefixes a flood invents.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from ..datagram import IPAddress, number_of

MAX_BUCKETS = 16384
"""Prefixes remembered by each service of an instance; some 2.5 MB."""

WARNED_EVERY = 1.0
"""Seconds between two answers that say that there are no more (`Handler.over_rate`), to one prefix."""

OPENINGS = 8
"""Conversations of a prefix, and so many more a second, that may begin beyond `amplification` and unproved.

One that is proved to be with its peer counts no more.
"""

OPENING_SIZE = 1472
"""Bytes of the datagram that such a one may begin with: what Ethernet carries in one piece (RFC 791, RFC 768)."""

MAX_CREDIT = 1 << 20
"""Bytes of answers that a prefix may save up by asking much and being answered little."""


def source_prefix(address: IPAddress) -> int:
    """A key of the /24 or the /56 that the address is in; the families don't meet."""
    number = number_of(address)
    return number >> 72 if number >> 128 else number >> 8


@attrs.define
class _Bucket:
    tokens: float
    filled_at: float
    used_at: float
    credit: float
    warned_at: float
    opened: float
    opened_at: float


@attrs.define
class Budget:
    """The buckets of one service.

    rate           answers a second to a prefix, with a burst of as many; None: no bound
    amplification  bytes out to a prefix for each byte in; None: no bound
    """

    rate: float | None
    amplification: float | None
    limit: int = MAX_BUCKETS
    _buckets: OrderedDict[int, _Bucket] = attrs.field(factory=OrderedDict, init=False)
    """By prefix, the one that was not used for longest first; at most `limit`."""
    _forgotten_at: float = attrs.field(default=-float("inf"), init=False)
    """When the bucket that was forgotten last had been used last."""

    def __len__(self) -> int:
        return len(self._buckets)

    def _bucket(self, prefix: int, now: float) -> _Bucket:
        bucket = self._buckets.get(prefix)
        if bucket is None:
            if len(self._buckets) >= self.limit:
                self._forgotten_at = self._buckets.popitem(last=False)[1].used_at
            # It may be one that was forgotten, so it gets no more than that one could have by now: else a flood of
            # other prefixes would renew a victim's burst.  Below one a second, one answer must be possible at once.
            full = max(1.0, self.rate or 0.0)
            tokens = min(full, (now - self._forgotten_at) * (self.rate or full))
            bucket = self._buckets[prefix] = _Bucket(
                tokens, now, now, 0.0, self._forgotten_at, float(OPENINGS), self._forgotten_at
            )
        else:
            bucket.used_at = now
            self._buckets.move_to_end(prefix)
        return bucket

    def asked(self, prefix: int, size: int, now: float) -> None:
        """A request of `size` bytes came: its credit, whether it is answered or not."""
        if self.amplification is not None:
            self._credit(self._bucket(prefix, now), size)

    def may_answer(self, prefix: int, size: int, now: float, *, asked: int = 0) -> str | None:
        """Take what an answer of `size` bytes costs; or the name of the key whose bound it would break.

        `asked`: the bytes of a request that came with it, of which `asked` was not told.
        """
        bucket = self._bucket(prefix, now)
        if asked:
            self._credit(bucket, asked)
        if self.rate is not None:
            full = max(1.0, self.rate)
            bucket.tokens = min(full, bucket.tokens + (now - bucket.filled_at) * self.rate)
            bucket.filled_at = now
            if bucket.tokens < 1.0:
                return "rate"
        if not self._pay(bucket, size):
            return "amplification"
        bucket.tokens -= 1.0
        return None

    def may_send(self, prefix: int, size: int, now: float) -> bool:
        """Take the bytes of a further datagram of something that was counted as an answer when it began."""
        return self._pay(self._bucket(prefix, now), size)

    def may_open(self, prefix: int, size: int, now: float) -> bool:
        """Take the bytes that a conversation begins with; they may be more than `amplification` allows: `OPENINGS`."""
        bucket = self._bucket(prefix, now)
        if self._pay(bucket, size):
            return True
        bucket.opened = max(0.0, bucket.opened - (now - bucket.opened_at) * OPENINGS)
        bucket.opened_at = now
        if size > OPENING_SIZE or bucket.opened > OPENINGS - 1:
            return False
        bucket.opened += 1
        return True

    def proved(self, prefix: int, now: float) -> None:
        """A peer of that prefix has shown that it is where its request said."""
        bucket = self._bucket(prefix, now)
        bucket.opened = max(0.0, bucket.opened - 1)

    def may_warn(self, prefix: int, size: int, now: float) -> bool:
        """May a prefix that has no answer left be told so, in so many bytes?  Once in `WARNED_EVERY`."""
        bucket = self._bucket(prefix, now)
        if now - bucket.warned_at < WARNED_EVERY or not self._pay(bucket, size):
            return False
        bucket.warned_at = now
        return True

    def _credit(self, bucket: _Bucket, size: int) -> None:
        if self.amplification is not None:
            bucket.credit = min(MAX_CREDIT, bucket.credit + size * self.amplification)

    def _pay(self, bucket: _Bucket, size: int) -> bool:
        if self.amplification is None:
            return True
        if bucket.credit < size:
            return False
        bucket.credit -= size
        return True
