"""The systemd units: systemd itself finds nothing to say against them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
UNITS = ("responderd.service", "responderd.socket")


def verified(folder: Path) -> list[str]:
    """What `systemd-analyze verify` says of our units there; what it says of the machine's others is left out."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(folder / unit) for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if "responderd" in line]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as an operator has them, with a program that exists in the daemon's place."""
    for unit in UNITS:
        text = (EXAMPLES / unit).read_text(encoding="utf-8")
        (tmp_path / unit).write_text(text.replace("ExecStart=responderd ", "ExecStart=sh "), encoding="utf-8")
    return tmp_path


@pytest.mark.clients("systemd-analyze")
def test_the_units_are_valid(units: Path) -> None:
    assert verified(units) == []


@pytest.mark.clients("systemd-analyze")
def test_a_mistake_in_a_unit_would_show(units: Path) -> None:
    unit = units / "responderd.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("RestrictRealtime=yes", "RestrictRealTime=yes"))
    assert [line for line in verified(units) if "RestrictRealTime" in line] != []


@pytest.mark.clients("systemd-analyze")
def test_the_service_is_shut_in(units: Path) -> None:
    # Of 10, where 10 is a service without any restriction; it reads the unit, not the machine.
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(units / "responderd.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
