"""Runs tests in the Windows Python: those of `native/`, and the socket layer's shared ones.

A run of pytest there is one test here, and shows its output if it fails.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.namespaces import Lab

from .wine import CHECKOUT, Machine, WindowsPython

NATIVE = Path(__file__).parent / "native"
IN_A_NAMESPACE = NATIVE / "test_pending.py"
ON_WINDOWS_ALONE = {NATIVE / "test_event_log.py", NATIVE / "test_service_recovery.py"}
FILES = sorted(set(NATIVE.glob("test_*.py")) - {IN_A_NAMESPACE} - ON_WINDOWS_ALONE)

SHARED = [
    CHECKOUT / "tests" / "responder" / "net" / name
    for name in (
        "test_udp.py",
        "test_tcp.py",
        "test_platform.py",
        "test_cmsg.py",
        "test_shared_files.py",
        "windows/test_platform.py",
        "windows/test_memberships.py",
        "windows/test_interfaces.py",
        "windows/test_service_recovery.py",
        "windows/test_udp.py",
        "windows/test_udp_sending.py",
        "windows/test_winsock.py",
        "windows/test_winsock_errors.py",
    )
]
"""By the contract alone, so that they run on every platform; and Windows' own pure ones, with its ctypes."""

pytestmark = pytest.mark.windows


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_on_windows(machine: Machine, file: Path) -> None:
    machine.passes(file)


def test_the_shared_tests_on_windows(machine: Machine) -> None:
    machine.passes(*SHARED)


@pytest.mark.lab
def test_on_windows_with_a_neighbour_that_never_answers(windows: WindowsPython) -> None:
    with Lab() as lab:
        host, silent = lab.namespace("host"), lab.namespace("silent")
        lab.link(host, "link1", silent, "link1")
        host.ip("addr add 10.90.0.1/24 dev link1")
        with windows.machine(host) as machine:
            assert "skipped" not in machine.passes(IN_A_NAMESPACE)


def test_without_control_data_the_source_is_wrong(windows: WindowsPython) -> None:
    """So the tests above measure the source address, and not luck."""
    with windows.machine(control_data=False) as machine:
        status, output = machine.pytest(NATIVE / "test_source.py")
    assert status == 1, output
    assert "failed" in output
