"""Where a fake host sends a datagram, and from which address if nobody says: a routing table, pure.

It follows what Linux does where a responder can notice: the longest prefix wins, the source is the egress interface's
own address, and a destination that is an address of the host itself never leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

import attrs

from ..datagram import Interface, IPAddress, IPNetwork
from ..dispatch.addressing import LIMITED_BROADCAST


@attrs.frozen
class StaticRoute:
    """`prefix` is reached out of the interface of that index, through `gateway` or, without one, on its link."""

    prefix: IPNetwork
    interface: int
    gateway: IPAddress | None = None


@attrs.frozen
class Hop:
    """The first step of a way: out of `interface`, to `neighbour`, by default speaking from `source`."""

    interface: Interface
    neighbour: IPAddress
    source: IPAddress | None


def prefix_of(text: str, version: int) -> IPNetwork:
    """A prefix; "default" is all of a family.  Raises ValueError."""
    return ip_network(("0.0.0.0/0" if version == 4 else "::/0") if text == "default" else text)


def next_hop(
    destination: IPAddress, interfaces: Sequence[Interface], routes: Iterable[StaticRoute], *, out_of: int = 0
) -> Hop | None:
    """The way to an address of another host, a group or a broadcast address; None: there is none.

    `interfaces` are all of the host's; those that are down carry nothing.  `out_of` (an index; 0: any) bypasses the
    table's choice, as pktinfo does: what no route covers is then taken to be on that link.
    """
    usable = [each for each in interfaces if each.is_working and out_of in (0, each.index)]
    if out_of and (destination.is_multicast or destination == LIMITED_BROADCAST or destination.is_link_local):
        return _hop(usable[0], None, destination, interfaces) if usable else None
    by_index = {interface.index: interface for interface in usable}
    ways: list[tuple[int, Interface, IPAddress | None]] = [
        (own.network.prefixlen, interface, None)
        for interface in usable
        for own in interface.addresses
        # The same link-local prefix is on every link, so it says nothing about which (RFC 4291 section 2.5.6).
        if own.address.version == destination.version and destination in own.network and not _is_scoped(own.address)
    ]
    ways += [
        (route.prefix.prefixlen, by_index[route.interface], route.gateway)
        for route in routes
        if route.interface in by_index and route.prefix.version == destination.version and destination in route.prefix
    ]
    if ways:
        # max() keeps the first of equals: the interface that was attached first.
        _, interface, gateway = max(ways, key=lambda way: way[0])
        return _hop(interface, gateway, destination, interfaces)
    # Linux takes an IPv4 destination without a route for on-link where an interface is given; IPv6 does not.
    if out_of and usable and destination.version == 4:
        return _hop(usable[0], None, destination, interfaces)
    return None


def _hop(
    interface: Interface, gateway: IPAddress | None, destination: IPAddress, interfaces: Sequence[Interface]
) -> Hop:
    # IPv4 speaks from the address that the gateway knows (inet_select_addr), IPv6 from the one that fits the
    # destination (RFC 6724).
    towards = gateway if gateway is not None and destination.version == 4 else destination
    source = interface.source_for(towards)
    if source is None:  # an unnumbered link: any address of the host that means something elsewhere
        source = next(
            (
                own.address
                for other in interfaces
                for own in other.addresses
                if own.address.version == destination.version
                and not own.address.is_loopback
                and not own.address.is_link_local
            ),
            None,
        )
    return Hop(interface, gateway or destination, source)


def _is_scoped(address: IPAddress) -> bool:
    return address.version == 6 and address.is_link_local
