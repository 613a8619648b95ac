"""What the UDP sockets of Linux and the BSDs share: bounds, receiving, and what errno values mean.

Options and control messages are not here: they differ from system to system.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

from ...datagram import IPAddress
from ...errors import MessageTooLong, NetworkError, SendError, SendRefused, SourceUnavailable, Unreachable
from ..cmsg import ControlMessage
from ..types import Message, Route

if sys.platform == "win32":  # mypy leaves out what follows: there is no recvmsg
    raise ImportError("POSIX only")

PAYLOAD_SIZE = 65536
"""Bytes of a receive buffer: more than any UDP payload (65,507 over IPv4, 65,527 over IPv6) but a jumbogram's."""

CONTROL_SIZE = 512
"""Bytes: what we ask for takes at most 160."""

TABLE_SIZE = 16384
"""Entries remembered for the next time, of each kind: see `responder.bounded.Memory`."""

# What ICMP messages about earlier sends turn into (Linux: icmp_err_convert, icmpv6_err_convert), and shortages: the
# socket goes on.  ENONET is Linux's alone.
PASSED_OVER = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENETDOWN,
        getattr(errno, "ENONET", errno.ENETDOWN),
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPROTO,
        errno.EACCES,
        errno.EPERM,
        errno.EMSGSIZE,
        errno.ENOBUFS,
        errno.ENOMEM,
    }
)

# What a source that is gone gives, by IP version (Linux 6.18; EADDRNOTAVAIL: BSD).  Each has other causes too, so the
# address is then looked for; not where it can't be the cause, since a flood of unroutable peers would pay for it.
_SOURCE_SUSPECTED = {
    4: frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL}),
    6: frozenset({errno.EINVAL, errno.EADDRNOTAVAIL}),
}

_REFUSALS: dict[int, type[SendError]] = {
    errno.EMSGSIZE: MessageTooLong,
    errno.EPERM: SendRefused,  # a firewall's output rule
    errno.ENOBUFS: SendRefused,
    errno.ENOMEM: SendRefused,
    errno.ENETUNREACH: Unreachable,
    errno.EHOSTUNREACH: Unreachable,
    errno.EHOSTDOWN: Unreachable,
    errno.ENETDOWN: Unreachable,
    errno.EADDRNOTAVAIL: Unreachable,
    errno.EACCES: Unreachable,  # a `prohibit` route
    errno.ENODEV: Unreachable,  # the interface is gone
    errno.ENXIO: Unreachable,
    errno.EAFNOSUPPORT: Unreachable,
}


def receive_each(sock: socket.socket, limit: int, port: int) -> Iterator[tuple[bytes, list[ControlMessage], int, Any]]:
    """What recvmsg gives, up to `limit` times, until nothing is left: payload, control messages, flags, sender.

    Raises NetworkError where the socket can't receive; not before what came before that has been taken.
    """
    recvmsg, came = sock.recvmsg, False
    for _ in range(limit):
        try:
            message = recvmsg(PAYLOAD_SIZE, CONTROL_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in PASSED_OVER:
                continue
            if came:
                return  # the next call meets it again
            raise NetworkError(error.errno, f"UDP port {port} can't receive: {error.strerror}") from error
        came = True
        yield message


def refusal(error: OSError, message: Message) -> SendError:
    """The exception for what sendmsg raised."""
    if isinstance(error, SendError):
        return error
    code, (_, route, port) = error.errno or 0, message
    what = f"to {route.to} port {port}"
    source = route.source
    if source is not None and code in _SOURCE_SUSPECTED[source.version] and not is_own(source, route):
        return SourceUnavailable(code, f"{what}: {route.source} is no address of this host now")
    if route.source is not None:
        what += f" from {route.source}"
    return _REFUSALS.get(code, SendError)(code, f"{what}: {os.strerror(code)}")


def is_own(source: IPAddress, route: Route) -> bool:
    """Whether the host has this address, ready for use: a socket can be bound to it.  Some 10 us."""
    if source.is_multicast:  # can be bound, but is nobody's
        return False
    name: tuple[str, int] | tuple[str, int, int, int]
    if source.version == 4:
        family, name = socket.AF_INET, (str(source), 0)
    else:
        scope_id = (route.interface or route.scope_id) if source.is_link_local else 0
        family, name = socket.AF_INET6, (str(source), 0, 0, scope_id)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(name)
        except OSError:
            return False
    return True
