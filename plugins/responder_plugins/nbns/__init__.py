"""NBNS: this host's NetBIOS names and its workgroup, for old and new Windows clients on each link (see README.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from responder import Plugin, Service

from ..shared.host_name import host_name

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Nbns"]

LENGTH: Final = 15

NAME: Final = re.compile(r"(?! )[ !#-)+\-.0-9;=@A-Z\[\]^-~]+(?<! )", re.ASCII)
"""What Windows takes, in capitals: nothing of `\\ / : * ? " < > | ,`, and no space at an end."""


MAX_NAMES: Final = 8
"""Each is three rows of a node status, which with the workgroup's two fits in 576 bytes (RFC 1002 section 4.2.18)."""


def _is_name(attribute: attrs.Attribute[Any], value: str) -> None:
    if len(value) > LENGTH or not NAME.fullmatch(value.upper()):
        expected = f'1 to {LENGTH} ASCII characters, none of \\ / : * ? " < > | , and no space at an end'
        raise ValueError(f"{attribute.name}: expected {expected}, got {value!r}")


def _are_names(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    """An attrs validator."""
    if not 1 <= len(value) <= MAX_NAMES:
        raise ValueError(f"{attribute.name}: expected 1 to {MAX_NAMES} names, got {len(value)}")
    for name in value:
        _is_name(attribute, name)
    if len({name.upper() for name in value}) < len(value):
        raise ValueError(f"{attribute.name}: a name is there twice")


def _is_workgroup(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """An attrs validator."""
    _is_name(attribute, value)


def _default_names() -> tuple[str, ...]:
    return (host_name()[:LENGTH].rstrip("-").upper(),)


@attrs.frozen
class Nbns(Plugin):
    """Answers for this host's NetBIOS names on each link, and keeps them, as a B node (RFC 1001, RFC 1002).

    names      up to 8, each of up to 15 ASCII characters
    workgroup  the group that the host belongs to
    """

    names: tuple[str, ...] = attrs.field(factory=_default_names, validator=_are_names)
    workgroup: str = attrs.field(default="WORKGROUP", validator=_is_workgroup)

    services: ClassVar[tuple[Service, ...]] = (Service(port=137, on_link=True),)

    def __attrs_post_init__(self) -> None:
        if self.workgroup.upper() in {name.upper() for name in self.names}:
            raise ValueError(f"workgroup: {self.workgroup} is one of the names too; Windows takes that for a conflict")

    def prepare(self, context: Context) -> Handler:
        """The handler."""
        from .handler import NbnsHandler  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return NbnsHandler.of(self)
