"""Messages of mDNS as bytes: answers, goodbyes and probes, each message within the link's MTU (RFC 6762 section 17).

`answering` decides when a message is sent, and to whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import Message, Question, RRset, Writer

from .records import Claim, Entry

PORT: Final = 5353

QU: Final = 0x8000
"""The bit of a question's class that asks for an answer by unicast (RFC 6762 section 5.4)."""

CLASS: Final = 0x7FFF
"""The bits that say the class."""

RESPONSE: Final = dns.QR | dns.AA
"""The flags of every answer (section 18)."""

LEGACY_TTL: Final = 10
"""Seconds at most for one who does not speak mDNS (section 6.7)."""

LARGEST: Final = 9000
"""Bytes of a packet at most, its headers included (section 17)."""

HEADERS: Final = {4: 28, 6: 48}
"""Bytes of the IP and UDP headers."""


MOST_SENT: Final = LARGEST - HEADERS[6]
"""Bytes of a message at most, by either family."""


def room(mtu: int, version: int) -> int:
    """Bytes of a message that goes out whole on a link."""
    return min(mtu or 1500, LARGEST) - HEADERS[version]


def each_once(questions: Iterable[Question]) -> Iterable[tuple[bytes, int, int]]:
    """Questions with their names in lower case, the same ones once: else one message could ask for all, 1,800 times."""
    return dict.fromkeys((name.lower(), rdtype, rdclass) for name, rdtype, rdclass in questions)


def _sets(rrsets: Iterable[RRset]) -> Iterable[RRset]:
    """The records of each unique set as one, which is added whole or not at all (section 10.2)."""
    sets: dict[object, RRset] = {}
    for number, each in enumerate(rrsets):
        key: object = (each.name, each.rdtype) if each.rdclass & ~CLASS else number
        before = sets.get(key)
        sets[key] = each if before is None else attrs.evolve(before, rdatas=(*before.rdatas, *each.rdatas))
    return sets.values()


def packed(records: Iterable[RRset], additionals: Iterable[RRset], limit: int) -> list[bytes]:
    """Messages with all the records as answers, and with what additional ones still go into the last message.

    A record that is larger than a message should be has a message of its own (section 17).
    """
    done: list[bytes] = []
    writer, count = Writer(b"", limit, dns.COMPRESSED_BY_MDNS), 0
    for rrset in records:
        if not writer.add(0, rrset):
            if count:
                done.append(writer.finish(0, RESPONSE))
            writer, count = Writer(b"", limit, dns.COMPRESSED_BY_MDNS), 0
            if not writer.add(0, rrset):
                large = Writer(b"", MOST_SENT, dns.COMPRESSED_BY_MDNS)
                large.add(0, rrset)
                done.append(large.finish(0, RESPONSE))
                continue
        count += 1
    if count:
        for rrset in _sets(additionals):
            writer.add(2, rrset)
        done.append(writer.finish(0, RESPONSE))
    return done


def goodbyes(entries: Iterable[Entry], limit: int) -> list[bytes]:
    """Messages that take records back: their TTL is 0 (section 10.1)."""
    return packed([attrs.evolve(entry.rrset, ttl=0) for entry in entries], (), limit)


def legacy(query: Message, entries: Iterable[Entry], additionals: Iterable[Entry], limit: int) -> bytes:
    """The answer to one who asks as DNS has it: with the ID and the questions, without what only mDNS knows (6.7).

    As DNS has it, too, it has 512 bytes at most, or what the asker's EDNS says (RFC 6891 section 6.2.3): else it would
    be many times what it answers.  TC says that there is more (section 18.5).
    """
    sizes = [each.rdclass for each in query.additionals if each.rdtype == dns.OPT]
    opt = dns.opt_record(limit, dns.NOERROR, dnssec_ok=False) if sizes else b""
    flags = RESPONSE
    writer = Writer(b"", min(max([dns.PLAIN_UDP, *sizes]), limit) - len(opt))
    for question in query.questions:
        if not writer.ask(question.name + dns.QUESTION.pack(question.rdtype, question.rdclass)):
            flags |= dns.TC
            break
    for rrset in (entry.rrset for entry in entries):
        if not writer.add(0, _as_dns_has_it(rrset)):
            flags |= dns.TC
            break
    for rrset in _sets(entry.rrset for entry in additionals):
        writer.add(2, _as_dns_has_it(rrset))
    if opt:
        writer.add_raw(2, opt)
    return writer.finish(query.ident, flags)


def _as_dns_has_it(rrset: RRset) -> RRset:
    return attrs.evolve(rrset, ttl=min(rrset.ttl, LEGACY_TTL), rdclass=dns.IN)


def query(name: bytes, rdtype: int) -> bytes:
    """One question, to be answered by multicast."""
    return dns.HEADER.pack(0, 0, 1, 0, 0, 0) + name + dns.QUESTION.pack(rdtype, dns.IN)


def probes(claims: Iterable[tuple[Claim, Sequence[Entry]]], limit: int) -> Iterator[bytes]:
    """Messages that ask whether somebody has the names, with the records that are proposed for them (section 8.1)."""
    batch: list[tuple[Claim, Sequence[Entry]]] = []
    size = dns.HEADER.size
    for claim, proposed in claims:
        # As if nothing were compressed, since the sections of a message are written one after the other.
        more = len(claim.name) + dns.QUESTION.size
        more += sum(len(each.name) + dns.RECORD.size + len(each.rdata) for each in proposed)
        if batch and size + more > limit:
            yield _probe(batch)
            batch, size = [], dns.HEADER.size
        batch.append((claim, proposed))
        size += more
    if batch:
        yield _probe(batch)


def proposed_in(probe: Message) -> dict[bytes, list[tuple[int, int, bytes]]]:
    """What a probe proposes: class, type and rdata by name in lower case, in the order of section 8.2's comparison."""
    found: dict[bytes, list[tuple[int, int, bytes]]] = {}
    for each in probe.authorities:
        found.setdefault(each.name.lower(), []).append((each.rdclass & CLASS, each.rdtype, each.rdata))
    for proposed in found.values():
        proposed.sort()
    return found


def _probe(claims: Sequence[tuple[Claim, Sequence[Entry]]]) -> bytes:
    writer = Writer(b"", MOST_SENT, dns.COMPRESSED_BY_MDNS)
    for claim, _ in claims:
        writer.ask(claim.name + dns.QUESTION.pack(dns.ANY, dns.IN | QU))
    for _, proposed in claims:
        for entry in proposed:
            writer.add(1, attrs.evolve(entry.rrset, rdclass=dns.IN))  # no flush bit: they are no answers
    return writer.finish(0, 0)
