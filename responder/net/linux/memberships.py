"""Linux's multicast memberships of one UDP socket, on as many kernel sockets as they need.

net.ipv4.igmp_max_memberships (20) counts a socket's memberships, each group on each interface; IPv6's are bounded by
net.core.optmem_max.  What the receiving socket has no room for is joined by helpers: sockets that are bound to no
port, so that they hold memberships and receive nothing.  What arrives through those reaches the receiving socket only
with IP_MULTICAST_ALL (IPV6_MULTICAST_ALL), which is on as long as there are helpers, and then brings what other
programs have joined too: `responder.dispatch.access` checks each datagram's group and interface.

`responder.net.memberships` chooses the groups, and tries again what was refused.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

import attrs

from ...datagram import IPAddress
from ..types import Membership

if sys.platform != "linux":  # mypy leaves out what follows, whose names the other platforms' `socket` lacks
    raise ImportError("Linux only")

from .constants import IP_MULTICAST_ALL, IPV6_MULTICAST_ALL, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP

_IP_MREQN = struct.Struct("=4s4si")
_IPV6_MREQ = struct.Struct("=16sI")
_GROUP_SOURCE_REQ = struct.Struct("@I0L128s128s")  # a sockaddr_storage is aligned to a long

# The limits of ip_mc_join_group, ip_mc_source and ipv6_sock_mc_join.
_NO_ROOM = frozenset({errno.ENOBUFS, errno.ENOMEM})


@attrs.define(eq=False)
class _Holder:
    """A kernel socket that holds memberships; `full` since it refused one, until it leaves one."""

    sock: socket.socket
    count: int = 0
    full: bool = False


class LinuxMemberships:
    """The memberships of a receiving socket.  It closes its helpers, and leaves that socket open."""

    def __init__(self, sock: socket.socket) -> None:
        self._receiving = sock
        self._holders = {version: [_Holder(sock)] for version in (4, 6)}
        self._held: dict[Membership, _Holder] = {}

    def join(self, membership: Membership) -> None:
        """Raises OSError.  Joined twice is no error."""
        if membership in self._held:
            return
        version = membership.group.version
        for holder in self._holders[version]:
            if not holder.full and self._joined_by(holder, membership):
                return
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            _set_membership(sock, membership, join=True)
            self._hear_all(version, True)
            helper = _Holder(socket.socket(fileno=sock.detach()), 1)
        self._holders[version].append(helper)
        self._held[membership] = helper

    def _joined_by(self, holder: _Holder, membership: Membership) -> bool:
        """False where it has no room."""
        try:
            _set_membership(holder.sock, membership, join=True)
        except OSError as error:
            if error.errno in _NO_ROOM:
                holder.full = True
                return False
            # What a second join gives: EADDRINUSE for a group, EADDRNOTAVAIL for a source (ip_mc_source).
            if error.errno != (errno.EADDRINUSE if membership.source is None else errno.EADDRNOTAVAIL):
                raise
        holder.count += 1
        self._held[membership] = holder
        return True

    def leave(self, membership: Membership) -> None:
        """Raises OSError, EADDRNOTAVAIL where it was not joined.  Afterwards it is not joined in any case."""
        holder = self._held.pop(membership, None)
        if holder is None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        try:
            _set_membership(holder.sock, membership, join=False)
        except OSError as error:
            if membership.source is None or error.errno != errno.ENODEV:
                raise
            # Of an interface that is gone the kernel lets a socket drop a group, but not a source (ip_mc_source).
            _set_membership(holder.sock, attrs.evolve(membership, source=None), join=False)
        finally:
            holder.count -= 1
            holder.full = False
            self._without_idle_helpers(membership.group.version)

    def _without_idle_helpers(self, version: int) -> None:
        receiving, *helpers = self._holders[version]
        busy = [helper for helper in helpers if helper.count]
        for helper in helpers:
            if not helper.count:
                helper.sock.close()
        if helpers and not busy:
            self._hear_all(version, False)
        self._holders[version] = [receiving, *busy]

    def _hear_all(self, version: int, on: bool) -> None:
        if version == 4:
            self._receiving.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, on)
        else:
            self._receiving.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, on)

    def close(self) -> None:
        for _receiving, *helpers in self._holders.values():
            for helper in helpers:
                helper.sock.close()


def _set_membership(sock: socket.socket, membership: Membership, *, join: bool) -> None:
    group, index, source = membership.group, membership.interface, membership.source
    # IPv4 groups through IPPROTO_IP on an AF_INET6 socket too: Linux takes them there.
    level = socket.IPPROTO_IP if group.version == 4 else socket.IPPROTO_IPV6
    if source is not None:
        option = MCAST_JOIN_SOURCE_GROUP if join else MCAST_LEAVE_SOURCE_GROUP
        value = _GROUP_SOURCE_REQ.pack(index, _sockaddr(group), _sockaddr(source))
    elif group.version == 4:
        option = socket.IP_ADD_MEMBERSHIP if join else socket.IP_DROP_MEMBERSHIP
        value = _IP_MREQN.pack(group.packed, bytes(4), index)
    else:
        option = socket.IPV6_JOIN_GROUP if join else socket.IPV6_LEAVE_GROUP
        value = _IPV6_MREQ.pack(group.packed, index)
    sock.setsockopt(level, option, value)


def _sockaddr(address: IPAddress) -> bytes:
    """A sockaddr_in or sockaddr_in6 with no port; struct pads it to a sockaddr_storage."""
    if address.version == 4:
        return struct.pack("=HH4s", socket.AF_INET, 0, address.packed)
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)
