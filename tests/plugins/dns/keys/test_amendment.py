"""A signed zone that takes changes is at each step what the whole zone, signed, would be."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from responder_plugins.dns.keys.amendment import amended
from responder_plugins.dns.keys.records import at_apex, hash_of, hashed_owner
from responder_plugins.dns.keys.signing import WholeZone
from responder_plugins.dns.message import wire
from responder_plugins.dns.zone.changes import Change, difference, soa_record, with_serial
from responder_plugins.dns.zone.edit import Edit
from responder_plugins.dns.zone.tables import Zone, blocks, unpack

from tests.plugins.dns.keys.support import DAY, DENIALS, signer_of, validate, zone_of

NOW = int(time.time())
HEAD = "$TTL 300\n@ SOA ns h {serial} 2 3 4 60\n@ NS ns\nns A 192.0.2.53\n"
LABELS = ["a", "b", "c", "*", "Mixed", "x"]


def content(zone: Zone) -> set[tuple[bytes, int, int, bytes]]:
    """All records but for signatures, and for the SOA record: of those which RRsets are signed."""
    found = set()
    for table in (zone.nodes, zone.hashed):
        for name, node in table.items():
            for rdtype, covered, _, records in blocks(node):
                ttl, rdatas = unpack(records)
                if rdtype == wire.RRSIG:
                    found.add((name, rdtype, ttl, covered.to_bytes(2)))
                elif rdtype != wire.SOA:
                    found |= {(name, rdtype, ttl, rdata) for rdata in rdatas}
    return found


def some_rrset(rng: random.Random) -> tuple[str, str]:
    """Name and kind, and the lines of a zone file."""
    name = ".".join(rng.choice(LABELS) for _ in range(rng.randrange(1, 5)))
    kind = rng.choice(["A", "A", "TXT", "MX", "NS", "NS", "NS+DS"])
    if "*" in name and kind.startswith("NS"):
        kind = "A"
    lines = {
        "A": f"{name} {rng.choice([60, 300])} A 192.0.2.{rng.randrange(3)}\n",
        "TXT": f'{name} TXT "{rng.randrange(3)}"\n{name} TXT "more"\n',
        "MX": f"{name} MX 10 Mail.{name}\n",
        "NS": f"{name} NS ns.{name}\nns.{name} A 192.0.2.1\n",
        "NS+DS": f"{name} NS ns.elsewhere.invalid.\n{name} DS 1 13 2 {'ab' * 32}\n",
    }[kind]
    return f"{name} {kind}", lines


@pytest.mark.clients("ldns-verify-zone")
@pytest.mark.parametrize("denial", DENIALS)
def test_each_change_gives_the_whole_zone_signed(denial: str, tmp_path: Path) -> None:
    rng = random.Random(denial)  # noqa: S311 - the same ones each time
    signer = signer_of(tmp_path / "keys", **DENIALS[denial])
    rrsets: dict[str, str] = dict(some_rrset(rng) for _ in range(12))

    def unsigned(serial: int) -> Zone:
        return zone_of(tmp_path / f"zone{serial}", HEAD.format(serial=serial) + "".join(rrsets.values()))

    plain = unsigned(1)
    zone = signer.renew(plain, None, NOW)
    keys = signer.load_keys()
    apex = at_apex(keys, NOW, "always")
    sizes = []
    for serial in range(2, 90):
        for _ in range(rng.choice([1, 1, 1, 3])):
            if rng.random() < 0.5 and rrsets:
                del rrsets[rng.choice(sorted(rrsets))]
            else:
                key, lines = some_rrset(rng)
                rrsets[key] = lines
        before, plain = plain, unsigned(serial)
        change = difference(before, plain)
        assert change is not None
        soa = soa_record(zone)
        change = Change.of([soa, *change.removed[1:]], [with_serial(soa, zone.serial + 1), *change.added[1:]])
        records = signer.record_signer(keys, NOW)
        made = amended(zone, change, records, signer.denial, apex, 3600)
        Edit(zone, made).commit()
        whole = WholeZone(plain, records, signer.denial, None, plain.serial).sign(apex, 3600)
        assert content(zone) == content(whole)
        validate(zone, tmp_path / "signed", NOW, with_bind=False)
        sizes.append(len(made))
    assert sum(sizes) / len(sizes) < 60


@pytest.mark.parametrize("denial", DENIALS)
def test_what_a_change_does_not_touch_keeps_its_signatures(denial: str, tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys", **DENIALS[denial])
    text = HEAD.format(serial=1) + "".join(f"host{number} A 192.0.2.1\n" for number in range(300))
    zone = signer.renew(zone_of(tmp_path / "zone", text), None, NOW)
    keys = signer.load_keys()
    before = dict(zone.nodes)
    soa = soa_record(zone)
    name = b"\3zzz\7example\4test\0"
    change = Change.of([soa], [with_serial(soa, 5), soa._replace(name=name, rdtype=1, rdata=b"\1\2\3\4")])
    made = amended(
        zone, change, signer.record_signer(keys, NOW + DAY), signer.denial, at_apex(keys, NOW, "always"), 3600
    )
    # SOA, A; an own record of the chain, and the one before it; a signature of each.
    assert (len(made.removed), len(made.added)) == (4, 8)
    Edit(zone, made).commit()
    assert sum(zone.nodes[name] != node for name, node in before.items()) == (2 if denial == "nsec" else 1)
    validate(zone, tmp_path / "signed", NOW + DAY, with_bind=False)


@pytest.mark.parametrize("denial", DENIALS)
def test_signatures_that_are_due_are_replaced_and_no_others(denial: str, tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys", **DENIALS[denial])
    text = HEAD.format(serial=1) + "".join(f"host{number} A 192.0.2.1\n" for number in range(50))
    zone = signer.renew(zone_of(tmp_path / "zone", text), None, NOW)
    keys = signer.load_keys()
    soa = soa_record(zone)
    names = [b"\5host7\7example\4test\0", b"\5host9\7example\4test\0"]
    owners = [*zone.hashed][:3]
    change = Change.of([soa], [with_serial(soa, 5)])
    records = signer.record_signer(keys, NOW + 10 * DAY)
    made = amended(zone, change, records, signer.denial, at_apex(keys, NOW, "always"), 3600, names, owners)
    # A name that is looked at has its NSEC3 record looked at, too.
    own = {hashed_owner(hash_of(name), zone.origin) for name in (*names, zone.origin)} if owners else set()
    expected = {*names, zone.origin, *owners, *own}
    assert {record.name for record in made.added} == expected
    assert all(record.rdtype in (wire.RRSIG, wire.SOA) for record in made.added)
    Edit(zone, made).commit()
    validate(zone, tmp_path / "signed", NOW + 10 * DAY, with_bind=False)


def test_records_that_are_made_here_are_not_taken_from_others(tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys")
    zone = signer.renew(zone_of(tmp_path / "zone", HEAD.format(serial=1)), None, NOW)
    keys = signer.load_keys()
    soa = soa_record(zone)
    theirs = [soa._replace(rdtype=rdtype, rdata=bytes(40)) for rdtype in (wire.DNSKEY, wire.NSEC, wire.CDS)]
    change = Change.of([soa], [with_serial(soa, 5), *theirs])
    made = amended(zone, change, signer.record_signer(keys, NOW), signer.denial, at_apex(keys, NOW, "always"), 3600)
    assert [record.rdtype for record in made.added] == [wire.SOA, wire.RRSIG]
