"""WS-Discovery: this host in Windows Explorer's "Network", or any device that is found so (see README.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from responder import Plugin, Service

from ..shared.host_name import host_name

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Wsd"]

ADDRESS: Final = "{address}"
"""Put in for the address by which the asking client reaches this host; IPv6 ones get their brackets."""

COMPUTER: Final = "{http://schemas.microsoft.com/windows/pub/2005/07}Computer"

UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)

TYPE: Final = re.compile(r"\{[!-z|~]+\}[A-Za-z_][A-Za-z0-9._-]*", re.ASCII)
"""A QName with its namespace in braces."""

URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]*", re.ASCII)

WORKGROUP: Final = "WORKGROUP"


def _is_text(_instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and (not value or not value.isprintable() or value != value.strip() or "/" in value):
        raise ValueError(f"{attribute.name}: expected printable text without /, got {value!r}")


def _is_uuid(_instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not UUID.fullmatch(value):
        example = "2fac1234-31f8-41b4-a222-08002b34c003"
        raise ValueError(f"{attribute.name}: expected a UUID such as {example}, got {value!r}")


def _are_types(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for each in value:
        if not TYPE.fullmatch(each):
            raise ValueError(f"{attribute.name}: expected {{namespace}}name, such as {COMPUTER}, got {each!r}")


def _are_uris(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for each in value:
        if not URI.fullmatch(each.replace(ADDRESS, "")) or "{" in each.replace(ADDRESS, ""):
            raise ValueError(f"{attribute.name}: expected a URI, got {each!r}")


@attrs.frozen
class Wsd(Plugin):
    """Makes this host, or a device, found by WS-Discovery on every link, with an address that works there.

    name       what Explorer shows
    workgroup  the group that the host belongs to
    domain     the domain that it belongs to instead
    uuid       of the endpoint; None: made once, and kept
    types      what it is, as {namespace}name, besides a device
    scopes     URIs that it belongs to
    xaddrs     where it is reached, `{address}` allowed; none: its metadata is served here
    """

    name: str = attrs.field(factory=host_name, validator=_is_text)
    workgroup: str = attrs.field(default=WORKGROUP, validator=_is_text)
    domain: str | None = attrs.field(default=None, validator=_is_text)
    uuid: str | None = attrs.field(default=None, validator=_is_uuid)
    types: tuple[str, ...] = attrs.field(default=(COMPUTER,), validator=_are_types)
    scopes: tuple[str, ...] = attrs.field(default=(), validator=_are_uris)
    xaddrs: tuple[str, ...] = attrs.field(default=(), validator=_are_uris)

    services: ClassVar[tuple[Service, ...]] = (
        Service(
            port=3702,
            groups=["239.255.255.250", "ff02::c"],
            hop_limit=1,  # WS-Discovery 1.1 section 2.4
            shared=True,  # a client of this host listens there too
            on_link=True,
        ),
        Service(name="metadata", port=5357, udp=False, tcp=True, on_link=True),
    )

    def __attrs_post_init__(self) -> None:
        if self.domain is not None and self.workgroup != WORKGROUP:
            raise ValueError("domain: a host in a domain has no workgroup")

    def prepare(self, context: Context) -> Handler:
        """The handler."""
        from .handler import WsdHandler  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return WsdHandler(self)
