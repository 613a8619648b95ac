"""The same zone file, the same 20,000 queries: our answers are NSD's and Knot's, or the difference has a reason."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import dns.message
import pytest
from responder_plugins.dns import Dns

from responder import Context, Datagram, Interface, InterfaceAddress, Peer
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import differences, peers, queries

pytestmark = [pytest.mark.lab, pytest.mark.clients("nsd", "knotd")]

NSD_PORT, KNOT_PORT = 5301, 5302
BATCH = 100
"""Queries sent before their answers are read: fewer than a socket's queue takes."""

ALL = list(queries.queries())


def our_answers() -> list[bytes]:
    handler = Dns(zones={"example.test": queries.ZONE}).prepare(Context("dns"))
    link = Interface(1, "lo", addresses=(InterfaceAddress("127.0.0.1", 8),))
    answers = []
    for query in ALL:
        answer = handler.respond_last(Datagram(query, Peer("127.0.0.1", 40000), "127.0.0.1", link, port=53))
        assert isinstance(answer, bytes)
        answers.append(answer)
    return answers


def ask(namespace: Namespace, port: int) -> list[bytes]:
    answers = [b""] * len(ALL)
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(10)
        for start in range(0, len(ALL), BATCH):
            batch = ALL[start : start + BATCH]
            for query in batch:
                sock.send(query)
            for _ in batch:
                answer = sock.recv(65535)
                answers[start + (int.from_bytes(answer[:2]) - start) % 0x10000] = answer
    return answers


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """The servers' answers, by the server's name."""
    nsd_folder: Path = tmp_path_factory.mktemp("nsd")
    knot_folder: Path = tmp_path_factory.mktemp("knot")
    with Lab() as lab:
        namespace = lab.namespace("peers")
        nsd = peers.nsd(nsd_folder, NSD_PORT, f'zone:\n    name: example.test\n    zonefile: "{queries.ZONE}"\n')
        knot_zone = f'zone:\n  - domain: example.test\n    file: "{queries.ZONE}"\n    zonefile-load: whole\n'
        knot = peers.knot(knot_folder, KNOT_PORT, knot_zone)
        with (
            peers.running(namespace, nsd, ["nsd started"]),
            peers.running(namespace, knot, ["server started", "loaded"]),
        ):
            return {"nsd": ask(namespace, NSD_PORT), "knot": ask(namespace, KNOT_PORT)}


def why(server: str, query: bytes, ours: bytes, other: bytes) -> str | None:
    """What decides the difference; "" where there is none, None where nothing does."""
    fields = differences.differing(ours, other)
    if not fields:
        return ""
    message, one, two = dns.message.from_wire(query), differences.seen(ours), differences.seen(other)
    for rule in differences.RULES:
        if rule.server == server and rule.fields.issuperset(fields) and rule.when(message, one, two):
            return rule.decided_by
    return None


@pytest.mark.parametrize("server", ["nsd", "knot"])
def test_every_difference_is_decided_by_a_standard(server: str, theirs: dict[str, Sequence[bytes]]) -> None:
    assert len(ALL) >= 20_000
    unexplained: list[str] = []
    reasons: Counter[str] = Counter()
    for query, ours, other in zip(ALL, our_answers(), theirs[server], strict=True):
        reason = why(server, query, ours, other)
        if reason is None:
            unexplained.append(f"{dns.message.from_wire(query)}\n-- ours: {ours.hex()}\n-- {server}: {other.hex()}")
        reasons[reason or ""] += 1
    assert unexplained[:5] == []
    # A rule that nothing needs any more would hide the next difference.
    assert set(reasons) - {""} == {rule.decided_by for rule in differences.RULES if rule.server == server}
    assert reasons[""] > 0.9 * len(ALL)
