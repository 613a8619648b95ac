"""Another program on this host (Avahi, systemd-resolved, a second daemon), which has the same addresses.

Where it tells other records of them than we would, either would take the other for a conflict and be renamed for ever.
So of the addresses of a name that both have we tell only those that it tells too, and reverse names we leave to it.
What it says counts until it takes it back.  This file refuses to know claims and time.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final

import attrs

from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import Message

from .records import Entry, comparable

HOST_TYPES: Final = {dns.A, dns.AAAA, dns.PTR}
"""What is told of a host: its addresses, and their names."""

MAX_TOLD: Final = 256
"""Records kept of a name and type: more than a host has addresses on a link."""


@attrs.define(eq=False)
class Beside:
    """What another program on this host tells of names of ours: rdata by name and type."""

    _told: dict[tuple[bytes, int], set[bytes]] = attrs.field(factory=dict, init=False)

    def hear(self, message: Message, is_ours: Callable[[bytes], bool]) -> bool:
        """Learn from a message of its; True where something has changed.  `is_ours` is asked for names."""
        if not message.flags & dns.QR and not message.authorities:
            return False  # a question, with what it has heard, maybe from us
        changed = False
        for record in (*message.authorities, *message.answers, *message.additionals):
            key = record.name.lower()
            if record.rdtype not in HOST_TYPES or not is_ours(key):
                continue
            told = self._told.setdefault((key, record.rdtype), set())
            same = comparable(record.rdtype, record.rdata)
            before = len(told)
            if not record.ttl:
                told.discard(same)
            elif len(told) < MAX_TOLD:
                told.add(same)
            changed |= len(told) != before
            if not told:
                del self._told[key, record.rdtype]
        return changed

    def leaves(self, entry: Entry) -> bool:
        """Is the entry one that it does not tell, though it tells others of that name and type?"""
        told = self._told.get((entry.key, entry.rdtype))
        return told is not None and entry.same not in told

    def has(self, key: bytes, rdtype: int, ours: Set[bytes]) -> bool:
        """Does it tell something else than these of that name and type?"""
        return not self._told.get((key, rdtype), ours) <= ours
