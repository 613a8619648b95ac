"""The commands: who has a name on each link, and what names a host has."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest
import trio
from click.testing import CliRunner
from responder_plugins.nbns import Nbns, ask
from responder_plugins.nbns.ask import Found, Querier, Status, StatusAsker
from responder_plugins.nbns.message import Name
from responder_plugins.shared import command
from responder_plugins.shared.command import Asker
from trio.testing import MockClock

from responder import Datagram, Peer, PeerError
from responder.testing import FakeNetwork
from tests.fakes import LAN

from .support import REGISTERED, query, registration


async def answers(asker: Asker) -> list[object]:
    """What a host on two links finds of a server on both."""
    network = FakeNetwork()
    server, asking = network.host("server"), network.host("asking")
    for number in (1, 2):
        link = network.link(f"link{number}")
        server.attach(link, f"10.7{number}.0.1/24")
        asking.attach(link, f"10.7{number}.0.9/24")
    async with server.serve(Nbns(("LAB",), "OFFICE")):
        await trio.sleep(REGISTERED)
        async with asking.serve(asker):
            await asker.done.wait()
    return sorted(asker.found)


async def test_a_name_on_each_link_by_that_links_address(autojump_clock: MockClock) -> None:
    found = await answers(Querier(Name(b"LAB", 0x20)))
    assert found == [
        Found(f"link{number}", f"10.7{number}.0.1", "LAB<20>", f"10.7{number}.0.1", "unique") for number in (1, 2)
    ]
    assert {each.kind for each in await answers(Querier(Name(b"OFFICE", 0)))} == {"group"}  # type: ignore[attr-defined]
    assert await answers(Querier(Name(b"WPAD", 0))) == []


async def test_the_names_of_a_host(autojump_clock: MockClock) -> None:
    found = await answers(StatusAsker(IPv4Address("10.72.0.1")))
    assert [(each.address, each.name, each.kind) for each in found if isinstance(each, Status)] == [
        ("10.72.0.1", "LAB<00>", "unique"),
        ("10.72.0.1", "LAB<03>", "unique"),
        ("10.72.0.1", "LAB<20>", "unique"),
        ("10.72.0.1", "OFFICE<00>", "group"),
        ("10.72.0.1", "OFFICE<1e>", "group"),
    ]
    assert len({each.link_address for each in found if isinstance(each, Status)}) == 1


@pytest.mark.parametrize(("pattern", "is_asked"), [("link1", False), ("link2", True), ("nope*", False)])
async def test_a_host_is_asked_by_the_interfaces_that_were_named_only(
    autojump_clock: MockClock, pattern: str, is_asked: bool
) -> None:
    network = FakeNetwork()
    asking = network.host("asking")
    interfaces = {f"link{number}": network.link(f"link{number}") for number in (1, 2)}
    indexes = {name: asking.attach(link, f"10.7{name[-1]}.0.9/24").index for name, link in interfaces.items()}
    server = network.host("server")
    server.attach(interfaces["link2"], "10.72.0.1/24")
    heard = server.client(None, 137)
    asker = StatusAsker(IPv4Address("10.72.0.1"), by_route=False)
    async with asking.serve(asker, interfaces=[pattern]):
        await asker.done.wait()
    assert asker.asked == ({indexes["link2"]} if is_asked else set())
    assert bool(heard.heard()) is is_asked


async def test_of_a_host_that_says_nothing(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert await answers(StatusAsker(IPv4Address("10.72.0.77"))) == []
    assert trio.current_time() - began < 10


@pytest.mark.parametrize("payload", [b"", query(), registration(), b"\x42\x42\x85\0\0\0\0\0\0\0\0\0"])
def test_what_is_no_answer(payload: bytes) -> None:
    for asker in (Querier(Name(b"LAB", 0), 0x4242), StatusAsker(IPv4Address("10.71.0.9"), 0x4242)):
        with pytest.raises(PeerError):
            asker.respond(Datagram(payload, Peer("10.71.0.9", 137), "10.71.0.1", LAN))


@pytest.fixture
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(asker: Asker, _interfaces: tuple[str, ...]) -> list[object]:
        if isinstance(asker, StatusAsker):
            return [Status(str(asker.host), "LAB<00>", "unique", "02:00:00:00:00:01")]
        assert isinstance(asker, Querier)
        return [Found("lan", "10.71.0.9", str(asker.name), "10.71.0.9", "unique")]

    monkeypatch.setattr(ask, "ask", found)


@pytest.mark.usefixtures("_found")
class TestCommands:
    def test_query(self) -> None:
        done = CliRunner().invoke(ask.nbns, ["query", "lab", "--suffix", "1e", "--json"])
        (row,) = json.loads(done.output)
        assert row["name"] == "LAB<1e>"

    def test_status(self) -> None:
        done = CliRunner().invoke(ask.nbns, ["status", "10.71.0.9"])
        assert "02:00:00:00:00:01" in done.output

    @pytest.mark.parametrize("arguments", [["query", "lab"], ["status", "192.0.2.1"]])
    def test_where_no_interface_matches(self, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
        monkeypatch.setattr(ask, "ask", command.ask)
        done = CliRunner().invoke(ask.nbns, [*arguments, "--interface", "nope*"])
        assert done.exit_code == 1
        assert "no interface matches nope*" in done.output

    @pytest.mark.parametrize(
        "arguments",
        [["query", ""], ["query", "x" * 16], ["query", "lab", "--suffix", "100"], ["status", "lab"], ["status", "::1"]],
    )
    def test_mistakes(self, arguments: list[str]) -> None:
        assert CliRunner().invoke(ask.nbns, arguments).exit_code == 2
