"""One link: the names that this host claims there, and what it says of them (RFC 6762 sections 8 to 10).

A claim is probed for, three times, before anything of it is said (section 8.1), and then announced, twice.  Whoever
has the name already keeps it: the claim takes the next one.  Of two that probe at the same time the one with the later
records wins, the other waits and tries again (section 8.2).  A conflict that shows later makes it probe again
(section 9).

Time comes from outside, in seconds, and what is to be sent goes out as `Send`.  A link knows no other one, and has no
socket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from math import inf
from typing import Final, TypeAlias

import attrs

from responder import Interface, IPAddress, Peer
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.delays import Uniform
from responder_plugins.shared.dns_message import Message, Record

from .answering import Channel, Send
from .beside import Beside
from .message import CLASS, goodbyes, probes, proposed_in, query, room
from .options import Offer
from .probing import AFTER_DEFEAT, BEFORE_PROBING, BETWEEN_PROBES, LEFT_FOR, PROBES, Conflicts
from .records import HOST, Claim, Entry, Zone, claims_of, comparable, entries_of

GROUPS: Final[Mapping[int, IPAddress]] = {4: ip_address("224.0.0.251"), 6: ip_address("ff02::fb")}
"""By family (RFC 6762 section 3)."""

ANNOUNCEMENTS: Final = 2
BETWEEN_ANNOUNCEMENTS: Final = 1.0
"""Seconds (section 8.3)."""

ADDRESSES: Final = {(dns.A, 4), (dns.AAAA, 16)}
"""Types and lengths of rdata."""

Renamed: TypeAlias = Callable[["Link", Claim], None]
"""Told of a claim that is established under another name than before."""


def versions_of(interface: Interface) -> set[int]:
    """The families in which mDNS is spoken on an interface; none where it can't be."""
    if not interface.is_working or "multicast" not in interface.flags or "loopback" in interface.flags:
        return set()
    return {version for version, group in GROUPS.items() if interface.source_for(group) is not None}


@attrs.define(eq=False)
class Link:
    """The state of one link.

    number_of  the number that a claim had there last, by its key
    is_own     is it an address of this host, on whatever link?
    renamed    told of new names
    noticed    told of another program on this host, whenever it says something
    """

    interface: Interface
    uniform: Uniform
    counts: Counter[str]
    number_of: Callable[[str], int] = lambda _claim: 1
    is_own: Callable[[IPAddress], bool] = lambda _address: False
    renamed: Renamed = lambda _link, _claim: None
    noticed: Callable[[Link], None] = lambda _link: None
    claims: dict[str, Claim] = attrs.field(factory=dict, init=False)
    zone: Zone = attrs.field(factory=lambda: Zone(()), init=False)
    channels: dict[int, Channel] = attrs.field(factory=dict, init=False)
    _offer: Offer = attrs.field(factory=lambda: Offer("", ()), init=False)
    _entries: dict[tuple[bytes, int, bytes], Entry] = attrs.field(factory=dict, init=False)
    _entries_of_name: dict[bytes, list[Entry]] = attrs.field(factory=dict, init=False)
    _by_name: dict[bytes, list[Claim]] = attrs.field(factory=dict, init=False)
    _beside: Beside = attrs.field(factory=Beside, init=False)
    _again: list[tuple[float, list[Entry]]] = attrs.field(factory=list, init=False)
    _conflicts: Conflicts = attrs.field(factory=Conflicts, init=False)
    _next_probe: float = attrs.field(default=inf, init=False)

    def use_counts(self, counts: Counter[str]) -> None:
        """Count there from now on."""
        self.counts = counts
        for channel in self.channels.values():
            channel.counts = counts

    # What is offered, and where

    def offer(self, offer: Offer, interface: Interface, now: float) -> list[Send]:
        """Offer this from now on, on the interface as it is now; says what is to be said of what is no more."""
        self._offer, self.interface = offer, interface
        before = self.claims
        self.claims = claims_of(offer, interface, self.number_of)
        for key, claim in self.claims.items():
            old = before.get(key)
            if old is not None and old.label == claim.label:
                self.claims[key] = old
        versions = versions_of(interface)
        is_new_family = bool(versions - self.channels.keys())
        for version in self.channels.keys() - versions:
            del self.channels[version]
        for version in versions:
            limit = room(interface.mtu, version)
            if version in self.channels:
                self.channels[version].limit = limit
            else:
                self.channels[version] = Channel(version, self.zone, limit, self.uniform, self.counts)
        start = now + self.uniform(*BEFORE_PROBING)
        for key, claim in self.claims.items():
            if claim is not before.get(key) or is_new_family:
                self._probe(claim, start)
        return self._rebuild(now, say_goodbye=True)

    def _rebuild(self, now: float, *, say_goodbye: bool) -> list[Send]:
        """Make the zone anew, keep what is the same, and announce the rest."""
        self._by_name = {}
        for claim in self.claims.values():
            self._by_name.setdefault(claim.name.lower(), []).append(claim)
        entries: dict[tuple[bytes, int, bytes], Entry] = {}
        for entry in entries_of(self._offer, self.claims, self.interface):
            old = self._entries.get(entry.identity)
            if old is not None and (old.ttl, old.unique, old.name) == (entry.ttl, entry.unique, entry.name):
                old.claims, old.order = entry.claims, entry.order
                entry = old  # noqa: PLW2901 - the same, with what is known of it
            entries.setdefault(entry.identity, entry)
        before = self.zone
        self._entries = entries
        self._entries_of_name = {}
        for entry in entries.values():
            self._entries_of_name.setdefault(entry.key, []).append(entry)
        self.zone = Zone(entry for entry in entries.values() if entry.is_visible and not self._beside.leaves(entry))
        for channel in self.channels.values():
            channel.see(self.zone)
        self._announce(
            (entry for identity, entry in self.zone.entries.items() if before.entries.get(identity) is not entry), now
        )
        if not say_goodbye:
            return []
        # What is only hidden, since its name is probed for again, is not gone.
        gone = [entry for identity, entry in before.entries.items() if identity not in entries]
        return self._goodbye([entry for entry in gone if self._needs_goodbye(entry)])

    def _needs_goodbye(self, entry: Entry) -> bool:
        """Not where a new record with the flush bit takes its place; but an address may be one of several."""
        if entry.rdtype in (dns.A, dns.AAAA):
            return True
        return entry.rdtype != dns.NSEC and not (entry.unique and self.zone.of(entry.key, entry.rdtype))

    def _announce(self, new: Iterable[Entry], now: float) -> None:
        """All of a name and type together: the flush bit says that there are no others (section 10.2)."""
        entries = dict.fromkeys(
            sibling
            for entry in new
            if entry.rdtype != dns.NSEC
            for sibling in (entry, *(self.zone.of(entry.key, entry.rdtype) if entry.unique else ()))
        )
        if not entries:
            return
        for channel in self.channels.values():
            channel.announce(entries, now)
        for number in range(1, ANNOUNCEMENTS):
            self._again.append((now + number * BETWEEN_ANNOUNCEMENTS, list(entries)))

    def goodbye(self) -> list[Send]:
        """Take back all that was said."""
        return self._goodbye(entry for entry in self.zone.entries.values() if entry.rdtype != dns.NSEC)

    def _goodbye(self, entries: Iterable[Entry]) -> list[Send]:
        said = list(entries)
        return [
            Send(version, payload)
            for version, channel in self.channels.items()
            for payload in goodbyes(said, channel.limit)
        ]

    # Time

    def due(self) -> float:
        """When `advance` has something to do; inf: never."""
        due = min(self._next_probe, self._beside.due()) if self.channels else inf
        if self._again:
            due = min(due, self._again[0][0])
        for channel in self.channels.values():
            due = min(due, channel.next_due)
        return due

    def advance(self, now: float) -> Iterator[Send]:
        """What is to be sent now."""
        if self.channels and self._beside.due() <= now:
            asked, is_over = self._beside.advance(now)
            if is_over:
                self._leave_or_take_back(now)
            yield from (Send(version, query(*key)) for key in asked for version in self.channels)
        if self.channels and self._next_probe <= now:
            yield from self._go_on_probing(now)
        while self._again and self._again[0][0] <= now:
            _, entries = self._again.pop(0)
            for channel in self.channels.values():
                channel.announce([entry for entry in entries if self.zone.entries.get(entry.identity) is entry], now)
        for channel in self.channels.values():
            if channel.next_due <= now:
                yield from channel.advance(now)

    # Probing

    def _probe(self, claim: Claim, start: float) -> None:
        claim.is_established = claim.is_given_up = False
        claim.probes = 0
        claim.due = start
        self._next_probe = min(self._next_probe, start)

    def _go_on_probing(self, now: float) -> Iterator[Send]:
        for claim in self.claims.values():
            if claim.is_given_up and claim.due <= now:
                self._probe(claim, now)
        probing = [claim for claim in self.claims.values() if not (claim.is_established or claim.is_given_up)]
        due = [claim for claim in probing if claim.due <= now]
        asking = [claim for claim in due if claim.probes < PROBES]
        established = [claim for claim in due if claim.probes >= PROBES]
        for claim in asking:
            claim.probes += 1
            claim.due = now + BETWEEN_PROBES
        for claim in established:
            claim.is_established = True
            if claim.number != claim.told:
                claim.told = claim.number
                self.renamed(self, claim)
        self._next_probe = min((claim.due for claim in self.claims.values() if not claim.is_established), default=inf)
        if established:
            self._rebuild(now, say_goodbye=False)
        for version, channel in self.channels.items():
            for payload in probes([(claim, self._proposed(claim)) for claim in asking], channel.limit):
                yield Send(version, payload)

    def _proposed(self, claim: Claim) -> list[Entry]:
        """The records that are wanted for the name."""
        entries = self._entries_of_name.get(claim.name.lower(), ())
        return [entry for entry in entries if entry.rdtype != dns.NSEC]

    # What arrives

    def known_reply(self, payload: bytes, version: int) -> bytes | None:
        """The reply to a query of plain DNS that was asked before, but for its ID."""
        channel = self.channels.get(version)
        return None if channel is None else channel.known_reply(payload)

    def reply(self, message: Message, payload: bytes, peer: Peer) -> bytes | None:
        """The reply to a message that comes from another port than mDNS's: who sends that speaks plain DNS (6.7)."""
        channel = self.channels.get(peer.address.version)
        if channel is None or message.flags & (dns.OPCODE | dns.RCODE):
            return None
        if message.flags & dns.QR:
            self.counts["foreign-port"] += 1  # section 6: silently ignored
            return None
        return channel.reply(message, payload)

    def receive(self, message: Message, peer: Peer, now: float, *, direct: bool) -> list[Send]:
        """A message from mDNS's port, of that family; `direct`: it was sent to this host alone."""
        channel = self.channels.get(peer.address.version)
        if channel is None or message.flags & (dns.OPCODE | dns.RCODE):
            return []  # sections 18.3 and 18.11: silently ignored
        if self.is_own(peer.address):
            if self._is_believed(peer):
                self._make_room(message, now)
            else:
                message = self._of_others(message)
        if message.flags & dns.QR:
            self._response(message, channel, now, direct=direct)
            return []
        if message.authorities and self._next_probe < inf:
            self._compare(message, peer, now)
        return channel.query(message, peer, now, direct=direct)

    def _is_believed(self, peer: Peer) -> bool:
        """Does what comes from an address of this host come from this host?

        Linux drops what comes by IPv4 from the link with such a source (fib_validate_source), but not by IPv6.  Who
        speaks by both is believed by IPv4.
        """
        return peer.address.version == 4 or 4 not in self.channels

    def _of_others(self, message: Message) -> Message:
        """The message without what a program on this host may say of names that each of them has.

        It says the same by IPv4, which may come later: to defend our names meanwhile is to take its own from it.  Its
        goodbyes stay: what they take back is to be said again by this family.
        """
        if message.flags & dns.QR:
            sections = (
                [each for each in records if not (each.ttl and self._is_hosts(each.name))] for records in message[3:]
            )
            return Message(*message[:3], *sections)
        if message.authorities:
            return message._replace(questions=[each for each in message.questions if not self._is_hosts(each.name)])
        return message

    def _make_room(self, message: Message, now: float) -> None:
        """Another program on this host says something: leave to it what would make the two conflict."""
        self.noticed(self)
        if self._beside.hear(message, self._is_ours, now):
            self._leave_or_take_back(now)

    def _leave_or_take_back(self, now: float) -> None:
        for claim in self.claims.values():
            if claim.fixed:
                ours = {entry.same for entry in self._proposed(claim)}
                if self._beside.has((claim.name.lower(), dns.PTR), ours):
                    claim.give_up(inf)
                elif claim.is_given_up:
                    self._probe(claim, now + self.uniform(*BEFORE_PROBING))
        self._rebuild(now, say_goodbye=False)

    def _is_ours(self, record: Record) -> bool:
        """Is it about a name that every program on this host may have, and about no other host's address?"""
        return self._is_hosts(record.name) and (record.rdtype == dns.PTR or self._is_own_address(record))

    def _is_hosts(self, name: bytes) -> bool:
        """Is it a name of this host, or the reverse name of an address of it?"""
        return any(claim.is_host or claim.fixed for claim in self._by_name.get(name.lower(), ()))

    def _is_own_address(self, record: Record) -> bool:
        return (record.rdtype, len(record.rdata)) in ADDRESSES and self.is_own(ip_address(record.rdata))

    def _compare(self, message: Message, peer: Peer, now: float) -> None:
        """Another host probes: where for the same name, the later records win (section 8.2)."""
        proposed = proposed_in(message)
        for key in dict.fromkeys(question.name.lower() for question in message.questions):
            for claim in self._by_name.get(key, ()):
                if not claim.is_asked_for:
                    continue
                if (claim.is_host or claim.fixed) and self.is_own(peer.address):
                    continue  # of two programs on this host the other is made room for
                theirs = proposed.get(key, [])
                ours = sorted((dns.IN, each.rdtype, each.rdata) for each in self._proposed(claim))
                if theirs > ours:
                    self.counts["lost-to-prober"] += 1
                    self._conflicts.note(1, now)
                    self._probe(claim, now + max(AFTER_DEFEAT, self._conflicts.wait))

    def _response(self, message: Message, channel: Channel, now: float, *, direct: bool) -> None:
        conflicting: dict[Claim, None] = {}
        for record in (*message.answers, *message.authorities, *message.additionals):
            if record.rdclass & CLASS != dns.IN:
                continue
            key = record.name.lower()
            entry = self._entries.get((key, record.rdtype, comparable(record.rdtype, record.rdata)))
            if entry is not None:
                if self.zone.entries.get(entry.identity) is entry and not direct:
                    channel.heard(entry, record.ttl)
                    if record.ttl * 2 < entry.ttl:
                        channel.correct(entry, now)
            elif record.ttl and key in self._by_name:
                for claim in self._by_name[key]:
                    if self._is_conflict(claim, key, record, direct=direct):
                        conflicting[claim] = None
        if conflicting:
            self._conflicts.note(len(conflicting), now)
            for claim in conflicting:
                self._lose(claim, now)
            self._rebuild(now, say_goodbye=False)

    def _is_conflict(self, claim: Claim, key: bytes, record: Record, *, direct: bool) -> bool:
        """Does a record that is not ours take the name?"""
        if record.rdtype == dns.NSEC:
            return False
        if self._is_own_address(record):
            return False  # this host's: another daemon on it, or a link that is plugged in twice
        # While it is asked for, a name is taken by records of whatever type, and what comes before says nothing yet
        # (section 8.1): so each attempt fails once at most.  Later it is taken by another record of a type that ours
        # has (section 9), but not by what was sent to this host alone, which asked nothing (section 6).
        if claim.is_established:
            return not direct and bool(self.zone.of(key, record.rdtype))
        return claim.is_asked_for

    def _lose(self, claim: Claim, now: float) -> None:
        """A name that was ours is probed for again (section 9); one that was not yet is another's."""
        self.counts["conflicts"] += 1
        if not claim.is_established:
            if claim.fixed:
                claim.give_up(now + LEFT_FOR)
                self._next_probe = min(self._next_probe, claim.due)
                return
            taken = {each.name.lower() for each in self.claims.values() if each is not claim}
            claim.take_next(taken, self.uniform)
            self.counts["renamed"] += 1
        self._probe(claim, now + (self._conflicts.wait or self.uniform(*BEFORE_PROBING)))


def host_name(link: Link) -> str | None:
    """The host's own name on a link, or None where it has none (yet)."""
    claim = link.claims.get(HOST)
    return f"{claim.text}.local" if claim is not None and claim.is_established else None
