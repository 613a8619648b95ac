"""A process whose kernel refuses AF_INET6: a seccomp filter makes socket(AF_INET6, ...) fail with EAFNOSUPPORT.

Such a filter can't be taken off again, so it is for a process of its own: call `refuse_ipv6()` there first.  Linux on
x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct

SYS_SOCKET = {"x86_64": 41, "aarch64": 198}

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ERRNO, _SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
# linux/bpf_common.h: load an absolute word; jump if equal to a constant; return a constant.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
# struct seccomp_data: the call's number at 0, the low half of its first argument at 16 (little-endian).
_NUMBER, _FIRST_ARGUMENT = 0, 16


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_ipv6() -> None:
    """Raises OSError where the kernel takes no filter."""
    instructions = (
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_IF_EQUAL, 0, 3, SYS_SOCKET[platform.machine()]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, socket.AF_INET6),
        (_RETURN, 0, 0, _SECCOMP_RET_ERRNO | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
