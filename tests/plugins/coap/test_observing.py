"""Observers of files that change (RFC 7641)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
from responder_plugins.coap import Coap, Content, Resource
from trio.testing import MockClock

from responder.testing import answered_from, options

from .support import (
    ACCEPT,
    ACK,
    BLOCK2,
    CON,
    CONTENT,
    ECHO,
    ETAG,
    NON,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    OBSERVE,
    RST,
    VALID,
    Read,
    Serving,
    block2,
    empty,
    get,
    read,
    serving,
)

SOON = 2.1
"""Seconds within which a change is told."""

REGISTER, DEREGISTER = (OBSERVE, b""), (OBSERVE, b"\x01")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "hello.txt"
    file.write_text("0")
    return file


@pytest.fixture
async def coap(file: Path) -> AsyncIterator[Serving]:
    resources = {"/hello": file.name, "/other": file.name, "/fixed": {"file": file.name, "obs": False}}
    async with serving({**resources, "/text": {"text": "x"}}, folder=file.parent, max_per_peer=3) as served:
        served.handler.outgoing.uniform = lambda low, high: high
        await trio.sleep(0.05)  # else what a test does and what coap does every two seconds would be at the same moment
        yield served


async def observe(coap: Serving, path: str = "/hello", token: bytes = b"tok", *more: tuple[int, bytes]) -> Read:
    return await coap.ask(get(path, 1, REGISTER, *more, token=token))


async def acknowledge(coap: Serving, *notifications: Read) -> None:
    for each in notifications:
        assert await coap.send(empty(ACK, each.message_id)) == []


async def test_a_change_is_told(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    first = await observe(coap)
    assert (first.kind, first.code, first.payload) == (ACK, CONTENT, b"0")
    assert first.option(OBSERVE) is not None
    assert await coap.heard(60) == [], "nothing changes"
    file.write_text("1")
    (told,) = await coap.heard(SOON)
    assert (told.kind, told.code, told.token, told.payload) == (CON, CONTENT, b"tok", b"1")
    assert (told.number(OBSERVE) or 0) > (first.number(OBSERVE) or 0)
    assert told.option(ETAG) != first.option(ETAG)
    await acknowledge(coap, told)
    assert await coap.heard(60) == []
    assert coap.counts == {"content": 1, "observed": 1, "notified": 1, "acknowledged": 1}


async def test_from_the_address_that_was_asked(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    for address in ("192.0.2.2", "2001:db8::1", "fe80::1"):
        await coap.at.ask(get("/hello", 1, REGISTER, token=address.encode()[-4:]), address)
    file.write_text("1")
    heard = await coap.at.collect(SOON)
    assert {read(each.payload).token for each in heard} == {b".2.2", b"8::1", b"0::1"}
    for each in heard:
        ends = {"192.0.2.2": b".2.2", "2001:db8::1": b"8::1", "fe80::1": b"0::1"}
        assert ends[str(each.source.address)] == read(each.payload).token
        assert each.source.port == 5683


async def test_most_notifications_are_not_confirmable(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    """Once the peer has acknowledged one; each fifth is confirmable again (section 4.5)."""
    await observe(coap)
    kinds, numbers = [], []
    for number in range(1, 12):
        file.write_text(str(number))
        (told,) = await coap.heard(4)
        assert told.payload == str(number).encode()
        kinds.append(told.kind)
        numbers.append(told.number(OBSERVE))
        if told.kind == CON:
            await acknowledge(coap, told)
    assert kinds == [CON, NON, NON, NON, NON, CON, NON, NON, NON, NON, CON]
    assert numbers == sorted(set(numbers)), "by which the peer sees which is the newest (section 3.4)"


async def test_what_changes_fast_is_confirmed_more_often(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    """Those of which nothing shows that they are heard are 3 s apart (section 4.5.1)."""
    await observe(coap)
    kinds = []
    for number in range(1, 7):
        file.write_text(str(number))
        (told,) = await coap.heard(2)
        kinds.append(told.kind)
        if told.kind == CON:
            await acknowledge(coap, told)
    assert kinds == [CON, NON] * 3


async def test_who_acknowledges_nothing_is_forgotten(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    await observe(coap)
    file.write_text("1")
    heard = await coap.at.collect(100)
    assert [each.time for each in heard] == [2, 2 + 3, 5 + 6, 11 + 12, 23 + 24], "section 4.2 of RFC 7252"
    assert len({each.payload for each in heard}) == 1
    assert len(coap.handler.observers) == 0
    file.write_text("2")
    assert await coap.heard(10) == []
    assert coap.counts["observer-timed-out"] == 1


@pytest.mark.parametrize("confirmable", [True, False])
async def test_a_reset_ends_it(autojump_clock: MockClock, coap: Serving, file: Path, confirmable: bool) -> None:
    await observe(coap)
    file.write_text("1")
    (told,) = await coap.heard(4)
    if not confirmable:
        await acknowledge(coap, told)
        file.write_text("2")
        (told,) = await coap.heard(4)
    assert told.kind == (CON if confirmable else NON)
    await coap.send(empty(RST, told.message_id))
    file.write_text("3")
    assert await coap.heard(100) == []
    assert len(coap.handler.observers) == 0
    assert coap.counts["reset"] == 1


async def test_a_request_ends_it(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    await observe(coap)
    other = await coap.ask(get("/hello", 2, DEREGISTER, token=b"other"))
    assert len(coap.handler.observers) == 1, "by its token (section 3.6)"
    ended = await coap.ask(get("/hello", 3, DEREGISTER))
    assert (other.code, ended.code, ended.option(OBSERVE)) == (CONTENT, CONTENT, None)
    file.write_text("1")
    assert await coap.heard(100) == []


async def test_who_asks_no_more_is_not_told_again(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    await observe(coap)
    file.write_text("1")
    assert len(await coap.heard(SOON)) == 1
    await coap.ask(get("/hello", 3, DEREGISTER))
    assert await coap.heard(100) == []


async def test_to_ask_again_begins_anew(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    for number in range(5):
        assert (await coap.ask(get("/hello", number, REGISTER))).option(OBSERVE) is not None
    assert len(coap.handler.observers) == 1
    file.write_text("1")
    assert len(await coap.heard(SOON)) == 1


@pytest.mark.parametrize(
    "request_", [get("/fixed", 1, REGISTER), get("/text", 1, REGISTER), get("/hello", 1, REGISTER, block2(1, 16))]
)
async def test_what_cannot_be_observed_is_only_answered(
    autojump_clock: MockClock, coap: Serving, request_: bytes
) -> None:
    assert (await coap.ask(request_)).option(OBSERVE) is None
    assert len(coap.handler.observers) == 0


async def test_only_the_newest_state_is_sent_again(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    """RFC 7641 section 4.5.2: as another message, and not more often."""
    await observe(coap)
    file.write_text("1")
    (first,) = await coap.heard(3)
    file.write_text("2")
    heard = await coap.heard(60)
    assert [each.payload for each in heard] == [b"2"] * 4
    assert first.message_id not in {each.message_id for each in heard}
    assert len({each.message_id for each in heard}) == 1


async def test_who_acknowledges_the_older_state_is_told_the_newer(
    autojump_clock: MockClock, coap: Serving, file: Path
) -> None:
    await observe(coap)
    file.write_text("1")
    (first,) = await coap.heard(3)
    file.write_text("2")
    await coap.heard(1.5)
    (again,) = [read(each.payload) for each in await coap.send(empty(ACK, first.message_id))]
    assert again.payload == b"2"
    await acknowledge(coap, again)
    assert await coap.heard(60) == []


async def test_one_confirmable_message_at_a_time(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    """NSTART (RFC 7252 section 4.7)."""
    for path in ("/hello", "/other"):
        await observe(coap, path, path.encode())
    file.write_text("1")
    (first,) = await coap.heard(3)
    (second,) = [read(each.payload) for each in await coap.send(empty(ACK, first.message_id))]
    assert {first.token, second.token} == {b"/hello", b"/other"}


async def test_a_file_that_goes_away_is_the_last_that_is_told(
    autojump_clock: MockClock, coap: Serving, file: Path
) -> None:
    await observe(coap)
    file.unlink()
    (told,) = await coap.heard(SOON)
    assert (told.kind, told.code, told.token, told.option(OBSERVE)) == (CON, NOT_FOUND, b"tok", None)
    await acknowledge(coap, told)
    file.write_text("1")
    assert await coap.heard(60) == []
    assert len(coap.handler.observers) == 0


async def test_a_large_file_is_told_by_its_first_block(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    first = await observe(coap, "/hello", b"tok", block2(0, 32))
    assert first.block == (0, False, 32)
    file.write_text("x" * 100)
    (told,) = await coap.heard(SOON)
    assert (told.block, told.payload) == ((0, True, 32), b"x" * 32)
    await acknowledge(coap, told)
    rest = [await coap.ask(get("/hello", 10 + number, block2(number, 32))) for number in range(1, 4)]
    assert [len(each.payload) for each in rest] == [32, 32, 4]
    assert {each.option(ETAG) for each in rest} == {told.option(ETAG)}


async def test_conditions_are_of_the_request_alone(autojump_clock: MockClock, coap: Serving, file: Path) -> None:
    etag = (await coap.ask(get("/hello", 9))).option(ETAG)
    assert etag
    first = await observe(coap, "/hello", b"tok", (ETAG, etag), (ACCEPT, b""))
    assert first.code == VALID
    assert first.option(OBSERVE) is not None
    file.write_text("1")
    (told,) = await coap.heard(SOON)
    assert (told.code, told.payload) == (CONTENT, b"1")
    refused = await coap.ask(get("/hello", 10, REGISTER, (ACCEPT, b"\x32"), token=b"b"))
    assert (refused.code, refused.option(OBSERVE)) == (NOT_ACCEPTABLE, None)
    assert len(coap.handler.observers) == 1


async def test_a_long_silence_is_ended_by_a_question(autojump_clock: MockClock, coap: Serving) -> None:
    """A peer that went away is forgotten though nothing changes."""
    await observe(coap)
    assert await coap.heard(3_599) == []
    (asked,) = await coap.heard(4)
    assert (asked.kind, asked.code, asked.payload) == (CON, CONTENT, b"0")
    await acknowledge(coap, asked)
    assert await coap.heard(3_598) == []
    assert len(await coap.heard(100)) == 5
    assert len(coap.handler.observers) == 0


class Counter(Resource):
    """Another number each time."""

    observable = True
    number = 0

    async def get(self, queries: Sequence[str]) -> Content:
        await trio.lowlevel.checkpoint()
        self.number += 1
        return Content(f"{self.number} {' '.join(queries)}".encode())


async def test_a_resource_of_others(autojump_clock: MockClock) -> None:
    counter = Counter()
    async with serving({}, more={"/count": counter}) as coap:
        await coap.ask(get("/count?a", 1, REGISTER, token=b"a"))
        await coap.ask(get("/count?b", 2, REGISTER, token=b"b"))
        assert (await coap.ask(get("/.well-known/core?obs", 3))).payload == b"</count>;obs"
        heard = await coap.heard(SOON)
        heard += [read(each.payload) for each in await coap.send(empty(ACK, heard[0].message_id))]
        assert {(each.token, each.payload[2:]) for each in heard} == {(b"a", b"a"), (b"b", b"b")}
        before = counter.number
        for token in (b"a", b"b"):
            await coap.ask(get(f"/count?{token.decode()}", 4, DEREGISTER, token=token))
        await coap.heard(100)
        assert counter.number == before + 2, "nobody observes it, so nobody looks at it"


class Hanging(Resource):
    """The first time at once, later after long."""

    observable = True
    asked = 0

    async def get(self, queries: Sequence[str]) -> Content:
        self.asked += 1
        await trio.sleep(0 if self.asked == 1 else 15)
        return Content(str(self.asked).encode())


async def test_a_resource_that_takes_its_time_holds_no_other_up(autojump_clock: MockClock, file: Path) -> None:
    hanging = Hanging()
    async with serving({"/hello": file.name}, folder=file.parent, more={"/hanging": hanging}) as coap:
        await trio.sleep(0.05)
        await coap.ask(get("/hanging", 1, REGISTER, token=b"slow"))
        await observe(coap)
        for number in range(3):
            file.write_text(f"new {number}")
            (told,) = await coap.heard(SOON)
            assert (told.token, told.payload) == (b"tok", f"new {number}".encode())
            if told.kind == CON:
                await acknowledge(coap, told)
        assert hanging.asked == 2
        (told_later,) = await coap.heard(12)
        assert (told_later.token, told_later.payload) == (b"slow", b"2")


class TestBounds:
    async def test_of_one_address(self, autojump_clock: MockClock, coap: Serving) -> None:
        for number in range(5):
            answer = await coap.ask(get("/hello", number, REGISTER, token=bytes([number])))
            assert (answer.option(OBSERVE) is not None) == (number < 3)
        assert coap.counts["observers-full"] == 2

    async def test_who_has_said_nothing_gives_way(self, autojump_clock: MockClock, file: Path) -> None:
        async with serving({"/hello": file.name}, folder=file.parent, max_observers=5) as coap:
            await observe(coap)
            file.write_text("1")
            (told,) = await coap.heard(SOON)
            await acknowledge(coap, told)
            for number in range(3_000):
                coap.at.spoof(get("/hello", number & 0xFFFF, REGISTER), str(IPv4Address("100.64.0.1") + number))
                if number % 250 == 0:
                    await coap.heard()
            await coap.heard()
            observers = coap.handler.observers
            assert len(observers) == len(list(observers)) == 5
            assert len(observers._silent) == 4
            assert len(observers._of_peer) == len(observers._by_way) == 5
            file.write_text("2")
            assert [each.payload for each in await coap.heard(SOON)] == [b"2"], "who was heard goes on"
            await coap.heard(100)
            assert len(observers) == 1, "the others never acknowledge anything"

    async def test_where_all_were_heard_no_new_one_begins(self, autojump_clock: MockClock, file: Path) -> None:
        file.write_text("x" * 200)
        async with serving({"/hello": file.name}, folder=file.parent, max_observers=2) as coap:
            first = await observe(coap)
            echo = first.option(ECHO)
            assert first.option(BLOCK2)
            assert echo
            for number in range(2):
                await coap.ask(get("/hello", 2 + number, REGISTER, (ECHO, echo), token=bytes([number])))
            assert len(coap.handler.observers._silent) == 0, "an Echo proves it at once"
            answer = await coap.ask(get("/hello", 9, REGISTER, token=b"third"))
            assert answer.option(OBSERVE) is None

    async def test_a_link_that_refuses_costs_nothing_else(
        self, autojump_clock: MockClock, coap: Serving, file: Path
    ) -> None:
        await observe(coap)
        coap.at.interface.block()
        file.write_text("1")
        await coap.heard(5)
        coap.at.interface.unblock()
        (told,) = await coap.heard(7)
        assert told.payload == b"1"
        answered_from(await coap.at.ask(get("/hello", 2)), "192.0.2.1")


async def test_a_reload_keeps_observers(autojump_clock: MockClock, file: Path) -> None:
    async with serving({"/hello": file.name}, folder=file.parent) as coap:
        await observe(coap)
        await coap.at.server.replace(options(Coap, folder=file.parent, resources={"/other": file.name}))
        (told,) = await coap.heard(3)
        assert (told.code, told.token) == (NOT_FOUND, b"tok"), "there is no such resource any more"
