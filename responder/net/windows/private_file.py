"""Makes a file its owner's alone on Windows, where the mode given to open() means nothing.

The way goes by SDDL, the text form of security descriptors: "O:S-1-5-..." names an owner, "D:P(A;;FA;;;S-1-5-...)" is a
list of access rights that inherits nothing (P) and allows (A) one user full access (FA).

This file refuses to make or write files.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

SDDL_REVISION_1 = 1
OWNER_SECURITY_INFORMATION = 0x00000001
DACL_SECURITY_INFORMATION = 0x00000004

MAX_DESCRIPTOR = 1024  # bytes; one with nothing but an owner has 20 and a SID, which has 68 at most

if sys.platform == "win32":
    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _DWORD = ctypes.c_uint32
    _GetFileSecurity = _advapi32.GetFileSecurityW
    _GetFileSecurity.argtypes = (ctypes.c_wchar_p, _DWORD, ctypes.c_void_p, _DWORD, ctypes.POINTER(_DWORD))
    _SetFileSecurity = _advapi32.SetFileSecurityW
    _SetFileSecurity.argtypes = (ctypes.c_wchar_p, _DWORD, ctypes.c_void_p)
    _ToText = _advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW
    _ToText.argtypes = (ctypes.c_void_p, _DWORD, _DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
    _FromText = _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
    _FromText.argtypes = (ctypes.c_wchar_p, _DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
    _LocalFree = _kernel32.LocalFree
    _LocalFree.argtypes = (ctypes.c_void_p,)

    def restrict_to_owner(path: Path) -> None:
        """Raises OSError."""
        owner = security_of(path, OWNER_SECURITY_INFORMATION).removeprefix("O:")
        descriptor = ctypes.c_void_p()
        _check(_FromText(f"D:P(A;;FA;;;{owner})", SDDL_REVISION_1, ctypes.byref(descriptor), None))
        try:
            _check(_SetFileSecurity(str(path), DACL_SECURITY_INFORMATION, descriptor))
        finally:
            _LocalFree(descriptor)

    def security_of(path: Path, information: int) -> str:
        """The parts of a file's security descriptor that `information` names, as SDDL.  Raises OSError."""
        descriptor = ctypes.create_string_buffer(MAX_DESCRIPTOR)
        needed = _DWORD()
        _check(_GetFileSecurity(str(path), information, descriptor, len(descriptor), ctypes.byref(needed)))
        text = ctypes.c_void_p()
        _check(_ToText(descriptor, SDDL_REVISION_1, information, ctypes.byref(text), None))
        assert text.value is not None  # noqa: S101 - a success says so
        try:
            return ctypes.wstring_at(text.value)
        finally:
            _LocalFree(text)

    def _check(success: int) -> None:
        if not success:
            raise ctypes.WinError(ctypes.get_last_error())
