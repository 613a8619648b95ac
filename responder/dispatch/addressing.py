"""Which source address and interface a datagram is sent with: the rules that this project exists for.  Pure.

A reply to a unicast request speaks from the address that was asked, whatever interface it came in on, and the routing
table chooses the way out: setting the interface would bypass routing, and lose the reply where the way back is another
one (policy routing, bonds, a peer behind a router of another link).  So the interface is given only where an address
means nothing without it:

- either end is link-local (RFC 4291 section 2.5.6, RFC 3927): the same address may be on every link;
- the request was a broadcast, so its peer is on the link;
- the request went to a group and its peer is on the link, since the group's datagrams stay there or since the peer is
  in one of the interface's prefixes.  One that came through a multicast router is answered by the way that routing
  knows.

A group or a broadcast address can't be a source (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7).  The reply to those
speaks from an address of the arrival interface itself, so that the peer can reach what it heard from: the one that the
kernel names, if it is on that interface; else the best by `Interface.source_for`; where the interface has none of the
family (an unnumbered link), the one that the kernel names.

Whether a reply may be sent is decided by `responder.dispatch.access` and by the plugin.
"""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv4Network

from ..datagram import (
    Datagram,
    Interface,
    IPAddress,
    Peer,
    Via,
    is_link_local,
    is_link_local_number,
    is_link_scope_group,
)
from ..errors import SourceUnavailable
from ..net.types import Flow, Route

LIMITED_BROADCAST = IPv4Address("255.255.255.255")


def classify(flow: Flow, interface: Interface) -> Via:
    """How the datagram was addressed; from the interface table where the platform can't tell."""
    if flow.via is not None:
        return flow.via
    if flow.destination is not None:
        if flow.destination.is_multicast:
            return Via.MULTICAST
        if is_broadcast(flow.destination, interface):
            return Via.BROADCAST
    return Via.UNICAST


def is_broadcast(address: IPAddress, interface: Interface) -> bool:
    """The limited broadcast address, or a directed one of this interface (RFC 919)."""
    return address == LIMITED_BROADCAST or any(own.broadcast == address for own in interface.addresses)


_LOCAL_CONTROL = IPv4Network("224.0.0.0/24")


def stays_on_link(destination: IPAddress) -> bool:
    """Does no router pass on what is sent to this address, so that its sender is on the link?

    So it is with IPv4's Local Network Control Block (RFC 5771 section 4) and limited broadcast (RFC 1812 section
    5.3.5.1), and with IPv6's groups of link-local scope or less (RFC 4291 section 2.7).
    """
    return is_link_scope_group(destination) or destination in _LOCAL_CONTROL or destination == LIMITED_BROADCAST


def reply_route(flow: Flow, interface: Interface, via: Via, hop_limit: int | None = None) -> Route:
    """The way back to the peer of `flow`, which arrived on `interface`."""
    if flow.destination is None:
        return Route(flow.peer, flow.scope_id, None, flow.scope_id, hop_limit)
    if via is Via.UNICAST:
        source: IPAddress | None = flow.destination
        pinned = is_link_local(flow.peer) or is_link_local(flow.destination)
    else:
        source = own_address(interface, flow.peer, flow.local)
        pinned = via is Via.BROADCAST or stays_on_link(flow.destination) or interface.on_link(flow.peer)
    # The scope in the name must agree with the interface given beside it (EINVAL otherwise).
    scope_id = interface.index if pinned and _is_scoped(flow.peer) else 0
    return Route(flow.peer, scope_id, source, interface.index if pinned else 0, hop_limit)


def what_tells_ways_apart(flow: Flow, number: int, interface: Interface, via: Via) -> tuple[int | None, ...]:
    """What of the peer, which is `number` by `number_of`, the `reply_route` of an arrival depends on, `to` aside."""
    if via is Via.UNICAST:
        return flow.scope_id, is_link_local_number(number)
    route = reply_route(flow, interface, via)
    # A number, since an address's own hash is slow.
    return route.scope_id, None if route.source is None else int(route.source), route.interface


def later_route(request: Datagram, interface: Interface, hop_limit: int | None = None) -> Route:
    """The way of an answer that a plugin sends later by itself; `interface` is the arrival interface as it is now."""
    asked = None if request.destination.is_unspecified else request.destination
    flow = Flow(request.peer.address, request.peer.scope_id, asked, interface.index, via=request.via)
    return reply_route(flow, interface, request.via, hop_limit)


def own_address(interface: Interface, peer: IPAddress, local: IPAddress | None) -> IPAddress | None:
    """The address by which this host answers `peer` out of `interface`; `local` is the kernel's own idea of it."""
    if local is not None and interface.has(local):
        return local
    return interface.source_for(peer) or local


def route_to(
    to: Peer | IPAddress,
    interface: Interface | None,
    *,
    source: IPAddress | None = None,
    hop_limit: int | None = None,
) -> Route:
    """The way to an address that a plugin names.

    `interface` is the one to send out of, needed for a group, a broadcast address and a link-local address without a
    scope.  `source` is kept where it fits the address's family; else it is the interface's own, or routing's choice.
    Raises ValueError for what can't be meant, SourceUnavailable where the interface has no address of that family now.
    """
    address, scope_id = (to.address, to.scope_id) if isinstance(to, Peer) else (to, 0)
    if address.is_unspecified:
        raise ValueError(f"{address} is not an address to send to")
    if interface is None:
        if needs_interface(address) and not scope_id:
            raise ValueError(f"{address} means nothing without an interface")
    elif scope_id and scope_id != interface.index:
        raise ValueError(f"{address} has the scope {scope_id}, and {interface.name} is {interface.index}")
    if source is not None and (source.version != address.version or source.is_multicast):
        source = None
    if interface is None:
        return Route(address, scope_id, source, scope_id, hop_limit)
    if source is None:
        source = interface.source_for(address)
        if source is None:
            message = f"{interface.name} has no IPv{address.version} address to speak to {address} from"
            raise SourceUnavailable(errno.EADDRNOTAVAIL, message)
    scope_id = interface.index if _is_scoped(address) else 0
    return Route(address, scope_id, source, interface.index, hop_limit)


def needs_interface(address: IPAddress) -> bool:
    """Does the address name something on each link?"""
    return address.is_multicast or address.is_link_local or address == LIMITED_BROADCAST


def _is_scoped(address: IPAddress) -> bool:
    """Does a sockaddr carry a scope for it?  IPv4 has none."""
    return address.version == 6 and is_link_local(address)
