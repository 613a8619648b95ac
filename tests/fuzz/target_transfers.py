"""Messages of transfers to a secondary of dns, NOTIFY, and what a primary is asked: what is taken or sent is a zone.

The first byte says which: a whole zone, changes, a NOTIFY, or a question; behind it are messages, each behind its
length, or one.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.rrset
import dns.tsig
import trio
import trio.testing
from responder_plugins.dns import Dns, Secondary, TransferKey
from responder_plugins.dns.answer.processor import Response
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.message import wire
from responder_plugins.dns.transfer import outgoing
from responder_plugins.dns.transfer.incoming import Incoming
from responder_plugins.dns.transfer.primary import Primary, TransferError
from responder_plugins.dns.zone.builder import Line, ZoneBuilder
from responder_plugins.dns.zone.changes import Change, difference, records_of, soa_record
from responder_plugins.dns.zone.edit import DoesNotFitError, Edit
from responder_plugins.dns.zone.tables import Zone

from responder import Context, Datagram, Peer, PeerError
from tests.plugins.dns.encrypted.support import connection
from tests.plugins.dns.support import LINK, handler_of
from tests.plugins.dns.zone.comparing import assert_same

ORIGIN = b"\5other\4test\0"
SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
KEY = TransferKey(secret=SECRET)
WHOLE, CHANGES, NOTIFY, QUESTION = 0, 1, 2, 3
MOST = 64
"""Messages of one input."""

COMPARED = 8
"""Of so many changed zones one is compared with what its records make, which takes long."""


def version(serial: int) -> Zone:
    builder = ZoneBuilder(ORIGIN)
    line = Line(Path("fuzz"), 0)
    builder.add(ORIGIN, wire.SOA, 300, b"\0\0" + struct.pack("!IIIII", serial, 3600, 600, 86400, 60), line)
    for name, rdtype, rdata in (
        (b"", wire.NS, b"\2ns" + ORIGIN),
        (b"\2ns", wire.A, b"\xc0\0\2\x35"),
        (b"\1m", wire.MX, b"\0\1\2ns" + ORIGIN),
        (b"\1c", wire.CNAME, b"\2ns" + ORIGIN),
        (b"\3sub", wire.NS, b"\2ns\3sub" + ORIGIN),
        (b"\1t", wire.TXT, b"\3one\3two"),
        (b"\1v", wire.TXT, b"\1" + str(serial).encode()),
    ):
        builder.add(name + ORIGIN, rdtype, 300, rdata, line)
    return builder.finish(line.file, {})


OLD, NEW = version(7), version(8)


def _framed(kind: int, messages: list[bytes]) -> bytes:
    return bytes((kind,)) + b"".join(len(message).to_bytes(2) + message for message in messages)


def _seeds() -> list[bytes]:
    seeds = []
    question = ORIGIN + struct.pack("!HH", wire.AXFR, 1)
    axfr = wire.Query(0, 0, question, ORIGIN, wire.AXFR, 1)
    seeds.append(_framed(WHOLE, list(outgoing.messages(NEW, axfr))))
    question = ORIGIN + struct.pack("!HH", wire.IXFR, 1)
    ixfr = wire.Query(0, 0, question, ORIGIN, wire.IXFR, 1, serial=7)
    change = difference(OLD, NEW)
    assert change is not None
    seeds.append(_framed(CHANGES, list(outgoing.messages(NEW, ixfr, [change]))))
    seeds.append(_framed(CHANGES, list(outgoing.messages(NEW, ixfr))))
    seeds.append(_framed(CHANGES, list(outgoing.messages(OLD, ixfr))))
    # Each record in a message of its own.
    for kind, records in ((WHOLE, outgoing.whole(NEW)), (CHANGES, outgoing.increments(NEW, [change]))):
        asked = ORIGIN + struct.pack("!HH", wire.AXFR if kind == WHOLE else wire.IXFR, 1)
        head = struct.pack("!HHHHHH", 0, 0x8400, 1, 1, 0, 0) + asked
        seeds.append(
            _framed(
                kind,
                [
                    head + name + wire.RECORD.pack(rdtype, wire.IN, ttl, len(rdata)) + rdata
                    for name, rdtype, ttl, rdata in records
                ],
            )
        )
    notify = dns.message.make_query("other.test", "SOA", flags=dns.flags.AA, id=7)
    notify.set_opcode(dns.opcode.NOTIFY)
    seeds.append(bytes((NOTIFY,)) + notify.to_wire())
    notify.use_tsig(dns.tsig.Key("key.test", SECRET, KEY.algorithm))
    seeds.append(bytes((NOTIFY,)) + notify.to_wire())
    for rdtype in ("AXFR", "IXFR"):
        query = dns.message.make_query("other.test", rdtype, use_edns=0 if rdtype == "IXFR" else None)
        if rdtype == "IXFR":
            query.authority.append(dns.rrset.from_text("other.test.", 1, "IN", "SOA", ". . 6 1 2 3 4"))
        seeds.append(bytes((QUESTION,)) + query.to_wire())
        query.use_tsig(dns.tsig.Key("key.test", SECRET, KEY.algorithm))
        seeds.append(bytes((QUESTION,)) + query.to_wire())
    return seeds


def _handler() -> DnsHandler:
    with tempfile.TemporaryDirectory() as folder:
        options = Dns(
            secondary={"other.test": Secondary(primaries=("192.0.2.53",), key="key.test")},
            transfer_keys={"key.test": KEY},
        )
        handler = options.prepare(Context("dns", Path(folder)))
    assert isinstance(handler, DnsHandler)
    return handler


def _primary() -> DnsHandler:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "zone").write_text("@ 60 SOA ns h 7 1 2 3 4\n@ 60 NS ns\nns 60 A 192.0.2.53\n")
        return handler_of(
            Path(folder),
            zones={"other.test": Path("zone")},
            allow_transfer=["192.0.2.0/24"],
            transfer_keys={"key.test": KEY},
        )


SEEDS = tuple(_seeds())
HANDLER = _handler()
PRIMARY = _primary()
ASKING = connection(trio.testing.memory_stream_pair()[0], "default", peer="192.0.2.54")


def answered(payload: bytes) -> bytes | None:
    """What the zone is then, or the answer.  Raises AssertionError where it would not be right."""
    kind, payload = payload[:1], payload[1:]
    if kind == bytes((NOTIFY,)):
        return _notified(payload)
    if kind == bytes((QUESTION,)):
        return _asked(payload)
    changes = kind == bytes((CHANGES,))
    try:
        news = _taken(payload, changes=changes)
    except TransferError:
        return None
    if news is None:
        return None
    if isinstance(news, list):
        zone = version(7)
        try:
            for change in news:
                edit = Edit(zone, change)
                if any(edit.mistakes()):
                    return None
                edit.commit()
        except DoesNotFitError:
            return None
        assert zone.serial == news[-1].after
        if sum(payload) % COMPARED == 0:
            looked_at(zone)
    else:
        zone = news
    return b"".join(record.name + record.rdata for record in outgoing.whole(zone))


def looked_at(zone: Zone) -> None:
    """A zone that took changes is what its records make."""
    builder = ZoneBuilder(ORIGIN)
    for record in records_of(zone):
        builder.add(*record, Line(Path("fuzz"), 1))
    assert_same(zone, builder.finish(Path("fuzz"), {}))


def _taken(payload: bytes, *, changes: bool) -> list[Change] | Zone | None:
    incoming = Incoming(ORIGIN, Primary(Peer("192.0.2.53", 53)), soa_record(OLD) if changes else None)
    incoming.query.id = 0
    for _ in range(MOST):
        size = int.from_bytes(payload[:2])
        message, payload = payload[2 : size + 2], payload[size + 2 :]
        if not message:
            raise TransferError("it ended")
        if incoming.feed(message):
            return incoming.result()
    raise TransferError("it does not end")


def _notified(payload: bytes) -> bytes | None:
    secondaries = HANDLER.secondaries
    assert secondaries is not None
    peer = Peer("192.0.2.53" if len(payload) % 2 else "192.0.2.54", 53)
    before = secondaries.counts["notify-received"]

    async def respond() -> object:
        return HANDLER.respond_last(Datagram(payload, peer, "10.71.0.1", LINK, port=53))

    try:
        answer = trio.run(respond)
    except PeerError:
        return None
    assert isinstance(answer, bytes)
    assert answer[:2] == payload[:2]
    if secondaries.counts["notify-received"] > before:
        assert (answer[2] >> 3 & 0xF, answer[3] & 0xF) == (dns.opcode.NOTIFY, 0)
        assert peer.address == Peer("192.0.2.53", 53).address or b"key" in payload.lower()
        assert len(answer) <= len(payload) + 200
    return answer


def _asked(payload: bytes) -> bytes | None:
    """The answer, all messages of it."""
    processor = PRIMARY.processor
    try:
        query = processor.read(payload)
    except PeerError:
        return None
    if query.rdtype not in (wire.AXFR, wire.IXFR) or query.problem or query.opcode:
        return None
    granted = processor.transfer(query, payload, ASKING)
    if isinstance(granted, Response):
        messages = [granted.data]
    else:
        signer = granted.signer
        messages = [
            message if signer is None else signer.sign(message, multi=True)
            for message in outgoing.messages(granted.zone.snapshot(), query, None, granted.opt)
        ]
    for message in messages:
        assert message[:2] == payload[:2]
        assert message[2] & 0xF8 == 0x80
        assert len(message) <= wire.STREAM
        assert dns.message.from_wire(message, xfr=True, keyring=False).flags & dns.flags.QR
    return b"".join(messages)
