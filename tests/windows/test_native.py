"""Runs the tests of `native/` in the Windows Python: a file is one test here, and shows its output if it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.namespaces import Lab

from .wine import CHECKOUT, WindowsPython

NATIVE = Path(__file__).parent / "native"
IN_A_NAMESPACE = NATIVE / "test_pending.py"
FILES = sorted(set(NATIVE.glob("test_*.py")) - {IN_A_NAMESPACE})

pytestmark = pytest.mark.windows


def pytest_in_windows(
    windows: WindowsPython, file: Path, *, control_data: bool = True, namespace: str | None = None
) -> tuple[int, str]:
    """Run a file's tests: (pytest's status, what it printed)."""
    done = windows.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(file.relative_to(CHECKOUT))),
        control_data=control_data,
        namespace=namespace,
        timeout=600,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_on_windows(windows: WindowsPython, file: Path) -> None:
    status, output = pytest_in_windows(windows, file)
    assert status == 0, output
    assert " passed" in output


@pytest.mark.lab
def test_on_windows_with_a_neighbour_that_never_answers(windows: WindowsPython) -> None:
    with Lab() as lab:
        host, silent = lab.namespace("host"), lab.namespace("silent")
        lab.link(host, "link1", silent, "link1")
        host.ip("addr add 10.90.0.1/24 dev link1")
        try:
            status, output = pytest_in_windows(windows, IN_A_NAMESPACE, namespace=host.name)
        finally:
            windows.forget(host.name)
    assert status == 0, output
    assert " passed" in output


def test_without_control_data_the_source_is_wrong(windows: WindowsPython) -> None:
    """So the tests above measure the source address, and not luck."""
    status, output = pytest_in_windows(windows, NATIVE / "test_source.py", control_data=False)
    assert status == 1, output
    assert "failed" in output
