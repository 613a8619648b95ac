"""Linux capabilities: all of them given up (capabilities(7)), with the two system calls that Python lacks.

Sets that rule what a program started later may gain, and PR_SET_NO_NEW_PRIVS, are given up in `limit_programs`; those
that this process acts with in `drop`.  Both calls act on the calling thread only, and threads that it starts later take
after it.  A thread that is there already loses its capabilities with the change of user, which glibc makes in every
thread (nptl(7)); whether that is so is looked at.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from ...errors import NetworkError

if sys.platform != "linux":  # mypy leaves out what follows
    raise ImportError("Linux only")

# linux/prctl.h
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# linux/capability.h
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = 64
"""As many as version 3's sets have bits; the kernel knows fewer, and says EINVAL to the first that it doesn't."""

_TASKS = Path("/proc/self/task")
_ACTIVE_SETS = ("CapPrm", "CapEff", "CapAmb")


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct; pid 0 is the calling thread."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """struct __user_cap_data_struct: 32 of the 64 bits of each set."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def limit_programs() -> None:
    """No program that is started from now on gains a privilege.  Raises OSError."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(CAPABILITIES):
        try:
            _prctl(PR_CAPBSET_DROP, capability)
        except PermissionError:
            break  # without CAP_SETPCAP it can't be changed; PR_SET_NO_NEW_PRIVS alone then has to do
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break


def drop() -> None:
    """Give up every capability.  Raises OSError, NetworkError where another thread has some left."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _Header(LINUX_CAPABILITY_VERSION_3, 0)
    _check(_libc().capset(ctypes.byref(header), ctypes.byref((_Data * 2)())), "capset")
    if threads := _privileged_threads():
        raise NetworkError(
            errno.EPERM,
            "threads that run already keep capabilities: start the process as root, or without capabilities, "
            f"or leave the user out (threads {' '.join(threads)})",
        )


def _privileged_threads() -> list[str]:
    """The ids of this process's threads that have a capability."""
    privileged = []
    for task in _TASKS.iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended meanwhile
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if any(int(fields[name], 16) for name in _ACTIVE_SETS):
            privileged.append(task.name)
    return privileged


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    # Every argument an unsigned long, and the unused ones 0: the kernel checks that.
    zero = ctypes.c_ulong(0)
    _check(_libc().prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero), "prctl")


def _check(result: int, call: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
