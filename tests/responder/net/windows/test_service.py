"""A Windows service's line to its manager, and the command line that the manager starts."""

from __future__ import annotations

import sys

import attrs
import pytest

from responder.errors import NetworkError
from responder.net.windows import service
from responder.net.windows.service import (
    CONTROL_INTERROGATE,
    CONTROL_PARAMCHANGE,
    CONTROL_SHUTDOWN,
    CONTROL_STOP,
    ERROR_CALL_NOT_IMPLEMENTED,
    NO_ERROR,
    RUNNING,
    START_PENDING,
    STOP_PENDING,
    STOPPED,
    Report,
    ServiceLine,
    command_line,
)


@attrs.define
class Recorded:
    """A `Receiver`."""

    ordered: list[str] = attrs.field(factory=list)

    def stop(self, reason: str) -> None:
        self.ordered.append(reason)

    def reload(self) -> None:
        self.ordered.append("reload")


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
def line(reports: list[Report]) -> ServiceLine:
    return ServiceLine(reports.append)


def states(reports: list[Report]) -> list[int]:
    return [report.state for report in reports]


def test_a_life(line: ServiceLine, reports: list[Report]) -> None:
    line.starting()
    line.ready()
    receiver = Recorded()
    with line.orders(receiver):
        assert line.control(CONTROL_PARAMCHANGE) == NO_ERROR
        line.reloading()
        line.ready()
        assert line.control(CONTROL_STOP) == NO_ERROR
        line.stopping(7.0)
    line.stopped(0)
    assert receiver.ordered == ["reload", "SERVICE_CONTROL_STOP"]
    assert states(reports) == [START_PENDING, RUNNING, RUNNING, STOP_PENDING, STOP_PENDING, STOPPED]
    # SERVICE_ACCEPT_STOP 1, SERVICE_ACCEPT_SHUTDOWN 4, SERVICE_ACCEPT_PARAMCHANGE 8 (SERVICE_STATUS's page).
    assert [report.accepted for report in reports] == [0, 13, 13, 0, 0, 0]
    assert reports[4].wait_hint >= 7.0  # the grace period is told
    assert reports[4].checkpoint > reports[3].checkpoint


def test_a_stop_while_it_starts_is_not_lost(line: ServiceLine, reports: list[Report]) -> None:
    line.starting()
    line.control(CONTROL_SHUTDOWN)
    receiver = Recorded()
    with line.orders(receiver):
        assert receiver.ordered == ["SERVICE_CONTROL_SHUTDOWN"]
        line.ready()  # too late
    assert states(reports) == [START_PENDING, STOP_PENDING]


def test_orders_after_the_end_go_nowhere(line: ServiceLine) -> None:
    receiver = Recorded()
    with line.orders(receiver):
        pass
    assert line.control(CONTROL_PARAMCHANGE) == NO_ERROR
    assert line.control(CONTROL_STOP) == NO_ERROR
    assert receiver.ordered == []


def test_the_manager_may_ask(line: ServiceLine, reports: list[Report]) -> None:
    line.ready()
    assert line.control(CONTROL_INTERROGATE) == NO_ERROR
    assert states(reports) == [RUNNING, RUNNING]


@pytest.mark.parametrize("control", [2, 3, 128])
def test_other_controls_are_refused(line: ServiceLine, control: int) -> None:
    assert line.control(control) == ERROR_CALL_NOT_IMPLEMENTED


def test_a_long_start_gives_signs_of_life(line: ServiceLine, reports: list[Report]) -> None:
    """A large zone: without a higher checkpoint within the hint the manager would give it up."""
    line.starting()
    line.tick()
    line.tick()
    line.ready()
    line.tick()
    assert states(reports) == [START_PENDING] * 3 + [RUNNING]
    assert [report.checkpoint for report in reports] == [1, 2, 3, 0]


def test_a_long_stop_gives_signs_of_life(line: ServiceLine, reports: list[Report]) -> None:
    line.stopping(30.0)
    line.tick()
    assert states(reports) == [STOP_PENDING] * 2
    assert reports[1].checkpoint > reports[0].checkpoint
    assert reports[1].wait_hint == reports[0].wait_hint


def test_the_exit_status_is_told(line: ServiceLine, reports: list[Report]) -> None:
    line.stopped(2)
    assert (reports[-1].state, reports[-1].exit_status) == (STOPPED, 2)


def test_a_stop_that_was_ordered_is_no_failure(line: ServiceLine, reports: list[Report]) -> None:
    """Where a plugin has failed the status is 1, and the manager would start again what it was to stop."""
    line.ready()
    line.control(CONTROL_STOP)
    line.stopped(1)
    assert (reports[-1].state, reports[-1].exit_status) == (STOPPED, 0)


def test_an_installed_python_is_started_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sys, "executable", r"C:\Program Files\Python\python.exe")
    assert command_line(["service", "serve-as", "a b", r"C:\c.toml"]) == (
        r'"C:\Program Files\Python\python.exe" -m responder service serve-as "a b" C:\c.toml'
    )


def test_in_a_virtual_environment_the_base_interpreter_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's own python.exe starts that as another process, which the manager does not know."""
    monkeypatch.setattr(sys, "prefix", "/venv")
    monkeypatch.setattr(sys, "base_prefix", "/base")
    monkeypatch.setattr(sys, "executable", "/venv/Scripts/python.exe")
    line = command_line(["service", "serve-as", "x", "c.toml"])
    assert line.startswith("/base/python.exe -c ")
    assert line.endswith("/venv/Lib/site-packages service serve-as x c.toml")
    assert "addsitedir" in line


@pytest.mark.skipif(sys.platform == "win32", reason="there Windows has them")
def test_elsewhere_there_are_none() -> None:
    with pytest.raises(NetworkError, match="only Windows has this kind of service; `responderd unit`"):
        service.service_control()
    with pytest.raises(NetworkError, match="only Windows"):
        service.run_as_service("x", lambda _line: 0)
