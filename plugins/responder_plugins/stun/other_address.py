"""Which other address and port an answer could come from (RFC 5780 section 6)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final, TypeAlias

import attrs

from responder import Interface, IPAddress

from .message import CHANGE_IP, CHANGE_PORT, Attribute, write_address

End: TypeAlias = tuple[IPAddress, int]
"""An address of this host, and a port."""

MAX_ADDRESSES: Final = 1024
"""Own addresses and ports that are remembered: a host may have a whole prefix."""


def other_of(address: IPAddress, interfaces: Iterable[Interface]) -> IPAddress | None:
    """Another address of the same interface, of the same family, scope and reach; a public one may be of any interface.

    So whoever reaches the one reaches the other, and nobody is told of a private address by a public one.  Addresses
    are paired in their order.  None: there is only one, or it is link-local, which no NAT is before.
    """
    interfaces = tuple(interfaces)
    owner = next((each for each in interfaces if each.has(address)), None)
    if owner is None or address.is_link_local:
        return None
    alike = _alike(address, owner)
    place = alike.index(address) ^ 1
    if place < len(alike):
        return alike[place]
    everywhere = (owner, *interfaces) if address.is_global else (owner,)
    return next((other for each in everywhere for other in _alike(address, each) if other != address), None)


def _alike(address: IPAddress, interface: Interface) -> list[IPAddress]:
    kind = _kind_of(address)
    return [own.address for own in interface.addresses if _kind_of(own.address) == kind]


def _kind_of(address: IPAddress) -> tuple[int, bool, bool, bool]:
    # "lo" has both 127.0.0.1 and a host's own addresses that are on no link.
    return address.version, address.is_global, address.is_link_local, address.is_loopback


def pairs_of(addresses: Iterable[IPAddress]) -> dict[IPAddress, IPAddress]:
    """Each address -> the other one of its family; two of each are given."""
    pairs: dict[IPAddress, IPAddress] = {}
    waiting: dict[int, IPAddress] = {}
    for address in addresses:
        other = waiting.setdefault(address.version, address)
        if other is not address:
            pairs[address], pairs[other] = other, address
    return pairs


@attrs.frozen
class Ends:
    """Where a request came to, and where an answer to it could come from.

    asked  the destination address and port
    other  the other address and the other port; None: there is only one address
    """

    asked: End
    other: End | None = None

    def origin(self, change: int) -> End:
        """Where the answer comes from, by the flags of CHANGE-REQUEST (RFC 5780 table 1)."""
        if self.other is None:
            return self.asked
        address = self.other[0] if change & CHANGE_IP else self.asked[0]
        return address, self.other[1] if change & CHANGE_PORT else self.asked[1]

    @functools.cached_property
    def unchanged(self) -> bytes:
        """`attributes` of an answer that comes from where it was asked."""
        return self.attributes(0)

    def attributes(self, change: int) -> bytes:
        """RESPONSE-ORIGIN and OTHER-ADDRESS, where there is another address."""
        if self.other is None:
            return b""
        origin = write_address(Attribute.RESPONSE_ORIGIN, *self.origin(change))
        return origin + write_address(Attribute.OTHER_ADDRESS, *self.other)

    def classic_attributes(self, change: int) -> bytes:
        """The same for RFC 3489: SOURCE-ADDRESS, and CHANGED-ADDRESS where there is another address."""
        source = write_address(Attribute.SOURCE_ADDRESS, *self.origin(change))
        return source if self.other is None else source + write_address(Attribute.CHANGED_ADDRESS, *self.other)
