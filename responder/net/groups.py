"""Multicast memberships: which there should be, which there are, and the steps between.

`wanted` is pure.  `Memberships` holds what a socket has joined; `reconcile` may be called as often as one likes.  A
join that fails is tried again by the next call, counted each time and logged once in a while.

This file refuses to know when the interfaces change, and how a platform joins.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable

from ..datagram import Interface, IPAddress, is_link_scope_group
from ..log import Repeated, get_logger
from .types import DatagramSocket, Membership

log = get_logger(__name__)


def wanted(groups: Iterable[IPAddress], interfaces: Collection[Interface]) -> frozenset[Membership]:
    """The groups on each of the interfaces (those that the instance may use) that can have them.

    An interface must be up, have the multicast flag (Linux's lo has not), and an address of the group's family to
    answer from: for an IPv6 group of link-local scope or less a link-local one (RFC 4291 section 2.7).
    """
    return frozenset(
        Membership(group, interface.index)
        for group in groups
        for interface in interfaces
        if {"up", "multicast"} <= interface.flags and _has_address_for(group, interface)
    )


def _has_address_for(group: IPAddress, interface: Interface) -> bool:
    link_scope = is_link_scope_group(group)
    return any(
        own.address.version == group.version and (own.address.is_link_local or not link_scope)
        for own in interface.addresses
    )


class Memberships:
    """The memberships of one socket.

    joined    what it has now
    failures  how many joins and leaves the system has refused so far
    """

    def __init__(self, socket: DatagramSocket, repeated: Repeated | None = None) -> None:
        self._socket = socket
        self._repeated = repeated or Repeated()
        self.joined: set[Membership] = set()
        self.failures = 0

    def reconcile(self, desired: Collection[Membership], interface_of: Callable[[int], Interface | None]) -> bool:
        """Leave what is not desired, then join what is missing; `interface_of` is `InterfaceTable.get`.

        Says whether all that is desired is joined.  A membership whose interface is gone is not joined.
        """
        # Leaving first makes room under the per-socket limit (net.ipv4.igmp_max_memberships).
        for membership in sorted(self.joined.difference(desired), key=_order):
            self._leave(membership, interface_of(membership.interface))
        missing = [membership for membership in desired if membership not in self.joined]
        for membership in sorted(missing, key=_order):
            interface = interface_of(membership.interface)
            if interface is not None:
                self._join(membership, interface)
        return self.joined.issuperset(desired)

    def leave_all(self, interface_of: Callable[[int], Interface | None]) -> None:
        """Leave everything, so that the network hears of it at once (a closed socket leaves too)."""
        self.reconcile((), interface_of)

    def _join(self, membership: Membership, interface: Interface) -> None:
        try:
            self._socket.join(membership, interface)
        except OSError as error:
            self._failed("multicast group can't be joined", membership, interface, error)
        else:
            self.joined.add(membership)

    def _leave(self, membership: Membership, interface: Interface | None) -> None:
        try:
            self._socket.leave(membership, interface)
        except OSError as error:
            # EADDRNOTAVAIL: it was not joined any more; nor is it where the interface is gone.
            if interface is not None and error.errno != errno.EADDRNOTAVAIL:
                self._failed("multicast group can't be left", membership, interface, error)
                return
        self.joined.discard(membership)

    def _failed(self, event: str, membership: Membership, interface: Interface, error: OSError) -> None:
        self.failures += 1
        held_back = self._repeated.due((event, membership, error.errno))
        if held_back is not None:
            log.warning(
                event,
                group=str(membership.group),
                interface=interface.name,
                port=self._socket.port,
                reason=error.strerror or str(error),
                held_back=held_back,
            )


def _order(membership: Membership) -> tuple[int, int, bytes]:
    """The same steps in the same order, on every run."""
    return membership.interface, membership.group.version, membership.group.packed
