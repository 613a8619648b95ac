"""A bounded cache: a flood of new keys costs little time and no memory.

The cache has two dicts.  When the fresh one is full it becomes the older one, and an empty dict takes its place; what
is found in the older one may be put again.  So entries in use stay, without a record of each use; and nothing searches
for the oldest entry, which takes ever longer in a dict whose first entries were deleted.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """At most twice `entries`, and twice `size`: the sum of what `put` is told about each, in bytes.

    `fresh` is for reading in a hurry: what is not there may still be found by `get`.
    """

    def __init__(self, entries: int, size: int = 2**62) -> None:
        self._entries = entries
        self._size = size
        self._taken = 0
        self._older: dict[Key, Value] = {}
        self.fresh: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self.fresh) + len(self._older)

    def get(self, key: Key) -> Value | None:
        value = self.fresh.get(key)
        return value if value is not None else self._older.get(key)

    def put(self, key: Key, value: Value, size: int = 0) -> None:
        if (len(self.fresh) >= self._entries and key not in self.fresh) or self._taken > self._size:
            self._older, self.fresh, self._taken = self.fresh, {}, 0
        self.fresh[key] = value
        self._taken += size
