"""The search command: asks on every link, takes what answers, and shows nothing that a terminal would act on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from click.testing import CliRunner
from responder_plugins.shared.command import MAX_FOUND
from responder_plugins.ssdp import search
from responder_plugins.ssdp.message import Search, read_search, write_message
from responder_plugins.ssdp.search import Found, Searcher
from trio.testing import MockClock

from responder import Datagram, Peer, PeerError, SendRefused, serve
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, FakeReceived, flow

from .test_announcer import PLACES

USN = "uuid:2fac1234-31f8-11b4-a222-08002b34c003"


def answer(usn: str = USN, location: str = "http://10.71.0.1/device.xml") -> bytes:
    return write_message("HTTP/1.1 200 OK", {"EXT": "", "ST": "ssdp:all", "USN": usn, "LOCATION": location})


@asynccontextmanager
async def searching(searcher: Searcher) -> AsyncIterator[FakePlatform]:
    platform = FakePlatform()
    async with serve(searcher, platform=platform):
        yield platform


async def test_every_link_is_asked_by_every_group(autojump_clock: MockClock) -> None:
    searcher = Searcher("ssdp:all", 2)
    async with searching(searcher) as platform:
        began = trio.current_time()
        await searcher.done.wait()
        sent = platform.sockets[0].sent
    assert 2 < trio.current_time() - began < 5
    assert {(str(each.route.to), each.route.interface) for each in sent} == set(PLACES)
    assert len(sent) == 2 * len(PLACES)
    for each in sent:
        assert read_search(each.payload) == Search("ssdp:all", 2)
        assert (each.port, each.route.hop_limit) == (1900, 2)


async def test_what_answers_is_kept_once(autojump_clock: MockClock) -> None:
    searcher = Searcher("ssdp:all", 1)
    async with searching(searcher) as platform:
        platform.sockets[0].deliver(
            *[FakeReceived(answer(), flow("10.71.0.9", "10.71.0.1"), 1900)] * 2,
            FakeReceived(answer(), flow("fe80::9", "fe80::1", 3, scope_id=3), 1900),
            FakeReceived(b"NOTIFY * HTTP/1.1\r\n\r\n", flow(), 1900),
            FakeReceived(b"\xff", flow(), 1900),
        )
        await searcher.done.wait()
    assert sorted(searcher.found) == [
        Found("guest0", "fe80::9", USN, "http://10.71.0.1/device.xml", ""),
        Found("lan", "10.71.0.9", USN, "http://10.71.0.1/device.xml", ""),
    ]


async def test_a_link_that_refuses_does_not_stop_the_others(autojump_clock: MockClock) -> None:
    searcher = Searcher("ssdp:all", 1)
    async with searching(searcher) as platform:
        platform.sockets[0].refusals += [SendRefused(1, "EPERM"), SendRefused(1, "EPERM")]
        await searcher.done.wait()
        assert len(platform.sockets[0].sent) == 2 * len(PLACES) - 2


async def test_without_an_interface_to_search_on_nothing_is_waited_for(autojump_clock: MockClock) -> None:
    searcher = Searcher("ssdp:all", 5)
    platform = FakePlatform()
    platform.tables = [(LOOPBACK,)]
    began = trio.current_time()
    async with serve(searcher, platform=platform):
        await searcher.done.wait()
    assert searcher.asked == set()
    assert trio.current_time() - began < 1


def told(searcher: Searcher, payload: bytes) -> None:
    searcher.respond(Datagram(payload, Peer("10.71.0.9", 1900), "10.71.0.1", LAN))


def test_what_a_terminal_would_act_on_is_shown_as_what_it_is() -> None:
    searcher = Searcher("ssdp:all", 1)
    told(searcher, answer(usn="uuid:\u009b2J\u202e"))
    assert [each.usn for each in searcher.found] == ["uuid:\ufffd2J\ufffd"]
    with pytest.raises(PeerError):
        told(searcher, answer(usn="\x1b[2J"))


def test_answers_without_end_are_bounded() -> None:
    searcher = Searcher("ssdp:all", 1)
    for number in range(MAX_FOUND + 10):
        told(searcher, answer(usn=f"uuid:{number}"))
    assert len(searcher.found) == MAX_FOUND


@pytest.fixture
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(searcher: Searcher, interfaces: tuple[str, ...]) -> list[Found]:
        return [
            Found(name, "10.71.0.9", f"{USN}::{searcher.target}", "http://[b]x/", "s") for name in sorted(interfaces)
        ]

    monkeypatch.setattr(search, "ask", ask)


@pytest.mark.usefixtures("_found")
class TestCommand:
    ARGUMENTS = ("search", "--st", "upnp:rootdevice", "--interface", GUEST.name, "--interface", LAN.name)

    def test_table(self) -> None:
        result = CliRunner().invoke(search.ssdp, self.ARGUMENTS)
        assert result.exit_code == 0
        lines = [line.split() for line in result.output.splitlines() if line.strip()]
        assert lines[0] == ["interface", "address", "USN", "LOCATION", "SERVER"]
        assert lines[2:] == [
            [name, "10.71.0.9", f"{USN}::upnp:rootdevice", "http://[b]x/", "s"] for name in (GUEST.name, LAN.name)
        ]

    def test_json(self) -> None:
        result = CliRunner().invoke(search.ssdp, [*self.ARGUMENTS, "--json"])
        assert [row["interface"] for row in json.loads(result.output)] == [GUEST.name, LAN.name]

    @pytest.mark.parametrize("arguments", [("--st", "a\r\nX: y"), ("--st", " "), ("--mx", "0"), ("--mx", "60")])
    def test_mistakes(self, arguments: tuple[str, str]) -> None:
        assert CliRunner().invoke(search.ssdp, ["search", *arguments]).exit_code == 2


def test_a_wrong_pattern_is_told() -> None:
    result = CliRunner().invoke(search.ssdp, ["search", "--interface", ""])
    assert result.exit_code == 1
    assert "interfaces" in result.output


def test_a_pattern_of_no_interface_is_told() -> None:
    result = CliRunner().invoke(search.ssdp, ["search", "--interface", "no-such*"])
    assert result.exit_code == 1
    assert "no interface matches no-such*" in result.output
