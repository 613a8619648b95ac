from __future__ import annotations

from responder.tables import BoundedTable


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
