"""What a handler says instead where `rate` refuses an answer."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from responder import Answer, Datagram, Plugin, PluginError, Service
from responder.testing import bench, payloads


@attrs.frozen
class Clock(Plugin):
    """Answers, or sends a kiss of death."""

    kiss: str | None = "RATE"
    awaited: bool = False

    services: ClassVar = (Service(port=123, rate=2.0),)

    def respond(self, request: Datagram) -> Answer:
        return self._later(request) if self.awaited else [request.payload]

    async def _later(self, request: Datagram) -> bytes:
        await trio.lowlevel.checkpoint()
        return request.payload

    def over_rate(self, request: Datagram) -> bytes | None:
        return None if self.kiss is None else self.kiss.encode() + request.payload


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_kiss_of_death_goes_once_a_second(awaited: bool, autojump_clock: MockClock) -> None:
    async with bench(Clock(awaited=awaited)) as at:
        assert payloads(await at.exchange(b"1")) == [b"1"]
        assert payloads(await at.exchange(b"2")) == [b"2"]
        assert payloads(await at.exchange(b"3", "192.0.2.2")) == [b"RATE3"]
        assert await at.exchange(b"4") == []
        await trio.sleep(1)
        assert payloads(await at.exchange(b"5")) == [b"5"]
        await at.exchange(b"6")
        assert payloads(await at.exchange(b"7")) == [b"RATE7"]
        assert (at.outcomes()["rate"], at.outcomes()["answered"]) == (3, 6)


async def test_it_comes_from_the_address_that_was_asked(autojump_clock: MockClock) -> None:
    async with bench(Clock(), rate=1) as at:
        await at.ask(b"1", "192.0.2.2")
        assert (await at.ask(b"2", "192.0.2.2")).payload == b"RATE2"


async def test_each_network_has_its_own(autojump_clock: MockClock) -> None:
    async with bench(Clock(), rate=1) as at:
        for to in ("192.0.2.1", "2001:db8::1"):
            await at.ask(b"1", to)
            assert (await at.ask(b"2", to)).payload == b"RATE2"


@pytest.mark.parametrize("keys", [{"max_answer": 4}, {"amplification": 1}])
async def test_it_has_the_bounds_of_an_answer(keys: dict[str, Any], autojump_clock: MockClock) -> None:
    async with bench(Clock(), rate=1, **keys) as at:
        assert len(await at.exchange(b"1")) == 1
        assert await at.exchange(b"2") == []


async def test_silence_is_the_default_and_may_be_chosen(autojump_clock: MockClock) -> None:
    async with bench(Clock(None), rate=1) as at:
        await at.ask(b"1")
        assert await at.exchange(b"2") == []


async def test_what_is_no_answer_is_the_plugins_mistake(autojump_clock: MockClock) -> None:
    @attrs.frozen
    class Wrong(Clock):
        def over_rate(self, request: Datagram) -> bytes | None:
            return "text"  # type: ignore[return-value] # the mistake

    async with bench(Wrong(), rate=1) as at:
        await at.ask(b"1")
        with pytest.raises(PluginError, match="over_rate returned str"):
            await at.exchange(b"2")
