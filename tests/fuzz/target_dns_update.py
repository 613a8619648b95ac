"""Updates of the plugin `dns`: each is answered by an rcode, changes the zone as a whole or not at all, and leaves one
that could be read from a file.

The journal is left out, since a disk takes longer than all else; what reads a message and what changes the zone is not.
"""

from __future__ import annotations

import random
import tempfile
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import dns.message
import dns.name
import dns.tsigkeyring
import dns.update
from responder_plugins.dns import TransferKey
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.message import wire
from responder_plugins.dns.options import Update
from responder_plugins.dns.transfer.update import UpdateRefused, Updates
from responder_plugins.dns.zone.builder import Line, ZoneBuilder
from responder_plugins.dns.zone.changes import Change, ZoneRecord, records_of
from responder_plugins.dns.zone.tables import Zone

from responder import IPAddress, PeerError
from tests.plugins.dns import queries
from tests.plugins.dns.support import ask_bytes, handler_of, request
from tests.plugins.dns.zone.comparing import assert_same

SECRET: Final = "c2VjcmV0"  # noqa: S105 - of the tests only
KEYRING: Final = dns.tsigkeyring.from_text({"key.test": SECRET})
ORIGIN: Final = b"\7example\4test\0"
LINE: Final = Line(Path("fuzz"), 1)

FRESH: Final = 3000
"""Versions after which the zone begins anew: it only grows."""

COMPARED: Final = 200
"""Of so many versions one is compared with what its records make, which takes a thousand times as long."""

QUERIES: Final = list(queries.queries())[::97]


def made() -> DnsHandler:
    folder = Path(tempfile.mkdtemp())
    policy = Update(keys=("key.test",), allow=(ip_network("10.0.0.0/8"),))
    handler = handler_of(state=folder, transfer_keys={"key.test": TransferKey(SECRET)}, update={"example.test": policy})
    handler.processor.take_update = take
    return handler


def seeds() -> list[bytes]:
    """Each kind of condition and of change, by name and type, signed and not."""
    found = []
    for number in range(12):
        message = dns.update.UpdateMessage("example.test", id=number, keyring=KEYRING if number == 11 else None)
        match number:
            case 0:
                message.add("new", 60, "A", "192.0.2.1", "192.0.2.2")
                message.add("a.b.new", 60, "TXT", "text")
            case 1:
                message.present("www", "A")
                message.absent("new")
                message.delete("www", "A", "192.0.2.80")
                message.add("www", 60, "MX", "10 mail")
            case 2:
                message.delete("sub")
                message.add("sub", 60, "NS", "ns.sub", "ns.elsewhere.invalid.")
                message.add("ns.sub", 60, "AAAA", "2001:db8::1")
            case 3:
                message.delete("dname", "DNAME")
                message.add("x.dname", 60, "SRV", "1 2 53 www")
                message.add("svc", 60, "SVCB", "1 . alpn=h2 port=53")
            case 4:
                message.add("@", 60, "SOA", "ns1 host 4000000000 1 2 3 4")
                message.delete("@", "NS", "ns1")
                message.delete("@", "MX")
            case 5:
                message.present("alias", "CNAME", "www")
                message.add("alias", 60, "CNAME", "other")
                message.add("UPPER", 60, "NAPTR", '100 50 "s" "SIP+D2U" "" _sip._udp')
            case 6:
                message.absent("www", "AAAA")
                message.present("none")
            case 7:
                message.delete("a.b.c.ent")
                message.delete("exists.wild")
                message.add("*.wild", 60, "CAA", '0 issue "ca.test"')
            case 8:
                for each in range(30):
                    message.delete(f"h{each}")
                    message.add(f"h{each // 2}", each, "HINFO", f"a b{each}")
            case 9:
                message.delete("deep.cut")
                message.add("cut", 60, "NS", "ns.deep.cut")
                message.add("dn", 60, "DNAME", "cut")
            case 10:
                message.use_edns(0)
                message.add("loc", 60, "LOC", "51 30 12.748 N 0 7 39.612 W 0.00m")
                message.delete("unknown", "TYPE65280")
            case _:
                message.add("signed", 60, "PTR", "www")
        found.append(message.to_wire())
    return found


async def take(data: bytes, key: dns.name.Name | None, address: IPAddress) -> int:
    """As `Updates.take`, but for the journal."""
    updates: Updates | None = STATE.handler._updates
    assert updates is not None
    zone = STATE.handler.catalog.zones[ORIGIN]
    assert zone is not None
    before = zone.serial
    try:
        _, message = updates.admitted(STATE.handler.catalog, data, key, address)
        edit = updates.planned(zone, message)
    except UpdateRefused as refused:
        assert zone.serial == before
        return refused.rcode
    if edit is not None:
        change = Change.decoded(edit.change.encoded())
        assert change == edit.change
        assert (change.before, change.after) == (before, change.after)
        edit.commit()
        assert zone.serial == change.after != before
        STATE.versions += 1
        STATE.handler.changed(ORIGIN)
        looked_at(zone)
    return wire.NOERROR


def looked_at(zone: Zone) -> None:
    """What is there is answered, and now and then compared with what a file of the same records makes."""
    ask_bytes(STATE.handler, QUERIES[STATE.versions % len(QUERIES)])
    if STATE.versions % COMPARED == 0:
        builder = ZoneBuilder(ORIGIN)
        for record in records_of(zone):
            builder.add(*record, LINE)
        assert_same(zone, builder.finish(LINE.file, {}))
    if STATE.versions % FRESH == 0:
        STATE.handler = made()
        STATE.records = []


class _State:
    def __init__(self) -> None:
        self.handler = made()
        self.versions = 0
        self.records: list[ZoneRecord] = []
        self.sampled = 0


STATE = _State()
SEEDS = seeds()


def answered(data: bytes) -> bytes | None:
    """The answer; None: silence, or no update.  The same bytes also choose a message that is whole, to get further."""
    reply = told(data)
    told(chosen(data))
    return reply


def told(data: bytes) -> bytes | None:
    processor = STATE.handler.processor
    try:
        query = processor.read(data)
    except PeerError:
        return None
    if query.opcode != wire.UPDATE:
        return None
    coroutine = processor.update(query, data, request(data))
    try:
        coroutine.send(None)
    except StopIteration as end:
        reply: bytes = end.value.data
    assert reply[:2] == data[:2]
    assert reply[2] & 0xF8 == 0xA8
    assert len(reply) <= max(512, len(data) + 500)
    return reply


def chosen(data: bytes) -> bytes:
    """An update of names and records that are there, and of some that aren't, as the bytes have it."""
    rng = random.Random(data)  # noqa: S311 - to be repeated
    if STATE.versions >= STATE.sampled + COMPARED or not STATE.records:
        zone = STATE.handler.catalog.zones[ORIGIN]
        assert zone is not None
        STATE.records, STATE.sampled = [*records_of(zone)], STATE.versions
    records = []
    for _ in range(rng.randrange(1, 7)):
        name, rdtype, _, rdata = rng.choice(STATE.records)
        kind = rng.randrange(10)
        if kind < 3:
            name = rng.choice(STATE.records).name
        elif kind == 3:
            name = b"\1" + rng.randbytes(1) + name
        if kind == 4:
            rdata = rng.choice(STATE.records).rdata
        elif kind == 5:
            at = rng.randrange(len(rdata))
            rdata = rdata[:at] + rng.randbytes(rng.randrange(3)) + rdata[at + rng.randrange(3) :]
        elif kind == 6:
            rdtype = rng.choice(STATE.records).rdtype
        rdclass = rng.choice((wire.IN, wire.IN, 254, wire.CLASS_ANY))
        ttl = rng.choice((60, 300, 2**31)) if rdclass == wire.IN else 0
        if rdclass == wire.CLASS_ANY:
            rdata, rdtype = b"", rng.choice((rdtype, rdtype, wire.ANY))
        if len(name) <= wire.MAX_NAME:
            records.append(name + wire.RECORD.pack(rdtype, rdclass, ttl, len(rdata)) + rdata)
    head = wire.HEADER.pack(1, wire.UPDATE << 11, 1, 0, len(records), 0)
    return head + ORIGIN + b"\0\6\0\1" + b"".join(records)
