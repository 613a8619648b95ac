"""Tables that peers can fill: bounded, so that a flood costs time and not memory."""

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

    `known` is that dict, always the same one.  It has the entries that were asked for at least twice.  A new entry
    waits beside it, and is known from the second time on.  Where a table is full its oldest entry goes: a waiting one
    is forgotten, a known one waits again, and if it is asked for while it waits it is known again.  So a flood of keys
    that come once drives out nothing that is in use.  Half of `limit` may be known, half may wait.
    """

    __slots__ = ("_half", "_make", "_order", "_waiting", "known")

    def __init__(self, make: Callable[[Key], Value], limit: int) -> None:
        self.known: dict[Key, Value] = {}
        # The order stands beside the dict, which looks ever longer for its oldest entry once the oldest are deleted.
        self._order: deque[Key] = deque()
        # A plain one: in a flood of new keys each costs a turn of it.
        self._waiting: OrderedDict[Key, Value] = OrderedDict()
        self._make = make
        self._half = limit // 2

    def __len__(self) -> int:
        return len(self.known) + len(self._waiting)

    def find(self, key: Key) -> Value:
        """The value, made where there is none yet.  Raises what `make` raises."""
        value = self.known.get(key)
        return self.missed(key) if value is None else value

    def missed(self, key: Key) -> Value:
        """The same, for a key that is not in `known`."""
        waiting = self._waiting
        value = waiting.pop(key, None)
        if value is None:
            value = waiting[key] = self._make(key)
        else:
            if len(self.known) >= self._half:
                oldest = self._order.popleft()
                waiting[oldest] = self.known.pop(oldest)
            self.known[key] = value
            self._order.append(key)
        if len(waiting) > self._half:
            waiting.popitem(last=False)
        return value

    def clear(self) -> None:
        self.known.clear()
        self._order.clear()
        self._waiting.clear()
