"""TLS that tells its peer by an alert why it fails, before the connection is closed (RFC 8446 section 6.2).

Trio's SSLStream leaves an alert in the buffer that OpenSSL has written it into.  It hands that buffer to the context
that it is made with, and no other way leads to it: so something is put in the context's place.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final, Generic, TypeVar

import trio

TAKEN: Final = 1.0
"""Seconds within which an alert must be taken."""

T = TypeVar("T", bound=trio.abc.Stream)


class Alerting(Generic[T]):
    """TLS over `transport`; `stream` is what is within, and `alert` is for after its end."""

    def __init__(
        self, transport: T, context: ssl.SSLContext, *, server_side: bool = False, name: str | None = None
    ) -> None:
        self._transport = transport
        self._context = context
        self.stream: trio.SSLStream[T] = trio.SSLStream(
            transport,
            self,  # type: ignore[arg-type]  # of a context it uses this alone
            server_hostname=name,
            server_side=server_side,
            https_compatible=False,
        )

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *, server_side: bool, server_hostname: str | None
    ) -> ssl.SSLObject:
        """As an SSLContext."""
        self._outgoing = outgoing
        return self._context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)

    async def alert(self) -> None:
        """Send the alert, where there is one: of TLS that hasn't failed nothing is left over."""
        if self._outgoing.pending:
            with trio.move_on_after(TAKEN), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._transport.send_all(self._outgoing.read())
