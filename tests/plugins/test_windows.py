"""The tests of the plugins that work on Windows, by the Windows Python under Wine (tests/windows/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.windows.wine import Machine

pytestmark = [pytest.mark.windows]

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["coap", "llmnr", "mdns", "nbns", "shared", "sntp", "ssdp", "stun", "tftp", "wsd"])
def test_the_plugins_tests_on_windows(machine: Machine, name: str) -> None:
    machine.passes(*sorted(set((HERE / name).glob("test_*.py")) - set(HERE.glob("*/test_windows.py"))))


def test_journals_of_dns_on_windows(machine: Machine) -> None:
    folder = HERE / "dns" / "transfer"
    machine.passes(*(folder / f"test_{name}.py" for name in ("journal", "versions")))
