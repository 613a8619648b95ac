"""What Windows does when a service fails: it is started again, as systemd does by Restart=on-failure.

The structures of winsvc.h for ChangeServiceConfig2W, in types of one size everywhere; `service_native` calls it.
"""

from __future__ import annotations

import ctypes
from typing import Final

CONFIG_FAILURE_ACTIONS, CONFIG_FAILURE_ACTIONS_FLAG = 2, 4
"""Levels of ChangeServiceConfig2W."""

ACTION_RESTART = 1
"""SC_ACTION_RESTART.  The handle of the service needs the right SERVICE_START for it."""

RESTART_AFTER: Final = (1.0, 5.0, 30.0)
"""Seconds before each start after a failure; the last one is repeated."""

FORGOTTEN_AFTER: Final = 86_400
"""Seconds without a failure after which the first is the first again."""


class Action(ctypes.Structure):
    """SC_ACTION; `Delay` in milliseconds."""

    _fields_ = (("Type", ctypes.c_uint32), ("Delay", ctypes.c_uint32))


class FailureActions(ctypes.Structure):
    """SERVICE_FAILURE_ACTIONSW; `dwResetPeriod` in seconds.  Texts that are NULL stay as they are: there are none."""

    _fields_ = (
        ("dwResetPeriod", ctypes.c_uint32),
        ("lpRebootMsg", ctypes.c_void_p),
        ("lpCommand", ctypes.c_void_p),
        ("cActions", ctypes.c_uint32),
        ("lpsaActions", ctypes.POINTER(Action)),
    )


class FailureActionsFlag(ctypes.Structure):
    """SERVICE_FAILURE_ACTIONS_FLAG: does an end with an error status count, and not only one without a word?"""

    _fields_ = (("fFailureActionsOnNonCrashFailures", ctypes.c_int32),)


def recovery() -> tuple[tuple[int, ctypes.Structure], ...]:
    """The levels to set, each with its structure."""
    actions = (Action * len(RESTART_AFTER))(*(Action(ACTION_RESTART, int(delay * 1000)) for delay in RESTART_AFTER))
    return (
        (CONFIG_FAILURE_ACTIONS, FailureActions(FORGOTTEN_AFTER, None, None, len(actions), actions)),
        (CONFIG_FAILURE_ACTIONS_FLAG, FailureActionsFlag(1)),
    )
