"""STUN: tells clients the address and port that they are seen with (see README.md)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from responder import IPAddress, Plugin, Service

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["OTHER", "Stun"]

OTHER: Final = "other"
"""The service of the other port (RFC 5780 section 6)."""


def _is_software(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    # RFC 8489 section 14.14: fewer than 128 characters.
    if len(value) >= 128 or not value.isprintable():
        raise ValueError(f"{attribute.name}: expected a text of less than 128 characters, got {value!r}")


def _are_pairs(
    _instance: object, attribute: attrs.Attribute[tuple[IPAddress, ...]], value: tuple[IPAddress, ...]
) -> None:
    count = Counter(address.version for address in set(value))
    if len(set(value)) != len(value) or set(count.values()) - {2}:
        raise ValueError(f"{attribute.name}: expected two different addresses of IPv4, of IPv6 or of each")
    for address in value:
        if address.is_multicast or address.is_unspecified:
            raise ValueError(f"{attribute.name}: expected addresses of this host, got {address}")


@attrs.frozen
class Stun(Plugin):
    """Tells clients the address and port that they are seen with (RFC 8489).

    behavior_discovery  clients may ask for answers from another address and port, where there is one (RFC 5780)
    addresses           the two of each family that are each other's other address; none: the next one of its kind
    software            what answers tell as SOFTWARE; empty: nothing
    """

    behavior_discovery: bool = True
    addresses: tuple[IPAddress, ...] = attrs.field(
        default=(), validator=_are_pairs, metadata={"example": ["192.0.2.1", "192.0.2.2"]}
    )
    software: str = attrs.field(default="", validator=_is_software)

    services: ClassVar[tuple[Service, ...]] = (
        Service(port=3478, tcp=True),
        Service(name=OTHER, port=3479, tcp=True),
    )
    in_each_worker: ClassVar[bool] = True

    def chosen_services(self) -> tuple[Service, ...]:
        """Without behavior discovery nobody needs the other port."""
        return self.services if self.behavior_discovery else self.services[:1]

    def prepare(self, context: Context) -> Handler:
        """The handler."""
        from .handler import StunHandler  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return StunHandler.of(self)
