"""A Windows service from both sides: what its process tells the service control manager, and what commands ask it.

`ServiceLine` is the process' side: the states that it reports, and the controls that it takes (stop, shutdown, and
"parameters changed", which is a reload).  `ServiceControl` is the commands' side.  The foreign functions of both are in
`responder.net.windows.service_native`, through ctypes: the dozen that are needed are less than a dependency on pywin32,
a compiled package of 30 MB with an installation step of its own.

This file calls none of them, and knows no daemon.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import attrs

from ...errors import NetworkError

STOPPED, START_PENDING, STOP_PENDING, RUNNING = 1, 2, 3, 4
STATES: Final = {
    STOPPED: "stopped",
    START_PENDING: "starting",
    STOP_PENDING: "stopping",
    RUNNING: "running",
    5: "continuing",
    6: "pausing",
    7: "paused",
}

CONTROL_STOP, CONTROL_INTERROGATE, CONTROL_SHUTDOWN, CONTROL_PARAMCHANGE = 1, 4, 5, 6
ACCEPTED = 0x1 | 0x4 | 0x8
"""The controls that a running service takes: stop, shutdown, paramchange."""

NO_ERROR, ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, ERROR_SERVICE_NEVER_STARTED = 0, 120, 1066, 1077

START_HINT = 30.0
"""Seconds within which a service that starts is heard of again."""

TICK = 10.0
"""Seconds between two signs of life of a service that starts or stops."""

STOP_MARGIN = 5.0
"""Seconds that a stop may take beyond the grace period of the goodbyes."""

ACCOUNTS: Final = {
    "LocalService": ("NT AUTHORITY\\LocalService", "LS"),
    "NetworkService": ("NT AUTHORITY\\NetworkService", "NS"),
    "LocalSystem": (None, "SY"),
}
"""What a service may run as: the account's name (None: Windows' default), and its alias in SDDL."""


@attrs.frozen
class Report:
    """A SERVICE_STATUS.  `exit_status` is the process' own; `wait_hint` in seconds."""

    state: int
    accepted: int = 0
    exit_status: int = 0
    checkpoint: int = 0
    wait_hint: float = 0.0


class Receiver(Protocol):
    """Takes the manager's orders, in another thread."""

    def stop(self, reason: str) -> None: ...
    def reload(self) -> None: ...


class ServiceLine:
    """The line from a service's process to the manager; `report` sends.  Its methods may be called in any thread.

    It has the methods of `responder.daemon.service_manager.Notifier`.
    """

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._send = report
        self._lock = threading.Lock()
        self._last = Report(STOPPED)
        self._receiver: Receiver | None = None
        self._stop_wanted = ""

    # What the daemon tells

    def starting(self) -> None:
        self._report(Report(START_PENDING, checkpoint=1, wait_hint=START_HINT))

    def ready(self) -> None:
        """It serves; a reload is done."""
        if self._last.state != STOP_PENDING:
            self._report(Report(RUNNING, ACCEPTED))

    def reloading(self) -> None:
        """Windows knows no such state."""

    def stopping(self, grace: float) -> None:
        """The goodbyes are said, for so many seconds at most."""
        checkpoint = self._last.checkpoint + 1 if self._last.state == STOP_PENDING else 1
        self._report(Report(STOP_PENDING, checkpoint=checkpoint, wait_hint=grace + STOP_MARGIN))

    def stopped(self, exit_status: int) -> None:
        """Where the manager has ordered it, that is no failure: it would start again what it was to stop."""
        self._report(Report(STOPPED, exit_status=0 if self._stop_wanted else exit_status))

    def status(self, _text: str) -> None:
        """Windows shows no such line."""

    async def watchdog(self, _healthy: Callable[[], bool] = lambda: True) -> None:
        """Windows does not watch."""

    def tick(self) -> None:
        """A sign of life, where the manager waits for something."""
        last = self._last
        if last.state in (START_PENDING, STOP_PENDING):
            self._report(attrs.evolve(last, checkpoint=last.checkpoint + 1))

    def _report(self, report: Report) -> None:
        with self._lock:
            self._last = report
            self._send(report)

    # What the manager orders

    @contextmanager
    def orders(self, receiver: Receiver) -> Iterator[None]:
        """Pass the orders on while the context is open; a stop that came before it goes first."""
        self._receiver = receiver
        try:
            if self._stop_wanted:
                receiver.stop(self._stop_wanted)
            yield
        finally:
            self._receiver = None

    def control(self, code: int) -> int:
        """A HandlerEx: NO_ERROR, or that there is no such control."""
        if code in (CONTROL_STOP, CONTROL_SHUTDOWN):
            self._stop_wanted = "SERVICE_CONTROL_STOP" if code == CONTROL_STOP else "SERVICE_CONTROL_SHUTDOWN"
            self.stopping(0)  # until the daemon tells what its goodbyes take
            if self._receiver is not None:
                self._receiver.stop(self._stop_wanted)
        elif code == CONTROL_PARAMCHANGE:
            if self._receiver is not None:
                self._receiver.reload()
        elif code == CONTROL_INTERROGATE:
            self._report(self._last)
        else:
            return ERROR_CALL_NOT_IMPLEMENTED
        return NO_ERROR


def command_line(arguments: list[str]) -> str:
    """What the manager starts for `responderd ARGUMENTS`.

    A virtual environment's python.exe only starts the base interpreter as a process of its own, which the manager would
    not take for the service.  So the base interpreter is named, and told where the environment's packages are.
    """
    if sys.prefix == sys.base_prefix:
        return subprocess.list2cmdline([sys.executable, "-m", "responder", *arguments])
    base = Path(sys.base_prefix, Path(sys.executable).name)
    code = (
        "import site,sys;site.addsitedir(sys.argv.pop(1));from responder.cli import main;main(prog_name='responderd')"
    )
    return subprocess.list2cmdline([str(base), "-c", code, site_packages(), *arguments])


def site_packages() -> str:
    """The folder that has the packages of this environment."""
    return os.path.join(sys.prefix, "Lib", "site-packages")


def prepare_folder(folder: Path, account: str) -> None:
    """Make the folder that the service logs to, for its account and for administrators, or let them in beside others.

    Raises NetworkError.
    """
    if sys.platform == "win32":
        from .private_file import make_private_folder  # noqa: PLC0415 - as below

        try:
            make_private_folder(folder, ACCOUNTS[account][1])
        except OSError as error:
            raise NetworkError(error.errno or errno.EINVAL, f"{folder}: {error.strerror}") from error


@attrs.frozen
class ServiceInfo:
    """What the manager knows of a service.  `exit_status` of the last run; `process` 0 where none runs."""

    state: str
    process: int
    exit_status: int
    command: str
    account: str


class ServiceControl(Protocol):
    """What commands do with services.  Each raises NetworkError: no rights, no such service, ..."""

    def install(self, name: str, command: str, *, account: str, description: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def start(self, name: str) -> None:
        """Return once it is running.  Raises NetworkError where it ends instead."""

    def stop(self, name: str) -> None:
        """Return once it is stopped."""

    def query(self, name: str) -> ServiceInfo: ...


def service_control() -> ServiceControl:
    """This machine's.  Raises NetworkError on other systems."""
    if sys.platform != "win32":
        message = "only Windows has this kind of service; `responderd unit` prints one for systemd"
        raise NetworkError(errno.ENOSYS, message)
    else:  # noqa: RET506 - without it mypy would look for the module elsewhere
        from .service_native import NativeServiceControl  # noqa: PLC0415 - exists on Windows only

        return NativeServiceControl()


def run_as_service(name: str, serve: Callable[[ServiceLine], int]) -> int:
    """Be the service: `serve` runs in this thread, and gives the exit status.

    Raises NetworkError where it was not the manager that started this process.
    """
    if sys.platform != "win32":
        raise NetworkError(errno.ENOSYS, "only Windows has this kind of service")
    else:  # noqa: RET506 - as above
        from .service_native import run_dispatched  # noqa: PLC0415 - as above

        return run_dispatched(name, serve)
