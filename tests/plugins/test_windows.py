"""The tests of llmnr, nbns, sntp and wsd by the Windows Python under Wine (tests/windows/README.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.windows.wine import Machine, WindowsPython

pytestmark = [pytest.mark.windows]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with WindowsPython.build().machine() as machine:
        yield machine


@pytest.mark.parametrize("name", ["llmnr", "nbns", "sntp", "wsd", "shared"])
def test_the_plugins_tests_on_windows(machine: Machine, name: str) -> None:
    status, output = machine.pytest(*sorted((HERE / name).glob("test_*.py")))
    assert status == 0, output
    assert " passed" in output
