"""TFTP: files of one folder, to be read (see README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from responder import Plugin, Service

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Tftp"]

MAX_TRANSFERS: Final = 1_000
"""More than that many have no meaning: as many answers may wait."""


def _is_number_of_transfers(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 1 <= value <= MAX_TRANSFERS:
        raise ValueError(f"{attribute.name}: expected 1..{MAX_TRANSFERS}, got {value}")


@attrs.frozen
class Tftp(Plugin):
    """Serves the files of one folder for reading (RFC 1350).

    root           the folder; nothing outside of it is ever read
    max_transfers  transfers at a time
    max_per_peer   transfers at a time for one address
    """

    root: Path = attrs.field(metadata={"example": "."})
    max_transfers: int = attrs.field(default=100, validator=_is_number_of_transfers)
    max_per_peer: int = attrs.field(default=20, validator=_is_number_of_transfers)

    services: ClassVar[tuple[Service, ...]] = (
        # The transfers end by their own rules, long before this.
        Service(port=69, max_pending=MAX_TRANSFERS, answer_timeout=86400.0),
    )

    def prepare(self, context: Context) -> Handler:
        """The handler.  Raises ConfigError where `root` is no folder."""
        from .handler import prepare  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return prepare(self, context)
