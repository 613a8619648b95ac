"""Answers to the queries of one family on one link: when, to whom, and which are left out (RFC 6762 sections 5 to 7).

Time comes from outside, in seconds.  What is to be sent comes out as `Send`.  In the way of an answer stand

- known answers (section 7.1), also those of further packets, which a query with TC set announces (section 7.2);
- the moment: unique records go at once; where others may answer too, after 20 to 110 ms (section 6), and what waits by
  then goes in the same message (section 6.4);
- a record's last multicast: a second must lie between two, a quarter of one in defence of a name (section 6);
- the same answer from somebody else (section 7.4).

All tables are bounded, the oldest going first: a storm of queries of one kind costs what is in that table, and no
answer of another kind, family or link.  `Zone` (`records`) knows which names are whose.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

import attrs

from responder import Peer
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.delays import Uniform
from responder_plugins.shared.dns_message import Message, Record

from . import message as messages
from .message import CLASS, QU, each_once, packed
from .records import Entry, Zone, comparable

SOON: Final = (0.020, 0.110)
"""Seconds before an answer where others may answer too: within section 6's 20 to 120 ms, also on a busy machine."""

FURTHER: Final = (0.400, 0.500)
"""Seconds for further known answers (section 7.2)."""

FURTHER_AT_MOST: Final = 3.0
"""Seconds that one who keeps on sending known answers is waited for."""

APART: Final = 1.0
"""Seconds between two multicasts of a record."""

DEFENCE_APART: Final = 0.250
"""The same in answers to probes."""

MAX_WAITING: Final = 64
"""Queries that wait for further known answers."""

MAX_ASKERS: Final = 256
"""Hosts to which an answer by unicast is on the way."""

MAX_CACHED: Final = 256
"""Messages kept as bytes."""

SHORT: Final = 300
"""Bytes of a query whose reply is kept."""


class Send(NamedTuple):
    """A message to be sent by that family: to the group, or to a peer."""

    version: int
    payload: bytes
    to: Peer | None = None


@attrs.define
class Pending:
    """When an entry is to be multicast: not before `earliest`, best at `due`, not after `latest` for others' sake."""

    earliest: float
    due: float
    latest: float
    is_announcement: bool = False


@attrs.define
class Waiting:
    """A query whose known answers are not all here."""

    multicast: dict[Entry, None]
    unicast: dict[Entry, None]
    due: float
    until: float


@attrs.define
class Asker:
    """Answers by unicast that wait."""

    due: float
    entries: dict[Entry, None]


@attrs.define(eq=False)
class Channel:
    """One family on a link.  `limit` is a message's size (bytes), `counts` what became of queries."""

    version: int
    zone: Zone
    limit: int
    uniform: Uniform
    counts: Counter[str]
    pending: dict[Entry, Pending] = attrs.field(factory=dict, init=False)
    waiting: OrderedDict[Peer, Waiting] = attrs.field(factory=OrderedDict, init=False)
    askers: OrderedDict[Peer, Asker] = attrs.field(factory=OrderedDict, init=False)
    next_due: float = attrs.field(default=inf, init=False)
    """When `advance` has something to do at the earliest (seconds); inf: never."""
    _cache: dict[tuple[tuple[Entry, ...], tuple[Entry, ...]], list[bytes]] = attrs.field(factory=dict, init=False)
    _replies: dict[bytes, bytes] = attrs.field(factory=dict, init=False)

    def see(self, zone: Zone) -> None:
        """Answer from another zone from now on; what is not in it any more is not said."""
        self.zone = zone
        self._cache.clear()
        self._replies.clear()
        kept = set(zone.entries.values())
        self.pending = {entry: when for entry, when in self.pending.items() if entry in kept}
        for waiting in self.waiting.values():
            waiting.multicast = _only(waiting.multicast, kept)
            waiting.unicast = _only(waiting.unicast, kept)
        for asker in self.askers.values():
            asker.entries = _only(asker.entries, kept)

    # Queries

    def known_reply(self, payload: bytes) -> bytes | None:
        """The reply to a query of plain DNS that was asked before; such replies depend on the zone alone."""
        known = self._replies.get(payload[2:])
        if known is None:
            return None
        self.counts["answered"] += 1
        return payload[:2] + known

    def reply(self, query: Message, payload: bytes) -> bytes | None:
        """Answer a query of plain DNS (section 6.7) at once: nobody else gets it."""
        asked: dict[Entry, None] = {}
        for name, rdtype, rdclass in each_once(query.questions):
            asked.update(dict.fromkeys(self.zone.find(name, rdtype, rdclass & CLASS)))
        suppressed = self._suppressed(query.answers)
        entries = tuple(entry for entry in asked if entry not in suppressed)
        if not entries:
            return None
        self.counts["answered"] += 1
        reply = messages.legacy(query, entries, self._additionals(entries, query.answers), self.limit)
        if len(payload) <= SHORT:
            if len(self._replies) >= MAX_CACHED:
                self._replies.clear()
            self._replies[payload[2:]] = reply[2:]
        return reply

    def query(self, query: Message, peer: Peer, now: float, *, direct: bool) -> list[Send]:
        """Answer a query, now or later; `direct`: it was sent to this host alone (section 5.5)."""
        if not query.questions:
            self._know_more(query, peer, now)
            return []
        multicast: dict[Entry, None] = {}
        unicast: dict[Entry, None] = {}
        find = self.zone.find
        for name, rdtype, rdclass in each_once(query.questions):
            found = find(name, rdtype, rdclass & CLASS)
            if found:
                for entry in found:
                    if direct or (rdclass & QU and self._is_fresh(entry, now)):
                        unicast[entry] = None
                    else:
                        multicast[entry] = None
        known = query.answers
        if not (multicast or unicast):
            return []
        if known:
            suppressed = self._suppressed(known)
            multicast = {entry: None for entry in multicast if entry not in suppressed}
            unicast = {entry: None for entry in unicast if entry not in suppressed}
            if not (multicast or unicast):
                self.counts["suppressed"] += 1
                return []
        self.counts["answered"] += 1
        if query.flags & dns.TC:
            self._wait(peer, multicast, unicast, now)
            return []
        if query.authorities and self._defends(query):
            # Before anything else: the other host is about to take the name (section 6).
            return [
                *self._unicast(peer, tuple(unicast), known),
                *self._multicast_when_allowed(multicast, known, now, DEFENCE_APART),
            ]
        if len(query.questions) == 1 and all(entry.unique for entry in multicast or unicast):
            return [
                *self._unicast(peer, tuple(unicast), known),
                *self._multicast_when_allowed(multicast, known, now, APART),
            ]
        self._schedule(multicast, now)
        if unicast:
            self._ask_later(peer, unicast, now + self.uniform(*SOON))
        return []

    def _is_fresh(self, entry: Entry, now: float) -> bool:
        """Was it multicast within a quarter of its TTL, so that everybody has it (section 5.4)?"""
        return now - entry.sent[self.version] < entry.ttl / 4

    def _defends(self, query: Message) -> bool:
        asked = {question.name.lower() for question in query.questions}
        return any(record.name.lower() in asked for record in query.authorities)

    def _suppressed(self, known: Iterable[Record]) -> set[Entry]:
        """The entries that the asker has, and for long enough: half of the TTL is left (section 7.1)."""
        entries = self.zone.entries
        found = set()
        for name, rdtype, _, ttl, rdata in known:
            entry = entries.get((name.lower(), rdtype, comparable(rdtype, rdata)))
            if entry is not None and ttl * 2 >= entry.ttl:
                found.add(entry)
        # Of a unique set all goes or nothing (section 10.2).
        return {entry for entry in found if found.issuperset(self._set_of(entry))}

    def _set_of(self, entry: Entry) -> tuple[Entry, ...]:
        """What goes together: the flush bit says that there is no other record of that name and type (section 10.2)."""
        return (self.zone.of(entry.key, entry.rdtype) if entry.unique else ()) or (entry,)

    def _whole(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        return tuple(dict.fromkeys(each for entry in entries for each in self._set_of(entry)))

    # Further known answers

    def _wait(self, peer: Peer, multicast: dict[Entry, None], unicast: dict[Entry, None], now: float) -> None:
        waiting = self.waiting.get(peer)
        if waiting is None:
            if len(self.waiting) >= MAX_WAITING:
                self.waiting.popitem(last=False)
                self.counts["dropped"] += 1
            waiting = self.waiting[peer] = Waiting({}, {}, 0.0, now + FURTHER_AT_MOST)
        waiting.multicast.update(multicast)
        waiting.unicast.update(unicast)
        self._wait_on(waiting, now)

    def _wait_on(self, waiting: Waiting, now: float) -> None:
        waiting.due = min(now + self.uniform(*FURTHER), waiting.until)
        self.next_due = min(self.next_due, waiting.due)

    def _know_more(self, query: Message, peer: Peer, now: float) -> None:
        waiting = self.waiting.get(peer)
        if waiting is None:
            return
        for entry in self._suppressed(query.answers):
            waiting.multicast.pop(entry, None)
            waiting.unicast.pop(entry, None)
        if not (waiting.multicast or waiting.unicast):
            del self.waiting[peer]
            self.counts["suppressed"] += 1
        elif query.flags & dns.TC:
            self._wait_on(waiting, now)

    # Answers that wait

    def _schedule(self, entries: Iterable[Entry], now: float) -> None:
        """Multicast after a random moment; what waits already, waits no longer for that."""
        earliest, latest = now + SOON[0], now + SOON[1]
        due = now + self.uniform(*SOON)
        for entry in entries:
            self._put_off(entry, Pending(earliest, due, latest), APART)

    def _put_off(self, entry: Entry, when: Pending, apart: float) -> None:
        allowed = entry.sent[self.version] + apart
        if allowed > when.earliest:
            when = Pending(allowed, max(when.due, allowed), max(when.latest, allowed), when.is_announcement)
        before = self.pending.get(entry)
        if before is None:
            self.pending[entry] = when
        else:
            before.earliest = min(before.earliest, when.earliest)
            before.due = min(before.due, when.due)
            before.latest = min(before.latest, when.latest)
            before.is_announcement |= when.is_announcement
        self.next_due = min(self.next_due, when.due)

    def announce(self, entries: Iterable[Entry], now: float) -> None:
        """Multicast them as soon as may be, whoever else says the same."""
        for entry in entries:
            # None of a set goes sooner than the others may.
            moment = max(now, *(each.sent[self.version] + APART for each in self._set_of(entry)))
            self._put_off(entry, Pending(moment, moment, moment, is_announcement=True), APART)

    def correct(self, entry: Entry, now: float) -> None:
        """Somebody told less than half of the entry's TTL: say what it is (section 6.6)."""
        self._schedule(self._set_of(entry), now)

    def heard(self, entry: Entry, ttl: int) -> None:
        """Somebody else multicast it: our own answer would say it again (section 7.4)."""
        when = self.pending.get(entry)
        if when is not None and not when.is_announcement and ttl >= entry.ttl and len(self._set_of(entry)) == 1:
            del self.pending[entry]
            self.counts["suppressed"] += 1

    def _ask_later(self, peer: Peer, entries: dict[Entry, None], due: float) -> None:
        asker = self.askers.get(peer)
        if asker is None:
            if len(self.askers) >= MAX_ASKERS:
                self.askers.popitem(last=False)
                self.counts["dropped"] += 1
            self.askers[peer] = Asker(due, dict(entries))
            self.next_due = min(self.next_due, due)
        else:
            asker.entries.update(entries)

    def advance(self, now: float) -> Iterator[Send]:
        """What is to be sent now."""
        for peer in [peer for peer, each in self.waiting.items() if each.due <= now]:
            waiting = self.waiting.pop(peer)
            for entry in waiting.multicast:
                self._put_off(entry, Pending(now, now, now + SOON[0]), APART)
            yield from self._unicast(peer, tuple(waiting.unicast), ())
        for peer in [peer for peer, asker in self.askers.items() if asker.due <= now]:
            yield from self._unicast(peer, tuple(self.askers.pop(peer).entries), ())
        yield from self._flush(now)
        tables = (self.pending, self.waiting, self.askers)
        self.next_due = min((each.due for table in tables for each in table.values()), default=inf)

    def _flush(self, now: float) -> list[Send]:
        due = [when for when in self.pending.values() if when.due <= now]
        if not due:
            return []
        # Those that may be sent a little later, but before the first of these is late, make one message with them.
        latest = min(when.latest for when in due)
        together = max((when.earliest for when in self.pending.values() if now < when.earliest <= latest), default=now)
        if together > now:
            for when in due:
                when.due = together
            return []
        batch = [entry for entry, when in self.pending.items() if when.earliest <= now]
        asked = [entry for entry in batch if not self.pending[entry].is_announcement]
        for entry in batch:
            del self.pending[entry]
        whole = sorted(self._whole(batch), key=_order)
        return self._multicast(tuple(whole), self._additionals(asked, ()), now)

    # Messages

    def _additionals(self, entries: Iterable[Entry], known: Sequence[Record]) -> tuple[Entry, ...]:
        related = dict.fromkeys(more for entry in entries for more in self.zone.additionals(entry))
        if related and known:
            for entry in self._suppressed(known):
                related.pop(entry, None)
        for entry in entries:
            related.pop(entry, None)
        return tuple(related)

    def _unicast(self, peer: Peer, entries: tuple[Entry, ...], known: Sequence[Record]) -> Iterator[Send]:
        if entries:
            for payload in self._payloads(entries, self._additionals(entries, known)):
                yield Send(self.version, payload, peer)

    def _multicast_when_allowed(
        self, entries: Mapping[Entry, None], known: Sequence[Record], now: float, apart: float
    ) -> list[Send]:
        """Send the records that were last multicast at least so many seconds ago; schedule the others."""
        if not entries:
            return []
        version = self.version
        allowed = self._whole(entry for entry in entries if now - entry.sent[version] >= apart)
        if len(allowed) < len(entries):
            for entry in entries:
                if entry not in allowed:
                    self._put_off(entry, Pending(now, now, now), apart)
        return self._multicast(allowed, self._additionals(allowed, known), now) if allowed else []

    def _multicast(self, entries: tuple[Entry, ...], additionals: tuple[Entry, ...], now: float) -> list[Send]:
        version = self.version
        additionals = tuple(
            entry for entry in additionals if all(now - each.sent[version] >= APART for each in self._set_of(entry))
        )
        for entry in entries:
            entry.sent[version] = now
            self.pending.pop(entry, None)
        for entry in additionals:
            entry.sent[version] = now
            self.pending.pop(entry, None)
        return [Send(version, payload) for payload in self._payloads(entries, additionals)]

    def _payloads(self, entries: tuple[Entry, ...], additionals: tuple[Entry, ...]) -> list[bytes]:
        found = self._cache.get((entries, additionals))
        if found is None:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            found = packed([entry.rrset for entry in entries], [entry.rrset for entry in additionals], self.limit)
            self._cache[entries, additionals] = found
        return found


def _order(entry: Entry) -> int:
    return entry.order


def _only(entries: Iterable[Entry], kept: set[Entry]) -> dict[Entry, None]:
    return {entry: None for entry in entries if entry in kept}
