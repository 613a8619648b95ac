"""Tables that peers can fill: bounded, the oldest entry going first, so that a flood costs time and not memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

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
