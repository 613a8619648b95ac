"""Interfaces of fake hosts, which a test changes while everything runs.

`hosts` and `network` route and deliver.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, ip_interface
from typing import TYPE_CHECKING

from ..datagram import Interface, InterfaceAddress, IPAddress
from .sockets import Packet, to_address

if TYPE_CHECKING:
    from .hosts import FakeHost
    from .network import Link

_BROADCAST_FLAGS = frozenset({"broadcast", "multicast"})


def to_interface_address(text: str) -> InterfaceAddress:
    """ "10.71.0.1/24" -> the address, with the broadcast address of its prefix.  Raises ValueError."""
    parsed = ip_interface(text)
    network = parsed.network
    broadcast = network.broadcast_address if isinstance(network, IPv4Network) and network.prefixlen < 31 else None
    return InterfaceAddress(parsed.ip, network.prefixlen, broadcast=broadcast)


class FakeInterface:
    """An interface of a fake host.  What changes is told to whoever follows the host's interfaces."""

    def __init__(self, host: FakeHost, index: int, name: str, link: Link | None, addresses: Sequence[str]) -> None:
        self.host = host
        self.index = index
        self.name = name
        self.link = link
        """None: the loopback interface."""
        self.mtu = 1500 if link else 65536
        self._flags = _BROADCAST_FLAGS if link else frozenset({"loopback"})
        self._is_up = self._has_carrier = True
        self.is_blocked = False
        self._snapshot: Interface | None = None
        self._addresses = [to_interface_address(address) for address in addresses]
        # Linux gives each interface with IPv6 a link-local address.
        own6 = [own.address for own in self._addresses if own.address.version == 6]
        if link and own6 and not any(address.is_link_local for address in own6):
            self._addresses.append(to_interface_address(f"fe80::{host.number:x}:{index:x}/64"))

    def __repr__(self) -> str:
        return f"<{self.host.name} {self.name}>"

    def snapshot(self) -> Interface:
        """Its state now, as the framework sees it; the same object until it changes."""
        if self._snapshot is None:
            flags = self._flags | ({"up"} if self._is_up else set()) | ({"running"} if self.is_working else set())
            address = bytes([2, 0, 0, self.host.number & 0xFF, self.index >> 8, self.index & 0xFF])
            self._snapshot = Interface(
                self.index, self.name, flags, self.mtu, self._addresses, address if self.link else b""
            )
        return self._snapshot

    @property
    def is_working(self) -> bool:
        return self._is_up and self._has_carrier

    def has(self, address: IPAddress) -> bool:
        return any(own.address == address for own in self._addresses)

    # Changes

    def add(self, *addresses: str) -> None:
        """Give it addresses with their prefix lengths: `add("10.71.0.3/24")`."""
        self._addresses += [to_interface_address(address) for address in addresses]
        self._changed()

    def remove(self, *addresses: str) -> None:
        """Take addresses from it; without a prefix length.  Raises ValueError for one that it has not."""
        for address in map(to_address, addresses):
            if not self.has(address):
                raise ValueError(f"{self!r} has no address {address}")
            self._addresses = [own for own in self._addresses if own.address != address]
        self._changed()

    def down(self) -> None:
        """Switch it off."""
        self._is_up = False
        self._changed()

    def up(self) -> None:
        """Switch it on again."""
        self._is_up = True
        self._changed()

    def unplug(self) -> None:
        """Take its cable away: it is still up, but not running."""
        self._has_carrier = False
        self._changed()

    def plug(self) -> None:
        self._has_carrier = True
        self._changed()

    def block(self) -> None:
        """Put a firewall before it that drops what is sent: senders get `SendRefused`, as by nftables on Linux."""
        self.is_blocked = True

    def unblock(self) -> None:
        self.is_blocked = False

    def rename(self, name: str) -> None:
        self.name = name
        self._changed()

    def disappear(self) -> None:
        """Be removed from the host, for good."""
        if self.link is not None:
            self.link.interfaces.remove(self)
        self.host.changed(self, gone=True)

    def _changed(self) -> None:
        self._snapshot = None
        self.host.changed(self)

    # From the network

    def take(self, packet: Packet) -> None:
        """What arrives."""
        if self.is_working and self.host.interface(self.index) is self:
            self.host.take(packet, self)
