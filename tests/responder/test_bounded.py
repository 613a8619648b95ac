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


def test_a_memory_makes_what_it_does_not_know_and_forgets_the_oldest() -> None:
    made: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return str(key)

    memory = Memory(make, 3)
    known = memory.known
    assert [memory.find(key) for key in (0, 1, 1, 2, 3, 4, 4)] == ["0", "1", "1", "2", "3", "4", "4"]
    assert made == [0, 1, 2, 3, 4]
    assert list(known) == [2, 3, 4]
    assert memory.find(0) == "0"
    assert (list(known), len(memory)) == ([3, 4, 0], 3)
    memory.clear()
    assert memory.find(5) == "5"
    assert memory.known is known
    assert list(known) == [5]


def test_what_can_not_be_made_is_not_remembered() -> None:
    memory: Memory[str, int] = Memory(int, 2)
    with pytest.raises(ValueError, match="invalid literal"):
        memory.find("x")
    assert [memory.find(text) for text in ("1", "2", "3")] == [1, 2, 3]
    assert list(memory.known) == ["2", "3"]
