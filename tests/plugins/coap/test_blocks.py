"""Representations in blocks (RFC 7959), and who gets how large ones (RFC 9175)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio
from responder_plugins.coap.resources import MAX_FILE, Content, Resource
from trio.testing import MockClock

from responder.testing import amplifies_at_most

from .support import BAD_REQUEST, BLOCK2, CONTENT, ECHO, ETAG, FAILED, OBSERVE, SIZE2, Serving, block2, get, serving

DATA = b"".join(number.to_bytes(2) for number in range(2_500))


@pytest.fixture
async def coap(tmp_path: Path) -> AsyncIterator[Serving]:
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "even").write_bytes(DATA[:2048])
    async with serving({"/data": "data", "/even": "even", "/text": {"text": "x" * 128}}, folder=tmp_path) as serving_:
        yield serving_


async def prove(coap: Serving) -> None:
    """Repeat what an Echo option says."""
    echo = (await coap.ask(get("/data", 60_001))).option(ECHO)
    assert echo
    answer = await coap.ask(get("/data", 60_002, (ECHO, echo)))
    assert answer.option(ECHO) is None
    assert len(answer.payload) == 1024


@pytest.mark.parametrize("size", [None, 16, 64, 128, 1024])
async def test_whole_in_blocks(coap: Serving, size: int | None) -> None:
    assert await coap.fetch("/data", size) == DATA
    assert await coap.fetch("/even", size) == DATA[:2048], "the last block is a whole one"
    await prove(coap)
    assert await coap.fetch("/data", size) == DATA


async def test_early_negotiation(coap: Serving) -> None:
    """Section 2.4: the size that the first request asks for is what it gets, where it may."""
    await prove(coap)
    for number, size in enumerate((16, 256, 1024)):
        answer = await coap.ask(get("/data", number, block2(0, size)))
        assert (answer.block, answer.payload) == ((0, True, size), DATA[:size])


async def test_what_fits_is_no_block_unless_one_is_asked_for(coap: Serving) -> None:
    assert (await coap.ask(get("/text", 1))).option(BLOCK2) is None
    assert (await coap.ask(get("/text", 2, block2(0, 128)))).block == (0, False, 128)


async def test_all_blocks_have_the_entity_tag(coap: Serving) -> None:
    answers = [await coap.ask(get("/data", number, block2(number, 64))) for number in range(3)]
    assert len({answer.option(ETAG) for answer in answers}) == 1
    assert [answer.payload for answer in answers] == [DATA[at : at + 64] for at in (0, 64, 128)]


async def test_a_larger_block_than_may_be_is_told_as_the_smaller_one_at_its_place(coap: Serving) -> None:
    answer = await coap.ask(get("/data", 1, block2(2, 1024)))
    assert (answer.block, answer.payload) == ((16, True, 128), DATA[2048 : 2048 + 128])


@pytest.mark.parametrize(("number", "size"), [(79, 64), (1 << 19, 16), ((1 << 20) - 1, 1024)])
async def test_a_block_behind_the_end(coap: Serving, number: int, size: int) -> None:
    assert (await coap.ask(get("/data", 1, block2(number, size)))).code == BAD_REQUEST


async def test_the_size_where_it_is_asked_for(coap: Serving) -> None:
    assert (await coap.ask(get("/data", 1, (SIZE2, b"")))).number(SIZE2) == 5_000
    assert (await coap.ask(get("/data", 2, block2(3, 64), (SIZE2, b"\0")))).number(SIZE2) == 5_000
    assert (await coap.ask(get("/data", 3))).option(SIZE2) is None


async def test_a_file_that_changes_between_two_blocks(coap: Serving, tmp_path: Path) -> None:
    first = await coap.ask(get("/data", 1, block2(0, 64)))
    (tmp_path / "data").write_bytes(DATA[::-1])
    second = await coap.ask(get("/data", 2, block2(1, 64)))
    assert first.option(ETAG) != second.option(ETAG), "by which a client sees that they don't belong together"


async def test_a_large_file(tmp_path: Path) -> None:
    """It is read again only once it has changed."""
    file = tmp_path / "large"
    file.write_bytes(DATA * 100)
    async with serving({"/large": "large"}, folder=tmp_path, unproved_block_size=1024) as coap:
        assert await coap.fetch("/large", 1024) == DATA * 100
        file.write_bytes(DATA[::-1] * 100)
        assert await coap.fetch("/large") == DATA[::-1] * 100
        os.truncate(file, MAX_FILE + 1)
        assert (await coap.ask(get("/large"))).code == FAILED


class TestProofs:
    async def test_an_echo_of_somebody_else_proves_nothing(self, coap: Serving) -> None:
        echo = (await coap.ask(get("/data", 1))).option(ECHO)
        assert echo
        other = coap.at.client.host.client()
        (await other.ask(get("/data", 1, (ECHO, echo)), "192.0.2.1", 5683))
        assert len(coap.handler.proofs) == 1, "an address is proved, whatever the port"
        for number, wrong in enumerate((b"x", echo[:-1], echo + b"x", bytes(10), echo[:-1] + bytes([echo[-1] ^ 1]))):
            answer = await coap.ask(get("/data", 10 + number, (ECHO, wrong)), "2001:db8::1")
            assert len(answer.payload) == 128
            assert answer.option(ECHO)
        answer = await coap.ask(get("/data", 20, (ECHO, echo)), "2001:db8::1")
        assert len(answer.payload) == 128, "that peer has another address"

    async def test_an_echo_and_a_proof_grow_old(self, autojump_clock: MockClock, coap: Serving) -> None:
        await prove(coap)
        assert len((await coap.ask(get("/data", 1))).payload) == 1024
        autojump_clock.jump(601)
        answer = await coap.ask(get("/data", 2))
        assert len(answer.payload) == 128
        echo = answer.option(ECHO)
        assert echo
        autojump_clock.jump(602)
        assert len((await coap.ask(get("/data", 3, (ECHO, echo)))).payload) == 128

    async def test_no_echo_where_nothing_is_held_back(self, coap: Serving) -> None:
        answer = await coap.ask(get("/text", 1))
        assert answer.option(ECHO) is None
        assert answer.option(OBSERVE) is None

    async def test_amplification(self, autojump_clock: MockClock, coap: Serving) -> None:
        """As the README tells it: of the shortest requests, and of those that clients send."""
        shortest = get("/data", 1, kind=1, token=b"")
        assert len(shortest) == 9
        assert await amplifies_at_most(coap.at, 18, shortest, get("/data", 2, block2(0, 1024), token=b"")) > 16
        await amplifies_at_most(coap.at, 8, get("/.well-known/core", 3))
        await amplifies_at_most(
            coap.at, 1, b"\x40\0\0\1", b"\x40\1\0\1\xff", b"\x4f\1\0\1" + bytes(15), b"\x40\xe0\0\1"
        )
        assert (await coap.ask(get("/data", 5))).code == CONTENT

    async def test_amplification_of_separate_responses(self, autojump_clock: MockClock) -> None:
        """As the README tells it: an empty acknowledgment, and twice the response."""

        class Late(Resource):
            async def get(self, queries: Sequence[str]) -> Content:
                await trio.sleep(1)
                return Content(DATA)

        async with serving({}, more={"/x": Late(), "/later": Late()}) as coap:
            shortest, usual = get("/x", 1, token=b""), get("/later", 2, token=b"12345678")
            assert (len(shortest), len(usual)) == (6, 18)
            assert await amplifies_at_most(coap.at, 52, shortest, within=100) > 51
            assert await amplifies_at_most(coap.at, 18.2, usual, within=100) > 18
