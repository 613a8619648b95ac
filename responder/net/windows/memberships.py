"""Windows' multicast memberships of one UDP socket, by the options that its documentation has for each family.

They name the interface by its index, except that an IPv4 one falls back to an address of the interface where the system
refuses MCAST_JOIN_GROUP (Wine does).  Two links may have that address, and it may be gone when it is time to leave, so
it is not the first choice.

`responder.net.memberships` chooses the groups, and tries again.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from ...datagram import Interface
from ...errors import NetworkError
from ..types import Membership
from . import winsock_types as ws
from .winsock_errors import WSAEADDRNOTAVAIL, WSAEINVAL, WSAENOPROTOOPT, error_code

_Request: TypeAlias = tuple[int, int, int, bytes]
"""(level, option to join, option to leave, their argument)"""


_UNKNOWN_FORM = frozenset({WSAEINVAL, WSAENOPROTOOPT, WSAEADDRNOTAVAIL})


class WindowsMemberships:
    """What one socket has joined."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._joined: dict[Membership, _Request] = {}

    def join(self, membership: Membership, interface: Interface) -> None:
        """See `responder.net.types.DatagramSocket.join`."""
        if membership in self._joined:
            return
        requests = _requests(membership, interface)
        for request in requests:
            level, join, _, argument = request
            try:
                self._socket.setsockopt(level, join, argument)
            except OSError as error:
                if request is requests[-1] or error_code(error) not in _UNKNOWN_FORM:
                    raise
            else:
                self._joined[membership] = request  # it is left by the form in which it was joined
                return

    def leave(self, membership: Membership) -> None:
        """See `responder.net.types.DatagramSocket.leave`."""
        try:
            level, _, leave, argument = self._joined.pop(membership)
        except KeyError:
            raise NetworkError(
                errno.EADDRNOTAVAIL, f"{membership.group} is not joined on {membership.interface}"
            ) from None
        self._socket.setsockopt(level, leave, argument)


def _requests(membership: Membership, interface: Interface) -> list[_Request]:
    """The forms of a membership, the best first.  Raises NetworkError."""
    group, source, index = membership.group, membership.source, membership.interface
    if isinstance(group, IPv6Address):
        if source is None:
            return [(ws.IPPROTO_IPV6, ws.IPV6_ADD_MEMBERSHIP, ws.IPV6_DROP_MEMBERSHIP, ws.pack_ipv6_mreq(group, index))]
        request = ws.pack_group_req(index, group, source)
        return [(ws.IPPROTO_IPV6, ws.MCAST_JOIN_SOURCE_GROUP, ws.MCAST_LEAVE_SOURCE_GROUP, request)]
    own = next((entry.address for entry in interface.addresses if isinstance(entry.address, IPv4Address)), None)
    if own is None:
        raise NetworkError(errno.EADDRNOTAVAIL, f"{interface.name} has no IPv4 address to join {group} with")
    if isinstance(source, IPv4Address):
        by_index, by_address = ws.pack_group_req(index, group, source), ws.pack_ip_mreq(group, own, source)
        return [
            (ws.IPPROTO_IP, ws.MCAST_JOIN_SOURCE_GROUP, ws.MCAST_LEAVE_SOURCE_GROUP, by_index),
            (ws.IPPROTO_IP, ws.IP_ADD_SOURCE_MEMBERSHIP, ws.IP_DROP_SOURCE_MEMBERSHIP, by_address),
        ]
    return [
        (ws.IPPROTO_IP, ws.MCAST_JOIN_GROUP, ws.MCAST_LEAVE_GROUP, ws.pack_group_req(index, group)),
        (ws.IPPROTO_IP, ws.IP_ADD_MEMBERSHIP, ws.IP_DROP_MEMBERSHIP, ws.pack_ip_mreq(group, own)),
    ]
