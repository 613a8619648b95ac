from __future__ import annotations

import tracemalloc

import pytest

from responder.bounded import WAITING, BoundedTable, Memory


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


def test_a_memory_makes_what_it_does_not_know() -> None:
    made = Made(8)
    assert made.find(0, 1, 0, 1, 0, 2) == [0, 1, 2]
    assert list(made.memory.known) == [0, 1]
    assert len(made.memory) == 3


def test_what_was_asked_for_twice_is_known() -> None:
    """Also where so much came in between that its value is gone."""
    made = Made(512)
    others = range(100, 100 + 2 * WAITING)
    assert made.find(7, *others, 7, 7) == [7, *others, 7]
    assert list(made.memory.known) == [7]
    assert len(made.memory) == 1 + WAITING


def test_a_table_that_sees_few_keys_is_small() -> None:
    """Each conversation has some of its own."""
    tracemalloc.start()
    try:
        made = Made(16384)
        made.find(*range(10), *range(10))
        few, _ = tracemalloc.get_traced_memory()
        made.find(*range(20_000), *range(20_000))
        many, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert few < 10_000
    assert many > 100_000
    assert len(made.memory.known) > 16_000, "of 16384 that there is room for"


def test_a_key_is_remembered_while_the_table_grows() -> None:
    made = Made(512)
    for first in range(0, 2000, 20):
        others = range(1000 + first, 1020 + first)
        made.find(7, *others)
    assert 7 in made.memory.known


def test_a_flood_of_new_keys_leaves_the_known_ones_alone() -> None:
    made = Made(8)
    regulars = range(8)
    made.find(*regulars, *regulars)
    made.find(*range(100, 100_000))
    assert made.find(*regulars) == []
    assert len(made.memory) == 8 + WAITING


def test_the_oldest_goes_first_and_must_be_asked_for_twice_again() -> None:
    made = Made(4)
    made.find(0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
    assert list(made.memory.known) == [1, 2, 3, 4]
    assert made.find(0, 1) == [0]
    assert list(made.memory.known) == [1, 2, 3, 4]
    assert made.find(0) == []
    assert list(made.memory.known) == [2, 3, 4, 0]


@pytest.mark.parametrize("more", [0, 50])
def test_a_few_more_than_the_limit_cost_a_few(more: int) -> None:
    """Round and round, where a table whose oldest entry makes room for each would find none."""
    limit = 1000
    made = Made(limit)
    turn = range(limit + more)
    for _ in range(4):
        made.find(*turn)
    assert len(made.memory.known) == limit
    for _ in range(5):
        assert len(made.find(*turn)) <= 2 * more


def test_keys_that_compare_by_identity_are_marked_by_what_they_hold() -> None:
    memory: Memory[list[int], int] = Memory(sum, 4, mark_of=lambda key: hash(tuple(key)))

    class Identity(list):  # type: ignore[type-arg] # of ints
        __hash__ = object.__hash__  # type: ignore[assignment] # by identity
        __eq__ = object.__eq__

    for _ in range(2 * WAITING):
        assert memory.find(Identity([1, 2])) == 3  # each is gone when the next one is made
    assert memory.known
    for number in range(2 * WAITING):
        assert memory.find(Identity([number, number, number])) == 3 * number
    assert len(memory.known) == 4


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
