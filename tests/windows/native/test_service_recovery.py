"""What Windows' service manager does when the service fails, read back from it."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

from responder.errors import NetworkError
from responder.net.windows.service_native import NativeServiceControl
from responder.net.windows.service_recovery import FailureActions, FailureActionsFlag, recovery

from .support import ON_WINE

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

QUERY_CONFIG = 1


@pytest.mark.skipif(ON_WINE, reason="Wine forgets it: tests/windows/test_service.py sees that it is told")
def test_what_was_set_is_there() -> None:
    control, name = NativeServiceControl(), f"responderd-test-{os.getpid()}"
    try:
        control.install(name, "responderd.exe", account="LocalService", description="a test")
    except NetworkError as error:
        pytest.skip(f"not for this user: {error}")
    try:
        with control._service(name, QUERY_CONFIG) as service:
            buffers = [queried(service, level) for level, _ in recovery()]
    finally:
        control.remove(name)
    (_, wanted), _ = recovery()
    assert isinstance(wanted, FailureActions)
    actions, flag = FailureActions.from_buffer(buffers[0]), FailureActionsFlag.from_buffer(buffers[1])
    assert actions.dwResetPeriod == wanted.dwResetPeriod
    assert actions.cActions == wanted.cActions
    for got, told in zip(actions.lpsaActions[: actions.cActions], wanted.lpsaActions[: wanted.cActions], strict=True):
        assert (got.Type, got.Delay) == (told.Type, told.Delay)
    assert flag.fFailureActionsOnNonCrashFailures == 1


def queried(service: int, level: int) -> ctypes.Array[ctypes.c_char]:
    """What QueryServiceConfig2W tells.  Its pointers are into the buffer."""
    function = ctypes.WinDLL("advapi32", use_last_error=True).QueryServiceConfig2W
    function.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
    buffer, needed = ctypes.create_string_buffer(8192), ctypes.c_uint32()  # 8 KiB is the most there can be
    assert function(service, level, buffer, len(buffer), ctypes.byref(needed)), ctypes.get_last_error()
    return buffer
