"""Cases from the field: each folder beside this file has a config, its inputs, and in `expected.toml` what is right.

    warnings     what `responderd check` warns of, each by its beginning; a case without any has none
    [[ask]]      a datagram, and its answers:
      send       the file with its bytes; or `query`, a DNS query's name and type
      to         the address that is asked; by default 192.0.2.1
      service    the plugin's service that is asked
      within     seconds of the fake clock that the answers may take
      answers    for each answer the lines that it has: those of its text, or of a DNS message's answer section;
                 none is silence

The comment at its head names the section of the standard.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import dns.message
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
    assert all(warning.startswith(begin) for warning, begin in zip(warnings, wanted, strict=True)), warnings


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
    answers = [lines_of(each, ask) for each in heard]
    assert len(answers) == len(ask["answers"]), answers
    for lines, wanted in zip(answers, ask["answers"], strict=True):
        assert set(wanted) <= set(lines) if "send" in ask else sorted(wanted) == sorted(lines), lines


def payload_of(case: Path, ask: dict[str, Any]) -> bytes:
    if "send" in ask:
        return (case / ask["send"]).read_bytes()
    name, kind = ask["query"]
    return dns.message.make_query(name, kind, use_edns=0, payload=1232).to_wire()


def lines_of(heard: Heard, ask: dict[str, Any]) -> list[str]:
    if "send" in ask:
        return heard.payload.decode().splitlines()
    return [line for rrset in dns.message.from_wire(heard.payload).answer for line in rrset.to_text().splitlines()]
