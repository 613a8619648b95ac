"""Dispatch, on a fake platform: what is refused, bounded or lost, and counted."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import PASS, Answer, Datagram, InterfaceAddress, Network, PeerError, Reply
from responder.config.instance import Instance
from responder.dispatch import outcomes
from responder.dispatch.own import MEMORY
from responder.dispatch.port import MAX_ARRIVALS, MAX_FLOWS
from responder.dispatch.sender import NO_PATIENCE, SEND_PATIENCE
from responder.errors import MessageTooLong, SendRefused, SourceUnavailable
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, FakeReceived, flow

from .bench import Neighbourly, Probe, Threaded, bench, echo


async def test_a_value_that_the_system_cannot_take_costs_one_datagram(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(echo) as it:
        it.socket.refusals.append(struct.error("int too large"))
        await it.deliver(FakeReceived(b"0", flow()), FakeReceived(b"1", flow()))
        assert it.replies() == [b"1"]
        assert it.count(outcomes.CRASHED) == 1
    assert "can't be sent" in caplog.text


async def test_kernel_drops_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(echo) as it:
        it.socket.kernel_drops = 17
        await it.deliver(FakeReceived(b"x", flow()))
    assert "the receive buffer was full port=7007 dropped=17" in caplog.text


class TestRefusals:
    @pytest.mark.parametrize(
        ("received", "outcome"),
        [
            (FakeReceived(b"x", flow(), port=0), outcomes.BAD_SOURCE),
            (FakeReceived(b"x", flow("239.1.1.1")), outcomes.BAD_SOURCE),
            (FakeReceived(b"x", flow("10.71.0.255")), outcomes.BAD_SOURCE),
            (FakeReceived(b"x", flow("0.0.0.0")), outcomes.BAD_SOURCE),
            (FakeReceived(b"x", flow(), truncated=True), outcomes.TRUNCATED),
            (FakeReceived(b"x", flow(destination="239.255.70.8")), outcomes.GROUP),
            (FakeReceived(b"x", flow(destination=None, interface=0)), outcomes.NO_DESTINATION),
            (FakeReceived(b"x", flow("10.71.0.1"), port=7007), outcomes.OWN_SOURCE),
            # another link's broadcast address would be answered by broadcast there
            (FakeReceived(b"x", flow("10.72.0.255")), outcomes.BAD_SOURCE),
            # an IPv4-mapped source in an IPv6 packet
            (FakeReceived(b"x", flow("10.71.0.9", "fd71::1")), outcomes.BAD_SOURCE),
        ],
    )
    async def test_are_silent_and_counted(self, received: FakeReceived, outcome: str) -> None:
        async with bench(echo) as it:
            await it.deliver(received, FakeReceived(b"good", flow()))
            assert it.replies() == [b"good"]
            assert it.count(outcome) == 1

    async def test_our_own_ports_do_not_answer_each_other(self) -> None:
        async with bench(Instance.of(Probe(echo), "a", port=7007), Instance.of(Probe(echo), "b", port=7008)) as it:
            await it.deliver(FakeReceived(b"forged", flow("fd71::1", "fd71::1"), port=7008))
            assert it.replies() == []
            assert it.count(outcomes.OWN_SOURCE) == 1

    async def test_another_program_on_a_shared_port_is_answered(self) -> None:
        """It has the same address and port as we; what we sent ourselves comes back beside it, and is dropped."""

        def hello(request: Datagram) -> Answer:
            return Reply(b"hello " + request.payload, to=ip_address("239.255.70.7"))

        async with bench(Instance.of(Neighbourly(hello))) as it:
            to_group = flow("10.71.0.1", "239.255.70.7")
            await it.deliver(FakeReceived(b"you", to_group, port=7007))
            assert it.replies() == [b"hello you"]
            await it.deliver(FakeReceived(b"hello you", to_group, port=7007))
            assert it.replies() == [b"hello you"]
            assert (it.count(outcomes.ANSWERED), it.count(outcomes.OWN_SOURCE)) == (1, 1)

    async def test_our_own_answer_to_our_own_port_ends_there(self) -> None:
        async with bench(Instance.of(Neighbourly(echo))) as it:
            ours = flow("10.71.0.1", "10.71.0.1")
            for _ in range(3):
                await it.deliver(FakeReceived(b"forged", ours, port=7007))
            assert (it.count(outcomes.ANSWERED), it.count(outcomes.OWN_SOURCE)) == (1, 2)

    async def test_what_was_received_long_after_it_was_sent_is_not_ours(self, autojump_clock: MockClock) -> None:
        async with bench(Instance.of(Neighbourly(echo))) as it:
            to_group = flow("10.71.0.1", "239.255.70.7")
            for payload in (b"x", b"x"):
                await it.deliver(FakeReceived(payload, to_group, port=7007))
                await trio.sleep(MEMORY + 0.1)
            assert (it.count(outcomes.ANSWERED), it.count(outcomes.OWN_SOURCE)) == (2, 0)

    async def test_what_a_plugin_sends_unasked_is_ours_when_it_comes_back(self) -> None:
        @attrs.frozen
        class Announcing(Neighbourly):
            async def run(self, network: Network) -> None:
                await network.send(b"I am here", to="239.255.70.7", interface="lan")

        async with bench(Instance.of(Announcing(echo))) as it:
            await wait_all_tasks_blocked()
            assert it.replies() == [b"I am here"]
            for payload in (b"I am here", b"so am I"):
                await it.deliver(FakeReceived(payload, flow("10.71.0.1", "239.255.70.7"), port=7007))
            assert it.replies() == [b"I am here", b"so am I"]
            assert it.count(outcomes.OWN_SOURCE) == 1

    async def test_a_link_local_address_is_own_only_on_its_link(self) -> None:
        here, there = attrs.evolve(LAN), attrs.evolve(GUEST, addresses=[InterfaceAddress("fe80::77", 64)])
        async with bench(echo, platform=FakePlatform(tables=[(LOOPBACK, here, there)])) as it:
            await it.deliver(
                FakeReceived(b"theirs", flow("fe80::1", "fe80::77", 3, scope_id=3), port=7007),
                FakeReceived(b"ours", flow("fe80::1", "fe80::1", 2, scope_id=2), port=7007),
            )
            assert it.replies() == [b"theirs"]
            assert it.count(outcomes.OWN_SOURCE) == 1

    async def test_listen_on_a_link_local_address_is_about_its_link(self) -> None:
        narrow = Instance.of(Probe(lambda _: b"narrow"), "narrow", groups=[], listen=["fe80::1%lan"])
        wide = Instance.of(Probe(lambda _: b"wide"), "wide")
        async with bench(narrow, wide) as it:
            await it.deliver(
                FakeReceived(b"x", flow("fe80::9", "fe80::1", 2, scope_id=2)),
                FakeReceived(b"x", flow("fe80::9", "fe80::1", 3, scope_id=3)),
            )
            assert sorted(it.replies()) == [b"narrow", b"wide"]

    async def test_a_local_client_is_answered(self) -> None:
        async with bench(echo) as it:
            await it.deliver(FakeReceived(b"x", flow("127.0.0.1", "127.0.0.1", 1)))
            assert it.replies() == [b"x"]

    async def test_listen_on_a_shared_wildcard_is_a_matter_of_who_answers(self) -> None:
        narrow = Instance.of(Probe(lambda _: b"narrow"), "narrow", groups=[], listen=["10.71.0.2"])
        wide = Instance.of(Probe(lambda _: b"wide"), "wide")
        async with bench(narrow, wide) as it:
            assert [socket.address for socket in it.platform.sockets] == [None]
            await it.deliver(FakeReceived(b"x", flow()), FakeReceived(b"x", flow(destination="10.71.0.1")))
            assert sorted(it.replies()) == [b"narrow", b"wide"]


class TestBounds:
    async def test_async_answers_in_flight(self, autojump_clock: MockClock) -> None:
        async def slow(request: Datagram) -> bytes:
            await trio.sleep(1)
            return request.payload

        async with bench(Instance.of(Probe(slow), max_pending=3)) as it:
            it.socket.deliver(*[FakeReceived(b"x", flow())] * 5)
            await trio.sleep(2)
            assert (len(it.replies()), it.count(outcomes.BUSY)) == (3, 2)
            it.socket.deliver(FakeReceived(b"y", flow()))
            await trio.sleep(2)
            assert it.replies()[-1] == b"y"

    async def test_the_time_of_an_async_answer(self, autojump_clock: MockClock) -> None:
        async def never(_: Datagram) -> bytes:
            await trio.sleep_forever()
            return b""

        async with bench(Instance.of(Probe(never), answer_timeout=3.0)) as it:
            it.socket.deliver(FakeReceived(b"x", flow()))
            await trio.sleep(2.9)
            assert it.count(outcomes.TIMEOUT) == 0
            await trio.sleep(0.2)
            assert it.count(outcomes.TIMEOUT) == 1

    async def test_the_time_of_many_async_answers(self, autojump_clock: MockClock) -> None:
        async def answer(request: Datagram) -> bytes:
            if request.payload == b"never":
                await trio.sleep_forever()
            await trio.sleep(0.1)
            return request.payload

        async with bench(Instance.of(Probe(answer), answer_timeout=3.0)) as it:
            it.socket.deliver(*[FakeReceived(payload, flow()) for payload in [b"never", b"x"] * 50])
            await trio.sleep(2.9)
            assert it.replies() == [b"x"] * 50
            assert it.count(outcomes.TIMEOUT) == 0
            await trio.sleep(0.5)  # at most a tenth of it later
            assert it.count(outcomes.TIMEOUT) == 50
            assert it.count(outcomes.ANSWERED) == 50
            (binding,) = next(iter(it.server.ports.serving.values())).port.bindings
            assert binding.pending == 0

    async def test_many_async_answers_to_a_full_queue(self, autojump_clock: MockClock) -> None:
        async def answer(request: Datagram) -> bytes:
            await trio.lowlevel.checkpoint()
            return request.payload

        async with bench(Instance.of(Probe(answer))) as it:
            it.socket.room = 20
            it.socket.deliver(*[FakeReceived(b"x", flow())] * 50)
            await trio.sleep(1)
            assert len(it.replies()) == 20
            assert (it.count(outcomes.ANSWERED), it.count(outcomes.NO_ROOM)) == (20, 30)

    async def test_spoofed_sources_do_not_grow_the_table(self) -> None:
        async with bench(echo) as it:
            sources = [FakeReceived(b"x", flow(str(ip_address(0x0A470100 + n)))) for n in range(MAX_FLOWS + 500)]
            for start in range(0, len(sources), 500):
                await it.deliver(*sources[start : start + 500])
            assert len(next(iter(it.server.ports.serving.values())).port.decisions) <= MAX_FLOWS
            assert it.count(outcomes.ANSWERED) == len(sources)

    async def test_a_flood_of_forged_sources_leaves_what_is_decided_of_known_peers(self) -> None:
        async with bench(echo) as it:
            decisions = next(iter(it.server.ports.serving.values())).port.decisions
            honest = flow()
            await it.deliver(FakeReceived(b"x", honest), FakeReceived(b"x", honest))
            decided = decisions.known[honest]
            for start in range(0, 2 * MAX_FLOWS, 500):
                forged = [flow(str(ip_address(0x0B000000 + start + number))) for number in range(500)]
                await it.deliver(*(FakeReceived(b"x", each) for each in forged))
            await it.deliver(FakeReceived(b"x", honest))
            assert decisions.known == {honest: decided}

    async def test_neither_do_the_destinations_that_peers_choose(self) -> None:
        async with bench(echo) as it:
            destinations = [str(ip_address(0x7F000001 + n)) for n in range(MAX_ARRIVALS + 500)]
            await it.deliver(*(FakeReceived(b"x", flow("127.0.0.1", each, 1)) for each in destinations))
            assert it.count(outcomes.ANSWERED) == len(destinations)
            assert len(next(iter(it.server.ports.serving.values())).port._arrivals) == MAX_ARRIVALS

    async def test_each_new_peer_on_an_unknown_interface_shows_that_the_table_is_old(self) -> None:
        async with bench(echo) as it:
            port = next(iter(it.server.ports.serving.values())).port
            told: list[None] = []
            port.environment = attrs.evolve(port.environment, on_stale=lambda: told.append(None))
            for peer in ("10.71.0.9", "10.71.0.10", "10.71.0.9"):
                await it.deliver(FakeReceived(b"x", flow(peer, interface=77)))
            assert it.replies() == [b"x"] * 3
            assert len(told) == 3, "the test's flows are three objects"

    async def test_where_no_interface_is_told_peers_share_what_is_decided(self) -> None:
        async with bench(echo) as it:
            port = next(iter(it.server.ports.serving.values())).port
            for peer in ("10.71.0.9", "10.71.0.10"):
                await it.deliver(FakeReceived(b"x", flow(peer, interface=0)))
            assert it.replies() == [b"x"] * 2
            assert len(port._arrivals) == 1

    async def test_a_blocking_service_runs_in_threads(self) -> None:
        def respond(request: Datagram) -> bytes:
            assert request.arrival >= 0
            assert repr(request)  # all its fields, without trio's clock
            with pytest.raises(RuntimeError):
                trio.lowlevel.current_task()
            return b"from a thread: " + str(request.destination).encode()

        async with bench(Instance.of(Threaded(respond))) as it:
            it.socket.deliver(FakeReceived(b"x", flow()))
            with trio.fail_after(5):
                while not it.socket.sent:
                    await trio.lowlevel.checkpoint()
            assert it.replies() == [b"from a thread: 10.71.0.2"]


class TestSending:
    async def test_a_refused_datagram_does_not_stop_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        async with bench(echo) as it:
            it.socket.refusals.extend([SourceUnavailable(22, "gone"), MessageTooLong(90, "too long")])
            await it.deliver(*[FakeReceived(str(n).encode(), flow()) for n in range(4)])
            assert it.replies() == [b"2", b"3"]
            assert (it.count(outcomes.SOURCE_GONE), it.count(outcomes.TOO_LONG), it.count(outcomes.ANSWERED)) == (
                1,
                1,
                2,
            )
        assert "not sent" in caplog.text

    async def test_a_momentary_refusal_is_tried_again(self, autojump_clock: MockClock) -> None:
        async with bench(echo) as it:
            it.socket.refusals.extend([SendRefused(1, "firewall"), SendRefused(105, "no buffers")])
            it.socket.deliver(FakeReceived(b"x", flow()))
            await trio.sleep(1)
            assert it.replies() == [b"x"]
            it.socket.refusals.extend([SendRefused(1, "firewall")] * 3)
            it.socket.deliver(FakeReceived(b"y", flow()))
            await trio.sleep(1)
            assert it.replies() == [b"x"]
            assert it.count(outcomes.NO_ROOM) == 1

    async def test_a_full_queue_is_waited_for(self) -> None:
        async with bench(echo) as it:
            it.socket.room = 1
            await it.deliver(*[FakeReceived(str(n).encode(), flow()) for n in range(3)])
            assert it.replies() == [b"0"]
            it.socket.give_room(5)
            await wait_all_tasks_blocked()
            assert it.replies() == [b"0", b"1", b"2"]

    async def test_a_queue_that_stays_full_loses_the_batch_and_goes_on(self, autojump_clock: MockClock) -> None:
        async with bench(echo) as it:
            it.socket.room = 1
            it.socket.deliver(*[FakeReceived(str(n).encode(), flow()) for n in range(3)])
            await trio.sleep(SEND_PATIENCE * 2)
            assert (it.count(outcomes.ANSWERED), it.count(outcomes.NO_ROOM)) == (1, 2)
            it.socket.give_room(5)
            await it.deliver(FakeReceived(b"later", flow()))
            assert it.replies() == [b"0", b"later"]

    async def test_a_queue_that_stays_full_holds_the_port_up_ever_shorter(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with bench(echo) as it:

            async def one_is_given_up_after(seconds: float) -> None:
                before = it.count(outcomes.NO_ROOM)
                it.socket.deliver(FakeReceived(b"x", flow()))
                await trio.sleep(seconds - 0.001)
                assert it.count(outcomes.NO_ROOM) == before
                await trio.sleep(0.002)
                assert it.count(outcomes.NO_ROOM) == before + 1

            it.socket.room = 0
            await one_is_given_up_after(SEND_PATIENCE)
            await one_is_given_up_after(NO_PATIENCE)
            await one_is_given_up_after(NO_PATIENCE)
            it.socket.deliver(FakeReceived(b"y", flow()))
            await trio.sleep(NO_PATIENCE / 2)
            it.socket.give_room(1)
            await wait_all_tasks_blocked()
            assert it.replies() == [b"y"]
            await one_is_given_up_after(SEND_PATIENCE)
        assert "the send queue stays full" in caplog.text
        assert "raise_buffer_by" not in caplog.text


async def test_a_send_queue_that_stays_full_names_what_makes_it_larger(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with bench(echo) as it:
        it.socket.room = 0
        it.socket.raise_send_buffer_by = "sysctl net.core.wmem_max=4194304"
        it.socket.deliver(FakeReceived(b"x", flow()))
        await trio.sleep(2 * SEND_PATIENCE)
    assert "raise_buffer_by=sysctl net.core.wmem_max=4194304" in caplog.text


async def test_allow_with_many_prefixes_decides_right() -> None:
    prefixes = [ip_network((0x0A000000 + n * 256, 24)) for n in range(2000)]
    async with bench(Instance.of(Probe(echo), allow=prefixes)) as it:
        await it.deliver(FakeReceived(b"in", flow("10.7.207.200")), FakeReceived(b"out", flow("10.7.208.1")))
        assert it.replies() == [b"in"]


class TestPolicy:
    async def test_on_link_keeps_strangers_out(self) -> None:
        async with bench(Instance.of(Probe(echo), on_link=True)) as it:
            await it.deliver(
                FakeReceived(b"near", flow()),
                FakeReceived(b"local", flow("fe80::9", "fe80::1", scope_id=2)),
                FakeReceived(b"own", flow("10.71.0.1", "10.71.0.1", 1)),
                FakeReceived(b"far", flow("192.0.2.1")),
                FakeReceived(b"wrong side", flow("10.72.0.9")),
            )
            assert it.replies() == [b"near", b"local", b"own"]
            assert it.count(outcomes.OFF_LINK) == 2

    async def test_rate_is_by_prefix(self) -> None:
        async with bench(Instance.of(Probe(echo), rate=2)) as it:
            for host in ("10.71.0.7", "10.71.0.8", "10.71.0.9", "10.71.1.9"):
                await it.deliver(FakeReceived(host.encode(), flow(host)))
            assert it.replies() == [b"10.71.0.7", b"10.71.0.8", b"10.71.1.9"]
            assert it.count(outcomes.RATE) == 1

    async def test_amplification_is_bounded_however_an_answer_comes(self) -> None:
        async def later(request: Datagram) -> list[bytes]:
            await trio.lowlevel.checkpoint()
            return [bytes(40), bytes(40)]

        async with bench(Instance.of(Probe(later), amplification=3.0)) as it:
            await it.deliver(FakeReceived(bytes(20), flow()))
            assert [len(reply) for reply in it.replies()] == [40]
            assert it.count(outcomes.AMPLIFICATION) == 1

    async def test_every_request_earns_its_answer_bytes_whatever_becomes_of_it(self) -> None:
        def respond(request: Datagram) -> Answer:
            match request.payload[:1]:
                case b"n":
                    return None
                case b"p":
                    return PASS
                case b"e":
                    raise PeerError("nonsense")
            return bytes(100)

        async with bench(Instance.of(Probe(respond), amplification=1.0)) as it:
            for kind in (b"n", b"p", b"e"):
                await it.deliver(FakeReceived(kind * 28, flow()), FakeReceived(b"long", flow()))
            assert it.count(outcomes.AMPLIFICATION) == 3
            await it.deliver(FakeReceived(b"long", flow()))
            assert it.replies() == [bytes(100)]

    async def test_the_size_of_an_answer(self) -> None:
        async with bench(Instance.of(Probe(echo), max_answer=10)) as it:
            await it.deliver(FakeReceived(bytes(10), flow()), FakeReceived(bytes(11), flow()))
            assert it.replies() == [bytes(10)]
            assert it.count(outcomes.TOO_LONG) == 1

    async def test_without_bounds_zero_means_none(self) -> None:
        async with bench(Instance.of(Probe(echo), rate=0, amplification=0)) as it:
            await it.deliver(*[FakeReceived(b"x", flow())] * 100)
            assert len(it.replies()) == 100
