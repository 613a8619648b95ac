"""Makes files for their owner alone on Windows, where the mode given to open() means nothing.

A file gets its access list when it is made (CreateFileW with SECURITY_ATTRIBUTES).  Made with inherited rights and
restricted afterwards, it could be opened in between, and such a handle goes on reading.

The list is written in SDDL: "D:P(A;;FA;;;SID)..." inherits nothing (P) and allows (A) each of them full access (FA).
They are the user, the system (SY), and the host's administrators (BA), which keeps in the same user with and without
elevated rights, and an administrator beside a service's account.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SDDL_REVISION_1 = 1
OWNER_SECURITY_INFORMATION = 0x00000001
DACL_SECURITY_INFORMATION = 0x00000004

FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT = 0x10, 0x400


def access_list(user: str, *, inherited: bool = False) -> str:
    """The SDDL for a user's SID; `inherited`: of a folder, for what is made in it too."""
    return "D:P" + "".join(_entries(user, "OICI" if inherited else ""))


def extended_list(present: str, user: str) -> str:
    """A folder's list with that user, the system and the administrators in it too.  Both lists are SDDL.

    What an account was given by name stays, such as another service's rights.  What the folder above hands down (ID)
    does not, nor what every user was given: every user may read what is in %ProgramData%, and make files there.
    """
    own = _entries(user, "OICI")
    given = [entry for entry in _ENTRY.findall(present) if entry not in own and not _is_for_anybody(entry)]
    # Refusals come before permissions, or they would be none.
    return "D:P" + "".join(sorted(given + own, key=lambda entry: not entry.startswith("(D;")))


_ENTRY = re.compile(r"\([^()]*\)")


def _entries(user: str, flags: str) -> list[str]:
    return [f"(A;{flags};FA;;;{sid})" for sid in dict.fromkeys(("SY", "BA", user))]


_ANYBODY = ("WD", "AU", "BU", "IU", "NU", "AN", "BG", "LG", "AC")
"""SDDL's names of groups that any user is in or can be, and of guests."""


def _is_for_anybody(entry: str) -> bool:
    """Of an entry "(type;flags;rights;;;who)"; flags are of two letters each."""
    kind, flags, *_, who = entry.strip("()").split(";")
    return "ID" in [flags[at : at + 2] for at in range(0, len(flags), 2)] or (kind == "A" and who in _ANYBODY)


if sys.platform == "win32":
    import msvcrt
    from ctypes import wintypes

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _PTR, _DWORD = ctypes.c_void_p, wintypes.DWORD

    class _SecurityAttributes(ctypes.Structure):
        _fields_ = (("nLength", _DWORD), ("lpSecurityDescriptor", _PTR), ("bInheritHandle", wintypes.BOOL))

    _advapi32.GetTokenInformation.argtypes = (_PTR, ctypes.c_int, _PTR, _DWORD, ctypes.POINTER(_DWORD))
    _advapi32.ConvertSidToStringSidW.argtypes = (_PTR, ctypes.POINTER(_PTR))
    _to_text = _advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW
    _to_text.argtypes = (_PTR, _DWORD, _DWORD, ctypes.POINTER(_PTR), _PTR)
    _from_text = _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
    _from_text.argtypes = (wintypes.LPCWSTR, _DWORD, ctypes.POINTER(_PTR), _PTR)
    _advapi32.GetSecurityDescriptorDacl.argtypes = (_PTR, _PTR, _PTR, _PTR)
    _advapi32.GetSecurityInfo.argtypes = (_PTR, ctypes.c_int, _DWORD, _PTR, _PTR, _PTR, _PTR, ctypes.POINTER(_PTR))
    _advapi32.SetSecurityInfo.argtypes = (_PTR, ctypes.c_int, _DWORD, _PTR, _PTR, _PTR, _PTR)
    _advapi32.SetKernelObjectSecurity.argtypes = (_PTR, _DWORD, _PTR)
    _advapi32.OpenProcessToken.argtypes = (_PTR, _DWORD, ctypes.POINTER(_PTR))
    _kernel32.GetCurrentProcess.restype = _PTR
    _kernel32.CloseHandle.argtypes = (_PTR,)
    _kernel32.LocalFree.argtypes = (_PTR,)
    _kernel32.CreateFileW.restype = _PTR
    _kernel32.CreateFileW.argtypes = (wintypes.LPCWSTR, _DWORD, _DWORD, _PTR, _DWORD, _DWORD, _PTR)
    _kernel32.CreateDirectoryW.argtypes = (wintypes.LPCWSTR, _PTR)
    _kernel32.GetFileInformationByHandle.argtypes = (_PTR, _PTR)

    _GENERIC_WRITE, _FILE_SHARE_READ, _CREATE_NEW, _FILE_ATTRIBUTE_NORMAL = 0x40000000, 0x1, 1, 0x80
    _INVALID_HANDLE = _PTR(-1).value
    _TOKEN_QUERY, _TOKEN_USER = 0x0008, 1
    # READ_CONTROL, WRITE_DAC, FILE_READ_ATTRIBUTES, FILE_TRAVERSE, and FILE_LIST_DIRECTORY, to pass rights on.
    _FOLDER_ACCESS, _FILE_SHARE_WRITE, _OPEN_EXISTING = 0x000600A1, 0x2, 3
    _FILE_FLAG_BACKUP_SEMANTICS, _FILE_FLAG_OPEN_REPARSE_POINT = 0x02000000, 0x00200000
    _SE_FILE_OBJECT, _PROTECTED_DACL_SECURITY_INFORMATION, _ERROR_ALREADY_EXISTS = 1, 0x80000000, 183

    def create_private(path: str, _flags: int = 0) -> int:
        """A descriptor that writes a new file, as an `opener` of open().  Raises FileExistsError and other OSErrors."""
        with _attributes(access_list(current_user())) as attributes:
            handle = _kernel32.CreateFileW(
                path, _GENERIC_WRITE, _FILE_SHARE_READ, attributes, _CREATE_NEW, _FILE_ATTRIBUTE_NORMAL, None
            )
        _check(handle != _INVALID_HANDLE)
        return msvcrt.open_osfhandle(handle, os.O_WRONLY | os.O_NOINHERIT)

    def make_private_folder(path: Path, user: str) -> None:
        """A folder for the user of a SID (or an alias of SDDL) and the administrators, with all that is in it.

        One that is there gets these rights beside those that it has (`extended_list`), unless it is somebody else's,
        who could change them back, or a junction, which would have what it leads to taken over.  Raises OSError.
        """
        with _attributes(access_list(user, inherited=True)) as attributes:
            if _kernel32.CreateDirectoryW(str(path), attributes):
                return
        if ctypes.get_last_error() != _ERROR_ALREADY_EXISTS:
            raise ctypes.WinError(ctypes.get_last_error())
        # All by one handle: any user may put something else at the path in between.
        share, flags = _FILE_SHARE_READ | _FILE_SHARE_WRITE, _FILE_FLAG_BACKUP_SEMANTICS | _FILE_FLAG_OPEN_REPARSE_POINT
        folder = _kernel32.CreateFileW(str(path), _FOLDER_ACCESS, share, None, _OPEN_EXISTING, flags, None)
        _check(folder != _INVALID_HANDLE)
        try:
            kind = attributes_of(folder)
            if kind & FILE_ATTRIBUTE_REPARSE_POINT or not kind & FILE_ATTRIBUTE_DIRECTORY:
                what = "is no folder, but a file, or a junction or link that leads elsewhere: remove it"
                raise NotADirectoryError(errno.ENOTDIR, what, str(path))
            owner = owner_of(folder)
            if owner not in ("BA", "SY", "LA", user, current_user()):
                what = f"belongs to {owner}, who is no administrator: remove it"
                raise PermissionError(errno.EACCES, what, str(path))
            present = _security_of(folder, DACL_SECURITY_INFORMATION)
            _set_access_list(folder, extended_list(present, user))
        finally:
            _kernel32.CloseHandle(folder)

    def attributes_of(handle: int) -> int:
        """An open file's FILE_ATTRIBUTE_ bits.  Raises OSError."""
        information = (_DWORD * 13)()  # BY_HANDLE_FILE_INFORMATION, which begins with them
        _check(_kernel32.GetFileInformationByHandle(handle, information))
        return information[0]

    def owner_of(handle: int) -> str:
        """The owner of an open file: a SID, or SDDL's name of one.  Raises OSError."""
        return _security_of(handle, OWNER_SECURITY_INFORMATION).removeprefix("O:")

    def _security_of(handle: int, what: int) -> str:
        """That part of an open file's security descriptor, as SDDL.  Raises OSError."""
        descriptor, text = _PTR(), _PTR()
        got = None, None, None, None, ctypes.byref(descriptor)
        if code := _advapi32.GetSecurityInfo(handle, _SE_FILE_OBJECT, what, *got):
            raise ctypes.WinError(code)
        try:
            _check(_to_text(descriptor, SDDL_REVISION_1, what, ctypes.byref(text), None))
        finally:
            _kernel32.LocalFree(descriptor)
        return _taken(text)

    def _set_access_list(folder: int, text: str) -> None:
        present, defaulted, rights = wintypes.BOOL(), wintypes.BOOL(), _PTR()
        with _descriptor(text) as descriptor:
            got = ctypes.byref(present), ctypes.byref(rights), ctypes.byref(defaulted)
            _check(_advapi32.GetSecurityDescriptorDacl(descriptor, *got))
            what = DACL_SECURITY_INFORMATION | _PROTECTED_DACL_SECURITY_INFORMATION
            # With all that is in it; Wine 8 adds what the folder above has, so the folder itself comes after.
            code = _advapi32.SetSecurityInfo(folder, _SE_FILE_OBJECT, what, None, None, rights, None)
            _check(_advapi32.SetKernelObjectSecurity(folder, DACL_SECURITY_INFORMATION, descriptor))
        if code:
            raise ctypes.WinError(code)

    def current_user() -> str:
        """The SID of the user that this process runs for.  (Its files' owner may be the group of administrators.)"""
        token = _PTR()
        _check(_advapi32.OpenProcessToken(_kernel32.GetCurrentProcess(), _TOKEN_QUERY, ctypes.byref(token)))
        try:
            buffer, needed = ctypes.create_string_buffer(256), _DWORD()
            _check(_advapi32.GetTokenInformation(token, _TOKEN_USER, buffer, len(buffer), ctypes.byref(needed)))
        finally:
            _kernel32.CloseHandle(token)
        text = _PTR()
        _check(_advapi32.ConvertSidToStringSidW(_PTR.from_buffer(buffer), ctypes.byref(text)))
        return _taken(text)

    @contextmanager
    def _descriptor(text: str) -> Iterator[ctypes.c_void_p]:
        """A security descriptor with an access list."""
        descriptor = _PTR()
        _check(_from_text(text, SDDL_REVISION_1, ctypes.byref(descriptor), None))
        try:
            yield descriptor
        finally:
            _kernel32.LocalFree(descriptor)

    @contextmanager
    def _attributes(text: str) -> Iterator[object]:
        """A pointer to SECURITY_ATTRIBUTES with an access list."""
        with _descriptor(text) as descriptor:
            yield ctypes.byref(_SecurityAttributes(ctypes.sizeof(_SecurityAttributes), descriptor, False))

    def _taken(text: ctypes.c_void_p) -> str:
        """The string that a function has allocated, which is freed."""
        assert text.value is not None  # noqa: S101 - a success says so
        try:
            return ctypes.wstring_at(text.value)
        finally:
            _kernel32.LocalFree(text)

    def _check(success: int) -> None:
        if not success:
            raise ctypes.WinError(ctypes.get_last_error())
