"""What SNTP clients are told, on the fake network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import attrs
import pytest
import trio
from hypothesis import given
from responder_plugins.sntp import Sntp
from responder_plugins.sntp.handler import SntpHandler
from trio.testing import MockClock

from responder import Context, KernelClock, PeerError, Plugin
from responder.testing import (
    amplifies_at_most,
    bench,
    exchange,
    hostile,
    instances,
    keeps_no_state,
    never_answers,
    options,
    payloads,
    wall_clock,
)
from tests.fakes import LAN

from .support import EPOCH, TRANSMIT, Told, handler_of, request, request_for, told

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GROUPS = ["224.0.1.1", "ff05::101"]


async def ask(payload: bytes, plugin: Plugin | None = None, to: str = "192.0.2.1") -> Told:
    (heard,) = await exchange(plugin or Sntp(trust="always"), payload, to=to)
    return told(heard.payload)


@attrs.frozen
class Kernel(Sntp):
    """With a kernel that says what a test wants: the only item of `said`."""

    said: ClassVar[list[KernelClock | None]] = [None]

    def prepare(self, context: Context) -> SntpHandler:
        return SntpHandler(self.stratum, self.trust == "always", clock=lambda: self.said[0])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[KernelClock | None]:
    said: list[KernelClock | None] = [None]
    monkeypatch.setattr(Kernel, "said", said)
    return said


class TestTheTime:
    async def test_each_field(self, autojump_clock: MockClock) -> None:
        with wall_clock(NOON):
            answer = await ask(request(poll=9))
        now = NOON.timestamp() + EPOCH
        assert answer == Told(
            leap=0,
            version=4,
            mode=4,
            stratum=10,
            poll=9,
            precision=answer.precision,
            root_delay=0,
            root_dispersion=pytest.approx(0.01, abs=2**-16),
            reference=b"\x7f\x7f\1\1",
            reference_time=now,
            originate=TRANSMIT,
            receive=now,
            transmit=now,
        )
        assert -20 <= answer.precision <= -5

    @pytest.mark.parametrize("version", [1, 2, 3, 4])
    @pytest.mark.parametrize("leap", [0, 3])
    async def test_the_version_is_the_clients(self, autojump_clock: MockClock, version: int, leap: int) -> None:
        answer = await ask(request(leap << 6 | version << 3 | 3))
        assert (answer.version, answer.mode, answer.leap) == (version, 4, 0)

    async def test_stratum_1_names_its_reference(self, autojump_clock: MockClock) -> None:
        answer = await ask(request(), Sntp(stratum=1, trust="always"))
        assert (answer.stratum, answer.reference) == (1, b"LOCL")

    def test_it_was_received_when_the_kernel_said_so(self) -> None:
        """The receive timestamp is that of the arrival, the transmit timestamp that of the answer."""

        async def main() -> Told:
            datagram = request_for(request(), LAN)
            answer = handler_of().respond(datagram)
            assert isinstance(answer, bytes)
            return told(answer)

        clock = MockClock()
        clock.jump(2.5)  # the datagram says that it arrived at 0
        answer = trio.run(main, clock=clock)
        assert answer.transmit - answer.receive == pytest.approx(2.5, abs=0.01)

    async def test_the_era_ends_in_2036(self, autojump_clock: MockClock) -> None:
        """RFC 5905 section 6: the first era ends on 7 February 2036, 06:28:16 UTC."""
        end = datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC).timestamp()
        with wall_clock(end - 1.5):
            async with bench(Sntp(trust="always")) as at:
                before = told((await at.ask(request())).payload)
                await trio.sleep(2)
                after = told((await at.ask(request())).payload)
        assert (before.transmit, after.transmit) == (2**32 - 1.5, 0.5)
        assert after.reference_time == 0.5

    async def test_an_answer_comes_from_where_was_asked(self, autojump_clock: MockClock) -> None:
        async with bench(Sntp(trust="always")) as at:
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1"):
                assert str((await at.ask(request(), address)).source.address) == address


class TestTrust:
    async def test_no_time_while_the_kernel_says_so(
        self, autojump_clock: MockClock, kernel: list[KernelClock | None]
    ) -> None:
        async with bench(Kernel()) as at:
            answer = told((await at.ask(request())).payload)
            assert (answer.leap, answer.stratum, answer.reference) == (3, 0, b"INIT")
            assert answer.originate == TRANSMIT
            kernel[0] = KernelClock(0.25)
            await trio.sleep(1.1)
            answer = told((await at.ask(request())).payload)
            assert (answer.leap, answer.stratum, answer.root_dispersion) == (0, 10, 0.25)
            kernel[0] = None
            assert told((await at.ask(request())).payload).stratum == 10, "its word is good for a second"
            await trio.sleep(1.1)
            assert told((await at.ask(request())).payload).stratum == 0

    @pytest.mark.parametrize(("leap_second", "leap"), [(0, 0), (1, 1), (-1, 2)])
    async def test_a_leap_second(
        self, autojump_clock: MockClock, kernel: list[KernelClock | None], leap_second: int, leap: int
    ) -> None:
        kernel[0] = KernelClock(0.001, leap_second)
        assert (await ask(request(), Kernel())).leap == leap

    @pytest.mark.parametrize("group", GROUPS)
    async def test_manycast_finds_a_server_that_has_the_time(
        self, autojump_clock: MockClock, kernel: list[KernelClock | None], group: str
    ) -> None:
        """RFC 5905 section 3.1: a client by multicast gets an answer by unicast, of a synchronised server."""
        assert await exchange(Kernel(), request(), to=group) == []
        kernel[0] = KernelClock(0)
        (heard,) = await exchange(Kernel(), request(), to=group)
        assert told(heard.payload).stratum == 10
        assert str(heard.source.address) == ("192.0.2.1" if "." in group else "2001:db8::1")

    def test_check_tells_where_the_kernel_does_not_trust_the_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for said, count in ((None, 1), (KernelClock(0), 0)):
            monkeypatch.setattr("responder_plugins.sntp.handler.kernel_clock", lambda said=said: said)
            context = Context("sntp")
            Sntp().prepare(context)
            assert len(context.warnings) == count
            Sntp(trust="always").prepare(context)
            assert len(context.warnings) == count


class TestSilence:
    @pytest.mark.parametrize("mode", [0, 1, 2, 4, 5, 6, 7])
    async def test_other_modes(self, autojump_clock: MockClock, mode: int) -> None:
        """Control (6) and private (7) messages are what made NTP servers amplifiers."""
        async with bench(Sntp(trust="always")) as at:
            await never_answers(at, *(request(version << 3 | mode) for version in range(8)))

    async def test_what_is_no_request(self, autojump_clock: MockClock) -> None:
        async with bench(Sntp(trust="always")) as at:
            await never_answers(at, b"", b"\x23", request()[:47], request(0x03), request(0x2B), request(0x3B))

    @given(hostile(request(), request(behind=bytes(20))))
    def test_whatever_comes(self, payload: bytes) -> None:
        async def main() -> None:
            try:
                answer = handler_of().respond(request_for(payload, LAN))
            except PeerError:
                return
            assert isinstance(answer, bytes)
            assert len(answer) <= len(payload)
            assert payload[0] & 7 == 3
            assert answer[24:32] == payload[40:48]

        trio.run(main)


class TestBounds:
    async def test_no_answer_is_longer_than_its_request(self, autojump_clock: MockClock) -> None:
        async with bench(Sntp(trust="always")) as at:
            assert (
                await amplifies_at_most(at, 1.0, request(), request(behind=bytes(20)), request(behind=b"x" * 900)) == 1
            )

    async def test_over_its_rate_a_client_gets_a_kiss_of_death(self, autojump_clock: MockClock) -> None:
        async with bench(Sntp(trust="always"), rate=2) as at:
            heard = [each for _ in range(5) for each in await at.exchange(request())]
            assert [told(payload).stratum for payload in payloads(heard)] == [10, 10, 0]
            kiss = told(heard[-1].payload)
            assert (kiss.leap, kiss.mode, kiss.version, kiss.reference) == (3, 4, 4, b"RATE")
            assert kiss.originate == TRANSMIT, "a kiss that does not tell it may be forged (RFC 5905 section 7.4)"

    async def test_nothing_is_kept_of_forged_sources(self, autojump_clock: MockClock) -> None:
        async with bench(Sntp(trust="always")) as at:
            await keeps_no_state(at, request())

    async def test_what_is_counted(self) -> None:
        handler = handler_of()
        for payload in (request(), b"", request(0x26), request(0x2B)):
            try:
                handler.respond(request_for(payload, LAN))
            except PeerError:
                continue
        handler.over_rate(request_for(request(), LAN))
        assert handler.counts() == {"told": 1, "malformed": 1, "bad-mode": 1, "bad-version": 1, "kiss-rate": 1}
        unsure = SntpHandler(10, False, clock=lambda: None)
        unsure.respond(request_for(request(), LAN))
        assert unsure.counts() == {"unsynchronised": 1}


class TestOptions:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("stratum = 0", r"plugins.sntp.stratum: expected a stratum \(1..15\), got 0"),
            ("stratum = 16", r"plugins.sntp.stratum: expected a stratum"),
            ('trust = "kernels"', r"plugins.sntp.trust: .*did you mean 'kernel'"),
            ('keys = { x = "00" }', r"keys: expected the number of a key \(1..4294967295\), got 'x'"),
            ('keys = { 0 = "00" }', r"the number of a key"),
            ('keys = { 7 = "5ec2e7" }', r"keys.7: expected 32 hexadecimal digits"),
        ],
    )
    def test_mistakes(self, text: str, message: str) -> None:
        with pytest.raises(Exception, match=message) as caught:
            instances(f"[plugins.sntp]\n{text}\n")
        assert "5ec2e7" not in str(caught.value), "a key is a secret"

    def test_as_the_readme_has_them(self) -> None:
        assert options(Sntp, stratum=3, trust="always") == Sntp(3, "always")
        (instance,) = instances("[plugins.sntp]\n")
        assert instance.plugin == Sntp(10, "kernel", {})
