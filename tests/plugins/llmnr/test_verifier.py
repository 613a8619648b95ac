"""Uniqueness (RFC 4795 section 4): asked for on each link, tentative until then, given up to who has the name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import dns.message
import pytest
import trio
from responder_plugins.llmnr import Llmnr
from responder_plugins.llmnr.verifier import DEFENCE, TRANSMISSIONS, State
from trio.testing import MockClock

from responder import Context, Handler
from responder.testing import Bench, FakeClient, FakeNetwork, Heard, bench

from .support import GROUP4, GROUP6, VERIFIED, C, T, flags_of, handler_of, query, records, response_to

LAB = Llmnr(("lab",))
SERVER = ("192.0.2.5", "192.0.2.6", "fe80::5")


@attrs.frozen
class Other:
    """Another host that hears the groups, and answers as `flags` says, by IPv4, IPv6 or both."""

    client: FakeClient
    asked: list[Heard] = attrs.field(factory=list, init=False)
    first: trio.Event = attrs.field(factory=trio.Event, init=False)
    has_left: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def serve(self, flags: int | None, families: tuple[int, ...] = (4, 6)) -> None:
        while True:
            heard = await self.client.receive()
            if str(heard.source.address) not in SERVER or self.has_left.is_set():
                continue
            self.asked.append(heard)
            self.first.set()
            if flags is not None and heard.source.address.version in families:
                answer = response_to(heard.payload, flags=flags, ttl=60)
                await self.client.send(answer, str(heard.source.address), heard.source.port)


@asynccontextmanager
async def with_other(
    flags: int | None = None, families: tuple[int, ...] = (4, 6), *, address: str = "192.0.2.9/24"
) -> AsyncIterator[tuple[Bench, Other]]:
    """A host that joined the groups before the plugin starts, whose addresses are above or below the server's."""
    network = FakeNetwork()
    link = network.link("eth0")
    host, peer, asking = (network.host(name) for name in ("server", "other", "client"))
    interface = host.attach(link, "192.0.2.5/24", "fe80::5/64")
    low = address.startswith("192.0.2.1/")
    own = peer.attach(link, address, "fe80::1/64" if low else "fe80::9/64")
    asking.attach(link, "192.0.2.77/24", "fe80::77/64")
    other = Other(peer.client(None, 5355))
    for group in (GROUP4, GROUP6):
        other.client.join(group, own)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.serve, flags, families)
        async with host.serve(LAB) as server:
            yield Bench(network, link, host, interface, server, asking.client(), "192.0.2.5"), other
        nursery.cancel_scope.cancel()


async def flags_heard(at: Bench) -> list[int]:
    """The bits of the server's answers."""
    heard = await at.exchange(query(), GROUP4, within=1)
    return [flags_of(each.payload) & (T | C) for each in heard if str(each.source.address) in {at.address, *SERVER}]


async def test_it_asks_three_times_by_both_families_before_it_claims_the_name(autojump_clock: MockClock) -> None:
    async with with_other() as (at, other):
        began = trio.current_time()
        assert await flags_heard(at) == [T]
        await trio.sleep(VERIFIED)
        assert await flags_heard(at) == [0]
    asked = other.asked
    for group in (GROUP4, GROUP6):
        assert len([each for each in asked if str(each.destination) == group]) == TRANSMISSIONS
    for each in asked:
        message = dns.message.from_wire(each.payload)
        assert message.question[0].to_text() == "lab. IN ANY"
        assert message.flags == 0
        assert each.hop_limit == 255
        assert each.source.port != 5355, "so that the answer comes to who asked"
    assert len({dns.message.from_wire(each.payload).id for each in asked}) == 1
    assert max(each.time for each in asked) - began < 4


async def test_a_tentative_answer_waits_for_a_moment(autojump_clock: MockClock) -> None:
    async with bench(LAB) as at:
        began = trio.current_time()
        (heard,) = await at.exchange(query(), GROUP4, within=1)
        assert flags_of(heard.payload) & T
        assert 0 < heard.time - began <= 0.1


HIGH, LOW = "192.0.2.9/24", "192.0.2.1/24"


@pytest.mark.parametrize("families", [(4, 6), (4,), (6,)])
@pytest.mark.parametrize(
    ("flags", "address", "kept"),
    [
        (0, HIGH, False),  # T clear: the other has it
        (0, LOW, False),
        (T, HIGH, True),  # both want it: the lower address gets it
        (T, LOW, False),
        (C, HIGH, True),  # the other shares it on purpose
        (C | T, LOW, True),
    ],
)
async def test_who_else_answers(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    flags: int,
    address: str,
    kept: bool,
    families: tuple[int, ...],
) -> None:
    async with with_other(flags, families, address=address) as (at, _):
        await trio.sleep(VERIFIED)
        assert await flags_heard(at) == ([0] if kept else [])
        # Neither its address: there is no name to tell.
        reverse = query("5.2.0.192.in-addr.arpa", "PTR")
        assert len(await at.exchange(reverse, GROUP4, within=1)) == kept
    # Not what a slow machine makes the framework warn of.
    warnings = [record.getMessage() for record in caplog.records if "another host's" in record.getMessage()]
    assert len(warnings) == (not kept)
    if not kept:
        assert "interface=eth0" in warnings[0]
        assert "name=lab" in warnings[0]


async def test_a_lost_name_is_tried_again_once_the_others_record_expired(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with with_other(0) as (at, other):
        await trio.sleep(VERIFIED)
        for _ in range(10):
            other.asked.clear()
            await trio.sleep(65)
            assert other.asked, "after its TTL of 60 s"
            assert await flags_heard(at) == []
        assert len([each for each in caplog.messages if "another host's" in each]) == 1
        other.has_left.set()
        await trio.sleep(65 + VERIFIED)
        assert await flags_heard(at) == [0]
        assert "the name is free again" in caplog.text


class TestDefence:
    """Section 4.2: a query with C set is a claim, which is looked into."""

    @pytest.mark.parametrize(("address", "kept"), [(HIGH, True), (LOW, False)])
    async def test_the_lower_address_keeps_the_name(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, address: str, kept: bool
    ) -> None:
        async with with_other(None, address=address) as (at, other):
            await trio.sleep(VERIFIED)
            other.asked.clear()
            async with trio.open_nursery() as nursery:
                # The links are bridged: the other answers from now on.
                nursery.start_soon(other.serve, 0)
                heard = await at.exchange(query(flags=C), GROUP4, within=2)
                assert [each for each in heard if str(each.source.address) in SERVER] == []
                own = other.asked
                assert {dns.message.from_wire(each.payload).question[0].to_text() for each in own} == {"lab. IN A"}
                assert {flags_of(each.payload) for each in own} == {0}
                assert await flags_heard(at) == ([0] if kept else [])
                nursery.cancel_scope.cancel()
        (told,) = [message for message in caplog.messages if "another host's" in message]
        assert ("keeps it" in told) is kept
        assert "interface=eth0" in told
        assert "name=lab" in told
        assert any(f"other={each}" in told for each in (address.removesuffix("/24"), "fe80::1", "fe80::9"))

    async def test_claims_without_end_cost_little(self, autojump_clock: MockClock) -> None:
        async with with_other() as (at, other):
            await trio.sleep(VERIFIED)
            other.asked.clear()
            for _ in range(1000):
                await at.client.send(query(flags=C), GROUP4, 5355)
                await trio.sleep(2 * DEFENCE / 1000)
            await trio.sleep(VERIFIED)
            assert len(other.asked) <= 3 * 2 * TRANSMISSIONS
            assert await flags_heard(at) == [0]


class TestNotConflicts:
    @pytest.mark.parametrize("what", ["ident", "name", "query", "nonsense", "own"])
    async def test_what_is_no_answer_to_the_question(self, autojump_clock: MockClock, what: str) -> None:
        async with with_other() as (at, other):
            await other.first.wait()
            heard = other.asked[0]
            good = response_to(heard.payload)
            port = heard.source.port
            bad = {
                "ident": bytes([good[0] ^ 1]) + good[1:],
                "name": good.replace(b"\3lab", b"\3bal"),
                "query": heard.payload,
                "nonsense": b"\xff" * 40,
                "own": good,
            }[what]
            source = "192.0.2.5" if what == "own" else "192.0.2.9"
            at.link.inject(bad, source=source, source_port=5355, to="192.0.2.5", port=port)
            await trio.sleep(VERIFIED)
            assert await flags_heard(at) == [0]


async def test_a_reload_keeps_what_was_verified_and_verifies_what_is_new(autojump_clock: MockClock) -> None:
    async with with_other() as (at, other):
        await trio.sleep(VERIFIED)
        other.asked.clear()
        await at.server.replace(Llmnr(("lab", "new")))
        assert await flags_heard(at) == [0]
        await trio.sleep(VERIFIED)
        asked = {dns.message.from_wire(each.payload).question[0].name.to_text() for each in other.asked}
        assert asked == {"new."}
        (heard,) = await at.exchange(query("new"), GROUP4, within=1)
        assert flags_of(heard.payload) & T == 0


class TestLinks:
    async def test_a_link_that_comes(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            await trio.sleep(VERIFIED)
            link = at.network.link("eth1")
            there = at.network.host("there")
            there.attach(link, "10.72.0.9/24")
            client = there.client()
            at.host.attach(link, "10.72.0.1/24")
            await trio.sleep(1)
            await client.send(query(), GROUP4, 5355)
            heard = await client.receive()
            assert flags_of(heard.payload) & T
            assert records(heard.payload) == ["A 10.72.0.1"]
            await trio.sleep(VERIFIED)
            await client.send(query(), GROUP4, 5355)
            assert not flags_of((await client.receive()).payload) & T

    async def test_another_address_is_verified_while_the_name_is_kept(self, autojump_clock: MockClock) -> None:
        async with with_other() as (at, other):
            await trio.sleep(VERIFIED)
            other.asked.clear()
            at.interface.remove("192.0.2.5")
            at.interface.add("192.0.2.6/24")
            await trio.sleep(1)
            (heard,) = await at.exchange(query(), GROUP4, within=1)
            assert (flags_of(heard.payload) & T, records(heard.payload)) == (0, ["A 192.0.2.6"])
            assert other.asked

    async def test_a_link_that_went_and_came_back_is_verified_anew(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            await trio.sleep(VERIFIED)
            at.interface.down()
            await trio.sleep(VERIFIED)
            at.interface.up()
            await trio.sleep(1)
            assert await flags_heard(at) == [T]
            await trio.sleep(VERIFIED)
            assert await flags_heard(at) == [0]

    async def test_nothing_is_kept_of_links_that_are_gone(self, autojump_clock: MockClock) -> None:
        network = FakeNetwork()
        host = network.host("host")
        handler = handler_of("lab")

        @attrs.frozen
        class Kept(Llmnr):
            def prepare(self, context: Context) -> Handler:
                return handler

        async with host.serve(Kept(("lab",))):
            for number in range(20):
                interface = host.attach(network.link(f"link{number}"), f"10.80.{number}.1/24")
                await trio.sleep(VERIFIED)
                assert handler.verifier.state(interface.index, b"\3lab\0") is State.UNIQUE
                interface.disappear()
            await trio.sleep(VERIFIED)
            verifier = handler.verifier
            assert (verifier._states, verifier._checks, verifier._by_ident) == ({}, {}, {})
