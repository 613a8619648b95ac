"""The socket layer: the only place for sys.platform, ctypes, struct layouts and setsockopt.

`platform()` is this machine's; what it offers is said in `responder.net.types`.  Only the module of the platform that
runs is imported, since each command should pay for what it uses alone.
"""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

from ..errors import NetworkError
from .types import Platform

if TYPE_CHECKING:
    from .inherited import Inherited


def platform(inherited: Inherited | None = None) -> Platform:
    """This machine's platform, which opens `inherited` sockets before it binds others.

    Raises NetworkError for a system that none of our modules knows.
    """
    # In this form, with one return at the end, so that mypy checks each platform's line and no other.
    system: Platform
    if sys.platform == "linux":
        from .linux.platform import LinuxPlatform  # noqa: PLC0415 - exists on Linux only

        system = LinuxPlatform(inherited)
    elif sys.platform == "win32":
        from .windows.platform import WindowsPlatform  # noqa: PLC0415 - exists on Windows only

        system = WindowsPlatform()
    else:
        from .bsd.abi import system_of  # noqa: PLC0415 - the BSDs only

        bsd = system_of(sys.platform)
        if bsd is None:
            message = f"{sys.platform}: not supported (there are Linux, Windows, macOS and FreeBSD)"
            raise NetworkError(errno.ENOSYS, message)
        from .bsd.platform import BsdPlatform  # noqa: PLC0415 - the BSDs only

        system = BsdPlatform(bsd)
    return system
