"""Asks primaries for the SOA record of a zone, and takes the zone over: by IXFR (RFC 1995), else by AXFR (RFC 5936).

In the clear the SOA record is asked for by UDP, and each transfer is a TCP connection.  Within TLS (RFC 9103) all that
is asked about a zone goes over one connection, and what is asked about the next zone that waits, too.  A transfer that
breaks off or goes on for too long raises `TransferError` and has changed nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias, TypeVar

import attrs
import dns.asyncquery
import dns.entropy
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import trio

from responder import IPAddress, Peer

from ...shared.threads import in_thread
from ..encrypted.client import ClientTls
from ..zone.changes import Change, ZoneRecord
from ..zone.tables import Zone
from .connection import CONNECT, Messages, connect
from .incoming import Incoming
from .primary import Primary, Refused, TransferError, Unanswered, described

TRIES: Final = (2.0, 3.0)
"""Seconds for an answer to each question for the SOA record by UDP; then it is asked by TCP."""

LONGEST: Final = 3600.0
"""Seconds that a transfer may take."""

LARGEST: Final = 2**31
"""Bytes of messages that a transfer may have."""

AHEAD: Final = 4096
"""Messages that wait for being read."""

BESIDE: Final = 4096
"""Bytes of a message from which on it is read in a thread, beside the answering."""

CONNECTIONS: Final = 8
"""Connections within TLS to a server at a time (RFC 9103 section 6.3 wants few); other zones wait for one."""

News: TypeAlias = list[Change] | Zone | None
"""What is new of a zone since a version: changes in their order, a whole zone, or None: nothing is."""

T = TypeVar("T")


class Reached(ABC):
    """A primary, asked about one zone; each method raises TransferError."""

    def __init__(self, primary: Primary, source: IPAddress | None) -> None:
        self.primary = primary
        self.source = source

    @abstractmethod
    async def newest(self, origin: bytes) -> int:
        """The serial of the zone that the primary has."""

    @abstractmethod
    async def _transfer(self, incoming: Incoming) -> News: ...

    async def take(self, origin: bytes, soa: ZoneRecord | None) -> News:
        """What is new since the version with that SOA record.

        Without one, or where the primary does not do IXFR for this zone now, it is the whole zone.
        """
        if soa is not None:
            try:
                return await self._transfer(Incoming(origin, self.primary, soa))
            except Unanswered:
                raise
            except TransferError:  # RFC 1995 section 4: go on with AXFR
                pass
        return await self._transfer(Incoming(origin, self.primary, None))


class _Clear(Reached):
    """By UDP and TCP."""

    async def newest(self, origin: bytes) -> int:
        """By UDP, and by TCP where that gets nothing that can be believed."""
        query = self.primary.query(origin, dns.rdatatype.SOA)
        try:
            reply = await _ask(query, self.primary.server, self.source)
        except dns.exception.Timeout as error:
            raise Unanswered("no answer") from error
        except (OSError, EOFError, ValueError, dns.exception.DNSException, trio.BrokenResourceError) as error:
            if self.source is not None and isinstance(error, OSError):
                return await _Clear(self.primary, None).newest(origin)  # this host may no longer have the address
            raise Unanswered(described(error)) from error
        return _serial_in(reply)

    async def _transfer(self, incoming: Incoming) -> News:
        async with await connect(self.primary, self.source) as connection:
            return await _transferred(incoming, connection)


class _Secured(Reached):
    """By the connection within TLS that is left from another zone, or a new one."""

    def __init__(self, primary: Primary, source: IPAddress | None, connection: Messages | None) -> None:
        super().__init__(primary, source)
        self.connection = connection

    async def newest(self, origin: bytes) -> int:
        query = self.primary.query(origin, dns.rdatatype.SOA)
        return _serial_in(await self._over_connection(partial(_answered, query)))

    async def _transfer(self, incoming: Incoming) -> News:
        return await self._over_connection(partial(_transferred, incoming))

    async def _over_connection(self, ask: Callable[[Messages], Awaitable[T]]) -> T:
        """Where the primary has ended the connection since it was last used, there is a new one."""
        is_used = self.connection is not None
        connection = self.connection or await connect(self.primary, self.source)
        self.connection = None
        try:
            result = await ask(connection)
        except Refused:  # in order: what is asked next goes over the same connection
            self.connection = connection
            raise
        except BaseException as error:
            await trio.aclose_forcefully(connection)
            if is_used and isinstance(error, TransferError) and not connection.is_answered:
                return await self._over_connection(ask)
            raise
        self.connection = connection
        return result


@attrs.define(eq=False)
class _Line:
    """The connections within TLS to one server; `free` are those that who waits for a turn goes on with."""

    turns: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(CONNECTIONS))
    free: list[Messages] = attrs.field(factory=list)


class Upstream:
    """All primaries."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Peer, ClientTls, IPAddress | None], _Line] = {}

    @asynccontextmanager
    async def reach(self, primary: Primary, source: IPAddress | None) -> AsyncIterator[Reached]:
        """To ask a primary about a zone; `source` is the own address to ask from, None: as the routing table has it."""
        if primary.tls is None:
            yield _Clear(primary, source)
            return
        line = self._lines.setdefault((primary.server, primary.tls, source), _Line())
        async with line.turns:
            reached = _Secured(primary, source, line.free.pop() if line.free else None)
            try:
                yield reached
            finally:
                if reached.connection is not None:
                    if line.turns.statistics().tasks_waiting:
                        line.free.append(reached.connection)
                    else:
                        await reached.connection.aclose()

    async def aclose(self) -> None:
        """End what was left for those that wait no more."""
        with trio.CancelScope(shield=True):
            for line in self._lines.values():
                while line.free:
                    await trio.aclose_forcefully(line.free.pop())


def _serial_in(reply: dns.message.Message) -> int:
    """The serial of the SOA record that was asked for.  Raises TransferError."""
    if reply.rcode() != dns.rcode.NOERROR:
        raise TransferError(dns.rcode.to_text(reply.rcode()))
    found = reply.get_rrset(reply.answer, reply.question[0].name, dns.rdataclass.IN, dns.rdatatype.SOA)
    if found is None or len(found) != 1 or not reply.flags & dns.flags.AA:
        raise TransferError("the server has no authority for the zone")
    return int(found[0].serial)


async def _ask(query: dns.message.Message, server: Peer, source: IPAddress | None) -> dns.message.Message:
    where, port = str(server.address), server.port
    own = None if source is None else str(source)
    for wait in TRIES:
        try:
            reply, _ = await dns.asyncquery.udp_with_fallback(
                query, where, wait, port, own, ignore_unexpected=True, ignore_errors=True
            )
        except dns.exception.Timeout:  # also where only answers came that are not signed as they should be
            query.id = dns.entropy.random_16()
        else:
            return reply
    return await dns.asyncquery.tcp(query, where, CONNECT, port, own)


async def _answered(query: dns.message.QueryMessage, connection: Messages) -> dns.message.Message:
    """The answer to a single question.  Raises TransferError."""
    await connection.ask(query)
    try:
        with trio.fail_after(CONNECT):
            data = await connection.receive()
        reply = dns.message.from_wire(data, keyring=query.keyring, request_mac=query.mac)
    except trio.TooSlowError as error:
        raise Unanswered("no answer") from error
    except (dns.exception.DNSException, ValueError) as error:
        raise TransferError(described(error)) from error
    if not query.is_response(reply):
        raise TransferError("a message that is no answer to what was asked")
    return reply


async def _transferred(incoming: Incoming, connection: Messages) -> News:
    """Raises TransferError."""
    with trio.move_on_after(LONGEST):
        await connection.ask(incoming.query)
        await _read_all(incoming, connection)
        return await in_thread(incoming.result) if incoming.is_large else incoming.result()
    raise TransferError(f"it took more than {LONGEST:.0f} seconds")


async def _read_all(incoming: Incoming, connection: Messages) -> None:
    """Messages are read ahead of what is made of them: Knot ends a transfer that is not taken for half a second."""
    failure = None
    into, messages = trio.open_memory_channel[bytes | TransferError](AHEAD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive, connection, into)
        async for message in messages:
            if isinstance(message, TransferError):
                failure = message
                break
            try:
                if len(message) > BESIDE:
                    incoming.is_large = True
                    done = await in_thread(incoming.feed, message)
                else:
                    done = incoming.feed(message)
            except TransferError as error:
                failure = error
                break
            if done:
                break
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _receive(connection: Messages, into: trio.MemorySendChannel[bytes | TransferError]) -> None:
    """Message by message, and at last why there are no more."""
    total = 0
    why = TransferError(f"it has more than {LARGEST >> 20} MiB")
    try:
        while total <= LARGEST:
            message = await connection.receive()
            total += len(message) + 2
            await into.send(message)
    except TransferError as error:
        why = error
    await into.send(why)
