"""The table of what was asked for recently: bounded in entries and bytes, and what is in use stays."""

from __future__ import annotations

from responder_plugins.dns.cache import MARKS, BoundedCache, Doorkeeper


def test_it_is_bounded_and_keeps_what_is_put_again() -> None:
    table: BoundedCache[int, str] = BoundedCache(10)
    for number in range(1, 1000):
        table.put(0, "in use")
        table.put(number, "once")
        assert table.get(0) == "in use"
        assert table.get(number) == "once"
        assert len(table) <= 20
    assert table.get(1) is None


def test_what_is_there_is_renewed_without_a_turn() -> None:
    table: BoundedCache[int, str] = BoundedCache(2)
    table.put(1, "a")
    table.put(2, "a")
    table.put(1, "b")
    table.put(2, "b")
    assert table.fresh == {1: "b", 2: "b"}


def test_bytes_count_too() -> None:
    table: BoundedCache[int, bytes] = BoundedCache(1000, 100)
    for number in range(50):
        table.put(number, bytes(60), 60)
    assert len(table) <= 4
    assert table.get(49) == bytes(60)


def test_a_doorkeeper_knows_what_was_asked_before() -> None:
    door = Doorkeeper()
    assert door.is_new(b"a")
    assert not door.is_new(b"a")
    keys = [number.to_bytes(4) for number in range(MARKS // 16)]
    assert sum(map(door.is_new, keys)) > len(keys) / 2
    assert sum(map(door.is_new, keys)) == 0


def test_a_doorkeeper_does_not_fill_up() -> None:
    """However many come, most of the new ones are told from the known ones."""
    door = Doorkeeper()
    assert sum(door.is_new(number.to_bytes(4)) for number in range(MARKS)) > MARKS * 7 / 8
