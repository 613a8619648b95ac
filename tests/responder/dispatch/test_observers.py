"""What those who watch are told of each datagram, on a fake platform."""

from __future__ import annotations

import errno

import pytest
from trio.testing import MockClock

from responder import PASS, Answer, Datagram
from responder.config.instance import Instance
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation
from responder.errors import PeerError, Unreachable
from tests.fakes import FakeReceived, flow

from .bench import Probe, bench, echo


class TestObserving:
    async def test_each_datagram_is_told_with_who_took_it_or_the_rule(self) -> None:
        def respond(request: Datagram) -> Answer:
            match request.payload:
                case b"raise":
                    raise RuntimeError("broken")
                case b"bad":
                    raise PeerError("short")
                case b"pass":
                    return PASS
                case b"silent":
                    return None
            return request.payload

        told: list[tuple[str, str, str]] = []
        async with bench(Instance.of(Probe(respond), "probe", deny=["10.71.0.66/32"], max_answer=100)) as it:
            it.server.observers.add(lambda seen: told.append((seen.instance, seen.outcome, seen.reason)))
            for payload in (b"x", b"raise", b"bad", b"pass", b"silent", bytes(200)):
                await it.deliver(FakeReceived(payload, flow()))
            await it.deliver(FakeReceived(b"x", flow("10.71.0.66")))
        assert told == [
            ("probe", outcomes.ANSWERED, ""),
            ("probe", outcomes.CRASHED, "broken"),
            ("probe", outcomes.MALFORMED, "short"),
            ("probe", outcomes.PASSED, "every instance passed"),
            ("probe", outcomes.SILENT, ""),
            ("probe", outcomes.TOO_LONG, "the answer is too long (max_answer)"),
            ("probe", outcomes.DENIED, "the peer may not ask (allow, deny)"),
        ]

    async def test_an_observer_that_fails_is_removed(self, caplog: pytest.LogCaptureFixture) -> None:
        def watch(_: object) -> None:
            raise RuntimeError("broken")

        async with bench(echo) as it:
            it.server.observers.add(watch)
            await it.deliver(FakeReceived(b"x", flow()), FakeReceived(b"y", flow()))
            assert it.replies() == [b"x", b"y"]
            assert not it.server.observers
        assert "an observer failed" in caplog.text


async def test_an_answer_that_was_not_sent_is_told_as_that() -> None:
    seen: list[Observation] = []
    async with bench(echo) as it:
        it.server.observers.add(seen.append)
        it.socket.refusals = [Unreachable(errno.ENETUNREACH, "no route")]
        await it.deliver(FakeReceived(b"x", flow()), FakeReceived(b"y", flow()))
        assert it.replies() == [b"y"]
        assert [(each.request, each.outcome) for each in seen] == [
            (b"x", outcomes.UNREACHABLE),
            (b"y", outcomes.ANSWERED),
        ]
        assert [[payload for _, (payload, _, _) in each.answers] for each in seen] == [[], [b"y"]]


async def test_what_rate_refused_is_not_told_as_sent(autojump_clock: MockClock) -> None:
    seen: list[Observation] = []
    async with bench(Instance.of(Probe(), rate=2)) as it:
        it.server.observers.add(seen.append)
        await it.deliver(*[FakeReceived(b"abc", flow(), timestamp=1700000000.0 + number) for number in range(6)])
        assert it.replies() == [b"abc"] * 2
    told = sorted((each.time, each.outcome, len(each.answers)) for each in seen)
    assert told == [
        *((1700000000.0 + number, outcomes.ANSWERED, 1) for number in range(2)),
        *((1700000000.0 + number, outcomes.RATE, 0) for number in range(2, 6)),
    ]
    # An answer has a time of its own: when the kernel took it.
    assert all(time > 1700000006 for each in seen for time, _ in each.answers)
