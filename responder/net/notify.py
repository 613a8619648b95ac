"""Sends a message to a service manager's notification socket, as sd_notify(3) describes the transport.

A message is one datagram to an AF_UNIX socket: a path, or with a leading "@" a name of Linux's abstract namespace.
AF_VSOCK addresses, which a virtual machine's own manager is given, are refused.

What is said is chosen in `responder.daemon.service_manager`.
"""

from __future__ import annotations

import errno
import os
import socket
import sys

from ..errors import NetworkError


def send(address: str, message: str, *, timeout: float) -> None:
    """Send `message`, waiting at most `timeout` seconds for room (0: not at all).  Raises NetworkError."""
    if sys.platform == "win32":
        raise NetworkError(errno.ENOSYS, "Windows has no notification socket")
    if not address.startswith(("/", "@")):
        raise NetworkError(errno.EAFNOSUPPORT, f"{os.strerror(errno.EAFNOSUPPORT)}: {address}")
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        # One socket a message: a manager that starts anew under the same name is reached without further ado.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.sendto(message.encode(), name)
    except OSError as error:
        # The two forms of "no room": waited in vain (TimeoutError, without a number), or not at all.
        code = error.errno or errno.ETIMEDOUT
        raise NetworkError(code, f"{address}: {error.strerror or error}") from error
