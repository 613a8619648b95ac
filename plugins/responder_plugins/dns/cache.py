"""A bounded cache: a flood of new keys costs little time and no memory.

The cache has two dicts.  When the fresh one is full it becomes the older one, and an empty dict takes its place; what
is found in the older one may be put again.  So entries in use stay, without a record of each use; and nothing searches
for the oldest entry, which takes ever longer in a dict whose first entries were deleted.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

MARKS: Final = 2**17
"""Of a doorkeeper, a byte each: an eighth is about as much as a cache of packets holds at once."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """At most twice `entries`, and twice `size`: the sum of what `put` is told about each, in bytes.

    `fresh` and `older` are for reading in a hurry: `get` looks at both.
    """

    def __init__(self, entries: int, size: int = 2**62) -> None:
        self._entries = entries
        self._size = size
        self._taken = 0
        self.older: dict[Key, Value] = {}
        self.fresh: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self.fresh) + len(self.older)

    def get(self, key: Key) -> Value | None:
        value = self.fresh.get(key)
        return value if value is not None else self.older.get(key)

    def put(self, key: Key, value: Value, size: int = 0) -> None:
        if (len(self.fresh) >= self._entries and key not in self.fresh) or self._taken > self._size:
            self.older, self.fresh, self._taken = self.fresh, {}, 0
        self.fresh[key] = value
        self._taken += size


class Doorkeeper:
    """Tells what is asked for the first time, so that a cache need not hold what is asked once.

    It knows keys by some bits of their hash: a new one may be taken for a known one, which costs a place in the cache.
    All are forgotten when an eighth of the marks is set.
    """

    __slots__ = ("_left", "_marks")

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._marks = bytearray(MARKS)
        self._left = MARKS // 8

    def is_new(self, key: Hashable) -> bool:
        """Was it not asked for before?  From here on it was."""
        at = hash(key) & (MARKS - 1)
        if self._marks[at]:
            return False
        self._marks[at] = 1
        self._left -= 1
        if not self._left:
            self._forget()
        return True
