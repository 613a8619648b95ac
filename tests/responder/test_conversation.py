from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from responder import Datagram, Peer, Plugin, Service
from responder.datagram import Interface
from responder.instance import Instance, Prepared
from responder.server import open_server
from tests.fakes import FakePlatform, FakeReceived, path


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
        platform.sockets[0].deliver(FakeReceived(b"read", path(), port=4711))
        await wait_all_tasks_blocked()
        own = platform.sockets[1]
        own.deliver(
            FakeReceived(b"stranger", path("10.71.0.66"), port=4711),
            FakeReceived(b"other port", path(), port=4712),
            FakeReceived(b"cut", path(), port=4711, truncated=True),
            FakeReceived(b"ack", path(), port=4711),
        )
        await wait_all_tasks_blocked()
        assert platform.sockets[0].sent == []
        assert [sent.payload for sent in own.sent] == [f"block 1 from {own.port}".encode(), b"block 2 after ack"]
        assert {(str(sent.route.to), sent.port, str(sent.route.source)) for sent in own.sent} == {
            ("10.71.0.9", 4711, "10.71.0.2")
        }
        assert own.closed
        server.stop()


def test_a_datagram_that_no_network_delivered_has_nobody_to_converse_with() -> None:
    request = Datagram(b"x", Peer("10.71.0.9", 4711), "10.71.0.1", Interface(2, "lan"))
    with pytest.raises(RuntimeError, match="did not come from a network"):
        request.conversation()
