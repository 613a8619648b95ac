"""Choices by the bytes of an input, so that what a coverage-led run changes is a request's make, not its spelling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Choices:
    """Decides by one byte after the other; where they have ended, by zeros."""

    def __init__(self, data: bytes) -> None:
        self._bytes = memoryview(data)

    def __bool__(self) -> bool:
        """Are there bytes left?"""
        return bool(self._bytes)

    def take(self, count: int) -> bytes:
        """The next bytes as they are."""
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return bytes(taken)

    def below(self, bound: int) -> int:
        """`bound` is 256 at most."""
        return int.from_bytes(self.take(1)) % bound

    def of(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def several(self, make: Callable[[], Item], most: int) -> list[Item]:
        return [make() for _ in range(self.below(most + 1))]
