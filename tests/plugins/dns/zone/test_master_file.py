"""Master files into zones: what they may hold, and what is wrong with them, by file and line."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdatatype
import pytest
from responder_plugins.dns.zone import builder, master_file
from responder_plugins.dns.zone.tables import LEADING_ON, Zone

from responder import ConfigErrors, Context
from tests.plugins.dns.support import SMALL, ZONE

ORIGIN = dns.name.from_text("example.test")


def load(folder: Path, text: str, name: str = "a.zone") -> Zone:
    (folder / name).write_text(text)
    return master_file.load(ORIGIN, Path(name), Context("dns", folder))


def name(text: str) -> bytes:
    return dns.name.from_text(text).to_digestable()


def address_of(zone: Zone, text: str) -> list[str]:
    rrset = zone.rrset(name(text), 1)
    return [] if rrset is None else [".".join(map(str, rdata)) for rdata in rrset.rdatas]


def ttl_of(zone: Zone, text: str) -> int:
    rrset = zone.rrset(name(text), 1)
    assert rrset is not None
    return rrset.ttl


HEAD = "@ 300 IN SOA ns h 1 2 3 4 60\n@ 300 NS ns\nns 300 A 192.0.2.53\n"  # three lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x 300 NOTYPE 1", "unknown type 'NOTYPE'"),
        ("x 300 A 192.0.2", "A: expected an IPv4 address, got '192.0.2'"),
        ("x 300 A 192.0.2.1 192.0.2.2", "A: expected an IPv4 address, got '192.0.2.1 192.0.2.2'"),
        (r"x 300 A \# 3 010203", r"A: expected an IPv4 address, got"),
        ("x 300 AAAA 192.0.2.1", "AAAA: expected an IPv6 address, got '192.0.2.1'"),
        ("x 300 A", "A: expected an IPv4 address, got ''"),
        ("x.elsewhere.invalid. 300 A 192.0.2.1", "x.elsewhere.invalid. is out of the zone example.test."),
        ("x 2147483648 A 192.0.2.1", "bad TTL '2147483648': above 2147483647"),
        ("x 1z A 192.0.2.1", "bad TTL '1z'"),
        ("$TTL never", "bad TTL 'never'"),
        ("x 300 CH A 192.0.2.1", "class CH: the zone is of class IN"),
        ("x 300 OPT 1", "OPT is no type of data"),
        ("x 300 CNAME a\nx 300 CNAME b", "x.example.test. has two CNAME records"),
        ("x 300 CNAME a\nx 300 A 192.0.2.1", "x.example.test. has a CNAME record beside others"),
        ("x 300 A 192.0.2.1\nx 300 CNAME a", "x.example.test. has a CNAME record beside others"),
        ("\nx 300 SOA ns h 1 2 3 4 5", "x.example.test. has an SOA record, and is not where the zone begins"),
        ("\n@ 300 SOA ns h 2 2 3 4 5", "example.test. has two SOA records"),
        ("x.d 300 A 192.0.2.1\nd 300 DNAME e", "x.d.example.test. is below this DNAME record"),
        ("\n$GENERATE 1-3/0 x$ A 192.0.2.$", "a range that grows"),
        ("\n$GENERATE 3-1 x$ A 192.0.2.$", "a range that grows"),
        ("\n$GENERATE 1 x$ A 192.0.2.$", "a range as 1-10"),
        ("\n$GENERATE 1-3 x$", "expected a range, an owner, a type and data"),
        ("\n$GENERATE 1-3 x${0,0,q} A 192.0.2.$", r"expected \$\{offset,width,base\}, got '\$\{0,0,q\}'"),
        ("\n$GENERATE 1-3 x${-2,4,x} A 192.0.2.$", "the offset makes 1 negative, which only base d can write"),
        ("\n$GENERATE 0-2000000000 x$ A 192.0.2.1", "more than 1000000 lines in one zone"),
        ("x 300 L64 1 1:2:3::", r"L64: expected a number \(0..65535\) and four groups such as 14:4fff:ff20:ee64, got"),
        ("x 300 NID 1 1:2:3:00004", r"NID: expected a number \(0..65535\) and four groups"),
        ("x 300 NID 1 1:2:3.4.5.6", r"NID: expected a number \(0..65535\) and four groups"),
        ("x 300 L64 1 1:2:3:4:5", r"L64: expected a number \(0..65535\) and four groups"),
        ("\n$GENERATE 255-256 x$ A 192.0.2.$", "A: expected an IPv4 address, got '192.0.2.256'"),
        ("x 300 NXT a A TYPE256", "NXT: TYPE256: no type above 127 can stand there"),
        (r"x 300 NXT \# 5 016100 0000", "NXT: the data has no bitmap of types"),
        (r"x 300 MB \# 2 0161", "MB: the data is cut off, or no name"),
        (r"x 300 MB \# 4 01610000", "MB: 1 bytes behind the last field"),
        (r"x 300 MG \# 2 0161", "MG: the data is cut off, or no name"),
        (r"x 300 MR \# 2 C000", "MR: the data is cut off, or no name"),
        (r"x 300 MD \# 1 ff", "MD: the data is cut off, or no name"),
        (r"x 300 MF \# 0", "MF: the data is cut off, or no name"),
        (r"x 300 MINFO \# 3 016100", "MINFO: the data is cut off, or no name"),
        (r"x 300 TALINK \# 2 0161", "TYPE58: the data is cut off, or no name"),
        ("x 300 MINFO a", "MINFO: expected a name and a name, got 'a'"),
        ("x 300 HTTPS 1 . ech=A", "HTTPS: ech is not base64"),
        ("x 300 HTTPS 1 . ech= ech=", "HTTPS: '1 . ech= ech=' can't be read as data of this type"),
        ("x 300 HTTPS 1 . port=", "HTTPS: '1 . port=' can't be read as data of this type"),
        ("x 300 HTTPS 1 . dohpath=", "HTTPS: dohpath is no path with a variable of the name dns"),
        ("x 300 HTTPS 1 . dohpath=/q", "HTTPS: dohpath is no path with a variable of the name dns"),
        ("x 300 HTTPS 1 . dohpath=q{?dns}", "HTTPS: dohpath is no path with a variable of the name dns"),
        (r"x 300 HTTPS \# 7 0001 00 0007 0000", "HTTPS: dohpath is no path with a variable of the name dns"),
        (r"x 300 HTTPS \# 8 0001 00 0003 0001 35", "can't be read as data of this type"),
        (r"x 300 HTTPS \# 8 0001 00 0005 0000", "can't be read as data of this type"),
        (r"x 300 HTTPS \# 8 0001 00 0005 0002 00", "can't be read as data of this type"),
        ("\n$UNKNOWN x", r"\$UNKNOWN is no directive"),
        ("\n$ORIGIN", "expected one value, got 0"),
        ("\n$INCLUDE a b c", "expected one value, got 3"),
        ("\nx 300", "a record without a type"),
        ('\nx 300 TXT "a', "a quote is not closed"),
        ("\nx 300 TXT ( a", "a parenthesis is not closed"),
        ("\nx 300 TXT a )", "a parenthesis is closed that was not opened"),
        ("\nx 300 TXT a\\", "an escape is not finished"),
        ("\nx 300 TYPE65280 \\# 65500 " + "00" * 65500, "65500 bytes of TYPE65280 data"),
        ("\nx 300 TYPE65280 \\# 70000 " + "00" * 70000, "70000 bytes of TYPE65280 data"),
        ("\nx 300 DS 1 13 2 abcd", "DS: a digest of another length than its type's"),
        ("\nx 300 HTTPS 1 . alpn=", "HTTPS: '1 . alpn=' can't be read as data of this type"),
        ('\nx 300 TXT "' + "a" * 256 + '"', "TXT: expected strings of at most 255 bytes, got"),
        ("\n" + "l" * 64 + " 300 A 192.0.2.1", "is no name: a label is longer than 63 bytes"),
        ("\nx A 192.0.2.1\n", None),
    ],
)
def test_a_mistake_is_told_by_file_and_line(line: str, message: str | None, tmp_path: Path) -> None:
    if message is None:  # without $TTL, the last one stated holds (RFC 1035 section 5.1)
        assert ttl_of(load(tmp_path, HEAD + line), "x.example.test") == 300
        return
    with pytest.raises(ConfigErrors, match=message) as raised:
        load(tmp_path, HEAD + line + ("" if "\n" in line else "\ny 300 A 192.0.2.2\n"))
    error = raised.value.errors[0]
    assert error.file == tmp_path / "a.zone"
    assert error.line == 4 + line.count("\n")


MUCH = "1" * 5000
"""More digits than Python reads."""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"x {MUCH} A 192.0.2.1", "bad TTL '1111"),
        (f"x {MUCH}w A 192.0.2.1", "bad TTL '1111"),
        (f"x 1{MUCH}s1 A 192.0.2.1", "bad TTL '1111"),
        (f"$TTL {MUCH}", "bad TTL '1111"),
        (f"$TTL 0.{MUCH}", "bad TTL '0.11"),
        (f"$INCLUDE {MUCH}", "$INCLUDE 1111"),
        (f"$INCLUDE ../{MUCH}", "$INCLUDE ../1111"),
        (f"$GENERATE 1-{MUCH} x$ A 192.0.2.1", "$GENERATE: expected a range as 1-10 or 0-254/2, got '1-11"),
        (f"$GENERATE 1-2/{MUCH} x$ A 192.0.2.1", "$GENERATE: expected a range as 1-10 or 0-254/2, got '1-2/1"),
        (f"$GENERATE 1-2 x${{{MUCH}}} A 192.0.2.1", "$GENERATE: expected ${offset,width,base}, got '${11"),
        (f"${MUCH}", "$1111"),
        (f"x 300 CLASS{MUCH} A 192.0.2.1", "class CLASS11"),
        (f"x 300 TYPE{MUCH} 1", "unknown type 'TYPE11"),
        (f"x 300 TYPE{'0' * 4000}41 1", "TYPE00"),
        (f"x 300 MX {MUCH} a", "MX: expected a number (0..65535) and a name, got '111"),
        (f"x 300 SRV 1 2 {MUCH} a", "SRV: expected "),
        (f"x 300 RRSIG A {MUCH}", "RRSIG: expected "),
        (f"x 300 RRSIG A 8 2 1 {MUCH} 1 1 a AA==", "RRSIG: expected "),
        (f"x 300 NSEC a TYPE{MUCH}", "NSEC: unknown type 'TYPE11"),
        (f"x 300 NXT a TYPE{'0' * 4000}999", "NXT: TYPE00"),
        (f"x 300 HTTPS {MUCH} .", "HTTPS: '111"),
        (f"x 300 HTTPS 1 . port={MUCH}", "HTTPS: '1 . port=111"),
        (f"x 300 HTTPS 1 . key{MUCH}=a", "HTTPS: '1 . key111"),
        (f"x 300 HTTPS \\# {MUCH} 00", "HTTPS: '\\\\# 111"),
        (f"x 300 TYPE65280 \\# {MUCH} 00", "TYPE65280: '\\\\# 111"),
        (f"x 300 CAA {MUCH} issue a", "CAA: '111"),
        (f"x 300 LOC {MUCH} N", "LOC: '111"),
        (f"x 300 WKS 192.0.2.1 {MUCH} 1", "WKS: '192.0.2.1 111"),
        (f"x 300 CERT {MUCH} 1 1 AA==", "CERT: '111"),
        (f"x 300 APL {MUCH}:192.0.2.0/24", "APL: '111"),
        (f"x 300 APL 1:192.0.2.0/{MUCH}", "APL: '1:192"),
        (f"x 300 IPSECKEY {MUCH} 0 1 . AA==", "IPSECKEY: '111"),
        (f"x 300 NAPTR {MUCH} 1 a b c d", "NAPTR: '111"),
        (f"x 300 L32 {MUCH} 192.0.2.1", "L32: '111"),
        (f"x 300 EUI48 {MUCH}", "EUI48: '111"),
        (f'x 300 NS "{MUCH}"', "NS: expected a name, got '\"111"),
        (f"{MUCH} 300 A 192.0.2.1", "'1111"),
    ],
)
def test_a_mistake_repeats_little_of_the_file(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, HEAD + line + "\n")
    (error,) = raised.value.errors
    assert error.message.startswith(message)
    assert len(error.message) < 300
    assert "digits" not in error.message
    assert (error.file, error.line) == (tmp_path / "a.zone", 4)


def test_lines_of_generate_are_bounded_for_the_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_file.generate, "MAX_LINES", 6)
    lines = "$GENERATE 1-3 {0}$ 300 A 192.0.2.$\n"
    (tmp_path / "more.zone").write_text(lines.format("b"))
    assert address_of(load(tmp_path, HEAD + lines.format("a") + "$INCLUDE more.zone\n"), "b3.example.test") == [
        "192.0.2.3"
    ]
    with pytest.raises(ConfigErrors, match=r"more\.zone:1: \$GENERATE: more than 6 lines in one zone"):
        load(tmp_path, HEAD + lines.format("a") + lines.format("c")[:-1] + "\n$INCLUDE more.zone\n")


@pytest.mark.parametrize(
    ("directive", "names"),
    [("h${-3}", "h-2 h-1 h0"), ("h${-5,4,d}", "h-004 h-003 h-002"), ("h${-1,2,x}", "h00 h01 h02")],
)
def test_an_offset_may_make_a_number_negative(directive: str, names: str, tmp_path: Path) -> None:
    """As BIND 9.18 writes it."""
    zone = load(tmp_path, HEAD + f"$GENERATE 1-3 {directive} 300 A 192.0.2.1\n")
    assert all(address_of(zone, f"{each}.example.test") for each in names.split())


@pytest.mark.parametrize("rdtype", ["NID", "L64"])
def test_half_an_ipv6_address_needs_no_leading_zeros(rdtype: str, tmp_path: Path) -> None:
    zone = load(tmp_path, HEAD + f"x 300 {rdtype} 1 1:20:a00:Ffff\nx 300 {rdtype} 2 0001:0020:0a00:ffff\n")
    rrset = zone.rrset(name("x.example.test"), dns.rdatatype.from_text(rdtype))
    assert rrset is not None
    assert sorted(each.hex() for each in rrset.rdatas) == ["0001000100200a00ffff", "0002000100200a00ffff"]


def test_data_of_generate_is_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"a\.zone:4: \$GENERATE: a quote goes on in the next line"):
        load(tmp_path, HEAD + '$GENERATE 1-2 x$ TXT "a\nb"\n')


@pytest.mark.parametrize(
    "record",
    [
        "CERT 1 2 3 AQ==",
        "DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=",  # RFC 4701 section 3.6.1
        "OPENPGPKEY AQ==",
        "KEY 256 3 13 AQI=",
        "IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",  # RFC 4025 section 3.2
    ],
)
def test_padded_base64(record: str, tmp_path: Path) -> None:
    zone = load(tmp_path, f"{HEAD}x 300 {record}\n")
    rdtype = dns.rdatatype.from_text(record.split(maxsplit=1)[0])
    rrset = zone.rrset(name("x.example.test"), rdtype)
    assert rrset is not None
    assert [*rrset.rdatas] == [dns.rdata.from_text("IN", rdtype, record.split(maxsplit=1)[1]).to_wire()]


def test_a_zone_needs_soa_and_ns(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, "$TTL 1\nx A 192.0.2.1\n")
    assert [error.message for error in raised.value.errors] == [
        "the zone example.test. has no SOA record",
        "the zone example.test. has no NS record",
    ]


def test_all_mistakes_are_told_up_to_a_wrong_directive(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load(
            tmp_path,
            HEAD + "a. 1 A 192.0.2.1\nx 1 A ::1\nx 1 NOTYPE 1\nx..y 1 A 192.0.2.1\nx 1 SRV 1 2\n$TTL x\nc. 1 A ::1\n",
        )
    assert [(error.line, error.message) for error in raised.value.errors] == [
        (4, "a. is out of the zone example.test."),
        (5, "A: expected an IPv4 address, got '::1'"),
        (6, "unknown type 'NOTYPE'"),
        (7, "'x..y' is no name: a label is empty"),
        (8, "SRV: expected a number (0..65535), a number (0..65535), a number (0..65535) and a name, got '1 2'"),
        (9, "bad TTL 'x'"),  # what follows depends on it
    ]


def test_an_rrset_that_no_message_can_hold_is_refused(tmp_path: Path) -> None:
    long = '"' + "x" * 250 + '"'
    records = "".join(f'x 1 TXT {long} "{number}"\n' for number in range(260))
    with pytest.raises(ConfigErrors, match=r"x\.example\.test\. has more TXT records than a message can hold"):
        load(tmp_path, HEAD + records)


def test_ttls(tmp_path: Path) -> None:
    zone = load(
        tmp_path,
        "@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\n$TTL 1h\na A 192.0.2.1\n"
        "b 5 A 192.0.2.1\nb 6 A 192.0.2.2\nc A 192.0.2.1\n",
    )
    # SOA's MINIMUM where nothing else is said; RFC 2308 section 4: $TTL; RFC 2181 section 5.2: one TTL an RRset.
    assert [ttl_of(zone, f"{label}.example.test") for label in ("ns", "a", "b", "c")] == [60, 3600, 5, 3600]
    assert address_of(zone, "b.example.test") == ["192.0.2.1", "192.0.2.2"]


def test_include_has_its_own_origin_and_is_found_beside_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "zones"
    folder.mkdir()
    (folder / "more.zone").write_text("in A 192.0.2.2\n$ORIGIN deeper.example.test.\nx A 192.0.2.3\n")
    text = HEAD + "$TTL 9\n$INCLUDE more.zone sub\nafter A 192.0.2.4\n"
    (folder / "a.zone").write_text(text)
    context = Context("dns", tmp_path)
    zone = master_file.load(ORIGIN, Path("zones/a.zone"), context)
    assert address_of(zone, "in.sub.example.test") == ["192.0.2.2"]
    assert address_of(zone, "x.deeper.example.test") == ["192.0.2.3"]
    assert address_of(zone, "after.example.test") == ["192.0.2.4"]
    assert {path.name for path in context.files} == {"a.zone", "more.zone"}


def test_a_link_in_the_folder_leads_where_who_made_it_wants(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "zones", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "more.zone").write_text("in 9 A 192.0.2.2\n")
    (folder / "link.zone").symlink_to(elsewhere / "more.zone")
    (folder / "links").symlink_to(elsewhere)
    for inside in ("link.zone", "links/more.zone"):
        assert address_of(load(folder, HEAD + f"$INCLUDE {inside}\n"), "in.example.test") == ["192.0.2.2"]
    with pytest.raises(ConfigErrors, match="is not in the folder of the zone file"):
        load(folder, HEAD + "$INCLUDE links/../../elsewhere/more.zone\n")


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "more.zone").write_text("\nx 1 NOTYPE 1\n")
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, HEAD + "$INCLUDE more.zone\n")
    assert [(error.file, error.line) for error in raised.value.errors] == [(tmp_path / "more.zone", 2)]
    with pytest.raises(ConfigErrors, match=r"a\.zone:4: \$INCLUDE: there is no file .*missing\.zone"):
        load(tmp_path, HEAD + "$INCLUDE missing.zone\n")
    with pytest.raises(ConfigErrors, match="more than 8 files deep"):
        load(tmp_path, HEAD + "$INCLUDE a.zone\n")


def test_empty_non_terminals_exist_and_names_keep_their_spelling(tmp_path: Path) -> None:
    zone = load(tmp_path, SMALL + "A.b.C A 192.0.2.1\n")
    assert zone.nodes[name("b.c.example.test")] == b""
    rrset = zone.rrset(name("a.b.c.example.test"), 1)
    assert rrset is not None
    assert rrset.name == b"\1A\1b\1C\7example\4test\0"


def test_what_is_below_a_delegation_is_never_an_answer_of_its_own(tmp_path: Path) -> None:
    zone = load(tmp_path, SMALL + "sub NS ns.sub\nns.sub A 192.0.2.1\nsub TXT x\nx.y.sub AAAA ::1\n")
    below = [node for each, node in zone.nodes.items() if b"\3sub" in each and node]
    assert len(below) == 4  # with the empty non-terminal
    assert {node[0] for node in below} == {LEADING_ON}
    assert zone.has(name("ns.sub.example.test"), 1)


def test_files_of_windows_and_other_letters_than_ascii(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_bytes(("\ufeff" + SMALL + 'm\u00fcller TXT "\u00fc"\n').replace("\n", "\r\n").encode())
    zone = master_file.load(ORIGIN, Path("a.zone"), Context("dns", tmp_path))
    assert address_of(zone, "www.example.test") == ["192.0.2.80"]
    rrset = zone.rrset(name("xn--mller-kva.example.test"), 16)  # IDNA (RFC 5890) in names, the bytes in texts
    assert rrset is not None
    assert rrset.rdatas == (b"\2\xc3\xbc",)
    # A file is bytes (RFC 2181 section 11), those of a name too where they are no letters.
    (tmp_path / "a.zone").write_bytes(SMALL.encode() + b'x TXT "\xfc" ; \xfc\nm\xfcller TXT \xfc\\252\n')
    zone = master_file.load(ORIGIN, Path("a.zone"), Context("dns", tmp_path))
    for owner, rdata in ((b"\1x", b"\1\xfc"), (b"\6m\xfcller", b"\2\xfc\xfc")):
        rrset = zone.rrset(owner + b"\7example\4test\0", 16)
        assert rrset is not None
        assert rrset.rdatas == (rdata,)


def test_class_in_by_its_number(tmp_path: Path) -> None:
    zone = load(tmp_path, SMALL + "x CLASS1 30 TYPE1 \\# 4 C0000201\n")  # RFC 3597 section 5
    assert address_of(zone, "x.example.test") == ["192.0.2.1"]


def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    first = load(tmp_path, SMALL)
    again = master_file.load(ORIGIN, Path("a.zone"), Context("dns", tmp_path))
    assert again is first
    os.utime(tmp_path / "a.zone", ns=(1, 1))
    assert master_file.load(ORIGIN, Path("a.zone"), Context("dns", tmp_path)) is not first


def test_long_files_tell_how_far_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(builder, "PROGRESS", 2)
    with caplog.at_level(logging.INFO):
        load(tmp_path, SMALL)
    assert "a zone is being read zone=example.test. records=4" in caplog.text


@pytest.mark.clients("named-checkzone")
def test_what_bind_writes_is_read_to_the_same(tmp_path: Path) -> None:
    """named-checkzone prints a zone in full names, with escapes of its own."""
    printed = subprocess.run(
        ["named-checkzone", "-D", "-q", "-k", "ignore", "-o", str(tmp_path / "b.zone"), "example.test", str(ZONE)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert printed.returncode == 0, printed.stdout
    ours = master_file.load(ORIGIN, ZONE, Context("dns"))
    theirs = master_file.load(ORIGIN, tmp_path / "b.zone", Context("dns"))

    def records(zone: Zone) -> set[object]:
        return {(r.name.lower(), r.rdtype, r.ttl, rdata) for r in zone.rrsets() for rdata in r.rdatas}

    assert records(theirs) == records(ours)
