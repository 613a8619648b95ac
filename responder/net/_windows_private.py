"""Makes a file its owner's alone on Windows, where the mode given to open() means nothing.

This file refuses to make or write files.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

OWNER_ONLY = "D:P(A;;FA;;;OW)"
"""A security descriptor (SDDL): a DACL that inherits nothing (P) and gives the owner (OW) full access (FA)."""

SDDL_REVISION_1 = 1
DACL_SECURITY_INFORMATION = 0x00000004

if sys.platform == "win32":

    def restrict_to_owner(path: Path) -> None:
        """Raises OSError."""
        advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        convert = advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
        convert.argtypes = (ctypes.c_wchar_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
        set_security = advapi32.SetFileSecurityW
        set_security.argtypes = (ctypes.c_wchar_p, ctypes.c_uint32, ctypes.c_void_p)
        kernel32.LocalFree.argtypes = (ctypes.c_void_p,)
        descriptor = ctypes.c_void_p()
        if not convert(OWNER_ONLY, SDDL_REVISION_1, ctypes.byref(descriptor), None):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            if not set_security(str(path), DACL_SECURITY_INFORMATION, descriptor):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            kernel32.LocalFree(descriptor)
