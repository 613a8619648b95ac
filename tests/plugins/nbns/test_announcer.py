"""Registration, defence and release by broadcast (RFC 1002 section 5.1.1), on the fake clock."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from responder_plugins.nbns import Nbns
from responder_plugins.nbns.announcer import RETRY
from responder_plugins.nbns.message import Name, decode
from trio.testing import MockClock

from responder.testing import Bench, FakeClient, FakeNetwork, Heard, bench

from .support import REGISTERED, query, refusal, registration, status

LAB = Nbns(("LAB",), "OFFICE")
NAMES = [
    (Name(b"LAB", 0x00), 0),
    (Name(b"LAB", 0x03), 0),
    (Name(b"LAB", 0x20), 0),
    (Name(b"OFFICE", 0x00), 0x8000),
    (Name(b"OFFICE", 0x1E), 0x8000),
]


@attrs.frozen
class Claim:
    """A registration or release that was heard."""

    time: float
    opcode: int
    demand: bool
    name: Name
    flags: int
    address: bytes
    to: str
    payload: bytes

    @classmethod
    def of(cls, heard: Heard) -> Claim:
        ident_flags = struct.unpack_from("!H", heard.payload, 2)[0]
        assert heard.payload[4:12] == bytes([0, 1, 0, 0, 0, 0, 0, 1])
        assert heard.payload[46:50] == b"\0\x20\0\1"
        assert heard.payload[50:62] == b"\xc0\x0c\0\x20\0\1\0\0\0\0\0\6"
        assert ident_flags & 0x0010, "by broadcast"
        assert heard.source.port == 137
        return cls(
            heard.time,
            ident_flags >> 11 & 15,
            not ident_flags & 0x0100,
            decode(heard.payload[12:46]),
            struct.unpack_from("!H", heard.payload, 62)[0],
            heard.payload[64:68],
            str(heard.destination),
            heard.payload,
        )


@attrs.frozen
class Other:
    """Another host on the link, which hears broadcasts and may object."""

    client: FakeClient
    claims: list[Claim] = attrs.field(factory=list, init=False)

    async def listen(self, objects: Callable[[Claim], bytes | None]) -> None:
        while True:
            heard = await self.client.receive()
            if heard.payload[2] >> 3 not in (5, 6):
                continue
            claim = Claim.of(heard)
            self.claims.append(claim)
            answer = objects(claim)
            if answer is not None:
                await self.client.send(answer, str(heard.source.address), 137)


@asynccontextmanager
async def with_other(objects: Callable[[Claim], bytes | None] = lambda _: None) -> AsyncIterator[tuple[Bench, Other]]:
    network = FakeNetwork()
    link = network.link("eth0")
    host, peer, asking = (network.host(name) for name in ("server", "other", "client"))
    interface = host.attach(link, "192.0.2.1/24", "192.0.2.2/24")
    peer.attach(link, "192.0.2.9/24")
    asking.attach(link, "192.0.2.77/24")
    other = Other(peer.client(None, 137))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.listen, objects)
        async with host.serve(LAB) as server:
            yield Bench(network, link, host, interface, server, asking.client()), other
        nursery.cancel_scope.cancel()


async def knows(at: Bench, name: str = "LAB", suffix: int = 0) -> bool:
    return bool(await at.exchange(query(name, suffix), "192.0.2.255"))


async def test_three_claims_a_quarter_of_a_second_apart_then_the_demand(autojump_clock: MockClock) -> None:
    async with with_other() as (at, other):
        assert not await knows(at), "not before it is registered"
        assert not await at.exchange(status())
        await trio.sleep(REGISTERED)
        assert await knows(at)
        claims = list(other.claims)
    for name, flags in NAMES:
        own = [claim for claim in claims if claim.name == name]
        assert [claim.opcode for claim in own] == [5] * 4
        assert [claim.demand for claim in own] == [False] * 3 + [True]
        assert [round(claim.time - own[0].time, 3) for claim in own] == [0, 0.25, 0.5, 0.75]
        assert {(claim.flags, claim.address, claim.to) for claim in own} == {
            (flags, bytes([192, 0, 2, 1]), "192.0.2.255")
        }
        assert len({claim.payload[:2] for claim in own}) == 1
    assert len(claims) == 4 * len(NAMES)


async def test_the_end_releases_every_name_that_was_had(autojump_clock: MockClock) -> None:
    async with with_other() as (_, other):
        await trio.sleep(REGISTERED)
        other.claims.clear()
        stopped = trio.current_time()
    released = [claim for claim in other.claims if claim.opcode == 6]
    assert Counter(claim.name for claim in released) == {name: 3 for name, _ in NAMES}
    assert trio.current_time() - stopped < 2, "within the grace period"


async def test_an_end_before_the_names_are_had_releases_nothing(autojump_clock: MockClock) -> None:
    async with with_other() as (_, other):
        await trio.sleep(0.3)
    assert {claim.opcode for claim in other.claims} == {5}


async def test_a_reload_keeps_the_names_that_stay(autojump_clock: MockClock) -> None:
    async with with_other() as (at, other):
        await trio.sleep(REGISTERED)
        other.claims.clear()
        await at.server.replace(Nbns(("LAB", "NEW"), "HOME"))
        assert await knows(at)
        await trio.sleep(REGISTERED)
        assert await knows(at, "NEW")
        assert await knows(at, "HOME", 0x1E)
        assert not await knows(at, "OFFICE", 0x1E)
        said = {(claim.opcode, claim.name.text) for claim in other.claims}
        assert said == {(6, b"OFFICE"), (5, b"NEW"), (5, b"HOME")}
        other.claims.clear()
    assert {(claim.opcode, claim.name.text) for claim in other.claims} == {(6, b"LAB"), (6, b"NEW"), (6, b"HOME")}


class TestConflicts:
    async def test_a_name_of_another_is_left_to_it_and_the_others_are_had(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        taken = Name(b"LAB", 0x20)
        async with with_other(lambda claim: refusal(claim.payload) if claim.name == taken else None) as (at, other):
            await trio.sleep(REGISTERED)
            assert not await knows(at, "LAB", 0x20)
            assert await knows(at, "LAB", 0x00)
            (heard,) = await at.exchange(status())
            assert heard.payload[56] == 4
            own = [claim for claim in other.claims if claim.name == taken]
            assert len(own) == 1, "no more is asked once it is known"
            assert len([each for each in caplog.messages if "another host's" in each]) == 1
            assert "LAB<20>" in caplog.text
            assert "interface=eth0" in caplog.text
        assert taken not in {claim.name for claim in other.claims if claim.opcode == 6}

    async def test_it_is_claimed_again_later(self, autojump_clock: MockClock) -> None:
        left = trio.Event()
        async with with_other(lambda claim: None if left.is_set() else refusal(claim.payload)) as (at, _):
            await trio.sleep(REGISTERED)
            assert not await knows(at)
            left.set()
            await trio.sleep(RETRY + REGISTERED)
            assert await knows(at)

    @pytest.mark.parametrize(
        "change",
        [
            lambda payload: bytes([payload[0] ^ 1]) + payload[1:],  # another's ID
            lambda payload: payload[:13] + b"FH" + payload[15:],  # another name
            lambda payload: payload[:3] + bytes([payload[3] & 0xF0]) + payload[4:],  # positive
        ],
    )
    async def test_what_is_no_objection(self, autojump_clock: MockClock, change: Callable[[bytes], bytes]) -> None:
        async with with_other(lambda claim: change(refusal(claim.payload))) as (at, _):
            await trio.sleep(REGISTERED)
            assert await knows(at)

    async def test_a_conflict_that_nobody_asked_about_is_not_believed(self, autojump_clock: MockClock) -> None:
        """A NAME CONFLICT DEMAND would silence any host (section 4.2.8; MS00-047)."""
        async with with_other() as (at, other):
            await trio.sleep(REGISTERED)
            for claim in list(other.claims):
                for rcode in (6, 7):
                    await at.client.send(refusal(claim.payload, rcode), "192.0.2.1", 137)
            await trio.sleep(REGISTERED)
            assert await knows(at)


class TestDefence:
    @pytest.mark.parametrize("opcode", [5, 15])
    @pytest.mark.parametrize(
        ("name", "suffix", "group", "defended"),
        [
            ("LAB", 0x00, False, True),
            ("LAB", 0x20, True, True),
            ("OFFICE", 0x1E, True, False),  # another member of the group
            ("OFFICE", 0x1E, False, True),
            ("OTHER", 0x00, False, False),
            ("LAB", 0x1B, False, False),
        ],
    )
    async def test_a_claim_of_another(
        self, autojump_clock: MockClock, name: str, suffix: int, group: bool, defended: bool, opcode: int
    ) -> None:
        async with bench(LAB) as at:
            await trio.sleep(REGISTERED)
            payload = registration(name, suffix, group=group, opcode=opcode)
            heard = await at.exchange(payload, "192.0.2.255")
        assert len(heard) == defended
        for each in heard:
            ident, flags, *counts = struct.unpack_from("!6H", each.payload)
            assert (ident, flags & 0xF800, flags & 0xF, counts) == (0x4343, 0xA800, 6, [0, 1, 0, 0])
            assert each.payload[12:46] == payload[12:46]
            assert each.payload[-4:] == bytes([192, 0, 2, 1])


class TestLinks:
    async def test_a_link_that_comes_is_registered_on_with_its_address(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            await trio.sleep(REGISTERED)
            link = at.network.link("eth1")
            there = at.network.host("there")
            there.attach(link, "10.72.0.9/24")
            other = Other(there.client(None, 137))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.listen, lambda _: None)
                interface = at.host.attach(link, "10.72.0.1/24")
                await trio.sleep(REGISTERED)
                assert {claim.address for claim in other.claims} == {bytes([10, 72, 0, 1])}
                other.claims.clear()
                interface.remove("10.72.0.1")
                interface.add("10.72.0.5/24")
                await trio.sleep(REGISTERED)
                assert {claim.address for claim in other.claims} == {bytes([10, 72, 0, 5])}
                nursery.cancel_scope.cancel()

    async def test_a_link_without_ipv4_is_told_once(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        async with bench(LAB) as at:
            interface = at.host.attach(at.network.link("eth1"), "fd72::1/64")
            await trio.sleep(REGISTERED)
            interface.add("fd72::2/64")
            await trio.sleep(REGISTERED)
        told = [each for each in caplog.messages if "no IPv4" in each]
        assert len(told) == 1
        assert "interface=eth1" in told[0]

    async def test_nothing_is_said_where_a_link_went(self, autojump_clock: MockClock) -> None:
        async with with_other() as (at, other):
            await trio.sleep(REGISTERED)
            other.claims.clear()
            at.interface.down()
            await trio.sleep(REGISTERED)
        assert other.claims == []
