"""The foreign functions of Windows' service control manager.  This module can be imported on Windows only."""

from __future__ import annotations

import sys

# In this form type checkers on other platforms skip the rest.
assert sys.platform == "win32"  # noqa: S101 - see above

# ruff: noqa: E402 - the imports stand below the assertion, so that only Windows needs them
import ctypes
import errno
import threading
import time
import winreg
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import wintypes
from typing import Any

from ...errors import NetworkError
from ...threads import start
from .console import handling, ignore_ends
from .event_log import SOURCES
from .service import (
    ACCOUNTS,
    CONTROL_STOP,
    ERROR_SERVICE_SPECIFIC_ERROR,
    RUNNING,
    STATES,
    STOPPED,
    TICK,
    Report,
    ServiceInfo,
    ServiceLine,
)
from .service_recovery import recovery

_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_PTR, _DWORD, _TEXT = ctypes.c_void_p, wintypes.DWORD, wintypes.LPCWSTR

_OWN_PROCESS, _AUTO_START, _ERROR_NORMAL, _DELETE, _ALL_ACCESS = 0x10, 2, 1, 0x10000, 0xF01FF
_QUERY, _START, _STOP = 0x1 | 0x4, 0x10, 0x20
_MANAGER_CONNECT, _MANAGER_CREATE = 0x1, 0x2
_CONFIG_DESCRIPTION = 1
_ACCESS_DENIED, _NOT_CONTROLLED, _ALREADY_RUNNING, _NO_SUCH, _NOT_ACTIVE, _EXISTS = 5, 1063, 1056, 1060, 1062, 1073
_INVALID_LEVEL = 124

_POLL = 0.1  # seconds between two looks at a service that changes
_PATIENCE = 120.0  # seconds without a sign of life after which a change is given up


class _Status(ctypes.Structure):
    """SERVICE_STATUS_PROCESS; without its last two fields it is SERVICE_STATUS."""

    _fields_ = (
        ("dwServiceType", _DWORD),
        ("dwCurrentState", _DWORD),
        ("dwControlsAccepted", _DWORD),
        ("dwWin32ExitCode", _DWORD),
        ("dwServiceSpecificExitCode", _DWORD),
        ("dwCheckPoint", _DWORD),
        ("dwWaitHint", _DWORD),
        ("dwProcessId", _DWORD),
        ("dwServiceFlags", _DWORD),
    )


class _Config(ctypes.Structure):
    """QUERY_SERVICE_CONFIGW"""

    _fields_ = (
        ("dwServiceType", _DWORD),
        ("dwStartType", _DWORD),
        ("dwErrorControl", _DWORD),
        ("lpBinaryPathName", _TEXT),
        ("lpLoadOrderGroup", _TEXT),
        ("dwTagId", _DWORD),
        ("lpDependencies", _TEXT),
        ("lpServiceStartName", _TEXT),
        ("lpDisplayName", _TEXT),
    )


_Main = ctypes.WINFUNCTYPE(None, _DWORD, _PTR)
_HandlerEx = ctypes.WINFUNCTYPE(_DWORD, _DWORD, _DWORD, _PTR, _PTR)


class _TableEntry(ctypes.Structure):
    _fields_ = (("lpServiceName", _TEXT), ("lpServiceProc", _PTR))


for _function, _result, _arguments in (
    ("OpenSCManagerW", _PTR, (_TEXT, _TEXT, _DWORD)),
    ("OpenServiceW", _PTR, (_PTR, _TEXT, _DWORD)),
    (
        "CreateServiceW",
        _PTR,
        (_PTR, _TEXT, _TEXT, _DWORD, _DWORD, _DWORD, _DWORD, _TEXT, _TEXT, _PTR, _TEXT, _TEXT, _TEXT),
    ),
    ("ChangeServiceConfig2W", wintypes.BOOL, (_PTR, _DWORD, _PTR)),
    ("CloseServiceHandle", wintypes.BOOL, (_PTR,)),
    ("DeleteService", wintypes.BOOL, (_PTR,)),
    ("StartServiceW", wintypes.BOOL, (_PTR, _DWORD, _PTR)),
    ("ControlService", wintypes.BOOL, (_PTR, _DWORD, _PTR)),
    ("QueryServiceStatusEx", wintypes.BOOL, (_PTR, ctypes.c_int, _PTR, _DWORD, _PTR)),
    ("QueryServiceConfigW", wintypes.BOOL, (_PTR, _PTR, _DWORD, _PTR)),
    ("StartServiceCtrlDispatcherW", wintypes.BOOL, (_PTR,)),
    ("RegisterServiceCtrlHandlerExW", _PTR, (_TEXT, _PTR, _PTR)),
    ("SetServiceStatus", wintypes.BOOL, (_PTR, _PTR)),
):
    _foreign: Any = getattr(_advapi32, _function)
    _foreign.restype, _foreign.argtypes = _result, _arguments


def run_dispatched(name: str, serve: Callable[[ServiceLine], int]) -> int:
    """See `responder.net.windows.service.run_as_service`."""
    connected, ended = threading.Event(), threading.Event()
    lines: list[ServiceLine] = []
    refused: list[int] = []

    def service_main(_count: int, _arguments: int) -> None:
        """Windows calls it in a thread of its own."""

        def report(told: Report) -> None:
            specific = ERROR_SERVICE_SPECIFIC_ERROR if told.exit_status else 0
            numbers = told.state, told.accepted, specific, told.exit_status, told.checkpoint, int(told.wait_hint * 1000)
            _advapi32.SetServiceStatus(handle, ctypes.byref(_Status(_OWN_PROCESS, *numbers)))

        line = ServiceLine(report)
        handler = _HandlerEx(lambda control, *_: line.control(control))
        handle = _advapi32.RegisterServiceCtrlHandlerExW(name, ctypes.cast(handler, _PTR), None)
        line.starting()
        lines.append(line)
        connected.set()
        while not ended.wait(TICK):
            line.tick()

    def dispatch() -> None:
        """Blocks for as long as the service runs."""
        main = _Main(service_main)
        table = (_TableEntry * 2)(_TableEntry(name, ctypes.cast(main, _PTR)), _TableEntry())
        if not _advapi32.StartServiceCtrlDispatcherW(table):
            refused.append(ctypes.get_last_error())
            connected.set()

    dispatcher = threading.Thread(target=dispatch, name="service control dispatcher", daemon=True)
    start(dispatcher)
    connected.wait()
    if refused:
        if refused[0] == _NOT_CONTROLLED:
            raise NetworkError(errno.EPERM, "this is started by Windows' service manager: `responderd service start`")
        raise _error(refused[0], name)
    line, status = lines[0], 1
    try:
        with handling(ignore_ends):
            status = serve(line)
    finally:
        line.stopped(status)
        ended.set()
        dispatcher.join(TICK)
    return status


class NativeServiceControl:
    """See `responder.net.windows.service.ServiceControl`."""

    def install(self, name: str, command: str, *, account: str, description: str) -> None:
        with self._manager(_MANAGER_CONNECT | _MANAGER_CREATE) as manager:
            how = _ALL_ACCESS, _OWN_PROCESS, _AUTO_START, _ERROR_NORMAL
            user = ACCOUNTS[account][0]
            service = _advapi32.CreateServiceW(manager, name, name, *how, command, None, None, None, user, None)
            if not service:
                raise _error(ctypes.get_last_error(), name)
            text = ctypes.c_wchar_p(description)
            _advapi32.ChangeServiceConfig2W(service, _CONFIG_DESCRIPTION, ctypes.byref(text))
            try:
                _have_started_again(service, name)
            except NetworkError:
                _advapi32.DeleteService(service)
                raise
            finally:
                _advapi32.CloseServiceHandle(service)
        with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, rf"{SOURCES}\{name}") as key:
            # A file of Windows' own that shows an event's text as it is.
            winreg.SetValueEx(
                key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, r"%SystemRoot%\System32\EventCreate.exe"
            )
            winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, 7)

    def remove(self, name: str) -> None:
        with self._service(name, _DELETE) as service:
            if not _advapi32.DeleteService(service):
                raise _error(ctypes.get_last_error(), name)
        with suppress(OSError):
            winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, rf"{SOURCES}\{name}")

    def start(self, name: str) -> None:
        with self._service(name, _START | _QUERY) as service:
            if not _advapi32.StartServiceW(service, 0, None):
                raise _error(ctypes.get_last_error(), name)
            status = self._settled(service, name, RUNNING)
        if status.dwCurrentState != RUNNING:
            code = _exit_status(status)
            raise NetworkError(
                errno.ECHILD, f"the service {name} ended with status {code}: see the event log and its log file"
            )

    def stop(self, name: str) -> None:
        with self._service(name, _STOP | _QUERY) as service:
            if not _advapi32.ControlService(service, CONTROL_STOP, ctypes.byref(_Status())):
                raise _error(ctypes.get_last_error(), name)
            status = self._settled(service, name, STOPPED)
        if status.dwCurrentState != STOPPED:
            raise NetworkError(errno.ETIMEDOUT, f"the service {name} is {STATES[status.dwCurrentState]}")

    def query(self, name: str) -> ServiceInfo:
        with self._service(name, _QUERY) as service:
            status = _query(service, name)
            buffer, needed = ctypes.create_string_buffer(8192), _DWORD()
            if not _advapi32.QueryServiceConfigW(service, buffer, len(buffer), ctypes.byref(needed)):
                raise _error(ctypes.get_last_error(), name)
            config = _Config.from_buffer(buffer)
            command, account = config.lpBinaryPathName or "", config.lpServiceStartName or ""
        state = STATES.get(status.dwCurrentState, str(status.dwCurrentState))
        return ServiceInfo(state, status.dwProcessId, _exit_status(status), command, account)

    @contextmanager
    def _manager(self, access: int) -> Iterator[int]:
        manager = _advapi32.OpenSCManagerW(None, None, access)
        if not manager:
            raise _error(ctypes.get_last_error(), "the service manager")
        try:
            yield manager
        finally:
            _advapi32.CloseServiceHandle(manager)

    @contextmanager
    def _service(self, name: str, access: int) -> Iterator[int]:
        with self._manager(_MANAGER_CONNECT) as manager:
            service = _advapi32.OpenServiceW(manager, name, access)
            if not service:
                raise _error(ctypes.get_last_error(), name)
            try:
                yield service
            finally:
                _advapi32.CloseServiceHandle(service)

    def _settled(self, service: int, name: str, wanted: int) -> _Status:
        """Its status once it has the wanted state, has ended, or gives no sign of life any more."""
        until, seen = time.monotonic() + _PATIENCE, -1
        while True:
            status = _query(service, name)
            if status.dwCurrentState in (wanted, STOPPED) or time.monotonic() > until:
                return status
            if status.dwCheckPoint != seen:
                until, seen = time.monotonic() + _PATIENCE, status.dwCheckPoint
            time.sleep(_POLL)


def _have_started_again(service: int, name: str) -> None:
    """Have the manager start it again where it fails.  Raises NetworkError."""
    for level, structure in recovery():
        if not _advapi32.ChangeServiceConfig2W(service, level, ctypes.byref(structure)):
            code = ctypes.get_last_error()
            if code != _INVALID_LEVEL:  # Wine knows no flag, and forgets the actions
                raise _error(code, name)


def _query(service: int, name: str) -> _Status:
    status, needed = _Status(), _DWORD()
    if not _advapi32.QueryServiceStatusEx(
        service, 0, ctypes.byref(status), ctypes.sizeof(status), ctypes.byref(needed)
    ):
        raise _error(ctypes.get_last_error(), name)
    return status


def _exit_status(status: _Status) -> int:
    specific = status.dwWin32ExitCode == ERROR_SERVICE_SPECIFIC_ERROR
    return int(status.dwServiceSpecificExitCode if specific else status.dwWin32ExitCode)


def _error(code: int, name: str) -> NetworkError:
    number, message = {
        _ACCESS_DENIED: (errno.EACCES, f"{name}: access denied: run this as administrator"),
        _NO_SUCH: (errno.ENOENT, f"there is no service {name}"),
        _EXISTS: (errno.EEXIST, f"there is a service {name} already"),
        _ALREADY_RUNNING: (errno.EALREADY, f"the service {name} runs already"),
        _NOT_ACTIVE: (errno.ESRCH, f"the service {name} does not run"),
    }.get(code, (errno.EINVAL, f"{name}: {ctypes.FormatError(code)} (error {code})"))
    return NetworkError(number, message)
