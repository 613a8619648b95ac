from __future__ import annotations

import logging

import pytest

from responder.log import Repeated, get_logger


def test_a_record_says_its_fields_and_carries_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        get_logger("responder.test").info("port is shared", port=1900)
    (record,) = caplog.records
    assert record.getMessage() == "port is shared port=1900"
    assert record.fields == {"port": 1900}  # type: ignore[attr-defined] # set through `extra`


def test_what_is_below_the_level_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        get_logger("responder.test").info("quiet")
    assert not caplog.records


class TestRepeated:
    def test_once_then_with_the_number_held_back(self) -> None:
        now = 0.0
        repeated = Repeated(interval=60, clock=lambda: now)
        assert [repeated.due("a") for _ in range(3)] == [0, None, None]
        assert repeated.due("b") == 0
        now = 60.0
        assert repeated.due("a") == 2
        now = 119.0
        assert repeated.due("a") is None

    def test_remembers_a_bounded_number_of_kinds(self) -> None:
        repeated = Repeated(limit=2, clock=lambda: 0.0)
        for kind in ("a", "b", "c"):
            assert repeated.due(kind) == 0
        assert repeated.due("c") is None
        assert repeated.due("a") == 0
