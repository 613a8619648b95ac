"""A zone within another one, both served: the nearest zone decides, whatever was asked before and by which transport.

RFC 1034 section 4.3.2 step 2: the nearest ancestor of the name that is asked; RFC 4035 section 3.1.4.1: DS records at a
cut are the parent's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from responder_plugins.dns import Dns
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.message import wire

from responder import Context
from tests.plugins.dns.differences import differing, seen
from tests.plugins.dns.support import SMALL, ask, ask_bytes, handler_of, request, texts
from tests.plugins.dns.test_tcp import connected

CHILD = "@ 60 SOA ns h 9 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.99\n"


def nested(folder: Path, parent: str, **more: str) -> DnsHandler:
    """example.test with more records, and zones below it by their names, "_" for a dot."""
    (folder / "parent.zone").write_text(SMALL + parent)
    zones = {"example.test": Path("parent.zone")}
    for name, text in more.items():
        (folder / f"{name}.zone").write_text(CHILD + text)
        zones[name.replace("_", ".") + ".example.test"] = Path(f"{name}.zone")
    return handler_of(folder, zones=zones)


def facts(handler: DnsHandler, name: str, kind: str) -> tuple[str, list[str], list[str]]:
    reply = ask(handler, dns.message.make_query(name, kind))
    return dns.rcode.to_text(reply.rcode()), texts(reply.answer), [str(rrset.name) for rrset in reply.authority]


@pytest.mark.parametrize("delegated", [False, True])
def test_what_the_parent_has_below_the_child_is_not_served(delegated: bool, tmp_path: Path) -> None:
    delegation = "child NS ns.child\nns.child A 192.0.2.1\nchild DS 1 8 2 " + "ab" * 32 + "\n" if delegated else ""
    handler = nested(tmp_path, delegation + "x.child A 192.0.2.66\nchild TXT parent\n*.child MX 1 www\n", child="")
    for _ in range(3):
        assert facts(handler, "x.child.example.test", "A") == ("NXDOMAIN", [], ["child.example.test."])
        assert facts(handler, "y.child.example.test", "MX") == ("NXDOMAIN", [], ["child.example.test."])
        assert facts(handler, "child.example.test", "TXT") == ("NOERROR", [], ["child.example.test."])
        assert facts(handler, "ns.child.example.test", "A")[1] == ["ns.child.example.test. 60 A 192.0.2.99"]
        rcode, ds, authority = facts(handler, "child.example.test", "DS")
        assert rcode == "NOERROR"
        assert (len(ds), authority) == ((1, []) if delegated else (0, ["example.test."]))


def test_what_is_between_two_zones_exists(tmp_path: Path) -> None:
    """RFC 8020: a name above one that exists is never denied, and hides the wildcard (RFC 4592 section 2.2)."""
    handler = nested(tmp_path, "* A 192.0.2.7\n", a_b="")
    for _ in range(3):
        assert facts(handler, "b.example.test", "A") == ("NOERROR", [], ["example.test."])
        assert facts(handler, "x.b.example.test", "A") == ("NXDOMAIN", [], ["example.test."])
        assert facts(handler, "x.example.test", "A")[1] == ["x.example.test. 300 A 192.0.2.7"]
        assert facts(handler, "x.a.b.example.test", "A") == ("NXDOMAIN", [], ["a.b.example.test."])


def test_hidden_records_are_told(tmp_path: Path) -> None:
    (tmp_path / "p.zone").write_text(SMALL + "x.child A 192.0.2.1\nchild TXT x\nd NS ns.d\nns.d A 192.0.2.2\n")
    (tmp_path / "c.zone").write_text(CHILD)
    context = Context("dns", tmp_path)
    zones = {"example.test": "p.zone", "child.example.test": "c.zone", "d.example.test": "c.zone"}
    Dns(zones={name: Path(file) for name, file in zones.items()}).prepare(context)
    assert [str(warning) for warning in context.warnings] == [
        "zone example.test.: not served, since the zone child.example.test. is served too: "
        "x.child.example.test., child.example.test."
    ]


LABELS = ["a", "b", "c", "*", "ns", "www"]
KINDS = [1, 2, 5, 6, 15, 16, 28, 39, 43, 255]


def _names(rng: random.Random, depth: int) -> str:
    return ".".join(rng.choice(LABELS) for _ in range(rng.randint(1, depth)))


def _records(rng: random.Random) -> Iterator[str]:
    """Any records that a zone may hold; what can't stand together is left out by trying."""
    for _ in range(rng.randint(0, 12)):
        name, target = _names(rng, 4), _names(rng, 3)
        yield rng.choice(
            [
                f"{name} A 192.0.2.{rng.randint(1, 250)}",
                f"{name} TXT {rng.randint(1, 99)}",
                f"{name} MX 1 {target}",
                f"{name} CNAME {target}",
                f"{name} CNAME {target}.example.test.",
                f"{name} NS {target}",
                f"{name} DS 1 8 2 {'ab' * 32}",
                f"{name} DNAME {target}.example.test.",
            ]
        )


def _zone_file(path: Path, origin: str, rng: random.Random) -> None:
    """Records are added as long as the zone can be read."""
    text = CHILD
    for record in _records(rng):
        path.write_text(f"$TTL 60\n{text}{record}\n")
        try:
            Dns(zones={origin: path}).prepare(Context("dns"))
        except Exception:  # noqa: S112 - the record is left out
            continue
        text += f"{record}\n"
    path.write_text(f"$TTL 60\n{text}")


@pytest.mark.parametrize("seed", range(12))
async def test_compiled_and_processed_answers_agree_in_any_order(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)  # noqa: S311 - the same ones each time
    origins = {"example.test", *(f"{_names(rng, 3).replace('*', 'a')}.example.test" for _ in range(4))}
    zones = {origin: tmp_path / f"{number}.zone" for number, origin in enumerate(sorted(origins))}
    for origin, path in zones.items():
        _zone_file(path, origin, rng)
    handler = handler_of(zones=zones)
    fresh = handler_of(zones=zones)
    queries = [
        dns.message.make_query(f"{_names(rng, 5)}.example.test", kind, id=number).to_wire()
        for number, kind in enumerate(rng.choice(KINDS) for _ in range(1500))
    ]
    for query in queries * 3:
        answer = ask_bytes(handler, query)
        processed = fresh.processor.answer(wire.parse(query), query, request(query)).data
        assert differing(answer, processed) == (), dns.message.from_wire(query).question[0]
        _is_of_the_nearest_zone(query, answer, zones)
    async with connected(handler) as client:
        for query in rng.sample(queries, 100):
            await client.stream.send_all(len(query).to_bytes(2) + query)
            assert differing(await client.receive(), ask_bytes(handler, query)) == ()


def _is_of_the_nearest_zone(query: bytes, answer: bytes, zones: dict[str, Path]) -> None:
    """An SOA record of a denial is that of the nearest zone above the last name that the answer leads to."""
    found = seen(answer)
    if found.answer or found.rcode == "REFUSED":
        return
    question = dns.message.from_wire(query).question[0]
    name = question.name.parent() if question.rdtype == 43 and question.name.to_text(True) in zones else question.name
    nearest = max((dns.name.from_text(zone) for zone in zones if name.is_subdomain(dns.name.from_text(zone))), key=len)
    for owner, rdtype, _, _ in found.authority:
        if rdtype == 6:
            assert owner == nearest.to_digestable()
        else:
            assert dns.name.from_wire(owner, 0)[0].is_subdomain(nearest)
