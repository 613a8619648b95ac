"""Connections are bounded: who says nothing gives way, of those that hold the most places first."""

from __future__ import annotations

from ipaddress import ip_address

import trio
import trio.testing

from responder.dispatch.connections import Admitted, Connections
from responder.dispatch.failures import only_the_peer
from responder.net.types import Flow


def stream() -> trio.abc.HalfCloseableStream:
    return trio.testing.memory_stream_pair()[0]


def flow(peer: str, link: int = 2) -> Flow:
    return Flow(ip_address(peer), 0, None, link)


class Opened:
    """Connections that are open until they give way or the test ends."""

    def __init__(self, limit: int, nursery: trio.Nursery, per_peer: int | None = None) -> None:
        self.limit = limit
        self.per_peer = per_peer
        self.connections = Connections()
        self.nursery = nursery
        self.places: dict[str, Admitted] = {}

    async def _serve(self, name: str, address: str, link: int, *, task_status: trio.TaskStatus[None]) -> None:
        with self.connections.place(stream(), flow(address, link), self.limit, per_peer=self.per_peer) as place:
            self.places[name] = place
            task_status.started()
            await trio.sleep_forever()

    async def open(self, name: str, address: str, link: int = 2) -> None:
        await self.nursery.start(self._serve, name, address, link)

    def gone(self) -> list[str]:
        return [name for name, place in self.places.items() if place.gave_way]


async def test_the_longest_idle_gives_way(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    opened = Opened(3, nursery)
    for number in range(3):
        await opened.open(f"c{number}", f"192.0.2.{number + 1}")
        await trio.sleep(1)
    await opened.places["c0"].stream.send_all(b"alive")
    await opened.open("c3", "192.0.2.9")
    assert opened.gone() == ["c1"]
    await opened.open("c4", "192.0.2.10")
    assert opened.gone() == ["c1", "c2"]


async def test_who_holds_most_loses_their_own(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """110 silent connections of 11 addresses of a /64 keep nobody out; the honest one is older, and stays."""
    opened = Opened(100, nursery)
    await opened.open("honest", "2001:db8:1::1")
    await trio.sleep(1)
    for number in range(110):
        await opened.open(f"silent{number}", f"2001:db8:2::{number % 11 + 1:x}")
    assert len(opened.gone()) == 11
    assert "honest" not in opened.gone()
    await opened.open("another", "198.51.100.1")
    assert len(opened.gone()) == 12
    assert not {"honest", "another"} & set(opened.gone())


async def test_a_link_that_holds_most_loses_its_own(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """However many addresses its hosts have."""
    opened = Opened(100, nursery)
    for number in range(10):
        await opened.open(f"other{number}", "192.0.2.9", link=3)
        await trio.sleep(1)
    for number in range(300):
        await opened.open(f"silent{number}", f"198.51.100.{number % 250 + 1}")
    assert len(opened.gone()) == 210
    assert all(name.startswith("silent") for name in opened.gone())


async def test_of_a_peer_that_has_its_bound_the_longest_idle_gives_way(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    opened = Opened(100, nursery, per_peer=2)
    for name, address in (("a", "2001:db8::1"), ("b", "2001:db8::2"), ("c", "2001:db8:1::1"), ("d", "192.0.2.1")):
        await opened.open(name, address)
        await trio.sleep(1)
    await opened.places["a"].stream.send_all(b"alive")
    await opened.open("e", "2001:db8::3")
    assert opened.gone() == ["b"]
    await opened.open("on another link", "2001:db8::4", link=3)
    assert opened.gone() == ["b"]


async def test_a_connection_that_gives_way_is_cancelled_and_no_more() -> None:
    connections = Connections()
    ended = trio.Event()

    async def serve(address: str, *, task_status: trio.TaskStatus[None]) -> None:
        with connections.place(stream(), flow(address), 1):
            task_status.started()
            await trio.sleep_forever()
        ended.set()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, "192.0.2.1")
            await nursery.start(serve, "192.0.2.2")
            await ended.wait()
            assert len(connections) == 1
            nursery.cancel_scope.cancel()
    assert len(connections) == 0


def test_a_peer_that_is_gone_is_no_failure() -> None:
    gone = trio.BrokenResourceError(), ConnectionResetError()
    assert only_the_peer(gone[0])
    assert only_the_peer(BaseExceptionGroup("", [gone[0], ExceptionGroup("", [gone[1]])]))
    assert not only_the_peer(ExceptionGroup("", [gone[0], ValueError()]))
    assert not only_the_peer(FileNotFoundError())
