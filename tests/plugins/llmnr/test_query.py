"""The query command: asks on every link, shows who answers what."""

from __future__ import annotations

import json

import pytest
import trio
from click.testing import CliRunner
from responder_plugins.llmnr import Llmnr, query
from responder_plugins.llmnr.query import Found, Querier
from responder_plugins.shared import dns_message as dns
from trio.testing import MockClock

from responder import Datagram, Peer, PeerError
from responder.testing import FakeNetwork
from tests.fakes import LAN

from .support import VERIFIED, response_to


async def ask(name: bytes, rdtype: int = dns.ANY) -> list[Found]:
    """What a host on two links finds of a server on both."""
    network = FakeNetwork()
    server, asking = network.host("server"), network.host("asking")
    for number in (1, 2):
        link = network.link(f"link{number}")
        server.attach(link, f"10.7{number}.0.1/24", "fe80::1/64")
        asking.attach(link, f"10.7{number}.0.9/24", "fe80::9/64")
    async with server.serve(Llmnr(("lab",))):
        await trio.sleep(VERIFIED)
        querier = Querier(name, rdtype)
        async with asking.serve(querier):
            await querier.done.wait()
    return sorted(querier.found)


async def test_a_name_on_each_link_by_that_links_addresses(autojump_clock: MockClock) -> None:
    found = await ask(b"\3lab\0", dns.A)
    assert found == [
        Found(f"link{number}", who, "lab", "A", f"10.7{number}.0.1", "")
        for number in (1, 2)
        for who in (f"10.7{number}.0.1", "fe80::1")
    ]


async def test_an_address(autojump_clock: MockClock) -> None:
    found = await ask(dns.to_name([b"1", b"0", b"71", b"10", b"in-addr", b"arpa"]), dns.PTR)
    assert {(each.interface, each.type, each.data) for each in found} == {("link1", "PTR", "lab")}


async def test_a_name_of_nobody(autojump_clock: MockClock) -> None:
    assert await ask(b"\4wpad\0") == []


def heard(querier: Querier, payload: bytes) -> None:
    querier.respond(Datagram(payload, Peer("10.71.0.9", 5355), "10.71.0.1", LAN))


def test_only_responses_to_this_query_count() -> None:
    querier = Querier(b"\3lab\0", dns.A, 0x1234)
    good = response_to(query.write_query(0x1234, b"\3lab\0", dns.A))
    heard(querier, good)
    assert len(querier.found) == 1
    for bad in (b"", good[1:], b"\0\0" + good[2:], good.replace(b"\3lab", b"\3bal"), good[:3] + b"\3" + good[4:]):
        with pytest.raises(PeerError):
            heard(querier, bad)


def test_what_a_terminal_would_act_on_is_shown_as_what_it_is() -> None:
    querier = Querier(b"\3a\x1bb\0", dns.A, 1)
    heard(querier, response_to(query.write_query(1, b"\3a\x1bb\0", dns.A)))
    assert {each.name for each in querier.found} == {"a\N{REPLACEMENT CHARACTER}b"}


@pytest.fixture
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(querier: Querier, interfaces: tuple[str, ...]) -> list[Found]:
        return [Found(name, "10.71.0.9", repr(querier.name), str(querier.rdtype), "", "") for name in interfaces]

    monkeypatch.setattr(query, "ask", ask)


@pytest.mark.usefixtures("_found")
@pytest.mark.parametrize(
    ("arguments", "name", "rdtype"),
    [
        (["lab"], b"\3lab\0", dns.ANY),
        (["lab", "--type", "aaaa"], b"\3lab\0", dns.AAAA),
        (["192.0.2.1"], b"\0011\0012\0010\003192\7in-addr\4arpa\0", dns.PTR),
    ],
)
def test_the_command(arguments: list[str], name: bytes, rdtype: int) -> None:
    done = CliRunner().invoke(query.llmnr, ["query", *arguments, "--interface", "lan", "--json"])
    assert json.loads(done.output) == [
        {"interface": "lan", "address": "10.71.0.9", "name": repr(name), "type": str(rdtype), "data": "", "flags": ""}
    ]
    assert "10.71.0.9" in CliRunner().invoke(query.llmnr, ["query", *arguments, "--interface", "lan"]).output


@pytest.mark.parametrize("arguments", [[""], ["a..b"], ["x" * 64], ["lab", "--type", "x"], []])
def test_mistakes(arguments: list[str]) -> None:
    assert CliRunner().invoke(query.llmnr, ["query", *arguments]).exit_code == 2
