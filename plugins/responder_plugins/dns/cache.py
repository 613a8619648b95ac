"""A bounded table of what was asked for recently: a flood of new keys costs time, not memory, and little of it.

Two dicts: where the one in use is full it becomes the older one, and what is found there moves to a new one.  So what
goes on being asked for stays, without a word about each use; and nothing looks for an oldest entry, for which a dict
whose first entries were deleted looks ever longer.

This file refuses to know what it holds.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
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
