from __future__ import annotations

import pytest

from responder.bounded import BoundedTable, Memory


def test_the_oldest_goes_first() -> None:
    table: BoundedTable[int, str] = BoundedTable(3)
    for number in range(5):
        table[number] = str(number)
    assert list(table) == [2, 3, 4]


def test_a_known_key_displaces_nobody() -> None:
    table: BoundedTable[int, str] = BoundedTable(2)
    table[1] = "a"
    table[2] = "b"
    table[1] = "c"
    assert dict(table) == {1: "c", 2: "b"}


class Made:
    """A memory of texts, and for which numbers it had to make one."""

    def __init__(self, limit: int) -> None:
        self.numbers: list[int] = []
        self.memory = Memory(self._make, limit)

    def _make(self, number: int) -> str:
        self.numbers.append(number)
        return str(number)

    def find(self, *numbers: int) -> list[int]:
        """Ask for them in this order: those that had to be made."""
        self.numbers.clear()
        assert [self.memory.find(number) for number in numbers] == [str(number) for number in numbers]
        return list(self.numbers)


def test_a_memory_makes_what_it_does_not_know_and_forgets_the_oldest() -> None:
    made = Made(8)
    assert made.find(0, 1, 0, 1, 2, 3, 4) == [0, 1, 2, 3, 4]
    assert list(made.memory.known) == [0, 1]
    assert made.find(5, 6) == [5, 6]  # 2 is the oldest that waits
    assert (made.find(2), made.find(4, 5, 6)) == ([2], [])
    assert len(made.memory) <= 8


def test_a_flood_of_new_keys_leaves_the_known_ones_alone() -> None:
    made = Made(8)
    regulars = range(4)
    made.find(*regulars, *regulars)
    made.find(*range(100, 1000))
    assert made.find(*regulars) == []
    assert len(made.memory) == 8


def test_what_is_driven_out_has_a_second_chance() -> None:
    made = Made(8)
    made.find(0, 1, 2, 3, 0, 1, 2, 3)
    for number in range(100, 103):  # each asked for twice, as known ones are
        made.find(number, number)
    assert list(made.memory.known) == [3, 100, 101, 102]
    assert made.find(0, 1, 2, 3) == []


def test_as_many_as_the_limit_are_all_remembered() -> None:
    """Also if they come one after the other, round and round, where a smaller table would miss each."""
    made = Made(64)
    made.find(*range(32), *range(32), *range(32, 64))
    for _ in range(5):
        assert made.find(*range(64)) == []
    assert len(made.memory) == 64


def test_the_dict_of_the_known_stays_the_same_one() -> None:
    made = Made(4)
    known = made.memory.known
    made.find(0, 0)
    made.memory.clear()
    assert len(made.memory) == 0
    assert made.find(0, 5, 5) == [0, 5]
    assert made.memory.known is known
    assert list(known) == [5]


def test_what_can_not_be_made_is_not_remembered() -> None:
    memory: Memory[str, int] = Memory(int, 4)
    with pytest.raises(ValueError, match="invalid literal"):
        memory.find("x")
    assert len(memory) == 0
    assert [memory.find(text) for text in ("1", "2", "3", "3")] == [1, 2, 3, 3]
    assert list(memory.known) == ["3"]
