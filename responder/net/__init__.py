"""The socket layer: the only place for sys.platform, ctypes, struct layouts and setsockopt.

`platform()` is this machine's; what a platform offers is said in `responder.net.types`.  Only the package of the
platform that runs is imported, since each command should pay for what it uses alone.

How to add a platform (`linux` is the one to read first):

1. Make a folder here and name it in `PLATFORMS`, behind what `sys.platform` begins with there.
2. In its `platform.py`, write a class that is a `responder.net.types.Platform`, and a function `open_platform` that
   returns one (see `PlatformModule`).  The sockets come from these:
     - `open_udp`: a `DatagramSocket`.  Write down in a table, as `bsd/abi.py` does, how a datagram's destination and
       interface are told, how a source is given, and how a group is joined; options are set before bind.  Where
       Python has no `sendmsg`, lay out control messages with `cmsg`; keep what is decoded in a table
       (`bounded.Memory`), so that each flow stays one `Flow`.  For a POSIX system, `posix/udp.py` receives, and knows
       what the error numbers mean.
     - `open_tcp`: a `listeners.Listener` on your listening sockets.
     - `interfaces` and `watch_interfaces`: an enumeration, and something that says when it is old.
3. Open with `place.Place` what is to be bound: its errors tell an operator what to do.
4. Where the kernel divides a port's datagrams among several sockets, add `handover.SharingPlatform`, for `workers`.
   What an owner's secret file (`owner_socket`), a change of user (`privileges`) or the end of a session (`session`)
   needs beyond POSIX goes there; where files are and what opens the firewall, into `folders` and `firewall`.
5. Tests: `tests/responder/net/test_udp.py`, `test_tcp.py` and `test_platform.py` hold for every platform, and
   `tests/everywhere` for the framework on it.  What only your kernel does is tested in a folder of its own, the pure
   parts in such a way that they run on any machine.  Run mypy with your `--platform` too (`CONTRIBUTING.md`).
"""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import NetworkError
from .types import Platform

if TYPE_CHECKING:
    from .inherited import Inherited

PLATFORMS: Final = {
    "linux": "linux",
    "win32": "windows",
    "darwin": "bsd",
    "freebsd": "bsd",
}
"""The folder for each system, which is known by what its `sys.platform` begins with."""


class PlatformModule(Protocol):
    """What the `platform.py` of each folder has."""

    def open_platform(self, inherited: Inherited | None) -> Platform:
        """This machine's, which opens `inherited` sockets before it binds others, where the system can pass any on."""


def platform(inherited: Inherited | None = None) -> Platform:
    """This machine's platform, which opens `inherited` sockets before it binds others.

    Raises NetworkError for a system that none of our folders is for.
    """
    for system, folder in PLATFORMS.items():
        if sys.platform.startswith(system):
            module: PlatformModule = import_module(f".{folder}.platform", __name__)
            return module.open_platform(inherited)
    known = ", ".join(PLATFORMS)
    raise NetworkError(errno.ENOSYS, f"{sys.platform}: not supported (there are {known})")
