from __future__ import annotations

from collections import defaultdict
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from responder import Datagram, Peer, Plugin, Service
from responder.config.instance import Instance, Prepared
from responder.datagram import Interface, Via
from responder.dispatch.access import Access
from responder.dispatch.addressing import reply_route
from responder.dispatch.binding import Binding
from responder.dispatch.budget import source_prefix
from responder.dispatch.conversation import OpenConversation
from responder.server.server import open_server
from responder.server.supervisor import Supervised
from tests.fakes import LAN, FakePlatform, FakeReceived, FakeSocket, flow


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
    platform = FakePlatform()
    instance = Instance.of(Transfer())
    async with (
        open_server([Prepared(instance, instance.plugin)], platform=platform) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.run)
        await server.ready.wait()
        platform.sockets[0].deliver(FakeReceived(b"read", flow(), port=4711))
        await wait_all_tasks_blocked()
        own = platform.sockets[1]
        own.deliver(
            FakeReceived(b"stranger", flow("10.71.0.66"), port=4711),
            FakeReceived(b"other port", flow(), port=4712),
            FakeReceived(b"cut", flow(), port=4711, truncated=True),
            FakeReceived(b"ack", flow(), port=4711),
        )
        await wait_all_tasks_blocked()
        assert platform.sockets[0].sent == []
        assert [sent.payload for sent in own.sent] == [f"block 1 from {own.port}".encode(), b"block 2 after ack"]
        assert {(str(sent.route.to), sent.port, str(sent.route.source)) for sent in own.sent} == {
            ("10.71.0.9", 4711, "10.71.0.2")
        }
        assert own.closed
        server.stop()


class TestBounds:
    """What a conversation sends counts to the budget of the instance, as any answer does."""

    @staticmethod
    def conversing(**keys: object) -> tuple[OpenConversation, FakeSocket]:
        instance = Instance.of(Transfer(), **keys)
        (service,) = instance.services
        binding = Binding(Supervised(Prepared(instance, instance.plugin)), service, Access.of(instance, service))
        asked, counts = flow(), defaultdict(int)
        route = reply_route(asked, LAN, Via.UNICAST)
        socket = FakeSocket(50000)
        return OpenConversation(socket, route, 4711, counts, binding, source_prefix(asked.peer)), socket

    async def test_rate(self, autojump_clock: MockClock) -> None:
        conversation, socket = self.conversing(rate=2)
        for _ in range(5):
            with assert_checkpoints():
                await conversation.send(b"block")
        await trio.sleep(1)
        await conversation.send(b"block")
        assert len(socket.sent) == 3
        assert conversation.counts == {"answered": 3, "rate": 3}

    async def test_amplification_with_what_the_peer_says_meanwhile_as_its_credit(self) -> None:
        conversation, socket = self.conversing(amplification=3)
        await conversation.send(bytes(30))
        socket.deliver(FakeReceived(bytes(10), flow(), port=4711))
        await conversation.receive()
        await conversation.send(bytes(30))
        await conversation.send(b"x")
        assert [len(sent.payload) for sent in socket.sent] == [30]
        assert conversation.counts == {"amplification": 2, "answered": 1}

    async def test_they_are_those_of_the_instance_that_was_asked(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        instance = Instance.of(Transfer(), rate=1)
        async with (
            open_server([Prepared(instance, instance.plugin)], platform=platform) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(server.run)
            await server.ready.wait()
            platform.sockets[0].deliver(FakeReceived(b"read", flow(), port=4711))
            await wait_all_tasks_blocked()
            own = platform.sockets[1]
            own.deliver(FakeReceived(b"ack", flow(), port=4711))
            await wait_all_tasks_blocked()
            assert len(own.sent) == 1
            assert server.counters.snapshot()["transfer"]["lan"] == {"answered": 1, "rate": 1, "silent": 1}
            server.stop()

    async def test_max_answer(self) -> None:
        conversation, socket = self.conversing(max_answer=10)
        await conversation.send(bytes(11))
        await conversation.send(bytes(10))
        assert [len(sent.payload) for sent in socket.sent] == [10]
        assert conversation.counts == {"too-long": 1, "answered": 1}


def test_a_datagram_that_no_network_delivered_has_nobody_to_converse_with() -> None:
    request = Datagram(b"x", Peer("10.71.0.9", 4711), "10.71.0.1", Interface(2, "lan"))
    with pytest.raises(RuntimeError, match="did not come from a network"):
        request.conversation()
