"""Multicast memberships: which there should be, which there are, and the steps between.

`wanted` is pure.  `Memberships` holds what a socket has joined, by interface, so that a change of one interface costs
what that one has; reconciling may be done as often as one likes.  A join that fails is tried again by the next call,
counted each time and logged once in a while.

`responder.server.interfaces` calls it when the interfaces change; a platform's `DatagramSocket` joins and leaves.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from ..datagram import Group, Interface, IPAddress, group_and_source, is_link_scope_group
from ..log import Repeated, get_logger
from .types import DatagramSocket, Membership

log = get_logger(__name__)

Claim: TypeAlias = tuple[Collection[Group], Callable[[Interface], bool]]
"""What one user of a socket wants: the groups, and whether it may use an interface."""


def wanted(groups: Iterable[Group], interfaces: Collection[Interface]) -> frozenset[Membership]:
    """The groups on each of the interfaces (those that the instance may use) that can have them.

    An interface must be up, have the multicast flag (Linux's lo has not), and an address of the group's family to
    answer from: for an IPv6 group of link-local scope or less a link-local one (RFC 4291 section 2.7).
    """
    return frozenset(
        Membership(group, interface.index, source)
        for group, source in map(group_and_source, groups)
        for interface in interfaces
        if {"up", "multicast"} <= interface.flags and _has_address_for(group, interface)
    )


def claimed(claims: Iterable[Claim], interface: Interface) -> frozenset[Membership]:
    """What all users of a socket want on an interface.

    A group that one wants of any source is joined so alone: a source's membership beside it would be the same again.
    """
    memberships = {
        membership for groups, may_use in claims if may_use(interface) for membership in wanted(groups, [interface])
    }
    open_to_all = {membership.group for membership in memberships if membership.source is None}
    return frozenset(entry for entry in memberships if entry.source is None or entry.group not in open_to_all)


def _has_address_for(group: IPAddress, interface: Interface) -> bool:
    link_scope = is_link_scope_group(group)
    return any(
        own.address.version == group.version and (own.address.is_link_local or not link_scope)
        for own in interface.addresses
    )


class Memberships:
    """The memberships of one socket.  `failures`: how many joins and leaves the system has refused so far."""

    def __init__(self, socket: DatagramSocket, repeated: Repeated | None = None) -> None:
        self._socket = socket
        self._repeated = repeated or Repeated()
        self._joined: dict[int, set[Membership]] = {}
        self.failures = 0

    @property
    def joined(self) -> frozenset[Membership]:
        return frozenset().union(*self._joined.values())

    def reconcile(self, desired: Collection[Membership], interface_of: Callable[[int], Interface | None]) -> bool:
        """Leave what is not desired anywhere, then join what is missing; `interface_of` is `InterfaceTable.get`.

        Says whether all that is desired is joined.  A membership whose interface is gone is not joined.
        """
        by_interface: dict[int, set[Membership]] = {}
        for membership in desired:
            by_interface.setdefault(membership.interface, set()).add(membership)
        # Leaving first, on every interface, makes room where the system limits memberships.
        for index in sorted(self._joined):
            self._leave_others(index, by_interface.get(index, ()), interface_of(index))
        complete = True
        for index in sorted(by_interface):
            complete &= self.reconcile_on(index, by_interface[index], interface_of(index))
        return complete

    def reconcile_on(self, index: int, desired: Collection[Membership], interface: Interface | None) -> bool:
        """The same for the memberships of one interface.  `interface` is None where it is gone."""
        self._leave_others(index, desired, interface)
        missing = [membership for membership in desired if membership not in self._joined.get(index, ())]
        if interface is not None:
            for membership in sorted(missing, key=_order):
                self._join(membership, interface)
        return self._joined.get(index, set()).issuperset(desired)

    def _leave_others(self, index: int, desired: Collection[Membership], interface: Interface | None) -> None:
        for membership in sorted(self._joined.get(index, set()).difference(desired), key=_order):
            self._leave(membership, interface)

    def _join(self, membership: Membership, interface: Interface) -> None:
        try:
            self._socket.join(membership, interface)
        except OSError as error:
            self._failed("multicast group can't be joined", membership, interface, error)
        else:
            self._joined.setdefault(membership.interface, set()).add(membership)

    def _leave(self, membership: Membership, interface: Interface | None) -> None:
        try:
            self._socket.leave(membership, interface)
        except OSError as error:
            # EADDRNOTAVAIL: it was not joined any more; nor is it where the interface is gone.
            if interface is not None and error.errno != errno.EADDRNOTAVAIL:
                self._failed("multicast group can't be left", membership, interface, error)
                return
        joined = self._joined[membership.interface]
        joined.discard(membership)
        if not joined:
            del self._joined[membership.interface]

    def _failed(self, event: str, membership: Membership, interface: Interface, error: OSError) -> None:
        self.failures += 1
        # One line a cause, not one a link: a host with many would say it for each, again and again.
        held_back = self._repeated.due((event, error.errno))
        if held_back is not None:
            log.warning(
                event,
                group=str(membership.group),
                interface=interface.name,
                port=self._socket.port,
                reason=error.strerror or str(error),
                held_back=held_back,
            )


def _order(membership: Membership) -> tuple[int, bytes, bytes]:
    """A key to sort by, so that every run takes the same steps in the same order."""
    return membership.group.version, membership.group.packed, membership.source.packed if membership.source else b""
