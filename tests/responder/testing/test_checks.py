"""Each assertion passes a responder that is right, and names what is wrong with one that is not."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from responder.testing import (
    amplifies_at_most,
    answered_from,
    answers_within,
    bench,
    delays_uniformly,
    keeps_no_state,
    never_answers,
)
from tests.responder.testing.plugins import Drip, Echo, Hoarder, Late, Silent, Strict, Twice


async def test_silence(autojump_clock: MockClock) -> None:
    async with bench(Silent()) as at:
        await never_answers(at, b"", b"x", bytes(1500), within=3600)
    async with bench(Strict()) as at:
        await never_answers(at, b"", b"x")
        with pytest.raises(AssertionError, match="answered b'ok' with b'fine'"):
            await never_answers(at, b"x", b"ok")
    async with bench(Late()) as at:
        with pytest.raises(AssertionError, match=r"answered b'late', [1-3]\.\d+ s after"):
            await never_answers(at, b"x", within=5)


async def test_amplification(autojump_clock: MockClock) -> None:
    async with bench(Echo()) as at:
        assert await amplifies_at_most(at, 1.0, b"", b"x", bytes(1200)) == 1.0
    async with bench(Twice()) as at:
        with pytest.raises(AssertionError, match=r"amplifies 2.00 times, not 1.5: 2 answers to b'xx'"):
            await amplifies_at_most(at, 1.5, b"xx")
    async with bench(Drip()) as at:
        # Three bytes for one, however slowly.
        with pytest.raises(AssertionError, match=r"amplifies 3.00 times"):
            await amplifies_at_most(at, 2, b"x")


async def test_time(autojump_clock: MockClock) -> None:
    async with bench(Late()) as at:
        delays = await answers_within(at, 1.0, 3.0, b"x", times=50)
        assert len(set(delays)) == 50
    async with bench(Late(4.0, 4.0)) as at:
        with pytest.raises(AssertionError, match=r"answered after 4.0 s: not 1.0..1.5"):
            await answers_within(at, 1.0, 1.5, b"x")
    async with bench(Silent()) as at:
        with pytest.raises(AssertionError, match="no answer"):
            await answers_within(at, 0.0, 1.0, b"x")


async def test_uniform_delay(autojump_clock: MockClock) -> None:
    async with bench(Late()) as at:
        await delays_uniformly(at, 1.0, 3.0, b"x")
    for least, most in ((1.0, 1.0), (1.0, 1.5), (2.9, 3.0)):
        async with bench(Late(least, most)) as at:
            with pytest.raises(AssertionError, match="not spread over"):
                await delays_uniformly(at, 1.0, 3.0, b"x")


async def test_state_under_forged_sources(autojump_clock: MockClock) -> None:
    async with bench(Echo()) as at:
        await keeps_no_state(at, b"x")
    async with bench(Hoarder()) as at:
        with pytest.raises(AssertionError, match=r"keeps \d{4} objects for 1000 forged sources"):
            await keeps_no_state(at, b"x")


async def test_the_source_of_an_answer(autojump_clock: MockClock) -> None:
    async with bench(Echo()) as at:
        heard = await at.ask(b"x", "192.0.2.2")
        answered_from(heard, "192.0.2.2")
        with pytest.raises(AssertionError, match=r"answered from 192.0.2.2, not 192.0.2.1"):
            answered_from(heard, "192.0.2.1")
