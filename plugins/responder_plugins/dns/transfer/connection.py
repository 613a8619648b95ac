"""A connection to a primary, within TLS or not: messages, each behind its length (RFC 1035 section 4.2.2)."""

from __future__ import annotations

from typing import Final

import attrs
import dns.edns
import dns.message
import trio

from responder import IPAddress

from ..encrypted.client import ENDED, ClientTls, reason_of
from .primary import Primary, TlsFailed, TransferError, Unanswered, described

CONNECT: Final = 10.0
"""Seconds in which a connection must be there, a handshake be done, or a single question be answered."""

SILENCE: Final = 30.0
"""Seconds within which the primary must go on."""

BLOCK: Final = 128
"""Bytes that the length of a padded query is a multiple of (RFC 7830, RFC 8467 section 4.1)."""

_BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class Messages(trio.abc.AsyncResource):
    """Messages over a stream.

    is_heard     something has come
    is_answered  something has come since the last question
    """

    _stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    is_heard: bool = attrs.field(default=False, init=False)
    is_answered: bool = attrs.field(default=False, init=False)
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    async def ask(self, query: dns.message.QueryMessage) -> None:
        """Raises TransferError."""
        message = query.to_wire()
        if isinstance(self._stream, trio.SSLStream):
            query.use_edns(0)
            padding = bytes(-(len(query.to_wire()) + 4) % BLOCK)
            query.use_edns(0, options=[dns.edns.GenericOption(dns.edns.OptionType.PADDING, padding)])
            message = query.to_wire()
        self.is_answered = False
        try:
            with trio.fail_after(SILENCE):
                await self._stream.send_all(len(message).to_bytes(2) + message)
        except (*_BROKEN, trio.TooSlowError) as error:
            raise self._failure(error, "it can't be asked") from error

    async def receive(self) -> bytes:
        """The next one.  Raises TransferError."""
        while True:
            size = int.from_bytes(self._held[:2]) + 2
            if len(self._held) >= max(size, 2):
                message = bytes(self._held[2:size])
                del self._held[:size]
                self.is_answered = True
                return message
            try:
                with trio.fail_after(SILENCE):
                    more = await self._stream.receive_some(2**16)
            except trio.TooSlowError as error:
                raise TransferError(f"nothing came for {SILENCE:.0f} seconds") from error
            except _BROKEN as error:
                raise self._failure(error, "the connection broke") from error
            if not more:
                raise TransferError("the connection ended before the transfer did")
            self.is_heard = True
            self._held += more

    def _failure(self, error: BaseException, what: str) -> TransferError:
        reason = reason_of(error)
        if isinstance(self._stream, trio.SSLStream) and not self.is_heard:
            # By TLS 1.3 a primary refuses our certificate, or that there is none, only after the handshake; of one that
            # hangs up then, as BIND does, the reason isn't known.
            if reason in (None, ENDED):
                reason = f"{ENDED} after the handshake: does it want another certificate of ours?"
            return TlsFailed(f"TLS failed: {reason}")
        return TransferError(f"{what}: {reason or described(error)}")

    async def aclose(self) -> None:
        """A goodbye within TLS, which a primary that takes nothing does not hold up."""
        with trio.move_on_after(CONNECT):
            await self._stream.aclose()


async def connect(primary: Primary, source: IPAddress | None) -> Messages:
    """`source` is the own address to ask from; None: as the routing table has it.  Raises Unanswered."""
    transport = await _connect(primary, source)
    if primary.tls is None:
        return Messages(transport)
    return Messages(await _secure(transport, primary.tls))


async def _connect(primary: Primary, source: IPAddress | None) -> trio.SocketStream:
    server = primary.server
    try:
        with trio.fail_after(CONNECT):
            return await trio.open_tcp_stream(
                str(server.address), server.port, local_address=None if source is None else str(source)
            )
    except (OSError, trio.TooSlowError) as error:
        if source is not None:  # this host may no longer have the address
            return await _connect(primary, None)
        raise Unanswered(f"no connection: {described(error)}") from error


async def _secure(transport: trio.SocketStream, tls: ClientTls) -> trio.SSLStream[trio.SocketStream]:
    try:
        with trio.fail_after(CONNECT):
            return await tls.secure(transport)
    except BaseException as error:
        await trio.aclose_forcefully(transport)
        if isinstance(error, trio.BrokenResourceError):
            raise TlsFailed(f"TLS failed: {reason_of(error) or described(error)}") from error
        if isinstance(error, trio.TooSlowError):
            raise TlsFailed("TLS failed: no answer") from error
        raise
