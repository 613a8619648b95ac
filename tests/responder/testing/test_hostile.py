"""The strategy of hostile payloads reaches what parsers trip over, and is not needed to import the kit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from responder.testing import hostile

SAMPLE = b"\x04name\x00\x10"


def parse(payload: bytes) -> None:
    """A parser with the usual mistake: it trusts a length."""
    if payload[1:5] == b"name":
        for index in range(payload[0]):
            _ = payload[1 + index]


def test_it_finds_a_parser_that_trusts_a_length() -> None:
    with pytest.raises(IndexError):
        settings(phases=[Phase.generate], max_examples=1000)(given(hostile(SAMPLE))(parse))()


@pytest.mark.parametrize(
    "kind",
    [
        lambda payload: payload == SAMPLE,
        lambda payload: payload == b"",
        lambda payload: SAMPLE.startswith(payload) and 0 < len(payload) < len(SAMPLE),
        lambda payload: len(payload) > len(SAMPLE) and SAMPLE[:5] in payload,
        lambda payload: len(payload) == len(SAMPLE) and sum(map(int.__ne__, payload, SAMPLE)) == 1,
    ],
    ids=["valid", "empty", "cut", "extended", "one byte overwritten"],
)
def test_it_makes(kind: Callable[[bytes], bool]) -> None:
    find(
        hostile(SAMPLE), kind, settings=settings(max_examples=5_000, database=None, phases=[Phase.generate])
    )  # raises where it can't


@given(st.data())
def test_it_keeps_to_the_size(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 100))
    assert len(data.draw(hostile(SAMPLE, max_size=size))) <= size
    assert len(data.draw(hostile(max_size=size))) <= size


def test_the_kit_does_without_hypothesis_and_pytest() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = sys.modules['pytest'] = None\n"
        "import trio, responder.testing\n"
        "from responder_plugins.echo import Echo\n"
        "(heard,) = trio.run(responder.testing.exchange, Echo(), b'x')\n"
        "assert heard.payload == b'x'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
