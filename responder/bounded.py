"""Tables that peers can fill: bounded, so that a flood costs time and not memory."""

from __future__ import annotations

from array import array
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


WAITING = 64
"""New entries kept by a `Memory`: few, so that a flood of them stays in the processor's caches."""


FIRST_MARKS = 64
"""Marks that a `Memory` has room for at first."""


class Memory(Generic[Key, Value]):
    """What `make` gives for a key, kept for the hot path: a look-up that finds costs a plain dict's.

    `known` is that dict, always the same one: up to `limit` entries, each of which was asked for twice.  The value of a
    key that was asked for once is kept until `WAITING` more such keys have come, and after that only a mark that it was
    there: asked for again, it is made again, and known.  So a flood of keys that come once drives out nothing that is
    in use, and leaves no objects behind.

    Where a new entry would be more than `limit`, the oldest goes, and has to be asked for twice again.  So where a few
    more keys than `limit` come in turn, a few are made anew each time, and not all of them.

    `mark_of` gives a number by which a key is told apart where its own hash won't do, as that of an object that
    compares by identity: another may stand in its place in memory when it is gone.
    """

    __slots__ = ("_limit", "_make", "_mark_of", "_marks", "_misses", "_order", "_waiting", "known")

    def __init__(self, make: Callable[[Key], Value], limit: int, mark_of: Callable[[Key], int] = hash) -> None:
        self.known: dict[Key, Value] = {}
        # The order stands beside the dict, which looks ever longer for its oldest entry once the oldest are deleted.
        self._order: deque[Key] = deque()
        self._waiting: OrderedDict[Key, Value] = OrderedDict()
        # A mark stands at its remainder; a new one overwrites it.  0: none; no hash is -1, so that stands for 0.
        # Few at first: most tables never see more than some keys.
        self._marks = array("q", bytes(8 * min(FIRST_MARKS, 2 * limit)))
        self._misses = 0
        self._mark_of = mark_of
        self._make = make
        self._limit = limit

    def __len__(self) -> int:
        return len(self.known) + len(self._waiting)

    def find(self, key: Key) -> Value:
        """The value, made where there is none yet.  Raises what `make` raises."""
        value = self.known.get(key)
        return self.missed(key) if value is None else value

    def missed(self, key: Key) -> Value:
        """The same, for a key that is not in `known`."""
        value = self._waiting.pop(key, None)
        if value is None:
            value = self._make(key)
        marks, mark = self._marks, self._mark_of(key) or -1
        place = mark % len(marks)
        if marks[place] == mark:
            marks[place] = 0
            if len(self.known) >= self._limit:
                del self.known[self._order.popleft()]
            self.known[key] = value
            self._order.append(key)
        else:
            marks[place] = mark
            self._misses += 1
            if 2 * self._misses >= len(marks) < 2 * self._limit:
                self._grow()
            self._waiting[key] = value
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)
        return value

    def _grow(self) -> None:
        """Have room for the marks of more keys, before new ones overwrite those of keys that may come again."""
        size = min(4 * len(self._marks), 2 * self._limit)
        grown = array("q", bytes(8 * size))
        for mark in filter(None, self._marks):
            grown[mark % size] = mark
        self._marks = grown

    def clear(self) -> None:
        """Forget the values.  The marks stay: what was in use is soon known again."""
        self.known.clear()
        self._order.clear()
        self._waiting.clear()
