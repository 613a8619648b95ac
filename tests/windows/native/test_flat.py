"""The platform's own socket: 10,000 datagrams out and in again, and sends that are cancelled, leave nothing
behind.
"""

from __future__ import annotations

from contextlib import closing
from ipaddress import ip_address

import trio

from responder.net import platform as this_platform
from responder.net.types import Received, Route
from responder.net.windows.udp import WindowsSocket

from .accounting import Flat

BATCH = 100


async def back_and_forth(one: WindowsSocket, other: WindowsSocket, rounds: int) -> None:
    """Batches that go from one socket to another; each is sent, taken whole, and compared."""
    route = Route(ip_address("127.0.0.1"), source=ip_address("127.0.0.7"))
    for number in range(rounds):
        batch = [(b"%d" % (number * BATCH + index), route, other.port) for index in range(BATCH)]
        assert one.send(batch[1:]) == BATCH - 1
        await one.send_when_ready(batch[0])
        seen: list[Received] = []
        while len(seen) < BATCH:
            await other.wait_readable()
            seen += other.receive(BATCH)
        assert {received.payload for received in seen} == {payload for payload, _, _ in batch}
        assert len({id(received.flow) for received in seen}) == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.send_when_ready(batch[0])


async def test_ten_thousand_datagrams_each_way() -> None:
    platform = this_platform()
    with trio.fail_after(200), closing(platform.open_udp(0)) as one, closing(platform.open_udp(0)) as other:
        await back_and_forth(one, other, 1)
        with Flat():
            await back_and_forth(one, other, 10_000 // BATCH)
