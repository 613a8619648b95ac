"""Dynamic updates (RFC 2136): who may change what of a zone, on which conditions, and what becomes of it.

In the order of section 3: the zone, who asks (RFC 3007: by a signature, or where it comes from), prerequisites, what
may be updated, and the update.  It is on the disk before the answer says so, and whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs
import dns.name

from responder import ConfigErrors, IPAddress, IPNetwork, get_logger
from responder_plugins.shared import dns_message
from responder_plugins.shared.dns_message import Record

from ...shared.threads import in_thread
from ..message import wire
from ..zone.builder import name_text
from ..zone.catalog import Catalog
from ..zone.changes import ZoneRecord
from ..zone.edit import Edit
from ..zone.rdata import checked, folded
from ..zone.record import MAX_TTL
from ..zone.rules import MADE_BY_SIGNER
from ..zone.tables import Zone
from .draft import Draft
from .journal import JournalError
from .versions import Complete, Serving, Versions

CLASS_NONE: Final = 254

AT_ONCE: Final = 4096
"""Bytes of a message that others may wait for; a longer one is worked on in a thread."""

MADE_BY_SIGNERS: Final = frozenset({wire.RRSIG, wire.NSEC, wire.NSEC3})
"""What no update brings: it would not hold."""

_log = get_logger(__name__)


@attrs.frozen
class Pattern:
    """Names that may be updated: one, or, with `*` as its first label, all below a name."""

    name: bytes

    def covers(self, name: bytes) -> bool:
        """`name` is in lower case."""
        if self.name.startswith(b"\1*"):
            above = self.name[2:]
            return name != above and wire.is_below(name, above)
        return name == self.name


@attrs.frozen
class Policy:
    """Who may update a zone: the owners of these keys, and who comes from there; and which of its names, None all."""

    keys: frozenset[dns.name.Name] = frozenset()
    allow: tuple[IPNetwork, ...] = ()
    names: tuple[Pattern, ...] | None = None

    def admits(self, key: dns.name.Name | None, address: IPAddress) -> bool:
        if key is not None:
            return key in self.keys
        return any(address in prefix for prefix in self.allow)

    def covers(self, name: bytes) -> bool:
        return self.names is None or any(pattern.covers(name) for pattern in self.names)


class UpdateRefused(Exception):
    """`rcode` is all that the client is told; `reason` is for the log."""

    def __init__(self, rcode: int, reason: str = "") -> None:
        super().__init__(rcode, reason)
        self.rcode = rcode
        self.reason = reason


@attrs.define(eq=False)
class Updates:
    """Updates of the zones of an instance; `policies` by origin.  `counts` has what was changed.

    Of the zones that are `signed` here, `complete` adds to a change what signing makes of it.
    """

    policies: Mapping[bytes, Policy]
    versions: Versions
    instance: str
    signed: Collection[bytes] = ()
    complete: Complete = lambda _zone, change: change
    counts: Counter[str] = attrs.field(factory=Counter, init=False)

    async def take(self, serving: Serving, data: bytes, key: dns.name.Name | None, address: IPAddress) -> int:
        """The rcode that answers a message; `key` is the one whose signature of it holds, None where it has none."""
        who = str(address) if key is None else str(key)
        try:
            origin, message = self.admitted(serving.catalog, data, key, address)
            async with self.versions.changing(serving, origin) as zone:
                if len(data) > AT_ONCE:
                    edit = await in_thread(self.planned, zone, message)
                else:
                    edit = self.planned(zone, message)
                if edit is None:
                    return wire.NOERROR
                await self.versions.put(serving, edit)
        except UpdateRefused as refused:
            if refused.reason:
                _log.warning("an update is refused", plugin=self.instance, by=who, reason=refused.reason)
            return refused.rcode
        except (JournalError, ConfigErrors) as error:
            _log.error("an update can't be kept", plugin=self.instance, reason=str(error))
            return wire.SERVFAIL
        self.counts["updated"] += 1
        _log.info(
            "a zone was updated",
            plugin=self.instance,
            zone=name_text(origin),
            by=who,
            serial=edit.change.after,
            removed=len(edit.change.removed) - 1,
            added=len(edit.change.added) - 1,
        )
        return wire.NOERROR

    def admitted(
        self, catalog: Catalog, data: bytes, key: dns.name.Name | None, address: IPAddress
    ) -> tuple[bytes, dns_message.Message]:
        """The origin of the zone that is to be updated, by who may, and what is to be done.  Raises UpdateRefused."""
        try:
            message = dns_message.read(data, empty=(CLASS_NONE, wire.CLASS_ANY))
        except dns_message.Malformed:
            raise UpdateRefused(wire.FORMERR) from None
        if [question.rdtype for question in message.questions] != [wire.SOA]:
            raise UpdateRefused(wire.FORMERR)
        (asked,) = message.questions
        origin = asked.name.lower()
        if asked.rdclass != wire.IN or origin not in catalog.zones:
            raise UpdateRefused(wire.NOTAUTH)
        policy = self.policies.get(origin)
        if policy is None or not policy.admits(key, address):
            raise UpdateRefused(wire.REFUSED)
        return origin, message

    def planned(self, zone: Zone, message: dns_message.Message) -> Edit | None:
        """What a message makes of the zone, which is left alone; None: nothing.  Raises UpdateRefused."""
        if zone.chain is not None and zone.origin not in self.signed:
            raise UpdateRefused(wire.REFUSED, f"{name_text(zone.origin)} is signed elsewhere: its signatures would end")
        draft = Draft(zone)
        _look_at_prerequisites(draft, zone, message.answers)
        for record in _checked(zone, message.authorities, self.policies[zone.origin]):
            _make(draft, record)
        change = draft.change()
        if change is None:
            return None
        edit = Edit(zone, self.complete(zone, change))
        mistakes = "; ".join(edit.mistakes())
        if mistakes:
            raise UpdateRefused(wire.REFUSED, mistakes)
        return edit


def _look_at_prerequisites(draft: Draft, zone: Zone, records: Iterable[Record]) -> None:
    """Section 3.2.  Raises UpdateRefused where one does not hold."""
    wanted: dict[tuple[bytes, int], set[bytes]] = {}
    for record in records:
        name, rdtype, rdclass = record.name.lower(), record.rdtype, record.rdclass
        if record.ttl:
            raise UpdateRefused(wire.FORMERR)
        if not wire.is_below(name, zone.origin):
            raise UpdateRefused(wire.NOTZONE)
        if rdclass == wire.IN and not _is_meta(rdtype):
            wanted.setdefault((name, rdtype), set()).add(folded(rdtype, _rdata(record)))
            continue
        if record.rdata or rdclass not in (wire.CLASS_ANY, CLASS_NONE) or (_is_meta(rdtype) and rdtype != wire.ANY):
            raise UpdateRefused(wire.FORMERR)
        if draft.has(name, rdtype) != (rdclass == wire.CLASS_ANY):
            if rdclass == wire.CLASS_ANY:
                raise UpdateRefused(wire.NXDOMAIN if rdtype == wire.ANY else wire.NXRRSET)
            raise UpdateRefused(wire.YXDOMAIN if rdtype == wire.ANY else wire.YXRRSET)
    for (name, rdtype), rdatas in wanted.items():
        if rdatas != draft.compared(name, rdtype):
            raise UpdateRefused(wire.NXRRSET)


def _checked(zone: Zone, records: Sequence[Record], policy: Policy) -> list[Record]:
    """Section 3.4.1: the whole section is looked at before anything of it is made.  Raises UpdateRefused."""
    found = []
    for record in records:
        rdtype, rdclass = record.rdtype, record.rdclass
        if not wire.is_below(record.name.lower(), zone.origin):
            raise UpdateRefused(wire.NOTZONE)
        if rdclass == wire.IN:
            if _is_meta(rdtype):
                raise UpdateRefused(wire.FORMERR)
            ttl = record.ttl if record.ttl <= MAX_TTL else 0  # RFC 2181 section 8
            record = record._replace(rdata=_rdata(record), ttl=ttl)  # noqa: PLW2901 - the same one, as it is kept
        elif rdclass == wire.CLASS_ANY:
            if record.ttl or record.rdata or (_is_meta(rdtype) and rdtype != wire.ANY):
                raise UpdateRefused(wire.FORMERR)
        elif rdclass == CLASS_NONE:
            if record.ttl or _is_meta(rdtype):
                raise UpdateRefused(wire.FORMERR)
            record = record._replace(rdata=_rdata(record))  # noqa: PLW2901 - as above
        else:
            raise UpdateRefused(wire.FORMERR)
        found.append(record)
    made = MADE_BY_SIGNERS if zone.chain is None else MADE_BY_SIGNER
    if any(not policy.covers(each.name.lower()) or each.rdtype in made for each in found):
        raise UpdateRefused(wire.REFUSED)
    return found


def _make(draft: Draft, record: Record) -> None:
    """One of the update section, that was checked (section 3.4.2.7)."""
    if record.rdclass == wire.CLASS_ANY:
        draft.delete_all(record.name.lower(), record.rdtype)
        return
    made = ZoneRecord(record.name, record.rdtype, record.ttl, record.rdata)
    if record.rdclass == wire.IN:
        draft.add(made)
    else:
        draft.delete(made)


def _is_meta(rdtype: int) -> bool:
    """Is it a type that no record of a zone has (RFC 6895 section 3.1)?"""
    return rdtype in (0, wire.OPT) or 128 <= rdtype <= 255


def _rdata(record: Record) -> bytes:
    """The rdata as a zone has it.  Raises UpdateRefused where it isn't what its type has."""
    try:
        return checked(record.rdtype, record.rdata)
    except ValueError:
        raise UpdateRefused(wire.FORMERR) from None
