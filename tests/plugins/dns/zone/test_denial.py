"""Signed zones without a network: hashes and order as the RFCs have them, and what is added to answers."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.name
import pytest
from responder_plugins.dns import Dns
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.zone.denial import Nsec3Chain, canonical

from responder import Context
from tests.plugins.dns.support import SMALL, ask, handler_of

CASES = Path(__file__).parents[3] / "cases"


def wire(text: str) -> bytes:
    return dns.name.from_text(text).to_digestable()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("example", b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
        ("a.example", b"35mthgpgcu1qg68fab165klnsnk3dpvl"),
        ("*.w.example", b"r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
    ],
)
def test_the_hashes_of_rfc_5155(name: str, label: bytes) -> None:
    """Appendix A: SHA-1, 12 iterations, salt aabbccdd."""
    chain = Nsec3Chain(wire("example"), {}, b"\1\0" + (12).to_bytes(2) + b"\4" + bytes.fromhex("aabbccdd"))
    for _ in range(2):
        assert chain.label_of(wire(name)) == label


def test_the_canonical_order_of_rfc_4034() -> None:
    """Section 6.1's example."""
    names = [
        "example",
        "a.example",
        "yljkjljk.a.example",
        "z.a.example",
        "zabc.a.example",
        "z.example",
        r"\001.z.example",
    ]
    names += ["*.z.example", r"\200.z.example"]
    wires = [wire(name) for name in names]
    assert sorted(dict.fromkeys(sorted(wires)), key=canonical) == wires


def asked(handler: DnsHandler, name: str, kind: str, *, dnssec: bool = True) -> list[list[str]]:
    """The sections as "owner type", three times the same."""
    found = []
    for _ in range(3):
        reply = ask(handler, dns.message.make_query(name, kind, use_edns=0, want_dnssec=dnssec, payload=4096))
        found.append(
            [
                [f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}" for rrset in section]
                for section in (reply.answer, reply.authority, reply.additional)
            ]
        )
    assert found[0] == found[1] == found[2]
    return found[0]


def test_signatures_and_proofs_are_for_who_wants_them() -> None:
    handler = handler_of(CASES / "rrsig-ttl", zones={"ex.test": Path("ex.zone.signed")}, edns_size=4096)
    www, soa = "www.ex.test.", "ex.test."
    assert asked(handler, www, "A") == [[f"{www} A", f"{www} RRSIG"], [], []]
    assert asked(handler, www, "A", dnssec=False) == [[f"{www} A"], [], []]
    assert asked(handler, soa, "MX") == [[f"{soa} MX", f"{soa} RRSIG"], [], ["ns.ex.test. A", "ns.ex.test. RRSIG"]]
    assert asked(handler, www, "MX") == [
        [],
        [f"{soa} SOA", f"{soa} RRSIG", f"{www} NSEC", f"{www} RRSIG"],
        [],
    ]
    no_name = [f"{soa} SOA", f"{soa} RRSIG", "ns.ex.test. NSEC", "ns.ex.test. RRSIG", f"{soa} NSEC", f"{soa} RRSIG"]
    assert asked(handler, "o.ex.test", "A") == [[], no_name, []]
    assert asked(handler, "o.ex.test", "A", dnssec=False) == [[], [f"{soa} SOA"], []]


def test_owners_of_nsec3_records_are_no_names(tmp_path: Path) -> None:
    label = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"
    record = f"{label} NSEC3 1 0 0 - {label} A\n"
    (tmp_path / "a.zone").write_text(f"{SMALL}* TXT wild\n{record}{label}.b NSEC3 1 0 0 - {label}\n")
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    for _ in range(3):
        for name in (label, f"{label}.b", "b"):  # not even with an empty non-terminal: the wildcard is above them all
            reply = ask(handler, dns.message.make_query(f"{name}.example.test", "TXT"))
            assert [str(rrset[0]) for rrset in reply.answer] == ['"wild"']
        assert ask(handler, dns.message.make_query(f"{label}.example.test", "NSEC3")).answer == []


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        ("@ RRSIG A 13 2 300 20361101000000 20260101000000 1 @ AAAA", "its signatures are not served"),
        ("@ NSEC3PARAM 1 0 151 -", "151 iterations"),
        ("@ NSEC3PARAM 1 0 150 -", None),
        ("*.w NS ns", "a wildcard's NS record delegates nothing"),
        ("@ HTTPS 0 www alpn=h2", "the parameters of an alias mean nothing"),
    ],
)
def test_what_is_hardly_meant_is_told(lines: str, warning: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(f"{SMALL}{lines}\n")
    for _ in range(2):  # of a zone that is not read again too
        context = Context("dns", tmp_path)
        handler = Dns(zones={"example.test": Path("a.zone")}).prepare(context)
        assert [str(each) for each in context.warnings if warning and warning in str(each)] == list(
            map(str, context.warnings)
        )
        assert len(context.warnings) == (warning is not None)
        assert handler is not None
