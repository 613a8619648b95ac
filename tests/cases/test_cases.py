"""Cases from the field: each folder beside this file has a config, its inputs, and in `expected.toml` what is right.

    warnings     what `responderd check` warns of, each by a part of it; a case without any has none
    [[ask]]      a datagram, and its answers:
      send       the file with its bytes; or `query`, a DNS query's name and type
      to         the address that is asked; by default 192.0.2.1
      service    the plugin's service that is asked
      within     seconds of the fake clock that the answers may take
      answers    for each answer the lines that it has: those of its text, or of a DNS message's answer section;
                 none is silence
      rcode      of a DNS answer; by default NOERROR
      holds      in place of `answers`: bytes, in hexadecimal, that the one answer has where dnspython can't decode it
    [[transfer]] a DNS zone that is taken over (AXFR):
      zone       its name
      records    how many there are
      holds      some of them
      digest     its ZONEMD record holds (RFC 8976)

The comment at its head names the section of the standard.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import dns.zone
import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock

from responder.cli import main
from responder.testing import FakeNetwork, Heard, instances
from responder.testing.bench import CLIENT, SERVER

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/expected.toml"))
STARTED = 5.0
"""Seconds after which a plugin has announced what it announces at its start."""


def expected(case: Path) -> dict[str, Any]:
    return tomllib.loads((case / "expected.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_config_is_taken(case: Path) -> None:
    done = CliRunner().invoke(main, ["check", str(case / "responderd.toml")])
    assert done.exit_code == 0, done.output
    warnings = [line.removeprefix("warning: ") for line in done.output.splitlines() if line.startswith("warning: ")]
    wanted = expected(case).get("warnings", [])
    assert len(warnings) == len(wanted), warnings
    assert all(part in warning for warning, part in zip(warnings, wanted, strict=True)), warnings


ASKED = [
    pytest.param(case, ask, id=f"{case.name}-{ask.get('send') or ' '.join(ask['query'])}")
    for case in CASES
    for ask in expected(case).get("ask", [])
]


@pytest.mark.parametrize(("case", "ask"), ASKED)
async def test_the_answers_are_right(
    autojump_clock: MockClock, tmp_path: Path, case: Path, ask: dict[str, Any]
) -> None:
    config = (case / "responderd.toml").read_text(encoding="utf-8")
    (instance,) = instances(config, folder=case)
    network = FakeNetwork()
    link = network.link("eth0")
    host, other = network.host("server"), network.host("client")
    host.attach(link, *SERVER)
    other.attach(link, *CLIENT)
    async with host.serve(instance, state=tmp_path) as server:
        await trio.sleep(STARTED)
        client = other.client()
        asked = trio.current_time()
        port = server.port(service=ask.get("service", "default"))
        await client.send(payload_of(case, ask), ask.get("to", "192.0.2.1"), port)
        await trio.sleep(STARTED * 2)
        heard = client.heard()
    assert all(each.time - asked <= ask.get("within", 0) for each in heard)
    if "holds" in ask:
        assert [bytes.fromhex(ask["holds"]) in each.payload for each in heard] == [True]
        return
    answers = [lines_of(each, ask) for each in heard]
    assert len(answers) == len(ask["answers"]), answers
    for lines, wanted in zip(answers, ask["answers"], strict=True):
        assert set(wanted) <= set(lines) if "send" in ask else comparable(wanted) == comparable(lines), lines


def comparable(records: Sequence[str]) -> list[str]:
    """In order, and the same however base64 is cut into words."""
    return sorted("".join(record.split()) for record in records)


TRANSFERRED = [pytest.param(case, each, id=case.name) for case in CASES for each in expected(case).get("transfer", [])]


@pytest.mark.parametrize(("case", "transfer"), TRANSFERRED)
async def test_the_zone_is_handed_over_right(
    autojump_clock: MockClock, tmp_path: Path, case: Path, transfer: dict[str, Any]
) -> None:
    (instance,) = instances((case / "responderd.toml").read_text(encoding="utf-8"), folder=case)
    query = dns.message.make_query(transfer["zone"], "AXFR").to_wire()
    network = FakeNetwork()
    link = network.link("eth0")
    host, other = network.host("server"), network.host("client")
    host.attach(link, *SERVER)
    other.attach(link, *CLIENT)
    held = b""
    async with host.serve(instance, state=tmp_path) as server:
        stream = await other.connect("192.0.2.1", server.port())
        await stream.send_all(len(query).to_bytes(2) + query)
        await stream.send_eof()
        async for more in stream:
            held += more
    rrsets = []
    while held:
        size = 2 + int.from_bytes(held[:2])
        rrsets += dns.message.from_wire(held[2:size], one_rr_per_rrset=True, xfr=True).answer
        held = held[size:]
    lines = comparable([rrset.to_text() for rrset in rrsets])
    assert len(lines) == transfer["records"] + 1  # the SOA record comes at the end again
    assert set(comparable(transfer.get("holds", []))) <= set(lines)
    if transfer.get("digest"):
        zone = dns.zone.Zone(dns.name.from_text(transfer["zone"]), relativize=False)
        with zone.writer() as writer:
            for rrset in rrsets:
                writer.add(rrset)
        zone.verify_digest()


def payload_of(case: Path, ask: dict[str, Any]) -> bytes:
    if "send" in ask:
        return (case / ask["send"]).read_bytes()
    name, kind = ask["query"]
    return dns.message.make_query(name, kind, use_edns=0, payload=1232).to_wire()


def lines_of(heard: Heard, ask: dict[str, Any]) -> list[str]:
    if "send" in ask:
        return heard.payload.decode().splitlines()
    reply = dns.message.from_wire(heard.payload)
    assert dns.rcode.to_text(reply.rcode()) == ask.get("rcode", "NOERROR")
    return [line for rrset in reply.answer for line in rrset.to_text().splitlines()]
