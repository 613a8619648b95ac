"""Windows' memberships: which option and argument, what is tried where it is refused, and how they are left."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from responder.datagram import Interface
from responder.net.types import Membership
from responder.net.windows.memberships import WindowsMemberships
from responder.net.windows.winsock_types import (
    AF_INET,
    AF_INET6,
    IP_ADD_MEMBERSHIP,
    IP_ADD_SOURCE_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_DROP_SOURCE_MEMBERSHIP,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_ADD_MEMBERSHIP,
    IPV6_DROP_MEMBERSHIP,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
)

from .fake_winsock import FakeSocket, sender
from .windows_host import LINK

INDEX = bytes([3, 0, 0, 0, 0, 0, 0, 0])
OWN = bytes([10, 71, 0, 1])


def membership(group: str, source: str | None = None) -> Membership:
    return Membership(ip_address(group), 3, None if source is None else ip_address(source))


def storage(*addresses: str) -> bytes:
    """Each as a SOCKADDR_STORAGE."""
    return b"".join(
        sender(ip_address(address), 0, family=AF_INET6 if ":" in address else AF_INET).ljust(128, b"\0")
        for address in addresses
    )


V4 = IPv4Address("239.255.70.7").packed
V4_OF_SOURCE = IPv4Address("232.1.1.1").packed + IPv4Address("10.71.0.9").packed

FORMS = [
    # membership, level, option to join, to leave, argument
    (membership("239.255.70.7"), IPPROTO_IP, MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP, INDEX + storage("239.255.70.7")),
    (
        membership("232.1.1.1", "10.71.0.9"),
        IPPROTO_IP,
        MCAST_JOIN_SOURCE_GROUP,
        MCAST_LEAVE_SOURCE_GROUP,
        INDEX + storage("232.1.1.1", "10.71.0.9"),
    ),
    (
        membership("ff02::7"),
        IPPROTO_IPV6,
        IPV6_ADD_MEMBERSHIP,
        IPV6_DROP_MEMBERSHIP,
        IPv6Address("ff02::7").packed + INDEX[:4],
    ),
    (
        membership("ff3e::7", "fd71::9"),
        IPPROTO_IPV6,
        MCAST_JOIN_SOURCE_GROUP,
        MCAST_LEAVE_SOURCE_GROUP,
        INDEX + storage("ff3e::7", "fd71::9"),
    ),
]
REFUSED = {(IPPROTO_IP, MCAST_JOIN_GROUP): 10042, (IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP): 10042}
BY_ADDRESS = [
    (membership("239.255.70.7"), IPPROTO_IP, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, V4 + OWN),
    (
        membership("232.1.1.1", "10.71.0.9"),
        IPPROTO_IP,
        IP_ADD_SOURCE_MEMBERSHIP,
        IP_DROP_SOURCE_MEMBERSHIP,
        V4_OF_SOURCE + OWN,
    ),
]


@pytest.mark.parametrize(
    ("refused", "wanted", "level", "join", "leave", "argument"),
    [({}, *form) for form in FORMS] + [(REFUSED, *form) for form in BY_ADDRESS],
)
def test_joined_and_left_by_one_form(
    refused: dict[tuple[int, int], int], wanted: Membership, level: int, join: int, leave: int, argument: bytes
) -> None:
    sock = FakeSocket(refused=refused)
    groups = WindowsMemberships(sock)
    groups.join(wanted, LINK)
    groups.join(wanted, LINK)  # once is enough
    # By then it may be that the interface has lost the address, and that the other form would be taken.
    sock.refused = {}
    groups.leave(wanted)
    assert sock.log == [("option", level, join, argument), ("option", level, leave, argument)]
    with pytest.raises(OSError, match="not joined"):
        groups.leave(wanted)


@pytest.mark.parametrize("refused", [{(IPPROTO_IP, MCAST_JOIN_GROUP): 10055}, {**REFUSED, (IPPROTO_IP, 12): 10055}])
def test_a_refusal_is_raised_and_nothing_remembered(refused: dict[tuple[int, int], int]) -> None:
    sock = FakeSocket(refused=refused)
    groups = WindowsMemberships(sock)
    with pytest.raises(OSError, match="10055"):
        groups.join(membership("239.255.70.7"), LINK)
    assert sock.log == []
    sock.refused = {}
    groups.join(membership("239.255.70.7"), LINK)
    assert len(sock.log) == 1


def test_an_ipv4_group_needs_an_address_on_the_link() -> None:
    with pytest.raises(OSError, match="no IPv4 address"):
        WindowsMemberships(FakeSocket()).join(membership("239.255.70.7"), Interface(3, "bare"))
