"""What plugins see of the network: `Datagram`, `Reply`, `Peer`, `Interface`; all of them immutable values.

Addresses are `ipaddress` objects.  An IPv4 address never shows in its IPv6-mapped form, and an address never carries a
scope: the scope is the peer's `scope_id`, or the arrival interface.

The fields of a received datagram are filled when it is made (`responder.dispatch.request`).  One that a test builds is
equal to it where the fields are.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol, TypeAlias

import attrs
from attrs.validators import and_, in_, instance_of, optional

IPAddress: TypeAlias = IPv4Address | IPv6Address
"""An address of either family."""
IPNetwork: TypeAlias = IPv4Network | IPv6Network
"""A prefix of either family."""


class Via(enum.StrEnum):
    """How a datagram was addressed."""

    UNICAST = "unicast"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"


def unscoped(address: IPAddress) -> IPAddress:
    """The plain form of an address: without a scope, IPv4 where it is IPv4-mapped."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return IPv6Address(int(address))
    return address


def number_of(address: IPAddress) -> int:
    """The address as a number; the families don't meet.  What is asked about each new peer is asked of this."""
    return int(address) if address.version == 4 else int(address) | 1 << 128


def is_link_local(address: IPAddress) -> bool:
    """As `address.is_link_local`, in a fifth of its time."""
    return is_link_local_number(number_of(address))


def is_link_local_number(number: int) -> bool:
    """The same of `number_of` an address."""
    return number >> 16 == 0xA9FE or number >> 118 == 1 << 10 | 0x3FA


class PrefixSet:
    """Prefixes, to be looked up: a look-up costs one step for each distinct prefix length, however many there are."""

    __slots__ = ("_by_length",)

    def __init__(self, prefixes: Iterable[IPNetwork]) -> None:
        # IPv4's, then IPv6's: a peer is looked up in its own.
        self._by_length: tuple[dict[int, dict[int, int]], dict[int, dict[int, int]]] = {}, {}
        for position, prefix in enumerate(prefixes):
            shift = prefix.max_prefixlen - prefix.prefixlen
            numbers = self._by_length[prefix.version == 6].setdefault(shift, {})
            numbers.setdefault(number_of(prefix.network_address) >> shift, position)

    def __contains__(self, address: IPAddress) -> bool:
        number = number_of(address)
        for shift, numbers in self._by_length[number >> 128].items():  # noqa: SIM110 - any() takes twice as long
            if number >> shift in numbers:
                return True
        return False

    def first(self, address: IPAddress) -> int | None:
        """The position, in the order given, of the first prefix that the address is in."""
        number = number_of(address)
        by_length = self._by_length[number >> 128]
        return min((by[number >> shift] for shift, by in by_length.items() if number >> shift in by), default=None)

    def __bool__(self) -> bool:
        return any(self._by_length)


def _to_address(value: IPAddress | str) -> IPAddress:
    return unscoped(ip_address(value))


def to_endpoint(value: Peer | IPAddress | str) -> Peer | IPAddress:
    """A `Peer` as it is, an address in its plain form.  Raises ValueError for text that is no address."""
    return value if isinstance(value, Peer) else _to_address(value)


def _is_port(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if type(value) is not int or not 0 <= value <= 0xFFFF:
        raise ValueError(f"{attribute.name}: expected 0..65535, got {value!r}")


@attrs.frozen(order=True)
class Peer:
    """The other end: address, port (0..65535), and the scope_id (an interface index) of a link-local IPv6 address."""

    address: IPAddress = attrs.field(converter=_to_address)
    port: int = attrs.field(validator=_is_port)
    scope_id: int = 0

    @classmethod
    def of(cls, address: IPAddress, port: int, scope_id: int = 0) -> Peer:
        """The same without a look at the values, which are known to be right."""
        self = object.__new__(cls)
        _set_address(self, address)
        _set_port(self, port)
        _set_scope_id(self, scope_id)
        return self

    def __str__(self) -> str:
        if self.address.version == 4:
            return f"{self.address}:{self.port}"
        scope = f"%{self.scope_id}" if self.scope_id else ""
        return f"[{self.address}{scope}]:{self.port}"


# The slots themselves: a frozen class has no other way past its checks.
_set_address, _set_port, _set_scope_id = (Peer.__dict__[name].__set__ for name in ("address", "port", "scope_id"))


@attrs.frozen
class InterfaceAddress:
    """An address of an interface with its prefix length (bits).

    `peer` is the far end's address on a point-to-point link, `broadcast` the directed broadcast address where the
    link has one.
    """

    address: IPAddress = attrs.field(converter=_to_address)
    prefix_length: int
    peer: IPAddress | None = None
    broadcast: IPv4Address | None = None

    @functools.cached_property
    def network(self) -> IPNetwork:
        """The prefix that is on the link through this address; at most the address itself.

        An IPv6 address that is IPv4-mapped may have 96 bits and more.
        """
        address = self.peer or self.address
        return ip_network((address, min(self.prefix_length, address.max_prefixlen)), strict=False)


def _to_flags(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


def _to_addresses(values: Iterable[InterfaceAddress]) -> tuple[InterfaceAddress, ...]:
    return tuple(values)


@attrs.frozen
class Interface:
    """An interface as it was at one moment: index, name, flags, MTU (bytes) and usable addresses, primary ones first.

    `flags` holds those of "up", "running", "broadcast", "loopback", "point-to-point" and "multicast" that are set.
    Tentative addresses (duplicate address detection, RFC 4862) are left out until they are usable.
    `link_address` is the hardware address, empty where there is none or the platform does not tell.
    """

    index: int
    name: str
    flags: frozenset[str] = attrs.field(default=frozenset(), converter=_to_flags)
    mtu: int = 0
    addresses: tuple[InterfaceAddress, ...] = attrs.field(default=(), converter=_to_addresses)
    link_address: bytes = b""

    def __str__(self) -> str:
        return self.name

    @property
    def is_working(self) -> bool:
        """Is it switched on, and has its link (a cable, a radio's association)?"""
        return {"up", "running"} <= self.flags

    # What peers are looked up in: made once for an interface, so that none of its addresses is walked for a peer.

    @functools.cached_property
    def _own(self) -> frozenset[IPAddress]:
        return frozenset(own.address for own in self.addresses)

    @functools.cached_property
    def _prefixes(self) -> PrefixSet:
        return PrefixSet(own.network for own in self.addresses)

    @functools.cached_property
    def _first_of(self) -> dict[tuple[int, bool | None], IPAddress]:
        """The first address of each IP version and scope (link-local or not), and of each version (None)."""
        first: dict[tuple[int, bool | None], IPAddress] = {}
        for address in (own.address for own in self.addresses):
            first.setdefault((address.version, address.is_link_local), address)
            first.setdefault((address.version, None), address)
        return first

    def has(self, address: IPAddress) -> bool:
        """Is it one of this interface's own addresses?"""
        return address in self._own

    def on_link(self, address: IPAddress) -> bool:
        """Is it link-local, or inside a prefix of this interface?"""
        return address in self._prefixes or is_link_local(address)

    def source_for(self, address: IPAddress) -> IPAddress | None:
        """This interface's own address to speak to `address` from, or None where it has none of that family.

        In this order (RFC 6724 rules 2 and 8, cut down to one interface): one whose prefix holds `address`; one of
        the same scope, link-local or not; the first.
        """
        position = None if address.is_multicast else self._prefixes.first(address)
        if position is not None:
            return self.addresses[position].address
        link_local = address.is_link_local or is_link_scope_group(address)
        first = self._first_of
        return first.get((address.version, link_local)) or first.get((address.version, None))


def is_link_scope_group(address: IPAddress) -> bool:
    """Is it an IPv6 group of interface-local or link-local scope (RFC 4291 section 2.7)?  IPv4 knows no such thing."""
    return isinstance(address, IPv6Address) and address.is_multicast and address.packed[1] & 0x0F <= 2


def _to_multicast(value: IPAddress | str) -> IPAddress:
    address = _to_address(value)
    if not address.is_multicast:
        raise ValueError(f"{address} is no multicast address")
    return address


@attrs.frozen
class SourceGroup:
    """A multicast group, heard from one source only (RFC 4607); as text "232.1.2.3@10.0.0.9", group first.

    Raises ValueError where `source` can't be the sender of a datagram to `group`.
    """

    group: IPAddress = attrs.field(converter=_to_multicast)
    source: IPAddress = attrs.field(converter=_to_address)

    def __attrs_post_init__(self) -> None:
        if self.source.version != self.group.version or self.source.is_multicast or self.source.is_unspecified:
            raise ValueError(f"{self.source} can't be a source of {self.group}")

    def __str__(self) -> str:
        return f"{self.group}@{self.source}"


Group: TypeAlias = IPAddress | SourceGroup
"""A multicast group as a service names it."""


def group_and_source(value: Group) -> tuple[IPAddress, IPAddress | None]:
    """The group's address, and the source that it is heard from; None: any."""
    return (value.group, value.source) if isinstance(value, SourceGroup) else (value, None)


def to_group(value: Group | str) -> Group:
    """Raises ValueError for what is neither a multicast address nor "group@source"."""
    if isinstance(value, SourceGroup):
        return value
    if isinstance(value, str) and "@" in value:
        group, _, source = value.partition("@")
        return SourceGroup(group, source)
    return _to_multicast(value)


def to_groups(values: Iterable[Group | str]) -> tuple[Group, ...]:
    return tuple(to_group(value) for value in values)


class ChangeKind(enum.StrEnum):
    """What happened to an interface.  "up" and "down" are about `Interface.is_working`."""

    APPEARED = "appeared"
    DISAPPEARED = "disappeared"
    RENAMED = "renamed"
    DOWN = "down"
    UP = "up"
    ADDRESS_REMOVED = "address-removed"
    ADDRESS_ADDED = "address-added"


@attrs.frozen
class InterfaceChange:
    """One change of an interface.

    interface  as it is now, with all that changed at the same time; as it was last, where it disappeared
    address    the one that was added or removed.  One that appears or disappears with its interface is not told apart
    old_name   of a renamed one
    """

    kind: ChangeKind = attrs.field(converter=ChangeKind)
    interface: Interface
    address: InterfaceAddress | None = None
    old_name: str | None = None


def _is_source(_instance: object, attribute: attrs.Attribute[IPAddress | None], value: IPAddress | None) -> None:
    if value is not None and (value.is_multicast or value.is_unspecified):
        raise ValueError(f"{attribute.name}: expected an address of this host, got {value}")


IS_HOP_LIMIT = optional(and_(instance_of(int), in_(range(1, 0x100))))
"""None, or what a packet that is to leave may have in its header's field: a plugin's mistake shows where it is made."""


@attrs.frozen
class Reply:
    """An answer that says more than its bytes.  What is left out follows the request.

    to          where it goes: a `Peer`, or a group or an address, which mean the service's own port there, as with
                `Network.send`; default the peer
    source      from which address of this host; default the one that was asked, where that can be
    interface   out of which interface, by index or name; needed only where `to` is a group of another link
    service     from which of the plugin's own services (by name) it is sent; default the one that was asked
    hop_limit   IPv4's TTL or IPv6's hop limit, 1..255; default the service's, then the system's

    The framework checks it before it is sent: the interface must be one that the instance may use, the address neither
    unspecified nor with port 0, and the source of the same family.
    """

    payload: bytes = attrs.field(validator=instance_of(bytes))
    to: Peer | IPAddress | None = attrs.field(
        default=None, converter=attrs.converters.optional(to_endpoint), kw_only=True
    )
    source: IPAddress | None = attrs.field(
        default=None, converter=attrs.converters.optional(_to_address), kw_only=True, validator=_is_source
    )
    interface: int | str | None = attrs.field(default=None, kw_only=True)
    service: str | None = attrs.field(default=None, kw_only=True)
    hop_limit: int | None = attrs.field(default=None, kw_only=True, validator=IS_HOP_LIMIT)


class Conversation(Protocol):
    """A socket on a port of its own for one peer, speaking from the address that was asked (RFC 1350 section 4).

    `rate` counts its opening, and none of its datagrams.  The opening pays for one datagram: where `amplification`
    allows less, one of 1,472 bytes still begins a conversation, for up to 8 a second of each source prefix whose peers
    have not answered.  Until the peer has said something at the new port its source may be forged, so beside the first
    datagram it gets 4,096 bytes at most, which `amplification` counts.  After that each datagram of the peer's
    allows a mebibyte more, whatever `amplification` says.  `max_answer` holds for each datagram.
    """

    @property
    def port(self) -> int:
        """The socket's own port."""

    async def send(self, *payloads: bytes) -> None:
        """Send to the peer, one datagram each; what the bounds don't allow is dropped, and counted.

        Raises `responder.errors.SendError`; see `receive` for what may have come before.
        """

    async def receive(self) -> bytes:
        """The next datagram of this peer.  What others send here is counted, and goes to `stranger`, if anywhere.

        Raises `responder.errors.Unreachable` once ICMP says that the peer can't be reached, or no longer listens, where
        the platform tells (Linux does), and NetworkError where the system can receive nothing more here.  A handler
        may let both pass.
        """


Stranger: TypeAlias = Callable[[bytes, Peer], bytes | None]
"""What to answer somebody who is not the peer of a conversation but sends to its port: payload, sender -> answer.

It is called while the conversation receives, for senders who may ask the instance (`allow`, `deny`, `on_link`), and its
answer has the bounds of any answer.  TFTP answers "unknown transfer ID" so (RFC 1350 section 4).
"""


@attrs.frozen
class Datagram:
    """A request as it arrived.

    payload      its bytes; an empty datagram is a valid one
    peer         who sent it
    destination  the address that it was sent to: the host's own, a group, or a broadcast address.  Unspecified
                 (`0.0.0.0` or `::`) where the platform did not tell and the service has `needs_destination=False`
    interface    the arrival interface, as it was then; `Network.interface(index)` is the present
    service      the name of the plugin's service that was asked
    port         the port that was asked
    via          unicast, multicast or broadcast
    hop_limit    IPv4's TTL or IPv6's hop limit on arrival, where the platform tells it
    arrival      seconds of trio's clock; the kernel's time of arrival where the platform tells it
    """

    payload: bytes
    peer: Peer
    destination: IPAddress = attrs.field(converter=_to_address)
    interface: Interface
    service: str = "default"
    port: int = 0
    via: Via = attrs.field(default=Via.UNICAST, converter=Via)
    hop_limit: int | None = None
    arrival: float = 0.0

    def conversation(self, *, stranger: Stranger | None = None) -> AbstractAsyncContextManager[Conversation]:
        """Open a socket on a port of its own, for this peer, with the asked address as its source.

        For protocols that answer from a new port (TFTP, RFC 1350).  `async with request.conversation() as socket:`.
        `stranger` answers others who send to that port.  Raises RuntimeError for a datagram that no network delivered;
        on entering `responder.errors.RateExceeded`, which a handler may let pass, and BindError where the system has no
        port left.
        """
        raise RuntimeError("this datagram did not come from a network, so it has nobody to converse with")
