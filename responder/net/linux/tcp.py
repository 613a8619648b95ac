"""The interface that a TCP connection came in on, as Linux tells it.

With IPV6_RECVPKTINFO (on an AF_INET socket IP_PKTINFO) set on the listener, getsockopt(IPV6_PKTOPTIONS) (IP_PKTOPTIONS)
of an accepted socket gives a pktinfo message with the interface that the SYN came in on, for IPv4 connections of an
AF_INET6 socket too.
"""

from __future__ import annotations

import socket
import struct
import sys

from .. import cmsg

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

from .constants import IP_PKTINFO, IP_PKTOPTIONS, IPV6_2292PKTOPTIONS

_ABI = cmsg.LINUX_64 if struct.calcsize("@P") == 8 else cmsg.LINUX_32
_PKTOPTIONS_SIZE = 512


async def arrival_interface(connection: socket.socket) -> int:
    """The index of the interface that the connection came in on; 0 where the kernel does not tell.  Raises OSError."""
    if connection.family == socket.AF_INET:
        options = connection.getsockopt(socket.IPPROTO_IP, IP_PKTOPTIONS, _PKTOPTIONS_SIZE)
    else:
        options = connection.getsockopt(socket.IPPROTO_IPV6, IPV6_2292PKTOPTIONS, _PKTOPTIONS_SIZE)
    for level, kind, data in _ABI.parse(options):
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return cmsg.unpack_in6_pktinfo(data)[0]
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return cmsg.unpack_in_pktinfo_posix(data)[0]
    return 0
