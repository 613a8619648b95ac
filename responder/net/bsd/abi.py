"""macOS and FreeBSD: their numbers, their structures, and what a datagram's control messages say.  Pure.

Neither has one socket that does all for both families: FreeBSD can't join an IPv4 group on an AF_INET6 socket, and
macOS takes no choice of interface and source together for IPv4 there (an index in in_pktinfo discards the address).  So
each port is an AF_INET and an AF_INET6 socket, and each of these speaks its own family's options.

                              macOS                              FreeBSD
    IPv4 destination          IP_PKTINFO, with the interface     IP_RECVDSTADDR, and IP_RECVIF (a sockaddr_dl)
    IPv4 source               IP_PKTINFO, ipi_spec_dst           IP_SENDSRCADDR
    IPv4 group's interface    IP_MULTICAST_IF before the send    the same
    IPv6 both                 IPV6_PKTINFO (RFC 3542)            the same
    hop limit on arrival      IP_RECVTTL: one byte; IPV6_HOPLIMIT: an int
    hop limit of a send       IP_TTL, IP_MULTICAST_TTL before the send; IPV6_HOPLIMIT

IPv4 unicast goes where routing says on both: an interface can't be chosen beside the source.  Numbers are those of
netinet/in.h, netinet6/in6.h, net/route.h and sys/sockio.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

import attrs

from ...datagram import IPAddress, Via
from ...errors import SourceUnavailable
from .. import cmsg
from ..types import Flow, Membership, Route

Options: TypeAlias = tuple[tuple[int, int, int], ...]
"""(level, option, value) each"""

IPPROTO_IP: Final = 0
IPPROTO_IPV6: Final = 41
SOL_SOCKET: Final = 0xFFFF
AF_INET: Final = 2
AF_ROUTE: Final = 17

# The same on both.
IP_TTL: Final = 4
_IP_RECVDSTADDR: Final = 7  # and IP_SENDSRCADDR
_IP_MULTICAST_IF: Final = 9
IP_MULTICAST_TTL: Final = 10
_IP_ADD_MEMBERSHIP: Final = 12
_IP_DROP_MEMBERSHIP: Final = 13
_IP_RECVIF: Final = 20
_IPV6_JOIN_GROUP: Final = 12
_IPV6_LEAVE_GROUP: Final = 13
_IPV6_V6ONLY: Final = 27
_IPV6_RECVHOPLIMIT: Final = 37
_IPV6_USE_MIN_MTU: Final = 42
_IPV6_PKTINFO: Final = 46
_IPV6_HOPLIMIT: Final = 47
_MCAST_JOIN_SOURCE_GROUP: Final = 82
_MCAST_LEAVE_SOURCE_GROUP: Final = 83
SO_REUSEADDR: Final = 0x4
SO_REUSEPORT: Final = 0x200
SO_BROADCAST: Final = 0x20
SO_SNDBUF: Final = 0x1001
SO_RCVBUF: Final = 0x1002

_IP_MREQN = struct.Struct("=4s4si")
_IPV6_MREQ = struct.Struct("=16sI")
_SOCKADDR_STORAGE: Final = 128


@attrs.frozen
class System:
    """What differs between the two.  `ip_pktinfo` is 0 where there is none."""

    name: str
    af_inet6: int
    ip_recvttl: int
    ipv6_recvpktinfo: int
    ip_pktinfo: int
    group_source_padding: int
    """Bytes between the index and the group in group_source_req: Darwin packs it to 4 bytes."""

    @property
    def ipv4_options(self) -> Options:
        destination: Options = (
            ((IPPROTO_IP, self.ip_pktinfo, 1),)
            if self.ip_pktinfo
            else ((IPPROTO_IP, _IP_RECVDSTADDR, 1), (IPPROTO_IP, _IP_RECVIF, 1))
        )
        return (*destination, (IPPROTO_IP, self.ip_recvttl, 1), (SOL_SOCKET, SO_BROADCAST, 1))

    @property
    def ipv6_options(self) -> Options:
        return (
            (IPPROTO_IPV6, _IPV6_V6ONLY, 1),
            (IPPROTO_IPV6, self.ipv6_recvpktinfo, 1),
            (IPPROTO_IPV6, _IPV6_RECVHOPLIMIT, 1),
            # Answers go out in fragments that pass everywhere; forged ICMP can't shrink what we believe of the flow.
            (IPPROTO_IPV6, _IPV6_USE_MIN_MTU, 1),
        )

    def options(self, version: int) -> Options:
        return self.ipv4_options if version == 4 else self.ipv6_options


DARWIN = System("darwin", 30, ip_recvttl=24, ipv6_recvpktinfo=61, ip_pktinfo=26, group_source_padding=0)
FREEBSD = System(
    "freebsd", 28, ip_recvttl=65, ipv6_recvpktinfo=36, ip_pktinfo=0, group_source_padding=struct.calcsize("@P") - 4
)


def system_of(platform: str) -> System | None:
    """By `sys.platform`; None for one that is neither."""
    if platform == "darwin":
        return DARWIN
    return FREEBSD if platform.startswith("freebsd") else None


def families(address: IPAddress | None, *, has_ipv4: bool, has_ipv6: bool) -> tuple[int, ...]:
    """Of which versions a port's sockets are: IPv6 first, since it chooses the number of port 0 for both.

    Empty where the host lacks the IP version that is needed.
    """
    present = [version for version, there in ((6, has_ipv6), (4, has_ipv4)) if there]
    return tuple(version for version in present if address is None or address.version == version)


def decode_flow(system: System, peer: str, scope_id: int, control: Iterable[cmsg.ControlMessage]) -> Flow:
    """The flow of a datagram.  Directed broadcast is not told apart: `via` is left to the interface table."""
    destination: IPAddress | None = None
    interface = 0
    for level, kind, data in control:
        with suppress(struct.error, AddressValueError):  # of another size than it must have: as if it weren't there
            if level == IPPROTO_IP:
                if kind == system.ip_pktinfo and system.ip_pktinfo:
                    interface, _, destination = cmsg.unpack_in_pktinfo_posix(data)
                elif kind == _IP_RECVDSTADDR and not system.ip_pktinfo:
                    destination = IPv4Address(data[:4])
                elif kind == _IP_RECVIF and not system.ip_pktinfo:
                    interface = struct.unpack_from("=H", data, 2)[0]  # sdl_index
            elif (level, kind) == (IPPROTO_IPV6, _IPV6_PKTINFO):
                interface, destination = cmsg.unpack_in6_pktinfo(data)
    via = None
    if destination is not None and (destination.is_multicast or destination.version == 6):
        via = Via.MULTICAST if destination.is_multicast else Via.UNICAST
    return Flow(ip_address(peer.partition("%")[0]), scope_id, destination, interface, None, via)


def without_hop_limit(system: System, control: Iterable[cmsg.ControlMessage]) -> tuple[cmsg.ControlMessage, ...]:
    """What is the same for all datagrams of a flow."""
    changing = (IPPROTO_IP, system.ip_recvttl), (IPPROTO_IPV6, _IPV6_HOPLIMIT)
    return tuple(message for message in control if message[:2] not in changing)


def hop_limit(system: System, control: Iterable[cmsg.ControlMessage]) -> int | None:
    for level, kind, data in control:
        if (level, kind) == (IPPROTO_IP, system.ip_recvttl) and data:
            return data[0]
        if (level, kind) == (IPPROTO_IPV6, _IPV6_HOPLIMIT) and len(data) == 4:
            return cmsg.unpack_int(data)
    return None


@attrs.frozen
class Encoded:
    """A route as sendmsg wants it.

    rest       what follows the port in the sockaddr
    ttl        the socket's option for the IPv4 TTL of this kind of destination, and its value; None: the system's
    interface  the interface of an IPv4 group (IP_MULTICAST_IF), else 0
    """

    host: str
    rest: tuple[int, ...]
    control: Sequence[cmsg.ControlMessage]
    ttl: tuple[int, int | None] | None = None
    interface: int = 0


def encode_route(system: System, route: Route, bound: IPAddress | None) -> Encoded:
    """For a socket of the route's family that is bound to `bound`.

    A source that the socket is bound to is not said again, which FreeBSD refuses.  Raises SourceUnavailable for one of
    the other family.
    """
    to, source = route.to, route.source
    if source is not None and source.version != to.version:
        raise SourceUnavailable(errno.EAFNOSUPPORT, f"{source} can't be the source of a datagram to {to}")
    if source == bound:
        source = None
    control: list[cmsg.ControlMessage] = []
    if isinstance(to, IPv6Address):
        assert not isinstance(source, IPv4Address)  # noqa: S101 - the versions are the same
        if source is not None or route.interface:
            control.append((IPPROTO_IPV6, _IPV6_PKTINFO, cmsg.pack_in6_pktinfo(source, route.interface)))
        if route.hop_limit is not None:
            control.append((IPPROTO_IPV6, _IPV6_HOPLIMIT, cmsg.pack_int(route.hop_limit)))
        # A scope in the name that contradicts in6_pktinfo's index is refused, so there is one for both.
        return Encoded(str(to), (0, route.interface or route.scope_id), control)
    assert not isinstance(source, IPv6Address)  # noqa: S101 - the versions are the same
    if source is not None:
        if system.ip_pktinfo:
            control.append((IPPROTO_IP, system.ip_pktinfo, cmsg.pack_in_pktinfo_posix(source, 0)))
        else:
            control.append((IPPROTO_IP, _IP_RECVDSTADDR, source.packed))
    ttl = IP_MULTICAST_TTL if to.is_multicast else IP_TTL, route.hop_limit
    return Encoded(str(to), (), control, ttl, route.interface if to.is_multicast else 0)


def group_interface(index: int) -> tuple[int, int, bytes]:
    """(level, option, value) that make an interface that of the IPv4 groups sent to."""
    return IPPROTO_IP, _IP_MULTICAST_IF, _IP_MREQN.pack(bytes(4), bytes(4), index)


def membership_option(system: System, membership: Membership, *, join: bool) -> tuple[int, int, bytes]:
    """(level, option, value) to join or leave."""
    group, index, source = membership.group, membership.interface, membership.source
    level = IPPROTO_IP if group.version == 4 else IPPROTO_IPV6
    if source is not None:
        option = _MCAST_JOIN_SOURCE_GROUP if join else _MCAST_LEAVE_SOURCE_GROUP
        head = struct.pack("=I", index) + bytes(system.group_source_padding)
        return level, option, head + _sockaddr(system, group) + _sockaddr(system, source)
    if group.version == 4:
        option = _IP_ADD_MEMBERSHIP if join else _IP_DROP_MEMBERSHIP
        return level, option, _IP_MREQN.pack(group.packed, bytes(4), index)
    return level, _IPV6_JOIN_GROUP if join else _IPV6_LEAVE_GROUP, _IPV6_MREQ.pack(group.packed, index)


def _sockaddr(system: System, address: IPAddress) -> bytes:
    """A sockaddr_in or sockaddr_in6 with no port, as long as a sockaddr_storage.  Its first byte is its length."""
    if address.version == 4:
        packed = struct.pack("=BBH4s8x", 16, AF_INET, 0, address.packed)
    else:
        packed = struct.pack("=BBHI16sI", 28, system.af_inet6, 0, 0, address.packed, 0)
    return packed.ljust(_SOCKADDR_STORAGE, b"\0")


def without_embedded_scope(address: IPv6Address) -> IPv6Address:
    """Remove the interface index that KAME's kernels keep in the second 16 bits of a link-local address."""
    packed = address.packed
    return IPv6Address(packed[:2] + bytes(2) + packed[4:]) if address.is_link_local else address


# RTM_NEWADDR, RTM_DELADDR, RTM_IFINFO, RTM_IFANNOUNCE (FreeBSD)
_ABOUT_INTERFACES = frozenset({0x0C, 0x0D, 0x0E, 0x11})


def concerns_interfaces(message: bytes) -> bool:
    """Is a routing message (length, version, type; route(4)) about an interface or an address of it?"""
    return len(message) >= 4 and message[3] in _ABOUT_INTERFACES
