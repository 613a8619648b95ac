"""Whoami: tells a DNS client which address it asked, and how (see README.md).

The class stands here and what answers in `handler`, so that a command that only lists plugins need not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from responder import Plugin, Service

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Whoami"]


@attrs.frozen
class Whoami(Plugin):
    """Tells each DNS client the address that it asked, the interface, and its own address and port."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=5300, tcp=True),)

    def prepare(self, context: Context) -> Handler:
        """The handler, imported in a thread and not while the first client waits."""
        from .handler import WhoamiHandler  # noqa: PLC0415 - see the module's docstring

        return WhoamiHandler()
