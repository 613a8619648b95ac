"""The discover command: probes every link with both versions, and shows who answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from responder_plugins.wsd import COMPUTER, discover
from responder_plugins.wsd.discover import Found, Prober
from responder_plugins.wsd.message import VERSIONS
from trio.testing import MockClock

from responder import Datagram, Peer, PeerError
from responder.testing import FakeNetwork
from tests.fakes import LAN

from .support import LAB, STARTED, UUID, Said, probe


async def discovered(state: Path, *types: str) -> list[Found]:
    network = FakeNetwork()
    server, asking = network.host("server"), network.host("asking")
    for number in (1, 2):
        link = network.link(f"link{number}")
        server.attach(link, f"10.7{number}.0.1/24", "fe80::1/64")
        asking.attach(link, f"10.7{number}.0.9/24", "fe80::9/64")
    async with server.serve(LAB, state=state):
        await trio.sleep(STARTED)
        prober = Prober(types)
        async with asking.serve(prober):
            await prober.done.wait()
    return sorted(prober.found)


@pytest.mark.parametrize("types", [(), (COMPUTER,)])
async def test_each_link_by_its_addresses(autojump_clock: MockClock, tmp_path: Path, types: tuple[str, ...]) -> None:
    assert {(each.interface, each.address, each.types, each.xaddrs) for each in await discovered(tmp_path, *types)} >= {
        (f"link{number}", f"10.7{number}.0.1", "Device Computer", f"http://10.7{number}.0.1:5357/{UUID}")
        for number in (1, 2)
    }


async def test_another_type(autojump_clock: MockClock, tmp_path: Path) -> None:
    assert await discovered(tmp_path, "{http://x}Printer") == []


def test_a_probe_of_ours_is_one_to_others() -> None:
    for version in VERSIONS:
        said = Said.of(discover.write_probe(version, "urn:uuid:1", (COMPUTER,)))
        assert said.kind == "Probe"
        assert said.text("wsa:MessageID") == "urn:uuid:1"
        assert said.text("wsd:Types").endswith(":Computer")


@pytest.mark.parametrize("payload", [b"", probe(), b"<:/>"])
def test_what_is_no_answer(payload: bytes) -> None:
    with pytest.raises(PeerError):
        Prober().respond(Datagram(payload, Peer("10.71.0.9", 3702), "10.71.0.1", LAN))


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Found("lan", "10.71.0.9", f"urn:uuid:{UUID}", "Device", "http://x/")]
    monkeypatch.setattr(discover, "ask", lambda _prober, _interfaces: found)
    done = CliRunner().invoke(discover.wsd, ["discover", "--json"])
    assert json.loads(done.output)[0]["endpoint"] == f"urn:uuid:{UUID}"
    assert "http://x/" in CliRunner().invoke(discover.wsd, ["discover", "--type", COMPUTER]).output
    assert CliRunner().invoke(discover.wsd, ["discover", "--type", "Device"]).exit_code == 2
