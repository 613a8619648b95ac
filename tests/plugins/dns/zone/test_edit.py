"""A zone that took changes is the zone that its records would have made, and costs what the change does."""

from __future__ import annotations

import random
from pathlib import Path

import dns.name
import dns.rdata
import pytest
from responder_plugins.dns.message import wire
from responder_plugins.dns.zone import master_file
from responder_plugins.dns.zone.changes import (
    Change,
    ZoneRecord,
    composed,
    difference,
    fitting,
    is_newer,
    next_serial,
    records_of,
    with_serial,
)
from responder_plugins.dns.zone.denial import NsecChain, canonical
from responder_plugins.dns.zone.edit import DoesNotFitError, Edit, apply
from responder_plugins.dns.zone.names import wire_name
from responder_plugins.dns.zone.tables import Zone, node_of_one

from responder import Context
from tests.plugins.dns.test_signed import KINDS, sign_by_ldns
from tests.plugins.dns.zone.comparing import assert_same

ORIGIN = dns.name.from_text("example.test")


def zone_of(folder: Path, text: str, name: str = "a.zone") -> Zone:
    (folder / name).write_text(text)
    return master_file.load(ORIGIN, folder / name, Context("dns", folder))


LABELS = ("a", "b", "*", "B", "deep.a", "x.deep.a", "cut", "ns.cut", "y.ns.cut", "alias", "z.dn")
DATA = (
    "A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "MX 10 A", "MX 10 a", "TXT one", "TXT two", "SRV 0 0 1 b",
    "NS ns.cut", "NS elsewhere.invalid.", "DS 1 13 2 " + "00" * 32,
)  # fmt: skip


def random_zone(rng: random.Random, serial: int) -> str:
    lines = [f"$TTL 300\n@ SOA ns h {serial} 2 3 4 60\n@ NS ns\n@ NS ns.cut"]
    lines += [
        f"{rng.choice(LABELS)} {rng.choice((300, 300, 600))} {rng.choice(DATA)}" for _ in range(rng.randrange(20))
    ]
    lines += [f"dn DNAME {rng.choice('ab')}", f"al{rng.randrange(3)} CNAME b", ""]
    return "\n".join(line for line in lines if not line.startswith("z.dn"))


@pytest.mark.parametrize("seed", range(300))
def test_a_changed_zone_is_the_one_that_its_records_make(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)  # noqa: S311 - to be repeated
    zone = zone_of(tmp_path, random_zone(rng, 1))
    changes = []
    first = zone_of(tmp_path, (tmp_path / "a.zone").read_text(), "first.zone")
    for serial in range(2, 6):
        # Names are spelled as they first were: read anew, they may be spelled otherwise.
        wanted = zone_of(tmp_path, random_zone(rng, serial).replace("B ", "b "), f"{serial}.zone")
        change = difference(zone, wanted)
        assert change is not None
        assert (change.before, change.after) == (serial - 1, serial)
        assert Change.decoded(change.encoded()) == change
        edit = Edit(zone, change)
        assert list(edit.mistakes()) == []
        edit.commit()
        zone.spelled.clear()
        assert_same(zone, wanted)
        changes.append(change)
    whole = composed(changes)
    assert len(whole) <= sum(map(len, changes))
    apply(first, whole)
    first.spelled.clear()
    assert_same(first, wanted)


@pytest.mark.clients("ldns-signzone", "ldns-keygen")
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_signed_zone_the_chain_and_the_first_end_change_too(kind: str, tmp_path: Path) -> None:
    def signed(number: int, more: str = "") -> Zone:
        folder = tmp_path / str(number)
        folder.mkdir()
        file = sign_by_ldns(folder, kind)
        file.write_text(file.read_text() + more)
        return master_file.load(ORIGIN, file, Context("dns", folder))

    before, after = signed(1), signed(2)
    extra = signed(3, "").chain
    assert extra is not None
    change = difference(before, after)
    assert change is not None
    apply(before, change)
    assert_same(before, after)
    # Names that come and go with their records, which only the chain of NSEC has by name.
    plain = tmp_path / "plain.zone"
    plain.write_text("$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\n")
    unsigned = master_file.load(ORIGIN, plain, Context("dns", tmp_path))
    for old, new in ((before, unsigned), (unsigned, after)):
        change = difference(old, new)
        assert change is not None
        apply(old, change)
        assert_same(old, master_file.load(ORIGIN, plain, Context("dns", tmp_path)) if new is unsigned else after)


def test_names_of_a_chain_come_and_go_in_order() -> None:
    rng = random.Random(4034)  # noqa: S311 - to be repeated
    for many in (3, 200):
        chain = NsecChain({})
        present: set[bytes] = set()
        nsec = node_of_one(wire.NSEC, 60, b"\0\0\1\2")
        for _ in range(50):
            names = [bytes((3,)) + b"%03d" % rng.randrange(300) + b"\7example\4test\0" for _ in range(many)]
            nodes = {name: nsec for name in names if rng.randrange(2)}
            chain.change(nodes, {}, names)
            present = (present - set(names)) | set(nodes)
            assert chain.names == sorted(present, key=canonical)


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    text = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nns A 192.0.2.2\n"
    zone = zone_of(tmp_path, text)
    soa, *others = records_of(zone)
    later = soa._replace(rdata=soa.rdata[:-17] + b"\2" + soa.rdata[-16:])
    (one, two) = (record for record in others if record.rdtype == 1)
    out = ZoneRecord(b"\5other\4test\0", 1, 300, bytes(4))
    for removed, added in (
        ([one._replace(rdata=bytes(4))], []),
        ([], [two]),
        ([], [out]),
        ([one, one], []),
        ([], []),
        ([ZoneRecord(b"\4none" + one.name, 1, 300, bytes(4))], []),
    ):
        with pytest.raises(DoesNotFitError):
            apply(
                zone, Change.of([soa, *removed], [later if removed or added else later._replace(name=one.name), *added])
            )
    assert_same(zone, zone_of(tmp_path, text, "again.zone"))
    # What others than the last version have is looked for first.
    change = fitting(
        zone,
        Change.of([soa, one._replace(rdata=bytes(4))], [later, two, one._replace(rdata=b"abcd")]),
        with_serial(soa, 9),
    )
    assert [record.rdata for record in (*change.removed[1:], *change.added[1:])] == [b"abcd"]
    apply(zone, change)
    assert zone.serial == 9


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        ("ns CNAME other", "ns.example.test. has a CNAME record beside others"),
        ("alias A 192.0.2.1", "alias.example.test. has a CNAME record beside others"),
        ("alias CNAME ns", "alias.example.test. has two CNAME records"),
        ("x.dn A 192.0.2.1", "x.dn.example.test. is below a DNAME record (RFC 6672 section 2.4)"),
        ("deep DNAME ns", "deep.example.test. has a DNAME record and names below it (RFC 6672 section 2.4)"),
        ("many TXT " + "x" * 250, "many.example.test. has more TXT records than a message can hold"),
    ],
)
def test_what_no_zone_may_have_is_told_before(data: str, mistake: str, tmp_path: Path) -> None:
    text = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nalias CNAME www\nx.deep TXT a\ndn DNAME ns\n"
    text += "".join(f"many TXT {number:03}{'y' * 240}\n" for number in range(253))
    zone = zone_of(tmp_path, text)
    name, rdtype, rdata = data.split(" ", 2)
    rdata_class = dns.rdata.from_text("IN", rdtype, rdata, ORIGIN)
    record = ZoneRecord(
        wire_name(dns.name.from_text(name, ORIGIN)), int(rdata_class.rdtype), 300, rdata_class.to_digestable(ORIGIN)
    )
    soa = next(records_of(zone))
    edit = Edit(zone, Change.of([soa], [soa._replace(ttl=1), record]))
    assert list(edit.mistakes()) == [mistake]


def test_an_apex_keeps_what_it_needs(tmp_path: Path) -> None:
    zone = zone_of(tmp_path, "$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\n")
    soa, servers = records_of(zone)
    edit = Edit(zone, Change.of([soa, servers], [soa._replace(ttl=1)]))
    assert list(edit.mistakes()) == ["the zone example.test. has no NS record"]


def test_a_snapshot_stays_what_it_was(tmp_path: Path) -> None:
    """And costs a copy only while somebody has it."""
    text = "$TTL 300\n@ SOA ns h {} 2 3 4 60\n@ NS ns\nns A 192.0.2.{}\n"
    zone = zone_of(tmp_path, text.format(1, 1))
    before = list(records_of(zone))
    held = zone.snapshot()
    assert zone.snapshot() is held
    for number in (2, 3):
        change = difference(zone, zone_of(tmp_path, text.format(number, number), f"{number}.zone"))
        assert change is not None
        apply(zone, change)
    assert list(records_of(held)) == before
    assert list(records_of(zone)) != before
    nodes = zone.nodes
    del held
    change = difference(zone, zone_of(tmp_path, text.format(4, 4), "4.zone"))
    assert change is not None
    apply(zone, change)
    assert zone.nodes is nodes


def test_a_change_has_a_soa_record_on_either_side() -> None:
    soa = ZoneRecord(b"\0", 6, 1, b"\0\0" + bytes(20))
    for removed, added in (([], [soa]), ([soa], []), ([soa, soa], [soa])):
        with pytest.raises(ValueError, match="an SOA record"):
            Change.of(removed, added)
    for data in (b"", b"\0\0\0\1", Change.of([soa], [soa]).encoded()[:-1], Change.of([soa], [soa]).encoded() + b"\0"):
        with pytest.raises(ValueError, match=r"no change of a zone|SOA"):
            Change.decoded(data)


@pytest.mark.parametrize(
    ("serial", "than", "newer"), [(2, 1, True), (1, 1, False), (1, 2**32 - 1, True), (2**31, 0, False)]
)
def test_serial_numbers_are_compared_as_rfc_1982_has_it(serial: int, than: int, newer: bool) -> None:
    assert is_newer(serial, than) is newer
    assert is_newer(next_serial(than), than)
    assert next_serial(2**32 - 1) == 1
