from __future__ import annotations

import errno
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from responder import BindError, Datagram, Peer, Plugin, Service, Unreachable
from responder.config.instance import Instance
from responder.datagram import Interface
from responder.dispatch.budget import OPENING_SIZE, OPENINGS
from responder.dispatch.conversation import MAX_FLIGHT, UNPROVED
from responder.dispatch.observers import Observation
from responder.testing import Bench, bench, payloads, settled
from tests.fakes import FakeReceived, flow

from .bench import bench as served


@attrs.frozen
class Transfer(Plugin):
    """Answers from a new port, block by block (as TFTP does)."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=69),)

    async def respond(self, request: Datagram) -> None:
        async with request.conversation() as conversation:
            with assert_checkpoints():
                await conversation.send(b"block 1 from " + str(conversation.port).encode())
            with assert_checkpoints():
                acknowledged = await conversation.receive()
            await conversation.send(b"block 2 after " + acknowledged)


async def test_a_conversation_speaks_from_the_asked_address_and_hears_its_peer_only() -> None:
    async with served(Instance.of(Transfer())) as it:
        it.socket.deliver(FakeReceived(b"read", flow(), port=4711))
        await wait_all_tasks_blocked()
        own = it.platform.sockets[1]
        own.deliver(
            FakeReceived(b"stranger", flow("10.71.0.66"), port=4711),
            FakeReceived(b"other port", flow(), port=4712),
            FakeReceived(b"cut", flow(), port=4711, truncated=True),
            FakeReceived(b"ack", flow(), port=4711),
        )
        await wait_all_tasks_blocked()
        assert it.socket.sent == []
        assert [sent.payload for sent in own.sent] == [f"block 1 from {own.port}".encode(), b"block 2 after ack"]
        assert {(str(sent.route.to), sent.port, str(sent.route.source)) for sent in own.sent} == {
            ("10.71.0.9", 4711, "10.71.0.2")
        }
        assert own.closed


async def test_each_peer_gets_its_own_though_the_same_was_decided_of_both(autojump_clock: MockClock) -> None:
    async with served(Instance.of(Transfer())) as it:
        peers = ["10.71.0.9", "10.71.0.10"]
        it.socket.deliver(*[FakeReceived(b"read", flow(peer), port=4711) for peer in peers])
        await wait_all_tasks_blocked()
        sent_to = [[str(sent.route.to) for sent in each.sent] for each in it.platform.sockets[1:]]
        assert sent_to == [[peer] for peer in peers]


@attrs.frozen
class Blocks(Plugin):
    """Sends so many blocks, each after an acknowledgement but the first, and says what it was sent in between."""

    count: int = 3
    size: int = 10
    at_once: int = 1

    services: ClassVar[tuple[Service, ...]] = (Service(port=69),)

    async def respond(self, request: Datagram) -> None:
        async with request.conversation(stranger=self.meet) as conversation:
            for number in range(self.count):
                if number:
                    await conversation.receive()
                for _ in range(self.at_once):
                    await conversation.send(bytes(self.size))

    def meet(self, payload: bytes, sender: Peer) -> bytes | None:
        return b"unknown: " + payload if payload != b"silence" else None


async def transfer(at: Bench, blocks: int, size: int, ack: int = 4) -> None:
    """Ask for blocks, and acknowledge each, as TFTP does."""
    conversation = await at.begin(b"read")
    heard = conversation.first
    for _ in range(blocks - 1):
        assert len(heard.payload) == size
        heard = await conversation.ask(bytes(ack))


class TestBounds:
    """A conversation is bounded by its opening, and by what its peer acknowledges."""

    async def test_rate_counts_openings_and_no_blocks(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(count=256, size=512), rate=2) as at:
            began = trio.current_time()
            await transfer(at, 256, 512)
            await transfer(at, 256, 512)
            assert trio.current_time() == began
            assert await at.exchange(b"read") == []
            await trio.sleep(0.5)
            await transfer(at, 256, 512)
            assert (at.outcomes()["rate"], at.outcomes()["heard"]) == (1, 3 * 255)

    async def test_the_opening_pays_for_one_datagram(self, autojump_clock: MockClock) -> None:
        """TFTP's first block is many times its request (RFC 1350)."""
        async with bench(Blocks(count=256, size=512), amplification=2) as at:
            await transfer(at, 256, 512, ack=1)
            assert "amplification" not in at.outcomes()

    async def test_one_that_is_too_long_for_a_frame_costs_what_amplification_allows(
        self, autojump_clock: MockClock
    ) -> None:
        async with bench(Blocks(size=OPENING_SIZE + 1), amplification=2) as at:
            assert await at.exchange(b"read", within=60) == []
            assert at.outcomes()["amplification"] == 1
            assert len(await at.exchange(bytes(OPENING_SIZE), within=60)) == 1

    async def test_of_those_who_say_nothing_a_few_a_second_are_begun_with(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(size=512), amplification=2) as at:
            for seconds in (0, 1):
                await trio.sleep(seconds)
                for _ in range(20):
                    at.spoof(b"read", "192.0.2.66")
                await settled()
            assert at.outcomes()["answered"] == 2 * OPENINGS
            assert at.outcomes()["amplification"] == 2 * (20 - OPENINGS)

    async def test_those_who_answer_hold_nobody_up(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(count=2, size=512), amplification=2) as at:
            for _ in range(OPENINGS * 2):
                await transfer(at, 2, 512)
            assert "amplification" not in at.outcomes()

    async def test_a_peer_that_says_nothing_gets_no_more_than_its_request_allows(
        self, autojump_clock: MockClock
    ) -> None:
        async with bench(Blocks(size=10, at_once=5), amplification=10) as at:
            assert payloads(await at.exchange(b"read", within=60)) == [bytes(10)] * 4

    async def test_nor_more_than_a_few_blocks_without_that_bound(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(size=512, at_once=100)) as at:
            assert len(await at.exchange(b"read", within=60)) == 1 + UNPROVED // 512

    async def test_an_acknowledgement_allows_so_much_and_no_more(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(count=2, size=1 << 15, at_once=100)) as at:
            conversation = await at.begin(b"read")
            assert await at.collect(1) == []
            await conversation.send(b"ack")
            assert len(await at.collect(1)) == MAX_FLIGHT >> 15
            assert at.outcomes()["amplification"] == 99 + 100 - (MAX_FLIGHT >> 15)

    async def test_max_answer(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(size=11), max_answer=10) as at:
            assert await at.exchange(b"read", within=60) == []
            assert at.outcomes()["too-long"] == 1


@attrs.frozen
class Window(Plugin):
    """Sends several datagrams at once, of which one is longer than the others."""

    services: ClassVar[tuple[Service, ...]] = (Service(port=69, max_answer=100),)

    async def respond(self, request: Datagram) -> None:
        async with request.conversation() as conversation:
            with assert_checkpoints():
                await conversation.send()
            await conversation.send(b"begin")
            await conversation.receive()
            with assert_checkpoints():
                await conversation.send(b"one", bytes(101), b"two", b"three")


async def test_several_at_once(autojump_clock: MockClock) -> None:
    """Each is bounded and counted by itself."""
    async with bench(Window()) as at:
        conversation = await at.begin(b"read")
        await conversation.send(b"ack")
        assert payloads(await at.collect()) == [b"one", b"two", b"three"]
        assert at.outcomes() == {"answered": 4, "heard": 1, "too-long": 1, "silent": 1}


async def test_several_wait_for_room_in_their_order() -> None:
    async with served(Instance.of(Window())) as it:
        it.socket.deliver(FakeReceived(b"read", flow(), port=4711))
        await wait_all_tasks_blocked()
        own = it.platform.sockets[1]
        own.give_room(2)
        own.deliver(FakeReceived(b"ack", flow(), port=4711))
        await wait_all_tasks_blocked()
        assert [sent.payload for sent in own.sent] == [b"begin", b"one", b"two"]
        own.give_room(1)
        await wait_all_tasks_blocked()
        assert [sent.payload for sent in own.sent] == [b"begin", b"one", b"two", b"three"]


class TestStrangers:
    async def test_they_are_answered_as_the_plugin_says_and_disturb_nothing(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks()) as at:
            conversation = await at.begin(b"read", "192.0.2.2")
            stranger = at.client.host.client()
            heard = await stranger.ask(b"data", "192.0.2.2", conversation.peer.port)
            assert heard.payload == b"unknown: data"
            await stranger.send(b"silence", "192.0.2.2", conversation.peer.port)
            assert (await conversation.ask(b"ack")).payload == bytes(10)
            assert stranger.heard() == []
            assert at.outcomes()["stranger"] == 2

    async def test_one_who_may_not_ask_is_not_answered(self, autojump_clock: MockClock) -> None:
        async with bench(Blocks(), deny=["192.0.2.9", "2001:db8::/32"]) as at:
            other = at.network.host("other")
            other.attach(at.link, "192.0.2.10/24")
            conversation = await other.client().begin(b"read", "192.0.2.1", 69)
            await at.client.send(b"data", "192.0.2.1", conversation.peer.port)
            assert await at.collect(5) == []

    async def test_one_by_another_interface_is_not_answered(self, autojump_clock: MockClock) -> None:
        async with served(Instance.of(Blocks())) as it:
            it.socket.deliver(FakeReceived(b"read", flow(), port=4711))
            await wait_all_tasks_blocked()
            own = it.platform.sockets[1]
            for interface in (2, 3):
                stranger = flow("10.71.0.66", interface=interface)
                own.deliver(FakeReceived(b"%d" % interface, stranger, port=4712))
            await wait_all_tasks_blocked()
            assert [sent.payload for sent in own.sent] == [bytes(10), b"unknown: 2"]
            assert it.server.counters.total("stranger") == 2

    @pytest.mark.parametrize("keys", [{"rate": 1}, {"amplification": 1}])
    async def test_their_answers_have_the_bounds_of_any_answer(
        self, keys: dict[str, Any], autojump_clock: MockClock
    ) -> None:
        async with bench(Blocks(size=1), **keys) as at:
            conversation = await at.begin(b"read")
            stranger = at.client.host.client()
            await stranger.send(b"data", "192.0.2.1", conversation.peer.port)
            await stranger.send(b"data", "192.0.2.1", conversation.peer.port)
            await settled()
            assert stranger.heard() == []
            assert at.outcomes()[next(iter(keys))] == 2


async def test_all_of_it_is_told_to_those_who_watch(autojump_clock: MockClock) -> None:
    seen: list[Observation] = []
    async with served(Instance.of(Transfer())) as it:
        it.server.observers.add(seen.append)
        it.socket.deliver(FakeReceived(b"read", flow(), port=4711, timestamp=1700000000.5))
        await wait_all_tasks_blocked()
        own = it.platform.sockets[1]
        own.deliver(
            FakeReceived(b"stranger", flow("10.71.0.66"), port=4712),
            FakeReceived(b"ack", flow(), port=4711, timestamp=1700000001.5),
        )
        await wait_all_tasks_blocked()
    first = f"block 1 from {own.port}".encode()
    assert [
        (each.outcome, str(each.peer), each.port, each.request, [payload for _, (payload, _, _) in each.answers])
        for each in seen
    ] == [
        ("answered", "10.71.0.9:4711", own.port, None, [first]),
        ("stranger", "10.71.0.66:4712", own.port, b"stranger", []),
        ("heard", "10.71.0.9:4711", own.port, b"ack", []),
        ("answered", "10.71.0.9:4711", own.port, None, [b"block 2 after ack"]),
        ("silent", "10.71.0.9:4711", 69, b"read", []),
    ]
    assert (seen[2].time, seen[-1].time) == (1700000001.5, 1700000000.5)
    assert {str(each.destination) for each in seen} == {"10.71.0.2"}


def test_a_datagram_that_no_network_delivered_has_nobody_to_converse_with() -> None:
    request = Datagram(b"x", Peer("10.71.0.9", 4711), "10.71.0.1", Interface(2, "lan"))
    with pytest.raises(RuntimeError, match="did not come from a network"):
        request.conversation()


async def test_a_peer_that_no_longer_listens_ends_it(autojump_clock: MockClock) -> None:
    failures: list[BaseException] = []
    async with bench(Blocks(), failures=failures) as at:
        conversation = await at.begin(b"read")
        stranger, peer_port = at.client.host.client(), at.client.port
        await stranger.send(b"data", "192.0.2.1", conversation.peer.port)
        stranger.close()
        at.client.close()
        await settled()
        # A stranger that has gone is nobody's matter; the answer to it was sent before.
        assert "unreachable" not in at.outcomes()
        ack = {"source": "192.0.2.9", "source_port": peer_port, "to": "192.0.2.1", "port": conversation.peer.port}
        at.link.inject(b"ack", **ack)
        await settled()
        assert at.outcomes()["unreachable"] == 1
        assert isinstance(failures[0], Unreachable)


@attrs.frozen
class AsksStrangers(Plugin):
    """Answers from a port of its own, and notes which strangers it is asked about."""

    asked: list[str]
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)

    async def respond(self, request: Datagram) -> None:
        def stranger(_payload: bytes, peer: Peer) -> bytes:
            self.asked.append(str(peer.address))
            return b"unknown transfer"

        async with request.conversation(stranger=stranger) as conversation:
            await conversation.send(b"hello")
            with trio.move_on_after(20):
                await conversation.receive()


async def test_strangers_are_dropped_by_the_rules_of_any_datagram(autojump_clock: MockClock) -> None:
    asked: list[str] = []
    async with bench(AsksStrangers(asked), port=7007) as at:
        port = (await at.begin(b"x")).peer.port
        (own, *_) = at.interface.snapshot().addresses
        sources = ["224.0.0.5", str(own.broadcast), str(own.network[77])]
        for source in sources:
            at.link.inject(b"?", source=source, source_port=4444, to=str(at.address), port=port)
            await trio.sleep(1)
        await trio.sleep(30)
    assert asked == sources[2:]


async def test_where_no_socket_can_be_had_the_log_says_so_in_a_line(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def open_udp(*_: object, **__: object) -> None:
        raise BindError(errno.EMFILE, "UDP port 0: Too many open files", port=0)

    async with bench(Blocks(), failures=[]) as at:
        monkeypatch.setattr(type(at.host), "open_udp", open_udp)
        for _ in range(3):
            assert await at.exchange(b"read") == []
        assert at.outcomes()["busy"] == 3
    (record,) = [record for record in caplog.records if "socket" in record.getMessage()]
    assert record.getMessage() == "no socket can be had plugin=blocks reason=UDP port 0: Too many open files"
    assert record.exc_info is None
