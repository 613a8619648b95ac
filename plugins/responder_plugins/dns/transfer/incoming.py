"""What the messages of a transfer bring: a whole zone, or changes of one (AXFR, RFC 5936; IXFR, RFC 1995).

Messages, TSIG and the order of records in a transfer are dnspython's; what is not in order raises `TransferError`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.transaction
import dns.tsig
import dns.xfr

from responder import ConfigErrors

from ..zone.builder import Line, ZoneBuilder
from ..zone.changes import Change, ZoneRecord, serial_of
from ..zone.names import wire_name
from ..zone.rdata import checked
from ..zone.record import MAX_TTL
from ..zone.tables import Zone
from .primary import Primary, Refused, TransferError, described


class Incoming:
    """One transfer under way: messages go in, changes or a zone come out."""

    def __init__(self, origin: bytes, primary: Primary, soa: ZoneRecord | None) -> None:
        self.primary = primary
        self.is_large = False
        self._manager = _Manager(origin, primary, soa)
        serial = None if soa is None else serial_of(soa.rdata)
        rdtype = dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR
        self.query = primary.query(origin, rdtype)
        if serial is not None:
            known = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, f". . {serial} 0 0 0 0")
            self.query.authority.append(dns.rrset.from_rdata(self.query.question[0].name, 0, known))
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
        except dns.xfr.TransferError as refused:
            raise Refused(described(refused)) from refused
        except (dns.exception.DNSException, ValueError, LookupError, TypeError, struct.error) as error:
            raise TransferError(described(error)) from error
        raise TransferError("a message that is no answer to what was asked")

    def result(self) -> list[Change] | Zone | None:
        """Raises TransferError."""
        try:
            return self._manager.collected.result()
        except ConfigErrors as broken:
            raise TransferError(_mistakes(broken)) from broken


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
