"""The error queue of a UDP socket: what ICMP said about datagrams that it sent (ip(7) and ipv6(7), IP_RECVERR).

Only for a socket whose errors somebody wants: with IP_RECVERR an error also fails the next call on the socket, whoever
that was meant for, unless the queue has been emptied before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from ipaddress import ip_address
from typing import Final

from ...datagram import unscoped
from ...errors import Unreachable
from ..types import SendFailure
from .constants import IP_RECVERR, IPV6_RECVERR

if sys.platform != "linux":  # as in udp.py
    raise ImportError("Linux only")

_ERROR = struct.Struct("=IBBBxII")
"""struct sock_extended_err (linux/errqueue.h): ee_errno, ee_origin, ee_type, ee_code, ee_pad, ee_info, ee_data"""

_FROM_ICMP: Final = frozenset({2, 3})
"""SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6"""

_OPTIONS: Final = ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))

_CONTROL_SIZE: Final = 256

_NOT_FOR_GOOD: Final = frozenset({errno.EMSGSIZE, errno.EPROTO, errno.EOPNOTSUPP})
"""A path MTU, and parameter problems: the peer may be there."""


def hear_errors(sock: socket.socket) -> None:
    """Have the kernel queue the errors, of each family that the socket has."""
    for level, option in _OPTIONS:
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, 1)


def take_errors(sock: socket.socket) -> list[SendFailure]:
    """Empty the queue, and give what says that a peer can't be reached, or that nobody listens there."""
    found: list[SendFailure] = []
    while True:
        try:
            _, control, _, name = sock.recvmsg(0, _CONTROL_SIZE, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:  # EAGAIN: it is empty
            return found
        for level, kind, data in control:
            if (level, kind) not in _OPTIONS or len(data) < _ERROR.size:
                continue
            number, origin = _ERROR.unpack_from(data)[:2]
            if origin in _FROM_ICMP and number not in _NOT_FOR_GOOD:
                to = unscoped(ip_address(name[0].partition("%")[0]))
                found.append(
                    SendFailure(to, name[1], Unreachable(number, f"{to} port {name[1]}: {os.strerror(number)}"))
                )
