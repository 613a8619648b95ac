"""Signed zones, with NSEC, NSEC3 and opt-out: answers with signatures are NSD's and Knot's, or have a reason.

Those that are signed here are asked 20,000 queries each, those that ldns has signed a quarter of them.
"""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import dns.rdatatype
import pytest
from responder_plugins.dns.handler import DnsHandler

from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers, queries
from tests.plugins.dns.differences import FIELDS, Seen, seen
from tests.plugins.dns.keys.support import DENIALS, signer_of, text_of, zone_of
from tests.plugins.dns.support import ask_bytes, handler_of

pytestmark = [pytest.mark.lab, pytest.mark.clients("nsd", "knotd", "ldns-signzone", "ldns-keygen")]

MORE = """
secure NS ns.secure
ns.secure A 192.0.2.111
secure DS 1 13 2 abababababababababababababababababababababababababababababababab
bare NS ns.bare
ns.bare A 192.0.2.112
x.unsigned NS ns.elsewhere.invalid.
*.wildns.deep TXT wild
"""
KINDS = {"nsec": (), "nsec3": ("-n", "-t", "5", "-s", "ABCD"), "opt-out": ("-n", "-p", "-t", "0")}
TYPES = [1, 2, 5, 6, 15, 16, 28, 33, 39, 43, 46, 47, 48, 50, 51, 255]
BATCH = 50
SIGNERS = {"here": 1, "ldns": 4}
"""Who signs, and each how manieth query is asked."""


def plain_text() -> str:
    """example.test without the name of 255 bytes: NSD 4.6 ends where it hashes the wildcard below it."""
    lines = queries.ZONE.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("a" * 63))


def sign_here(folder: Path, kind: str) -> Path:
    """example.test with more delegations, signed by this plugin."""
    plain = zone_of(folder / "plain", plain_text() + MORE)
    zone = signer_of(folder / "keys", **DENIALS[kind]).renew(plain, None, time.time())
    signed = folder / f"{kind}.zone"
    signed.write_text(text_of(zone))
    return signed


def sign_by_ldns(folder: Path, kind: str) -> Path:
    """The same by ldns."""
    plain = folder / "plain"
    plain.write_text(plain_text() + MORE)

    def run(*argv: object) -> str:
        done = subprocess.run(list(map(str, argv)), cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    key = run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "example.test")
    dates = ["-i", "20260101000000", "-e", "20361101000000"]
    signed = folder / f"{kind}.zone"
    run("ldns-signzone", "-o", "example.test", *KINDS[kind], *dates, "-f", signed, plain, key)
    return signed


def asked() -> Iterator[bytes]:
    """Every name with 40 types, and DO; an eighth without."""
    rng = random.Random(4035)  # noqa: S311 - the same ones each time
    more = ["secure", "a.secure", "bare", "a.bare", "x.unsigned", "a.x.unsigned", "unsigned", "q.wildns.deep", "deep"]
    names = queries.names() + [dns.name.from_text(text, queries.ORIGIN) for text in more]
    number = 0
    for name in names:
        for rdtype in TYPES + rng.sample([each for each in queries.ALL_TYPES if each not in TYPES], 24):
            flags = 0x8000 if rng.random() < 0.875 else 0
            opt = b"\0" + struct.pack("!HHIH", 41, 4096, flags, 0)
            header = struct.pack("!HHHHHH", number & 0xFFFF, 0, 1, 0, 0, 1)
            yield header + (name.to_wire() or b"") + struct.pack("!HH", rdtype, 1) + opt
            number += 1


ALL = list(asked())


def answers_of(namespace: Namespace, port: int, asked: list[bytes]) -> list[bytes]:
    numbers = {query[:2]: number for number, query in enumerate(asked)}
    answers = [b""] * len(asked)
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(10)
        for start in range(0, len(asked), BATCH):
            for query in asked[start : start + BATCH]:
                sock.send(query)
            for _ in asked[start : start + BATCH]:
                answer = sock.recv(65535)
                answers[numbers[answer[:2]]] = answer
    return answers


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_others(kind: str, signer: str, tmp_path: Path) -> None:
    signed = sign_here(tmp_path, kind) if signer == "here" else sign_by_ldns(tmp_path, kind)
    asked = ALL[:: SIGNERS[signer]]
    with Lab() as lab:
        namespace = lab.namespace("peers")
        nsd = peers.nsd(tmp_path, 5301, f'zone:\n    name: example.test\n    zonefile: "{signed}"\n', server=NSD_SIZE)
        zone = f'zone:\n  - domain: example.test\n    file: "{signed}"\n    zonefile-load: whole\n'
        knot = peers.knot(tmp_path, 5302, zone, server="    udp-max-payload: 4096\n")
        with (
            peers.running(namespace, nsd, ["nsd started"]),
            peers.running(namespace, knot, ["server started", "loaded"]),
        ):
            theirs = {"nsd": answers_of(namespace, 5301, asked), "knot": answers_of(namespace, 5302, asked)}
    handler = handler_of(zones={"example.test": signed}, edns_size=4096)
    found = Counter(_differences(handler, asked, theirs))
    assert found == Counter(), "\n".join(map(str, found.most_common(40)))


def _adds_name_servers(server: str, _rdtype: int, field: str, ours: Seen, theirs: Seen) -> bool:
    """RFC 1034 section 4.3.2 step 6 asks for useful records; NSD adds the zone's NS records, and signs what it adds."""
    if server != "nsd" or not ours.answer or field not in ("authority", "additional"):
        return False
    if field == "additional":
        return ours.additional <= theirs.additional
    added = theirs.authority - ours.authority
    return ours.authority <= theirs.authority and all(
        rdtype == 2 or (rdtype == 46 and rdata[:2] == b"\0\2") for _, rdtype, _, rdata in added
    )


def _is_of_any(_server: str, rdtype: int, field: str, _ours: Seen, _theirs: Seen) -> bool:
    """RFC 8482 section 4.1: any RRset for ANY; RRSIG alone is as good as ANY, and Knot answers it by one signature."""
    return rdtype in (255, 46) and field in ("answer", "additional")


def _is_of_nsec3(server: str, rdtype: int, _field: str, ours: Seen, _theirs: Seen) -> bool:
    """RFC 5155 section 7.2.8 is about owners of NSEC3 records; an alias is followed for this type as for others."""
    return server == "nsd" and rdtype == 50 and any(each[1] == 5 for each in ours.answer)


def _proves_less(server: str, _rdtype: int, field: str, ours: Seen, theirs: Seen) -> bool:
    """RFC 4035 sections 3.1.3.3 and 3.1.3.4: a wildcard's answer needs the proof that no closer name is there, though
    it is the NSEC record that was asked for; and a wildcard without data its own proof, though it is an empty one."""
    return server == "knot" and field == "authority" and ours.authority > theirs.authority


def _adds_addresses(server: str, rdtype: int, field: str, ours: Seen, theirs: Seen) -> bool:
    """RFC 1034 section 4.3.2 step 6 takes addresses from glue too, for what leads below a cut; as Knot does."""
    return (
        server == "nsd" and rdtype in (15, 33) and field == "additional" and bool(ours.additional - theirs.additional)
    )


def _proves_more(server: str, _rdtype: int, field: str, ours: Seen, theirs: Seen) -> bool:
    """RFC 5155 section 7.2.3: the record that matches the name is the proof, of a wildcard's name too."""
    added = theirs.authority - ours.authority
    return (
        server == "nsd"
        and field == "authority"
        and ours.authority < theirs.authority
        and ours.question.startswith(b"\1*")
        and {each[1] for each in added} == {46, 50}
    )


def _stops_at_the_alias(server: str, rdtype: int, _field: str, _ours: Seen, theirs: Seen) -> bool:
    """RFC 4034 sections 2.5 and 4: RRSIG and NSEC belong to the alias itself, so they don't follow it; as Knot does."""
    return server == "nsd" and rdtype in (46, 47) and any(each[1] == 5 for each in theirs.answer)


RULES = [_proves_more, _stops_at_the_alias, _is_of_nsec3, _proves_less, _adds_addresses, _adds_name_servers, _is_of_any]

NSD_SIZE = "    ipv4-edns-size: 4096\n"


def _differences(
    handler: DnsHandler, asked: list[bytes], theirs: dict[str, list[bytes]]
) -> Iterator[tuple[str, str, str, str]]:
    for number, query in enumerate(asked):
        question = dns.message.from_wire(query).question[0]
        rdtype = int(question.rdtype)
        # The second time, it may come from elsewhere; mostly it is the same.
        for our in {ask_bytes(handler, query), ask_bytes(handler, query)}:
            ours = seen(our)
            for server, answers in theirs.items():
                their = seen(answers[number])
                fields = [
                    field
                    for field in FIELDS
                    if getattr(ours, field) != getattr(their, field)
                    and not any(rule(server, rdtype, field, ours, their) for rule in RULES)
                ]
                if fields:
                    yield server, str(question.name), dns.rdatatype.to_text(question.rdtype), " ".join(fields)
