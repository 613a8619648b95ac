"""A whole zone signed: validators take it, and of what has not changed the signatures stay."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from responder_plugins.dns.keys import algorithms
from responder_plugins.dns.keys.key import ds
from responder_plugins.dns.keys.signing import serial_after
from responder_plugins.dns.keys.zone_signer import used_tags
from responder_plugins.dns.message import wire
from responder_plugins.dns.zone.changes import Change, soa_record, with_serial
from responder_plugins.dns.zone.edit import Edit
from responder_plugins.dns.zone.tables import Zone, blocks, unpack

from responder import ConfigErrors
from tests.plugins.dns.keys.support import DAY, DENIALS, HOUR, signer_of, validate, zone_of
from tests.plugins.dns.test_signed import MORE, plain_text

SOA = "$TTL 300\n@ 3600 SOA ns h 7 2 3 4 60\n@ NS ns\nns A 192.0.2.53\n"
NOW = int(time.time())

validators = pytest.mark.clients("ldns-verify-zone", "dnssec-verify")


def signed(folder: Path, text: str, **policy: Any) -> Zone:
    signer = signer_of(folder / "keys", **policy)
    return signer.renew(zone_of(folder / "zone", text), None, NOW)


@validators
@pytest.mark.parametrize("algorithm", algorithms.NAMES.values())
@pytest.mark.parametrize("denial", DENIALS)
def test_validators_take_it(denial: str, algorithm: str, tmp_path: Path) -> None:
    for csk in (True, False):
        folder = tmp_path / str(csk)
        folder.mkdir()
        zone = signed(folder, plain_text() + MORE, algorithm=algorithm, csk=csk, **DENIALS[denial])
        validate(zone, folder / "signed")


@validators
@pytest.mark.parametrize("denial", DENIALS)
def test_zones_of_any_shape(denial: str, tmp_path: Path) -> None:
    """Names within each other, empty non-terminals, delegations with and without DS, glue, wildcards, aliases."""
    rng = random.Random(denial)  # noqa: S311 - the same ones each time
    for number in range(12):
        records = []
        names = {
            ".".join(rng.choice(["a", "b", "c", "*", "Long-Name", "x"]) for _ in range(rng.randrange(1, 6)))
            for _ in range(25)
        }
        used: set[str] = set()
        for name in sorted(names, key=lambda name: (name.count("."), name)):
            if any(name.endswith(f".{above}") for above in used):
                continue
            kind = rng.randrange(5)
            if kind == 0 and "*" not in name:
                records += [f"{name} NS ns.{name}", f"ns.{name} A 192.0.2.1", f"deep.glue.{name} A 192.0.2.1"]
                if rng.random() < 0.5:
                    records.append(f"{name} DS 1 13 2 {'ab' * 32}")
            elif kind == 1:
                records.append(f"{name} CNAME Target.Elsewhere")
            elif kind == 2 and "*" not in name:
                records.append(f"{name} DNAME other.invalid.")
                used.add(name)
            else:
                records += [f"{name} MX 10 Mail.{name}", f'{name} 60 TXT "b"', f'{name} TXT "a"', f"{name} AAAA ::1"]
        folder = tmp_path / str(number)
        folder.mkdir()
        zone = signed(folder, SOA + "\n".join(records) + "\n", **DENIALS[denial])
        validate(zone, folder / "signed")


def test_nsec3_is_as_rfc_9276_has_it(tmp_path: Path) -> None:
    zone = signed(tmp_path, SOA, denial="nsec3")
    params = zone.rrset(zone.origin, wire.NSEC3PARAM)
    assert params is not None
    assert params.rdatas == (b"\1\0\0\0\0",)
    assert len(zone.hashed) == 2


def test_negative_records_have_the_negative_ttl(tmp_path: Path) -> None:
    zone = signed(tmp_path, SOA)  # RFC 9077
    nsec = zone.rrset(zone.origin, wire.NSEC)
    assert nsec is not None
    assert nsec.ttl == 60


@pytest.mark.parametrize("denial", DENIALS)
def test_what_has_not_changed_keeps_its_signatures(denial: str, tmp_path: Path) -> None:
    text = SOA + "".join(f"host{number} A 192.0.2.{number}\n" for number in range(100))
    signer = signer_of(tmp_path / "keys", cds="none", **DENIALS[denial])
    first = signer.renew(zone_of(tmp_path / "zone", text), None, NOW)
    assert (first.serial, signer.made) == (8, 1 + 1 + 1 + (denial != "nsec") + 101 + 102)
    assert signer.renew(first, None, NOW + DAY) is first
    keys = signer.load_keys()
    again = signer.sign(zone_of(tmp_path / "zone", text), keys, first, NOW + DAY)
    assert (again.serial, signer.made, again.nodes) == (8, 0, first.nodes)
    second = signer.sign(zone_of(tmp_path / "zone", text + "other A 192.0.2.1\n"), keys, again, NOW + DAY)
    # The new name's RRset, its own record of the chain and the one before it, and the SOA record.
    assert (second.serial, signer.made) == (9, 4)
    third = signer.sign(zone_of(tmp_path / "zone", text.replace(" 7 ", " 8 ")), keys, second, NOW + DAY)
    assert (third.serial, signer.made) == (10, 2)
    validate(third, tmp_path / "signed", NOW + DAY, with_bind=False)


@pytest.mark.parametrize("denial", DENIALS)
def test_signatures_are_replaced_before_they_end(denial: str, tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys", **DENIALS[denial])
    zone = signer.renew(zone_of(tmp_path / "zone", plain_text() + MORE), None, NOW)
    now, made = float(NOW), signer.made
    total = 0
    for _ in range(200):
        assert zone.first_end is not None
        assert zone.first_end > now + 5 * DAY - 1
        now = signer.next_time(zone, now)
        before = zone
        signer.made = 0
        zone = signer.renew(zone, None, now)
        assert (zone is before) == (signer.made == 0)
        assert zone.serial == before.serial + (zone is not before)
        total += signer.made
    # In 200 days each signature is replaced every 9 days, or half a day earlier.
    validate(zone, tmp_path / "signed", now, with_bind=False)
    rounds = (now - NOW) / (9 * DAY)
    assert made * rounds * 0.8 < total < made * rounds * 1.2


def test_another_denial_is_another_chain(tmp_path: Path) -> None:
    zone = signed(tmp_path, plain_text())
    for denial in ("nsec3", "nsec"):
        signer = signer_of(tmp_path / "keys", denial=denial)
        zone = signer.renew(zone, None, NOW)
        validate(zone, tmp_path / "signed", with_bind=False)
    assert not zone.hashed


@pytest.mark.parametrize(
    ("file", "last", "changed", "expected"),
    [
        (7, None, True, 8),
        (7, 8, False, 8),
        (7, 8, True, 9),
        (8, 8, False, 8),
        (8, 8, True, 9),
        (20, 8, False, 21),
        (None, 8, True, 9),
        (None, 8, False, 8),
        (2**32 - 1, None, True, 1),
        (2**32 - 2, 1, True, 2),
        (5, 2**32 - 3, True, 6),
        (2**31 + 9, 8, False, 8),
    ],
)
def test_the_serial_is_ahead_and_never_goes_back(
    file: int | None, last: int | None, changed: bool, expected: int
) -> None:
    assert serial_after(file, last, changed=changed) == expected


@pytest.mark.parametrize(
    "record",
    [
        "ns RRSIG A 13 3 300 20361101000000 20260101000000 1 @ AAAA",
        "@ DNSKEY 257 3 13 AAAA",
        "@ ZONEMD 7 1 1 " + "00" * 48,
        "0123456789abcdefghijklmnopqrstuv NSEC3 1 0 0 - 0123456789abcdefghijklmnopqrstuv A",
    ],
)
def test_a_file_that_is_signed_is_refused(record: str, tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys")
    zone = zone_of(tmp_path / "zone", f"{SOA}{record}\n")
    with pytest.raises(ConfigErrors, match=f"has {record.split()[1]} records, and is to be signed here"):
        signer.refuse_signed(zone, tmp_path / "zone")
    signer.refuse_signed(zone_of(tmp_path / "zone", SOA), tmp_path / "zone")


def test_two_keys_sign_while_one_follows_the_other(tmp_path: Path) -> None:
    """The old key's signatures stay until they are due, and then are the new one's."""
    policy = {"key_lifetime": 30.0 * DAY}
    signer = signer_of(tmp_path / "keys", **policy)
    zone = signer.renew(zone_of(tmp_path / "zone", plain_text()), None, NOW)
    now = float(NOW)
    seen = []
    while len(seen) < 3:
        now = signer.next_time(zone, now)
        zone = signer.renew(zone, None, now)
        keys = zone.rrset(zone.origin, wire.DNSKEY)
        assert keys is not None
        at = len(keys.rdatas), len(used_tags(zone)), len(_cds(zone))
        if at not in seen:
            seen.append(at)
            validate(zone, tmp_path / "signed", now, with_bind=False)
        assert now < NOW + 60 * DAY
    # DNSKEY records, keys that sign, CDS records.
    assert seen == [(1, 1, 1), (2, 1, 1), (2, 2, 1)]


@pytest.mark.parametrize(("cds", "expected"), [("always", 1), ("none", 0), ("delete", 1)])
def test_what_the_parent_is_asked_for(cds: str, expected: int, tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys", cds=cds)
    zone = signer.renew(zone_of(tmp_path / "zone", SOA), None, NOW - DAY)
    zone = signer.renew(zone, None, NOW)
    (key,) = signer.load_keys()
    found = _cds(zone)
    assert len(found) == expected
    if cds == "always":
        assert found == (ds(key),)
    elif cds == "delete":
        assert found == (bytes(5),)
        cdnskey = zone.rrset(zone.origin, wire.CDNSKEY)
        assert cdnskey is not None
        assert cdnskey.rdatas == (b"\0\0\3\0\0",)


@pytest.mark.parametrize("denial", DENIALS)
def test_another_negative_ttl_is_that_of_the_chain(denial: str, tmp_path: Path) -> None:
    signer = signer_of(tmp_path / "keys", **DENIALS[denial])
    zone = signer.renew(zone_of(tmp_path / "zone", SOA), None, NOW)
    soa = soa_record(zone)
    change = Change.of(
        [soa],
        [
            with_serial(soa, 9)._replace(
                rdata=soa.rdata[:-20] + bytes((0, 0, 0, 9)) + soa.rdata[-16:-4] + bytes((0, 0, 0, 30))
            )
        ],
    )
    Edit(zone, signer.complete(zone, change, NOW)).commit()
    zone = signer.renew(zone, None, NOW)
    ttls = {rrset.ttl for rrset in zone.rrsets() if rrset.rdtype in (wire.NSEC, wire.NSEC3)}
    assert ttls == {30}
    validate(zone, tmp_path / "signed", with_bind=False)


def _cds(zone: Zone) -> tuple[bytes, ...]:
    rrset = zone.rrset(zone.origin, wire.CDS)
    return () if rrset is None else rrset.rdatas


def test_ends_of_signatures_are_spread(tmp_path: Path) -> None:
    zone = signed(tmp_path, SOA + "".join(f"host{number} A 192.0.2.1\n" for number in range(200)))
    ends = sorted(
        int.from_bytes(rrsig[8:12])
        for node in zone.nodes.values()
        for rdtype, _, _, records in blocks(node)
        if rdtype == wire.RRSIG
        for rrsig in unpack(records)[1]
    )
    assert NOW + 13.5 * DAY <= ends[0] < NOW + 13.5 * DAY + HOUR
    assert NOW + 14 * DAY - HOUR < ends[-1] <= NOW + 14 * DAY
    assert len(set(ends)) > 300
