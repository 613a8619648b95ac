"""Asks a primary for the SOA record of a zone, and takes the zone over from it: IXFR (RFC 1995), else AXFR (RFC 5936).

Messages, TSIG and the order of records in a transfer are dnspython's; a transfer that breaks off, goes on for too long
or is not in order raises `TransferError` and has changed nothing.  Writes no files and keeps no state.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import attrs
import dns.asyncquery
import dns.entropy
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.transaction
import dns.tsig
import dns.xfr
import trio

from responder import ConfigErrors, IPAddress, Peer

from ..zone.builder import Line, ZoneBuilder
from ..zone.changes import Change, ZoneRecord, serial_of
from ..zone.names import wire_name
from ..zone.rdata import checked
from ..zone.record import MAX_TTL
from ..zone.tables import Zone

TRIES: Final = (2.0, 3.0)
"""Seconds for an answer to each question for the SOA record by UDP; then it is asked by TCP."""

CONNECT: Final = 10.0
"""Seconds in which a TCP connection must be there, or a question by TCP be answered."""

SILENCE: Final = 30.0
"""Seconds within which the primary must go on."""

LONGEST: Final = 3600.0
"""Seconds that a transfer may take."""

LARGEST: Final = 2**31
"""Bytes of messages that a transfer may have."""

AHEAD: Final = 4096
"""Messages that wait for being read."""

BESIDE: Final = 4096
"""Bytes of a message from which on it is read in a thread, beside the answering."""


class TransferError(Exception):
    """A primary can't be asked, or what it says can't be used; the text says why."""


class Unanswered(TransferError):
    """It does not answer at all."""


@attrs.frozen
class Primary:
    """A server that a zone is taken from, and the key that questions to it are signed with."""

    server: Peer
    key: dns.tsig.Key | None = None

    def __str__(self) -> str:
        return str(self.server)


async def newest(origin: bytes, primary: Primary, source: IPAddress | None) -> int:
    """The serial of the zone that the primary has: by UDP, and by TCP where that gets nothing that can be believed.

    `source` is the own address to ask from; None: as the routing table has it.  Raises TransferError.
    """
    name = dns.name.from_wire(origin, 0)[0]
    query = dns.message.make_query(name, dns.rdatatype.SOA, flags=0)
    if primary.key is not None:
        query.use_tsig(primary.key)
    try:
        reply = await _ask(query, primary.server, source)
    except dns.exception.Timeout as error:
        raise Unanswered("no answer") from error
    except (OSError, EOFError, ValueError, dns.exception.DNSException, trio.BrokenResourceError) as error:
        if source is not None and isinstance(error, OSError):
            return await newest(origin, primary, None)  # this host may no longer have the address
        raise Unanswered(described(error)) from error
    if reply.rcode() != dns.rcode.NOERROR:
        raise TransferError(dns.rcode.to_text(reply.rcode()))
    found = reply.get_rrset(reply.answer, name, dns.rdataclass.IN, dns.rdatatype.SOA)
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


async def take(
    origin: bytes, primary: Primary, source: IPAddress | None, soa: ZoneRecord | None
) -> list[Change] | Zone | None:
    """What is new since the version with that SOA record: changes in their order, a whole zone, or None: nothing is.

    Without one, or where the primary does not do IXFR for this zone now, it is the whole zone.  Raises
    TransferError.
    """
    if soa is not None:
        try:
            return await _transfer(Incoming(origin, primary, soa), source)
        except Unanswered:
            raise
        except TransferError:  # RFC 1995 section 4: go on with AXFR
            pass
    return await _transfer(Incoming(origin, primary, None), source)


async def _transfer(incoming: Incoming, source: IPAddress | None) -> list[Change] | Zone | None:
    with trio.move_on_after(LONGEST):
        stream = await _connect(incoming.primary.server, source)
        async with stream:
            try:
                await _read_all(incoming, stream)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
                raise TransferError(f"it can't be asked: {described(error)}") from error
        return await trio.to_thread.run_sync(incoming.result) if incoming.is_large else incoming.result()
    raise TransferError(f"it took more than {LONGEST:.0f} seconds")


async def _connect(server: Peer, source: IPAddress | None) -> trio.SocketStream:
    try:
        with trio.fail_after(CONNECT):
            return await trio.open_tcp_stream(
                str(server.address), server.port, local_address=None if source is None else str(source)
            )
    except (OSError, trio.TooSlowError) as error:
        if source is not None:  # this host may no longer have the address
            return await _connect(server, None)
        raise Unanswered(f"no connection: {described(error)}") from error


async def _read_all(incoming: Incoming, stream: trio.SocketStream) -> None:
    """Messages are read ahead of what is made of them: Knot ends a transfer that is not taken for half a second."""
    asked = incoming.query.to_wire()
    with trio.fail_after(SILENCE):
        await stream.send_all(len(asked).to_bytes(2) + asked)
    failure = None
    into, messages = trio.open_memory_channel[bytes | TransferError](AHEAD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive, stream, into)
        async for message in messages:
            if isinstance(message, TransferError):
                failure = message
                break
            try:
                if len(message) > BESIDE:
                    incoming.is_large = True
                    done = await trio.to_thread.run_sync(incoming.feed, message)
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


async def _receive(stream: trio.SocketStream, into: trio.MemorySendChannel[bytes | TransferError]) -> None:
    """Message by message, and at last why there are no more."""
    held = bytearray()
    total = 0
    why = f"it has more than {LARGEST >> 20} MiB"
    try:
        while total <= LARGEST:
            size = int.from_bytes(held[:2]) + 2
            if len(held) >= max(size, 2):
                await into.send(bytes(held[2:size]))
                del held[:size]
                total += size
                continue
            with trio.fail_after(SILENCE):
                more = await stream.receive_some(2**16)
            if not more:
                why = "the connection ended before the transfer did"
                break
            held += more
    except trio.TooSlowError:
        why = f"nothing came for {SILENCE:.0f} seconds"
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        why = f"the connection broke: {described(error)}"
    await into.send(TransferError(why))


class Incoming:
    """One transfer under way: messages go in, changes or a zone come out."""

    def __init__(self, origin: bytes, primary: Primary, soa: ZoneRecord | None) -> None:
        self.primary = primary
        self.is_large = False
        self._manager = _Manager(origin, primary, soa)
        name = dns.name.from_wire(origin, 0)[0]
        serial = None if soa is None else serial_of(soa.rdata)
        rdtype = dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR
        self.query = dns.message.make_query(name, rdtype, flags=0)
        if serial is not None:
            known = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, f". . {serial} 0 0 0 0")
            self.query.authority.append(dns.rrset.from_rdata(name, 0, known))
        if primary.key is not None:
            self.query.use_tsig(primary.key)
        self._inbound = dns.xfr.Inbound(self._manager, rdtype, serial)
        self._context: Any = None
        self._first = True

    def feed(self, data: bytes) -> bool:
        """Take a message; is it the last one?  Raises TransferError."""
        try:
            message = dns.message.from_wire(
                data,
                keyring=self.query.keyring,
                request_mac=self.query.mac,
                xfr=True,
                tsig_ctx=self._context,
                multi=True,
                one_rr_per_rrset=True,
            )
            if self.query.is_response(message, xfr_continuation=not self._first):
                self._first = False
                self._context = message.tsig_ctx
                return self._inbound.process_message(message)
        except ConfigErrors as broken:
            raise TransferError(_mistakes(broken)) from broken
        except (dns.exception.DNSException, ValueError, LookupError, TypeError, struct.error) as error:
            raise TransferError(described(error)) from error
        raise TransferError("a message that is no answer to what was asked")

    def result(self) -> list[Change] | Zone | None:
        """Raises TransferError."""
        try:
            return self._manager.collected.result()
        except ConfigErrors as broken:
            raise TransferError(_mistakes(broken)) from broken


def described(error: BaseException) -> str:
    """What went wrong, in a line."""
    if isinstance(error, dns.exception.Timeout | trio.TooSlowError):
        return "no answer"
    return " ".join(str(error).split()) or type(error).__name__


def _mistakes(broken: ConfigErrors) -> str:
    more = f" and {len(broken.errors) - 1} more" if len(broken.errors) > 1 else ""
    return f"the zone has mistakes: {broken.errors[0].message}{more}"


class _Collected(dns.transaction.Transaction):
    """Collects what dnspython's reader of transfers finds: changes, or the records of a whole zone."""

    def __init__(self, manager: _Manager) -> None:
        super().__init__(manager)
        self._origin = manager.origin
        self._line = Line(Path(f"transfer from {manager.primary}"), 0)
        self._known = manager.soa
        self._is_complete = False
        self.begin(whole=False)

    def begin(self, *, whole: bool) -> None:
        """Forget what there is."""
        self._builder = ZoneBuilder(self._origin) if whole else None
        self._changes: list[Change] = []
        self._before = self._known
        self._after: ZoneRecord | None = None
        self._removed: list[ZoneRecord] = []
        self._added: list[ZoneRecord] = []

    def add(self, *args: Any) -> None:
        for record in _records(*args):
            if self._builder is None:
                self._added.append(record)
            else:
                self._builder.add(*record, self._line)

    def delete_exact(self, *args: Any) -> None:
        self._end_change()
        self._removed += _records(*args)

    def replace(self, *args: Any) -> None:
        """The SOA record: of a whole zone at its end, of changes where what they add begins, and at the end again."""
        (soa,) = _records(*args)
        if self._builder is not None:
            self._builder.add(*soa, self._line)
        else:
            self._end_change()
            self._after = soa

    def _end_change(self) -> None:
        """What comes behind the additions is of the next change."""
        if self._before is not None and self._after is not None:
            change = Change.of([self._before, *self._removed], [self._after, *self._added])
            self._changes.append(change)
            self._before, self._after = self._after, None
            self._removed, self._added = [], []

    def commit(self) -> None:
        self._is_complete = True

    def rollback(self) -> None:
        self._is_complete = False

    def result(self) -> list[Change] | Zone | None:
        """Raises ConfigErrors, of a whole zone with mistakes."""
        if not self._is_complete:
            return None
        return self._changes if self._builder is None else self._builder.finish(self._line.file, {})


class _Manager(dns.transaction.TransactionManager):
    """Gives dnspython's reader the one transaction that it asks for, empty each time."""

    def __init__(self, origin: bytes, primary: Primary, soa: ZoneRecord | None) -> None:
        self.origin = origin
        self.primary = primary
        self.soa = soa
        self._name = dns.name.from_wire(origin, 0)[0]
        self.collected = _Collected(self)

    def writer(self, replacement: bool = False) -> dns.transaction.Transaction:
        self.collected.begin(whole=replacement)
        return self.collected

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return self._name, False, self._name

    def get_class(self) -> dns.rdataclass.RdataClass:
        return dns.rdataclass.IN


def _records(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> list[ZoneRecord]:
    ttl = rdataset.ttl if rdataset.ttl <= MAX_TTL else 0  # RFC 2181 section 8
    owner = wire_name(name)
    return [ZoneRecord(owner, int(rdataset.rdtype), ttl, _data(rdata)) for rdata in rdataset]


def _data(rdata: dns.rdata.Rdata) -> bytes:
    """In full.  Raises ValueError where the fields are not those of a type that dnspython does not know."""
    data = rdata.to_wire() or b""
    return checked(rdata.rdtype, data) if data and isinstance(rdata, dns.rdata.GenericRdata) else data
