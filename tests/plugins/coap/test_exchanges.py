"""Messages: duplicates, pings, rejections, separate responses, and requests to groups (RFC 7252 sections 4, 5.2, 8)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from unittest import mock

import attrs
import pytest
import trio
from responder_plugins.coap import Coap, Content, Resource
from responder_plugins.coap.exchanges import Duplicates
from responder_plugins.coap.handler import PATIENCE
from trio.testing import MockClock

from responder.testing import answered_from, answers_within, delays_uniformly, keeps_no_state, never_answers, options

from .support import (
    ACK,
    CON,
    CONTENT,
    NON,
    OBSERVE,
    RST,
    UNAVAILABLE,
    Serving,
    empty,
    get,
    message,
    read,
    serving,
)

ABOUT = {"/about": {"text": "a lab", "rt": "example"}}
GROUPS = ("224.0.1.187", "ff02::fd", "ff05::fd")


@attrs.frozen(eq=False)
class Slow(Resource):
    """Takes so many seconds."""

    seconds: float
    asked: list[float] = attrs.field(factory=list)

    async def get(self, queries: Sequence[str]) -> Content:
        self.asked.append(trio.current_time())
        await trio.sleep(self.seconds)
        return Content(b"done")


def prove(coap: Serving) -> None:
    """The client's address is one that has repeated an Echo option."""
    proofs, address = coap.handler.proofs, ip_address("192.0.2.9")
    assert proofs.hold(address, proofs.challenge(address, trio.current_time()), trio.current_time())


class TestDuplicates:
    async def test_a_confirmable_one_gets_the_same_answer(self, tmp_path: Path) -> None:
        (tmp_path / "hello.txt").write_text("one")
        async with serving({"/hello": "hello.txt"}, folder=tmp_path) as coap:
            first = await coap.ask(get("/hello"))
            (tmp_path / "hello.txt").write_text("two")
            assert await coap.ask(get("/hello")) == first
            assert coap.counts == {"content": 1, "duplicate": 1}

    async def test_a_non_confirmable_one_gets_silence(self) -> None:
        async with serving(ABOUT) as coap:
            await coap.ask(get("/about", kind=NON))
            assert await coap.send(get("/about", kind=NON)) == []

    async def test_by_peer_by_address_asked_and_by_its_bytes(self) -> None:
        async with serving(ABOUT) as coap:
            await coap.ask(get("/about", kind=NON))
            assert (await coap.ask(get("/about", kind=NON), "192.0.2.2")).code == CONTENT
            other = coap.at.client.host.client()
            assert await other.ask(get("/about", kind=NON), "192.0.2.1", 5683)
            # A peer that was started anew begins with the same message IDs.
            assert (await coap.ask(get("/about", kind=NON, token=b"new"))).token == b"new"
            assert "duplicate" not in coap.counts

    @pytest.mark.parametrize(("kind", "lifetime"), [(CON, 247), (NON, 145)])
    async def test_until_its_message_id_may_be_used_again(
        self, autojump_clock: MockClock, kind: int, lifetime: float
    ) -> None:
        async with serving(ABOUT) as coap:
            await coap.ask(get("/about", kind=kind))
            autojump_clock.jump(lifetime - 1)
            await coap.send(get("/about", kind=kind))
            assert coap.counts["duplicate"] == 1
            autojump_clock.jump(2)
            await coap.ask(get("/about", kind=kind))
            assert coap.counts == {"content": 2, "duplicate": 1}

    async def test_they_are_bounded(self) -> None:
        async with serving(ABOUT) as coap:
            for number in range(5_000):
                coap.at.spoof(get("/about", number), "192.0.2.9", source_port=1024 + number)
                if number % 250 == 0:
                    await coap.heard()
            await coap.heard()
            assert len(coap.handler.duplicates) == 4096

    async def test_forged_sources_leave_no_more(self) -> None:
        async with serving(ABOUT) as coap:
            await keeps_no_state(coap.at, get("/about"), get("/about", kind=NON), get("/missing", 3), empty(CON, 1))

    async def test_those_that_are_too_old_are_forgotten(self, autojump_clock: MockClock) -> None:
        async with serving(ABOUT) as coap:
            for number in range(100):
                await coap.ask(get("/about", number))
            autojump_clock.jump(248)
            await coap.ask(get("/about", 100))
            assert len(coap.handler.duplicates) == 1


class TestRejections:
    async def test_a_ping(self) -> None:
        async with serving(ABOUT) as coap:
            assert await coap.ask(empty(CON, 0x1234)) == read(empty(RST, 0x1234))
            assert coap.counts == {"ping": 1}

    @pytest.mark.parametrize(
        "payload",
        [
            b"\x49\x01\x12\x34" + bytes(9),
            b"\x4f\x01\x12\x34" + bytes(15),
            b"\x40\x01\x12\x34\xb5about\xff",
            b"\x40\x00\x12\x34\xff",
            b"\x40\x01\x12\x34\xf0",
            message(CON, 0x45, 0x1234, b"t", [], b"a response that nobody asked for"),
            message(CON, 1 << 5, 0x1234),
            message(CON, 7 << 5 | 1, 0x1234),
        ],
    )
    async def test_what_is_wrong_is_reset_or_met_with_silence(self, payload: bytes) -> None:
        async with serving(ABOUT) as coap:
            assert await coap.ask(payload) == read(empty(RST, 0x1234))
            for kind in (NON, ACK, RST):
                await never_answers(coap.at, bytes([payload[0] & 0xCF | kind << 4]) + payload[1:], within=0)
            for group in GROUPS:
                await never_answers(coap.at, payload, to=group, within=0)

    @pytest.mark.parametrize(
        "payload", [b"", b"\x40", b"\x40\x01\0", b"\x00\x01\0\0", b"\x80\x01\0\0", b"\xc0\x01\0\0", empty(NON, 1)]
    )
    async def test_silence(self, payload: bytes) -> None:
        async with serving(ABOUT) as coap:
            assert await coap.send(payload) == []
            assert coap.at.outcomes() == {"malformed": 1}

    async def test_an_acknowledgment_of_nothing(self) -> None:
        async with serving(ABOUT) as coap:
            for kind in (ACK, RST):
                assert await coap.send(empty(kind, 1)) == []
            assert await coap.send(message(ACK, CONTENT, 1, b"t", [], b"x")) == []
            assert coap.counts == {"stray": 3}


class TestSeparateResponses:
    async def test_what_is_soon_there_is_piggybacked(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(0.4)}) as coap:
            heard = await coap.at.ask(get("/slow"))
            assert (trio.current_time(), read(heard.payload).kind) == (0.4, ACK)

    async def test_what_takes_longer_comes_later(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(3)}) as coap:
            heard = await coap.at.ask(get("/slow", 77), "192.0.2.2")
            assert (trio.current_time(), read(heard.payload)) == (0.5, read(empty(ACK, 77)))
            # The peer asks again, its acknowledgment being lost: the resource is not asked twice.
            assert await coap.ask(get("/slow", 77), "192.0.2.2") == read(empty(ACK, 77))
            (heard,) = await coap.at.collect(within=4)
            answered_from(heard, "192.0.2.2")
            answer = read(heard.payload)
            assert (answer.kind, answer.code, answer.token, answer.payload) == (CON, CONTENT, b"tok", b"done")
            assert await coap.send(empty(ACK, answer.message_id), "192.0.2.2") == []
            assert await coap.heard(200) == [], "it is acknowledged, so it is not sent again"
            assert coap.counts == {"content": 1, "separate": 1, "duplicate": 1, "acknowledged": 1}

    async def test_it_is_sent_again_until_it_is_acknowledged(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(3)}) as coap:
            coap.handler.outgoing.uniform = lambda low, high: low
            prove(coap)
            await coap.at.ask(get("/slow"))
            heard = await coap.at.collect(within=100)
            assert [each.time for each in heard] == [3, 5, 9, 17, 33], "section 4.2: 2 s, doubled, 4 times"
            assert len({each.payload for each in heard}) == 1
            assert coap.counts["separate-timed-out"] == 1
            assert not coap.handler.outgoing._awaited
            assert not len(coap.handler.separate)

    async def test_twice_to_who_is_not_proved(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(3)}) as coap:
            coap.handler.outgoing.uniform = lambda low, high: low
            await coap.at.ask(get("/slow"))
            assert [each.time for each in await coap.at.collect(within=100)] == [3, 5]
            assert coap.counts["separate-timed-out"] == 1

    async def test_a_reset_ends_it(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(3)}) as coap:
            await coap.at.ask(get("/slow"))
            (answer,) = await coap.heard(4)
            await coap.send(empty(RST, answer.message_id))
            assert await coap.heard(100) == []
            assert coap.counts["separate-reset"] == 1

    async def test_who_is_not_the_peer_acknowledges_nothing(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(3)}) as coap:
            await coap.at.ask(get("/slow"))
            (answer,) = await coap.heard(4)
            await coap.at.client.host.client().send(empty(ACK, answer.message_id), "192.0.2.1", 5683)
            await coap.send(empty(ACK, answer.message_id), "192.0.2.2")
            assert len(await coap.heard(100)) == 1
            assert coap.counts["stray"] == 2

    async def test_a_non_confirmable_request_needs_no_acknowledgment(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(3)}) as coap:
            await answers_within(coap.at, 3, 3, get("/slow", kind=NON))
            assert coap.counts == {"content": 1}

    async def test_patience_has_an_end(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(1_000)}) as coap:
            await coap.at.ask(get("/slow"))
            (answer,) = await coap.heard(PATIENCE)
            assert (answer.kind, answer.code) == (CON, UNAVAILABLE)

    async def test_forged_ones_hold_nobody_up(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        """What waits for an acknowledgment takes no place of an answer."""
        (tmp_path / "hello.txt").write_text("one")
        async with serving({"/hello": "hello.txt"}, more={"/slow": Slow(1)}, folder=tmp_path) as coap:
            for number in range(256):
                coap.at.spoof(get("/slow", number), f"198.51.100.{number}", source_port=1024)
            await coap.heard(1.5)
            assert coap.counts["separate"] == 256
            assert coap.counts["separate-gave-way"] == 256 - 64
            assert len(coap.handler.separate) == 64
            assert (await coap.ask(get("/hello"))).payload == b"one"
            (heard,) = await coap.at.exchange(get("/.well-known/core", kind=NON), GROUPS[0], within=6)
            assert read(heard.payload).code == CONTENT

    async def test_who_is_proved_does_not_give_way_to_who_is_not(self, autojump_clock: MockClock) -> None:
        async with serving({}, more={"/slow": Slow(1)}) as coap:
            prove(coap)
            await coap.at.ask(get("/slow"))
            for number in range(100):
                coap.at.spoof(get("/slow", number), f"198.51.100.{number}", source_port=1024)
            assert len(await coap.heard(100)) == 5
            assert coap.counts["separate-gave-way"] == 100 - 63

    async def test_one_address_has_few(self, autojump_clock: MockClock) -> None:
        """The oldest of them is sent once all the same."""
        async with serving({}, more={"/slow": Slow(1)}) as coap:
            for number in range(10):
                await coap.at.client.send(get("/slow", number), "192.0.2.1", 5683)
            assert len([each for each in await coap.heard(1.5) if each.kind == CON]) == 10
            assert coap.counts["separate-gave-way"] == 2
            assert len(await coap.heard(100)) == 8

    async def test_where_no_more_may_wait_nothing_is_left_behind(self, autojump_clock: MockClock) -> None:
        slow = Slow(3)
        async with serving({}, more={"/slow": slow}, keys={"max_pending": 1}) as coap:
            for number in range(3):
                assert await coap.send(get("/slow", number)) == []
            assert len(slow.asked) == 1
            assert coap.at.outcomes()["busy"] == 2
            await coap.heard(100)
            assert read((await coap.at.ask(get("/slow", 1))).payload).kind == ACK, "it may ask again"


class TestGroups:
    @pytest.mark.parametrize(
        ("group", "source"), [("224.0.1.187", "192.0.2.1"), ("ff02::fd", "fe80::1"), ("ff05::fd", "2001:db8::1")]
    )
    async def test_an_answer_comes_within_the_leisure(self, autojump_clock: MockClock, group: str, source: str) -> None:
        async with serving(ABOUT) as coap:
            (heard,) = await coap.at.exchange(get("/.well-known/core", kind=NON), group, within=6)
            answer = read(heard.payload)
            assert (answer.kind, answer.code, answer.token) == (NON, CONTENT, b"tok")
            assert str(heard.source.address) in (source, "fe80::1")
            assert 0 < trio.current_time() <= 6
            assert coap.counts == {"group": 1}

    async def test_at_a_random_moment_of_it(self, autojump_clock: MockClock) -> None:
        async with serving(ABOUT, leisure="2s") as coap:
            with mock.patch.object(Duplicates, "find", return_value=None):  # it is the same request each time
                await delays_uniformly(coap.at, 0, 2, get("/about", kind=NON), to=GROUPS[0])

    @pytest.mark.parametrize(
        "payload",
        [
            get("/about", kind=CON),
            get("/.well-known/core?rt=other", kind=NON),
            get("/missing", kind=NON),
            get("/about", 1, (17, b"\x32"), kind=NON),
            get("/about", 1, (9, b""), kind=NON),
            get("/about", 1, (35, b"coap://x"), kind=NON),
            get("/about", kind=NON, code=3),
            empty(CON, 1),
            b"\x40",
        ],
    )
    async def test_no_error_and_nothing_useless(self, autojump_clock: MockClock, payload: bytes) -> None:
        async with serving(ABOUT) as coap:
            for group in (*GROUPS, "255.255.255.255"):
                await never_answers(coap.at, payload, to=group, within=6)

    async def test_nobody_observes_by_a_group(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        (tmp_path / "hello.txt").write_text("one")
        async with serving({"/hello": "hello.txt"}, folder=tmp_path) as coap:
            (heard,) = await coap.at.exchange(get("/hello", 1, (OBSERVE, b""), kind=NON), GROUPS[0], within=6)
            assert read(heard.payload).option(OBSERVE) is None
            assert len(coap.handler.observers) == 0

    async def test_a_storm_is_held_to_the_places_that_there_are(self, autojump_clock: MockClock) -> None:
        async with serving(ABOUT) as coap:
            for number in range(2_000):
                coap.at.spoof(get("/about", number, kind=NON), f"192.0.2.{10 + number % 200}", to=GROUPS[0])
                if number % 250 == 0:
                    await coap.heard()
            await coap.heard()
            assert coap.handler.admission.places.held <= 240
            assert coap.counts["no-room"] > 1_000
            await coap.heard(6)
            assert coap.handler.admission.places.held == 0


async def test_a_reload_knows_what_came_before(autojump_clock: MockClock) -> None:
    async with serving(ABOUT) as coap:
        answer = await coap.ask(get("/about"))
        await coap.at.server.replace(options(Coap, resources={"/about": {"text": "another"}}))
        assert await coap.ask(get("/about")) == answer
        assert (await coap.ask(get("/about", 2))).payload == b"another"
