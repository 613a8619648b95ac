"""Makes trio run under Wine, and gives Wine's WSASendMsg its control data.  On a real Windows it does nothing.

- Wine answers WSAEOPNOTSUPP to SIO_BSP_HANDLE_SELECT and _POLL, which trio asks for a socket's base handle.  Wine has
  no layered service providers, so a socket is its own base handle: trio's function is told so when it is imported.
- Wine drops the control data of WSASendMsg; `wsasendmsg_shim.dll` beside python.exe honours it.  With WSASENDMSG_SHIM=0
  it is not loaded: a test that passes then doesn't test the source.

Python imports this file at start, before anything else, so it imports little.
"""
# mypy: ignore-errors
# It reaches into trio and into import machinery, which have no types for that.

import ctypes
import importlib.abc
import importlib.machinery
import os
import sys

PATCHED = "trio._core._io_windows"
WSAEOPNOTSUPP = 10045


def is_wine():
    return sys.platform == "win32" and hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def patch(module):
    real = module._get_underlying_socket

    def get_underlying_socket(sock, *, which=module.WSAIoctls.SIO_BASE_HANDLE):
        try:
            return real(sock, which=which)
        except OSError as error:
            if error.winerror != WSAEOPNOTSUPP:
                raise
            return module._handle(sock if isinstance(sock, int) else sock.fileno())

    module._get_underlying_socket = get_underlying_socket


class Finder(importlib.abc.MetaPathFinder):
    """Patches the one module after it has been executed."""

    def find_spec(self, name, path, target=None):
        if name != PATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            patch(module)

        spec.loader.exec_module = exec_module
        return spec


if is_wine():
    sys.meta_path.insert(0, Finder())
    shim = os.path.join(sys.prefix, "wsasendmsg_shim.dll")
    if os.environ.get("WSASENDMSG_SHIM", "1") != "0" and os.path.exists(shim):
        ctypes.CDLL(shim).wsasendmsg_shim_install()
