"""Decide who may be answered.  Pure.

`refused_source` holds for every plugin; `Access` is one instance's `listen`, `interfaces`, `groups`, `allow` and
`deny`.  Both are asked about a flow (peer, destination, interface) that dispatch does not remember: what they cost is
what a new peer costs, and not what a datagram of a known one does.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from ipaddress import IPv4Address, IPv6Address

import attrs

from ..config.instance import Instance
from ..datagram import Interface, IPAddress, IPNetwork, Via, group_and_source, number_of, unscoped
from ..errors import SourceUnavailable
from ..net.interface_table import InterfaceTable
from ..plugin import Service
from . import outcomes
from .addressing import stays_on_link


def interface_matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Is the interface meant?  Shell patterns; `!pattern` excludes; none, or only excluding ones: all but those."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    return (not wanted or any(fnmatch(name, pattern) for pattern in wanted)) and not any(
        fnmatch(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")
    )


def find_usable(table: InterfaceTable, which: Interface | int | str, may_use: Callable[[Interface], bool]) -> Interface:
    """The interface that a plugin names, as it is now.

    Raises SourceUnavailable where there is none, or the instance may not use it: one that a plugin has just been told
    of may be gone, or have another name.
    """
    index = which.index if isinstance(which, Interface) else which
    found = table.get(index) if isinstance(index, int) else table.named(index)
    if found is None or not may_use(found):
        raise SourceUnavailable(errno.ENODEV, f"there is no interface {index!r} that the instance may use")
    return found


def refused_source(peer: int, destination: IPAddress | None) -> bool:
    """Is it a source that nobody can be answered at: a group, unspecified, or of another family than the destination?
    `peer` is `number_of` it.

    240.0.0.0/4 holds the limited broadcast address, and nothing that may be a source (RFC 1122 section 3.2.1.3).  An
    IPv4-mapped source on the wire, in an IPv6 packet, would pass for the IPv4 peer that it names (RFC 4942 section
    2.2); it shows as another family than the destination's.
    """
    is_ipv6 = peer >> 128
    if destination is not None and (destination.version == 6) != is_ipv6:
        return True
    return peer >= _FIRST_GROUP[is_ipv6] or peer in _UNSPECIFIED


_FIRST_GROUP = number_of(IPv4Address("224.0.0.0")), number_of(IPv6Address("ff00::"))
"""Of IPv4, with 240.0.0.0/4 behind the groups, and of IPv6."""
_UNSPECIFIED = {number_of(IPv4Address(0)), number_of(IPv6Address(0))}


@attrs.frozen
class Access:
    """Who may ask one service of one instance."""

    listen: frozenset[IPAddress]
    listen_scoped: frozenset[tuple[IPAddress, str]]
    """Link-local addresses of `listen`, each with its interface's name or index."""
    patterns: tuple[str, ...]
    groups: frozenset[tuple[IPAddress, IPAddress | None]]
    allow: tuple[IPNetwork, ...]
    deny: tuple[IPNetwork, ...]
    needs_destination: bool
    on_link: bool
    _bounds: tuple[int, ...] = attrs.field(init=False)

    @_bounds.default
    def _bounds_of_both(self) -> tuple[int, ...]:
        return bounds(self.allow, self.deny)

    @classmethod
    def of(cls, instance: Instance, service: Service) -> Access:
        return cls(
            frozenset(address for address in instance.listen if _scope(address) is None),
            frozenset((unscoped(address), scope) for address in instance.listen if (scope := _scope(address))),
            instance.interfaces,
            frozenset(map(group_and_source, service.groups)),
            tuple(instance.allow),
            tuple(instance.deny),
            service.needs_destination,
            service.on_link,
        )

    def serves(self, interface: Interface) -> bool:
        return interface_matches(interface.name, self.patterns)

    def _listens(self, destination: IPAddress, interface: Interface) -> bool:
        if not self.listen and not self.listen_scoped:
            return True
        if destination.is_link_local and self.listen_scoped:
            return not self.listen_scoped.isdisjoint(
                {(destination, interface.name), (destination, str(interface.index))}
            )
        return destination in self.listen

    def refusal_of_arrival(self, destination: IPAddress | None, interface: Interface, via: Via) -> str | None:
        """The outcome to count for every peer; None where it depends on the peer."""
        if destination is None:
            # What can't be checked can't be allowed.
            if self.needs_destination or self.patterns or self.listen or self.listen_scoped or self.on_link:
                return outcomes.NO_DESTINATION
        elif not self.serves(interface):
            return outcomes.INTERFACE
        elif via is not Via.MULTICAST and not self._listens(destination, interface):
            return outcomes.LISTEN
        return None

    def refusal_of_peer(
        self, peer: IPAddress, number: int, destination: IPAddress | None, interface: Interface, via: Via
    ) -> str | None:
        """The outcome to count for this peer, which is `number` by `number_of`; None where it may ask."""
        if destination is not None:
            # A group may be heard from one source only (RFC 4607).
            if via is Via.MULTICAST and self.groups.isdisjoint({(destination, None), (destination, peer)}):
                return outcomes.GROUP
            if self.on_link and not _is_on_link(peer, destination, interface):
                return outcomes.OFF_LINK
        return None if bisect_right(self._bounds, number) & 1 else outcomes.DENIED


def bounds(allow: Collection[IPNetwork], deny: Collection[IPNetwork]) -> tuple[int, ...]:
    """Where the numbers (`number_of`) of peers that may ask begin, and where they end, in turn and in order.

    Each new peer is looked up in it, which takes a few steps for any number of prefixes.
    """
    # How many more prefixes of each list hold what follows a number.
    steps: dict[int, list[int]] = {0: [0, 0]}
    for which, prefixes in enumerate((allow, deny)):
        for prefix in prefixes:
            first = number_of(prefix.network_address)
            steps.setdefault(first, [0, 0])[which] += 1
            steps.setdefault(first + (1 << prefix.max_prefixlen - prefix.prefixlen), [0, 0])[which] -= 1
    allows, denies, found = int(not allow), 0, list[int]()
    for number in sorted(steps):
        allows, denies = allows + steps[number][0], denies + steps[number][1]
        if (allows > 0 and not denies) != len(found) % 2:
            found.append(number)
    return tuple(found)


def _is_on_link(peer: IPAddress, destination: IPAddress, interface: Interface) -> bool:
    """Is the sender of a datagram on the arrival interface's own link?  The one place of the rule for `on_link`.

    - What was sent to an address that no router passes on comes from the link, whatever its source says: several
      subnets may share one link (RFC 6762 section 11).
    - What comes in by the loopback interface is this host's own, whatever address it speaks from.
    - Otherwise the source must be link-local, or in a prefix of the interface.

    A hop limit of 255 proves the same (RFC 5082), but only of what was sent with it: a protocol that demands that of
    its senders looks at `Datagram.hop_limit` itself.
    """
    return stays_on_link(destination) or "loopback" in interface.flags or interface.on_link(peer)


def _scope(address: IPAddress) -> str | None:
    return address.scope_id if isinstance(address, IPv6Address) else None
