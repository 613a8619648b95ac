"""LLMNR: this host's names, for Windows clients and systemd-resolved on each link (see README.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from responder import Plugin, Service

from ..shared.dns_message import to_name
from ..shared.host_name import host_name

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Llmnr"]


def _are_names(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    """An attrs validator: names that DNS can carry, none of them twice."""
    if not value:
        raise ValueError(f"{attribute.name}: expected at least one name")
    seen: set[bytes] = set()
    for name in value:
        try:
            wire = wire_name(name).lower()
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {name!r}: {error}") from error
        if wire in seen:
            raise ValueError(f"{attribute.name}: {name} is there twice")
        seen.add(wire)


def wire_name(name: str) -> bytes:
    """A name as the config has it, in wire form; LLMNR's names are UTF-8.  Raises ValueError for what can't be one."""
    return to_name(label.encode() for label in name.removesuffix(".").split("."))


@attrs.frozen
class Llmnr(Plugin):
    """Answers for this host's names on each link, with the addresses of that link (RFC 4795).

    names  most are single labels
    """

    names: tuple[str, ...] = attrs.field(factory=lambda: (host_name(),), validator=_are_names)

    services: ClassVar[tuple[Service, ...]] = (
        Service(
            port=5355,
            groups=["224.0.0.252", "ff02::1:3"],
            hop_limit=255,  # RFC 4795 section 2.5
            tcp=True,
            tcp_hop_limit=1,  # who is further away gets no answer to its SYN (section 2.5)
            shared=True,  # a resolver of this host may listen there too
            on_link=True,
        ),
        # What asks whether a name is taken: on a shared port the answers might reach another program.
        Service(name="verification", port=0, hop_limit=255, on_link=True),
    )

    def prepare(self, context: Context) -> Handler:
        """The handler."""
        from .handler import LlmnrHandler  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return LlmnrHandler.of(self)
