"""Callbacks of Windows that an address or an interface has changed (iphlpapi's, netioapi.h).

NotifyUnicastIpAddressChange tells what SIO_ADDRESS_LIST_CHANGE does not: that an IPv6 address has left "tentative" or
was deprecated.  NotifyIpInterfaceChange tells of links that come, go or lose their carrier.  Windows calls from a
thread of its own.  Under Wine 8 both are silent after their first notification.

This file reads nothing of what the callbacks bring: whoever hears of a change enumerates.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ...log import get_logger

_log = get_logger(__name__)

NOTIFIERS = ("NotifyUnicastIpAddressChange", "NotifyIpInterfaceChange")


@contextmanager
def change_callbacks(told: Callable[[], None], *, at_once: bool = False) -> Iterator[None]:
    """Have `told` called, in another thread, for each change while the context is open; and `at_once` for a start."""
    with ExitStack() as stack:
        if sys.platform == "win32":
            iphlpapi = ctypes.WinDLL("iphlpapi")
            cancel = iphlpapi.CancelMibChangeNotify2
            cancel.argtypes = (ctypes.c_void_p,)
            callback = ctypes.WINFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)(lambda *_: told())
            for name in NOTIFIERS:
                handle = ctypes.c_void_p()
                code = getattr(iphlpapi, name)(0, callback, None, at_once, ctypes.byref(handle))  # AF_UNSPEC
                if code:
                    _log.warning("changes of the network are found later than they could be", function=name, error=code)
                else:
                    stack.callback(cancel, handle)  # returns once no callback runs any more
        yield
