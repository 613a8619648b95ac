"""Another program on this host (Avahi, systemd-resolved, a second daemon), which has the same addresses.

Where it tells other records of them than we would, either would take the other for a conflict and be renamed for ever.
So of the addresses of a name that both have we tell only those that it tells too, and reverse names we leave to it.
What it says counts until it takes it back, or does not say it again when it is asked before the TTL ends, as a cache
asks (RFC 6762 section 5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from math import inf
from typing import Final, TypeAlias

import attrs

from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import Message, Record

from .records import HOST_TTL, Entry, comparable

HOST_TYPES: Final = {dns.A, dns.AAAA, dns.PTR}
"""What is told of a host: its addresses, and their names."""

MAX_TOLD: Final = 256
"""Records kept of a name and type: more than a host has addresses on a link."""

ASK: Final = 0.8
"""The part of the TTL after which it is asked, and after a tenth more again."""

Key: TypeAlias = tuple[bytes, int]


@attrs.define(eq=False)
class _Told:
    """Rdata of one name and type; when they are asked for, and when they end (seconds)."""

    rdatas: set[bytes] = attrs.field(factory=set)
    ask: float = inf
    ends: float = inf
    tenth: float = 0.0


@attrs.define(eq=False)
class Beside:
    """What another program on this host tells of names of ours, by name and type."""

    _told: dict[Key, _Told] = attrs.field(factory=dict, init=False)

    def hear(self, message: Message, is_ours: Callable[[Record], bool], now: float) -> bool:
        """Learn from a message of its; True where something has changed.  `is_ours` says which records to learn."""
        if not message.flags & dns.QR and not message.authorities:
            return False  # a question, with what it has heard, maybe from us
        changed = False
        for record in (*message.authorities, *message.answers, *message.additionals):
            if record.rdtype not in HOST_TYPES or not is_ours(record):
                continue
            key = record.name.lower(), record.rdtype
            told = self._told.setdefault(key, _Told())
            before = len(told.rdatas)
            same = comparable(record.rdtype, record.rdata)
            if not record.ttl:
                told.rdatas.discard(same)
            elif len(told.rdatas) < MAX_TOLD:
                told.rdatas.add(same)
            changed |= len(told.rdatas) != before
            if told.rdatas:
                ttl = min(record.ttl, HOST_TTL) or HOST_TTL
                told.ask, told.ends, told.tenth = now + ASK * ttl, now + ttl, ttl / 10
            else:
                del self._told[key]
        return changed

    def leaves(self, entry: Entry) -> bool:
        """Is the entry one that it does not tell, though it tells others of that name and type?"""
        told = self._told.get((entry.key, entry.rdtype))
        return told is not None and entry.same not in told.rdatas

    def has(self, key: Key, ours: Set[bytes]) -> bool:
        """Does it tell something else than these of that name and type?"""
        told = self._told.get(key)
        return told is not None and not told.rdatas <= ours

    def due(self) -> float:
        """When it is to be asked, or something ends; inf: never."""
        return min((min(told.ask, told.ends) for told in self._told.values()), default=inf)

    def advance(self, now: float) -> tuple[list[Key], bool]:
        """What to ask now, and whether something has ended."""
        over = [key for key, told in self._told.items() if told.ends <= now]
        for key in over:
            del self._told[key]
        asked = [key for key, told in self._told.items() if told.ask <= now]
        for key in asked:
            told = self._told[key]
            told.ask = now + told.tenth
        return asked, bool(over)
