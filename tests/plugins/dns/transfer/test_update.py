"""Dynamic updates (RFC 2136, 3007): conditions, what may be changed and what is, and that it stays."""

from __future__ import annotations

from collections.abc import Awaitable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest
import trio
from responder_plugins.dns import Dns, Secondary, TransferKey
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.options import Update

from responder import PASS, Context
from responder.errors import ConfigErrors
from tests.plugins.dns.support import ask, ask_bytes, handler_of, request
from tests.plugins.dns.test_tcp import KEYRING, SECRET, axfr, connected, records, transferred

ORIGIN = b"\7example\4test\0"
OTHERS = dns.tsigkeyring.from_text({"other.test": SECRET})
KEYS = {"key.test": TransferKey(SECRET), "other.test": TransferKey(SECRET)}

ZONE = """$TTL 300
@ SOA ns h 7 2 3 4 60
@ NS ns
@ NS ns2
ns A 192.0.2.53
www A 192.0.2.80
www A 192.0.2.81
www TXT "text"
Mixed A 192.0.2.90
alias CNAME www
x.ent TXT "below"
dn DNAME ns
"""


def served(folder: Path, *, zone: str | None = ZONE, **more: Any) -> DnsHandler:
    if zone is not None:
        (folder / "a.zone").write_text(zone)
    policy = more.pop("policy", {"keys": ("key.test",)})
    options: dict[str, Any] = {"zones": {"example.test": folder / "a.zone"}, "transfer_keys": KEYS}
    return handler_of(folder, state=folder / "state", update={"example.test": Update(**policy)}, **{**options, **more})


def update(**signed: Any) -> dns.update.UpdateMessage:
    """To be filled; signed by the right key unless `keyring` says otherwise."""
    return dns.update.UpdateMessage("example.test", keyring=signed.get("keyring", KEYRING))


async def rcode_of(handler: DnsHandler, message: dns.message.Message | bytes, **more: Any) -> str:
    """The answer's rcode, its signature checked."""
    wire = message if isinstance(message, bytes) else message.to_wire()
    answer = handler.respond_last(request(wire, **more))
    if not isinstance(answer, bytes):
        assert isinstance(answer, Awaitable)
        answer = await answer
    assert isinstance(answer, bytes)
    if isinstance(message, bytes):
        assert (answer[:2], answer[2] & 0xF8) == (wire[:2], 0xA8)
        return dns.rcode.to_text(dns.rcode.Rcode(answer[3] & 0xF))
    reply = dns.message.from_wire(answer, keyring={**KEYRING, **OTHERS}, request_mac=message.mac)
    assert message.is_response(reply)
    assert (reply.opcode(), reply.had_tsig) == (dns.opcode.UPDATE, message.had_tsig or bool(message.keyring))
    return dns.rcode.to_text(reply.rcode())


def has(handler: DnsHandler, name: str, rdtype: str) -> list[str]:
    reply = ask(handler, dns.message.make_query(f"{name}.example.test" if name != "@" else "example.test", rdtype))
    return sorted(f"{rrset.ttl} {rdata}" for rrset in reply.answer for rdata in rrset)


def serial(handler: DnsHandler) -> int:
    return int(has(handler, "@", "SOA")[0].split()[3])


async def test_records_come_go_and_are_replaced(tmp_path: Path) -> None:
    handler = served(tmp_path)
    message = update()
    message.add("new", 60, "A", "192.0.2.1", "192.0.2.2")
    message.delete("www", "TXT")
    message.delete("www", "A", "192.0.2.80")
    message.delete("x.ent")
    message.replace("ns", 30, "A", "192.0.2.54")
    assert has(handler, "new", "A") == []
    assert await rcode_of(handler, message) == "NOERROR"
    assert has(handler, "new", "A") == ["60 192.0.2.1", "60 192.0.2.2"]
    assert (has(handler, "www", "A"), has(handler, "www", "TXT")) == (["300 192.0.2.81"], [])
    assert has(handler, "ns", "A") == ["30 192.0.2.54"]
    assert ask(handler, dns.message.make_query("ent.example.test", "A")).rcode() == dns.rcode.NXDOMAIN
    assert serial(handler) == 8
    # Once more it changes nothing, and so it is no new version.
    assert await rcode_of(handler, message) == "NOERROR"
    assert serial(handler) == 8
    assert handler.counts()["updated"] == 1


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    handler = served(tmp_path)
    for number in range(5):
        message = update()
        message.add(f"h{number}", 60, "A", "192.0.2.1")
        message.delete(f"h{number - 2}")
        assert await rcode_of(handler, message) == "NOERROR"
    before = records(await transferred(handler, axfr(sign=True)))
    del handler
    handler = served(tmp_path, zone=None)
    assert sorted(records(await transferred(handler, axfr(sign=True)))) == sorted(before)
    assert serial(handler) == 12
    # And it goes on from there, with the differences since the file for its secondaries.
    message = update()
    message.delete("h4")
    assert await rcode_of(handler, message) == "NOERROR"
    changes = records(await transferred(handler, axfr("IXFR", serial=7, sign=True)))
    assert [line.split()[0] for line in changes if " A " in line] == [
        f"h{number}.example.test." for number in (0, 1, 0, 2, 1, 3, 2, 4, 4)
    ]


PREREQUISITES = [
    (lambda it: it.present("www"), "NOERROR"),
    (lambda it: it.present("none"), "NXDOMAIN"),
    (lambda it: it.present("ent"), "NXDOMAIN"),  # an empty non-terminal is not in use (section 2.4.4)
    (lambda it: it.present("WWW", "A"), "NOERROR"),
    (lambda it: it.present("www", "AAAA"), "NXRRSET"),
    (lambda it: it.present("none", "A"), "NXRRSET"),
    (lambda it: it.present("www", "A", "192.0.2.81", "192.0.2.80"), "NOERROR"),
    (lambda it: it.present("www", "A", "192.0.2.80"), "NXRRSET"),
    (lambda it: it.present("www", "A", "192.0.2.80", "192.0.2.82"), "NXRRSET"),
    (lambda it: it.present("alias", "CNAME", "WWW.example.test."), "NOERROR"),
    (lambda it: it.absent("none"), "NOERROR"),
    (lambda it: it.absent("ent"), "NOERROR"),
    (lambda it: it.absent("www"), "YXDOMAIN"),
    (lambda it: it.absent("www", "AAAA"), "NOERROR"),
    (lambda it: it.absent("www", "A"), "YXRRSET"),
    (lambda it: it.absent("www.other.test."), "NOTZONE"),
]


@pytest.mark.parametrize(("require", "rcode"), PREREQUISITES, ids=range(len(PREREQUISITES)))
async def test_prerequisites_hold_or_nothing_is_done(require: Any, rcode: str, tmp_path: Path) -> None:
    """RFC 2136 section 3.2."""
    handler = served(tmp_path)
    message = update()
    require(message)
    message.add("new", 60, "A", "192.0.2.1")
    assert await rcode_of(handler, message) == rcode
    assert bool(has(handler, "new", "A")) == (rcode == "NOERROR")


def rr(name: str, rdclass: int, rdtype: str, ttl: int = 0, data: str | None = None) -> dns.rrset.RRset:
    """A record as no honest client makes it; `data` is read as of class IN."""
    found = dns.rrset.RRset(dns.name.from_text(name), rdclass, dns.rdatatype.from_text(rdtype))
    if data is not None:
        wire = dns.rdata.from_text("IN", rdtype, data, dns.name.from_text("example.test")).to_wire()
        assert wire is not None
        found.add(dns.rdata.GenericRdata(rdclass, found.rdtype, wire), ttl)
    return found


def raw(name: str, rdtype: int, rdclass: int, ttl: int = 0, rdata: bytes = b"") -> bytes:
    owner = dns.name.from_text(name).to_wire()
    assert owner is not None
    return owner + rdtype.to_bytes(2) + rdclass.to_bytes(2) + ttl.to_bytes(4) + len(rdata).to_bytes(2) + rdata


def message_of(*, zone: bytes | None = None, prerequisites: list[bytes] = (), updates: list[bytes] = ()) -> bytes:  # type: ignore[assignment]
    asked = [ORIGIN + b"\0\6\0\1"] if zone is None else [zone] if zone else []
    counts = [len(asked), len(prerequisites), len(updates), 0]
    head = b"\1\2\x28\0" + b"".join(count.to_bytes(2) for count in counts)
    return head + b"".join([*asked, *prerequisites, *updates])


A, NONE, ANY = bytes((192, 0, 2, 1)), 254, 255
BROKEN = {
    "no zone": (message_of(zone=b""), "FORMERR"),
    "a zone by another type": (message_of(zone=ORIGIN + b"\0\1\0\1"), "FORMERR"),
    "another class": (message_of(zone=ORIGIN + b"\0\6\0\3"), "NOTAUTH"),
    "a zone that isn't here": (message_of(zone=b"\5other\4test\0\0\6\0\1"), "NOTAUTH"),
    "a name in the zone": (message_of(zone=b"\3www" + ORIGIN + b"\0\6\0\1"), "NOTAUTH"),
    "a prerequisite with a TTL": (message_of(prerequisites=[raw("www.example.test", 1, ANY, 1)]), "FORMERR"),
    "a prerequisite with data": (message_of(prerequisites=[raw("www.example.test", 1, ANY, 0, A)]), "FORMERR"),
    "NONE with data": (message_of(prerequisites=[raw("www.example.test", 1, NONE, 0, A)]), "FORMERR"),
    "a prerequisite of AXFR": (message_of(prerequisites=[raw("www.example.test", 252, ANY)]), "FORMERR"),
    "a prerequisite of CH": (message_of(prerequisites=[raw("www.example.test", 1, 3)]), "FORMERR"),
    "an RRset without data": (message_of(prerequisites=[raw("www.example.test", 1, 1)]), "FORMERR"),
    "an address of three bytes": (message_of(updates=[raw("www.example.test", 1, 1, 60, A[:3])]), "FORMERR"),
    "no data": (message_of(updates=[raw("www.example.test", 1, 1, 60)]), "FORMERR"),
    "MX cut off": (message_of(updates=[raw("www.example.test", 15, 1, 60, b"\0\1\3ab")]), "FORMERR"),
    "NINFO of strings that end": (message_of(updates=[raw("www.example.test", 56, 1, 60, b"\5ab")]), "FORMERR"),
    "a new record of ANY": (message_of(updates=[raw("www.example.test", 255, 1, 60, A)]), "FORMERR"),
    "deleting with a TTL": (message_of(updates=[raw("www.example.test", 1, ANY, 1)]), "FORMERR"),
    "deleting an RRset with data": (message_of(updates=[raw("www.example.test", 1, ANY, 0, A)]), "FORMERR"),
    "deleting AXFR": (message_of(updates=[raw("www.example.test", 252, ANY)]), "FORMERR"),
    "deleting one of ANY": (message_of(updates=[raw("www.example.test", 255, NONE, 0, A)]), "FORMERR"),
    "deleting one with a TTL": (message_of(updates=[raw("www.example.test", 1, NONE, 1, A)]), "FORMERR"),
    "class CH": (message_of(updates=[raw("www.example.test", 1, 3, 60, A)]), "FORMERR"),
    "out of the zone": (message_of(updates=[raw("www.other.test", 1, 1, 60, A)]), "NOTZONE"),
    "beside the zone": (message_of(updates=[raw("xexample.test", 1, 1, 60, A)]), "NOTZONE"),
    "a signature": (message_of(updates=[raw("www.example.test", 47, 1, 60, b"\0\0\1\2")]), "REFUSED"),
    "a name below a DNAME": (message_of(updates=[raw("x.dn.example.test", 1, 1, 60, A)]), "REFUSED"),
    "a byte too many": (message_of() + b"\0", "FORMERR"),
    "a count too many": (message_of()[:9] + b"\1" + message_of()[10:], "FORMERR"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_message_that_is_wrong_changes_nothing(what: str, tmp_path: Path) -> None:
    handler = served(tmp_path, policy={"allow": (ip_network("10.0.0.0/8"),)})
    data, rcode = BROKEN[what]
    assert await rcode_of(handler, data) == rcode
    # Nor if a right record stands in front of it.
    if what not in ("no zone", "a byte too many", "a count too many") and data[8:10] == b"\0\1":
        good = raw("new.example.test", 1, 1, 60, A)
        at = 12 + len(ORIGIN) + 4
        assert await rcode_of(handler, data[:8] + b"\0\2\0\0" + data[12:at] + good + data[at:]) == rcode
    assert serial(handler) == 7


async def test_what_no_update_takes_away(tmp_path: Path) -> None:
    """RFC 2136 sections 3.4.2.2 to 3.4.2.4: left out without a word."""
    handler = served(tmp_path)
    for edit in (
        lambda it: it.delete("@"),
        lambda it: it.delete("@", "SOA"),
        lambda it: it.delete("@", "NS"),
        lambda it: it.delete("@", "SOA", "ns h 7 2 3 4 60"),
        lambda it: it.add("alias", 60, "A", "192.0.2.1"),
        lambda it: it.add("www", 60, "CNAME", "ns"),
        lambda it: it.add("@", 60, "SOA", "ns h 7 2 3 4 5"),
        lambda it: it.add("www", 60, "SOA", "ns h 9 2 3 4 5"),
        lambda it: it.delete("www", "A", "192.0.2.99"),
    ):
        message = update()
        edit(message)
        assert await rcode_of(handler, message) == "NOERROR"
        assert serial(handler) == 7
    message = update()
    message.delete("@", "NS", "ns")
    message.delete("@", "NS", "ns2")
    assert await rcode_of(handler, message) == "NOERROR"
    assert has(handler, "@", "NS") == ["300 ns2.example.test."]


async def test_what_comes_in_place_of_what_is_there(tmp_path: Path) -> None:
    handler = served(tmp_path)
    message = update()
    message.add("alias", 60, "CNAME", "ns")
    message.add("www", 900, "A", "192.0.2.80")  # the RRset's TTL
    message.add("mixed", 300, "TXT", "one")
    message.add("dn", 300, "DNAME", "www")
    message.add("@", 60, "SOA", "ns h2 100 2 3 4 5")
    assert await rcode_of(handler, message) == "NOERROR"
    assert has(handler, "alias", "CNAME") == ["60 ns.example.test."]
    assert has(handler, "www", "A") == ["900 192.0.2.80", "900 192.0.2.81"]
    assert has(handler, "dn", "DNAME") == ["300 www.example.test."]
    assert has(handler, "@", "SOA") == ["60 ns.example.test. h2.example.test. 100 2 3 4 5"]
    lines = records(await transferred(handler, axfr(sign=True)))
    assert [line.split()[0] for line in lines if line.lower().startswith("mixed")] == ["Mixed.example.test."] * 2


async def test_in_order_each_sees_what_the_one_before_has_made(tmp_path: Path) -> None:
    handler = served(tmp_path)
    message = update()
    message.add("new", 60, "A", "192.0.2.1")
    message.delete("new")
    message.add("new", 60, "CNAME", "www")
    message.delete("www")
    message.delete("alias")
    message.add("www", 60, "CNAME", "ns")
    assert await rcode_of(handler, message) == "NOERROR"
    assert has(handler, "new", "CNAME") == ["60 www.example.test."]
    assert has(handler, "www", "CNAME") == ["60 ns.example.test."]


async def test_a_serial_number_comes_around(tmp_path: Path) -> None:
    handler = served(tmp_path, zone=ZONE.replace("h 7 ", f"h {2**32 - 1} "))
    message = update()
    message.add("new", 60, "A", "192.0.2.1")
    assert await rcode_of(handler, message) == "NOERROR"
    assert serial(handler) == 1
    changes = records(await transferred(handler, axfr("IXFR", serial=2**32 - 1, sign=True)))
    assert len(changes) == 5


# Who may


@pytest.mark.parametrize(
    ("policy", "keyring", "peer", "rcode"),
    [
        ({"keys": ("key.test",)}, KEYRING, "192.0.2.1", "NOERROR"),
        ({"keys": ("key.test",)}, OTHERS, "192.0.2.1", "REFUSED"),
        ({"keys": ("key.test", "OTHER.test")}, OTHERS, "192.0.2.1", "NOERROR"),
        ({"keys": ("key.test",)}, None, "192.0.2.1", "REFUSED"),
        ({"allow": ("192.0.2.0/24",)}, None, "192.0.2.1", "NOERROR"),
        ({"allow": ("192.0.2.0/24",)}, None, "198.51.100.1", "REFUSED"),
        ({"allow": ("192.0.2.0/24",)}, OTHERS, "192.0.2.1", "REFUSED"),
        ({"keys": ("key.test",), "allow": ("192.0.2.0/24", "2001:db8::/32")}, KEYRING, "198.51.100.1", "NOERROR"),
        ({"keys": ("key.test",), "allow": ("192.0.2.0/24", "2001:db8::/32")}, None, "2001:db8::1", "NOERROR"),
        ({"keys": ("key.test",), "allow": ("192.0.2.0/24",)}, dns.tsigkeyring.from_text({"key.test": "eHh4"}),
         "192.0.2.1", "NOTAUTH"),
    ],
)  # fmt: skip
async def test_who_may_update(policy: Any, keyring: Any, peer: str, rcode: str, tmp_path: Path) -> None:
    if "allow" in policy:
        policy = {**policy, "allow": tuple(map(ip_network, policy["allow"]))}
    handler = served(tmp_path, policy=policy)
    message = update(keyring=keyring)
    message.add("new", 60, "A", "192.0.2.1")
    wire = message.to_wire()
    answer = handler.respond_last(request(wire, peer=peer))
    assert isinstance(answer, Awaitable)
    reply = await answer
    assert isinstance(reply, bytes)
    assert dns.rcode.to_text(dns.rcode.Rcode(reply[3] & 0xF)) == rcode
    assert bool(has(handler, "new", "A")) == (rcode == "NOERROR")


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("host.dyn", "NOERROR"),
        ("HOST.Dyn", "NOERROR"),
        ("a.b.dyn", "NOERROR"),
        ("dyn", "REFUSED"),
        ("xdyn", "REFUSED"),
        ("one", "NOERROR"),
        ("x.one", "REFUSED"),
        ("@", "REFUSED"),
        ("*.dyn", "NOERROR"),
    ],
)
async def test_only_names_of_the_policy_are_updated(name: str, rcode: str, tmp_path: Path) -> None:
    names = ("*.dyn.example.test", "One.example.test")
    handler = served(tmp_path, policy={"keys": ("key.test",), "names": names})
    message = update()
    message.add("also.dyn", 60, "A", "192.0.2.1")
    message.add(name, 60, "TXT", "text")
    assert await rcode_of(handler, message) == rcode
    assert bool(has(handler, "also.dyn", "A")) == (rcode == "NOERROR")
    # Conditions may be about others.
    message = update()
    message.present("www")
    message.add("x.dyn", 60, "A", "192.0.2.1")
    assert await rcode_of(handler, message) == "NOERROR"


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        (
            {"update": {"other.test": Update(keys=("key.test",))}},
            r'update\."other\.test": there is no such zone in zones',
        ),
        (
            {
                "secondary": {"other.test": Secondary(primaries=("192.0.2.53",))},
                "update": {"other.test": Update(keys=("key.test",))},
            },
            r'update\."other\.test": a zone of secondary takes no updates here',
        ),
        ({"update": {"example.test": Update()}}, r'update\."example\.test": nobody may update it'),
        ({"update": {"example.test": Update(keys=("no.test",))}}, r"keys\[0\]: there is no such key in transfer_keys"),
        (
            {"update": {"example.test": Update(keys=("key.test",), names=("*.dyn.other.test",))}},
            r"names\[0\]: '\*\.dyn\.other\.test' is not in the zone",
        ),
        ({"update": {"example.test": Update(keys=("a..b",))}}, r"keys\[0\]: expected a domain name"),
    ],
)
def test_a_policy_that_makes_no_sense_is_a_mistake(options: dict[str, Any], mistake: str, tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(ZONE)
    plugin = Dns(zones={"example.test": tmp_path / "a.zone"}, transfer_keys=KEYS, **options)
    with pytest.raises(ConfigErrors, match=mistake):
        plugin.prepare(Context("dns", tmp_path, tmp_path))


def test_without_a_folder_for_state_there_are_no_updates(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(ZONE)
    update = {"example.test": Update(keys=("key.test",))}
    with pytest.raises(ConfigErrors, match="there is no folder for its state"):
        handler_of(tmp_path, zones={"example.test": tmp_path / "a.zone"}, transfer_keys=KEYS, update=update)


async def test_of_several_instances_the_one_with_the_zone_is_asked(tmp_path: Path) -> None:
    handler = served(tmp_path)
    other = dns.update.UpdateMessage("other.test", keyring=KEYRING)
    assert handler.respond(request(other.to_wire())) is PASS
    answer = handler.respond(request(update().to_wire()))
    assert isinstance(answer, Awaitable)
    await answer
    # An instance without updates.
    plain = handler_of()
    assert ask_bytes(plain, update(keyring=None).to_wire())[3] & 0xF == dns.rcode.NOTIMP
    assert plain.respond(request(other.to_wire())) is PASS


async def test_by_tcp_and_with_a_limit(tmp_path: Path) -> None:
    handler = served(tmp_path, rate_limit=1)
    async with connected(handler) as client:
        message = update()
        message.add("new", 60, "A", "192.0.2.1")
        await client.send(message)
        await client.stream.send_eof()
        reply = dns.message.from_wire(await client.receive(), keyring=KEYRING, request_mac=message.mac)
    assert (reply.rcode(), reply.had_tsig) == (dns.rcode.NOERROR, True)
    for number in range(20):
        message = update()
        message.add(f"h{number}", 60, "A", "192.0.2.1")
        assert await rcode_of(handler, message) == "NOERROR"
    assert handler.counts()["updated"] == 21


async def test_a_large_update_is_made_as_a_whole(tmp_path: Path) -> None:
    handler = served(tmp_path)
    message = update()
    message.delete("www")
    message.add("many", 60, "A", *(f"10.0.{number >> 8}.{number & 255}" for number in range(3000)))
    for number in range(400):
        message.add(f"h{number}.deep", 60, "A", "192.0.2.1")
    async with connected(handler) as client:
        await client.send(message)
        await client.stream.send_eof()
        assert (await client.receive())[3] & 0xF == dns.rcode.NOERROR
    assert len(records(await transferred(handler, axfr(sign=True)))) == 3409
    # One more than a message can hold.
    message = update()
    message.add("many", 60, "A", *(f"10.1.{number >> 8}.{number & 255}" for number in range(3000)))
    async with connected(handler) as client:
        await client.send(message)
        await client.stream.send_eof()
        assert (await client.receive())[3] & 0xF == dns.rcode.REFUSED
    assert serial(handler) == 8


async def test_a_disk_that_fails_is_told_and_nothing_is_served_that_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = served(tmp_path)
    message = update()
    message.add("new", 60, "A", "192.0.2.1")
    (tmp_path / "state").write_text("no folder")
    assert await rcode_of(handler, message) == "SERVFAIL"
    assert has(handler, "new", "A") == []
    (tmp_path / "state").unlink()
    assert await rcode_of(handler, message) == "NOERROR"
    assert serial(handler) == 8


async def test_updates_at_the_same_time_come_one_after_the_other(tmp_path: Path) -> None:
    handler = served(tmp_path)
    got: list[str] = []

    async def one(number: int) -> None:
        message = update()
        message.absent("only")
        message.add("only", 60, "A", f"192.0.2.{number}")
        got.append(await rcode_of(handler, message))

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number)
    assert sorted(got) == ["NOERROR"] + ["YXDOMAIN"] * 29
    assert serial(handler) == 8
