"""Tables that peers can fill: bounded, the oldest entries going first, so that a flood costs time and not memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedTable(OrderedDict[Key, Value]):
    """A dict that forgets its oldest entry (by insertion) where a new one would be more than `limit`.

    An OrderedDict, since a plain dict looks ever longer for its oldest entry once the oldest are deleted.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: Key, value: Value) -> None:
        if len(self) >= self.limit and key not in self:
            self.popitem(last=False)
        super().__setitem__(key, value)


class Memory(Generic[Key, Value]):
    """What `make` gives for a key, kept for the hot path: a look-up that finds costs a plain dict's.

    `known` is that dict, always the same one; where a new entry would be more than `limit`, the oldest is forgotten.
    The order stands beside it, since a dict looks ever longer for its oldest entry once the oldest are deleted.
    """

    __slots__ = ("_limit", "_make", "_order", "known")

    def __init__(self, make: Callable[[Key], Value], limit: int) -> None:
        self.known: dict[Key, Value] = {}
        self._order: deque[Key] = deque()
        self._make = make
        self._limit = limit

    def __len__(self) -> int:
        return len(self.known)

    def find(self, key: Key) -> Value:
        """The value, made where there is none yet.  Raises what `make` raises."""
        value = self.known.get(key)
        return self.missed(key) if value is None else value

    def missed(self, key: Key) -> Value:
        """The same, for a key that is not in `known`."""
        value = self._make(key)
        if len(self.known) >= self._limit:
            del self.known[self._order.popleft()]
        self.known[key] = value
        self._order.append(key)
        return value

    def clear(self) -> None:
        self.known.clear()
        self._order.clear()
