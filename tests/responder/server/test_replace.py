"""Putting other instances in place of running ones: what stays is untouched, what goes says goodbye first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import Answer, BindError, Datagram, Handler, Network, Plugin, Service
from responder.config.instance import Instance, Prepared
from responder.net.types import Membership
from responder.server.server import LINGER, ServerCore, open_server
from tests.fakes import FakePlatform, FakeReceived, FakeSocket, flow


@attrs.frozen
class Counting(Plugin):
    """Answers its word and how often it was asked."""

    word: str = "one"
    log: list[str] = attrs.field(factory=list, eq=False)
    goodbye: Callable[[Network], Awaitable[None]] | None = attrs.field(default=None, eq=False)
    asked: list[int] = attrs.field(factory=lambda: [0], eq=False)
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        self.asked[0] += 1
        return f"{self.word} {self.asked[0]}".encode()

    async def run(self, network: Network) -> None:
        self.log.append(f"{self.word} begins")
        reason = await network.stopping.wait()
        if self.goodbye is not None:
            await self.goodbye(network)
        self.log.append(f"{self.word} ends: {reason}")


@attrs.frozen
class Tcp(Counting):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, tcp=True),)


def prepared(plugin: Plugin, name: str = "a", **keys: object) -> Prepared:
    return Prepared(Instance.of(plugin, name, **keys), plugin)


@asynccontextmanager
async def serving(platform: FakePlatform, *instances: Prepared, grace: float = 2.0) -> AsyncIterator[ServerCore]:
    async with open_server(instances, platform=platform, grace=grace) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield server
        server.stop()


async def ask(socket: FakeSocket, count: int = 1) -> list[str]:
    """What the socket answers to so many requests."""
    before = len(socket.sent)
    socket.deliver(*[FakeReceived(b"x", flow())] * count)
    await wait_all_tasks_blocked()
    return [message.payload.decode() for message in socket.sent[before:]]


async def test_what_is_the_same_goes_on_with_its_state() -> None:
    platform = FakePlatform()
    log: list[str] = []
    stays = prepared(Counting("stays", log))
    async with serving(platform, stays) as server:
        assert await ask(platform.sockets[0], 2) == ["stays 1", "stays 2"]
        await server.replace([stays, prepared(Counting("new", log), "b", port=7008)])
        assert await ask(platform.sockets[0]) == ["stays 3"]
        assert await ask(platform.sockets[1]) == ["new 1"]
    assert log[:2] == ["stays begins", "new begins"]
    assert sorted(log[2:]) == ["new ends: stop", "stays ends: stop"]


async def test_a_changed_one_takes_over_the_socket_with_its_queue() -> None:
    platform = FakePlatform()
    async with serving(platform, prepared(Counting("old"))) as server:
        (socket,) = platform.sockets
        assert await ask(socket) == ["old 1"]
        # Queued, and not yet read, when the replacement comes: the receiver is told of them after it.
        socket._queue.extend([FakeReceived(b"x", flow())] * 200)
        await server.replace([prepared(Counting("new"))])
        socket.deliver()
        await wait_all_tasks_blocked()
        assert len(socket.sent) == 201
        assert socket.sent[-1].payload.startswith(b"new")
        assert platform.sockets == [socket]
        assert not socket.closed


async def test_the_same_plugin_with_other_keys_answers_by_those() -> None:
    platform, plugin = FakePlatform(), Counting()
    async with serving(platform, prepared(plugin)) as server:
        assert await ask(platform.sockets[0]) == ["one 1"]
        await server.replace([prepared(plugin, deny=["10.71.0.9/32"])])
        assert await ask(platform.sockets[0]) == []
        await server.replace([prepared(plugin)])
        assert await ask(platform.sockets[0]) == ["one 2"]


async def test_the_old_run_ends_before_the_new_one_begins(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    log: list[str] = []

    async def slowly(network: Network) -> None:
        await trio.sleep(1)
        await network.send(b"bye", to="239.1.2.3", interface="lan")

    async with serving(platform, prepared(Counting("old", log, slowly))) as server:
        await server.replace([prepared(Counting("new", log))])
        assert await ask(platform.sockets[0]) == ["new 1"]
        assert log == ["old begins"]
        await trio.sleep(1.1)
        assert log == ["old begins", "old ends: replaced", "new begins"]
        assert platform.sockets[0].sent[-1].payload == b"bye"


async def test_a_run_that_does_not_end_is_ended(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    log: list[str] = []

    async def endless(_: Network) -> None:
        await trio.sleep_forever()

    async with serving(platform, prepared(Counting("old", log, endless)), grace=2) as server:
        await server.replace([prepared(Counting("new", log))])
        await trio.sleep(1.9)
        assert log == ["old begins"]
        await trio.sleep(0.2)
        assert log == ["old begins", "new begins"]


async def test_a_run_that_cannot_be_ended_is_named_and_not_waited_for(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    platform = FakePlatform()
    log: list[str] = []
    released = trio.Event()

    async def shielded(_: Network) -> None:
        with trio.CancelScope(shield=True):
            await released.wait()

    async with serving(platform, prepared(Counting("old", log, shielded)), grace=2) as server:
        await server.replace([prepared(Counting("new", log))])
        await trio.sleep(2 + LINGER + 0.1)
        assert log == ["old begins", "new begins"]
        assert server.lingering() == ["a"]
        assert "a plugin does not end though its time is over plugin=a" in caplog.text
        released.set()
        await wait_all_tasks_blocked()
        assert server.lingering() == []


async def test_a_run_that_cannot_be_ended_is_told_at_the_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    released = trio.Event()

    async def shielded(_: Network) -> None:
        with trio.CancelScope(shield=True):
            await released.wait()

    async with serving(FakePlatform(), prepared(Counting("old", [], shielded)), grace=2) as server:
        began = trio.current_time()
        server.stop()
        await server.stuck.wait()
        assert trio.current_time() - began == pytest.approx(2 + LINGER)
        assert "a plugin does not end though its time is over plugin=a" in caplog.text
        released.set()


async def test_a_second_stop_leaves_no_grace(autojump_clock: MockClock) -> None:
    async def endless(_: Network) -> None:
        await trio.sleep_forever()

    began = trio.current_time()
    async with serving(FakePlatform(), prepared(Counting("old", [], endless)), grace=1000) as server:
        server.stop()
        server.stop()
    assert trio.current_time() - began < 1
    assert not server.stuck.is_set()


async def test_many_replacements_in_a_row_run_only_the_last(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    log: list[str] = []

    async def slowly(_: Network) -> None:
        await trio.sleep(1)

    async with serving(platform, prepared(Counting("0", log, slowly))) as server:
        for number in range(1, 5):
            await server.replace([prepared(Counting(str(number), log, slowly))])
        assert await ask(platform.sockets[0]) == ["4 1"]
        await trio.sleep(1.5)
        assert log == ["0 begins", "0 ends: replaced", "4 begins"]


async def test_a_removed_one_says_goodbye_and_its_port_is_closed(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    stays = prepared(Counting("stays"), "b", port=7008)

    async def bye(network: Network) -> None:
        await network.send(b"bye", to="239.1.2.3", interface="lan")

    async with serving(platform, prepared(Counting("goes", goodbye=bye)), stays) as server:
        await server.replace([stays])
        assert await ask(platform.sockets[0]) == ["bye"]
        assert not platform.sockets[0].closed
        await trio.sleep(3)
        assert platform.sockets[0].closed
        assert await ask(platform.sockets[1]) == ["stays 1"]


async def test_a_port_that_comes_back_at_once_is_the_same_socket(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    stays = prepared(Counting("stays"), "b", port=7008)
    async with serving(platform, prepared(Counting("one")), stays) as server:
        await server.replace([stays])
        await server.replace([prepared(Counting("two")), stays])
        await trio.sleep(10)
        assert len(platform.sockets) == 2
        assert await ask(platform.sockets[0]) == ["two 1"]


async def test_a_port_that_cannot_be_had_changes_nothing() -> None:
    platform = FakePlatform(taken={9, 10})
    old = prepared(Counting("old"))
    async with serving(platform, old) as server:
        with pytest.RaisesGroup(BindError, BindError):
            await server.replace(
                [prepared(Counting("new"), groups=["239.1.1.1"])]
                + [prepared(Counting("x"), f"x{port}", port=port) for port in (8, 9, 10)]
            )
        assert await ask(platform.sockets[0]) == ["old 1"]
        assert platform.sockets[1].closed
        assert [each.name for each in server.instances] == ["a"]
        assert not platform.sockets[0].joined


async def test_groups_follow(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared(Counting(), groups=["239.1.1.1"])) as server:
        joined = platform.sockets[0].joined
        assert {str(each.group) for each in joined} == {"239.1.1.1"}
        await server.replace([prepared(Counting(), groups=["239.1.1.2"], interfaces=["lan"])])
        assert joined == {Membership(next(iter(joined)).group, 2)}
        assert {str(each.group) for each in joined} == {"239.1.1.2"}
        await server.replace([])
        assert not joined


async def test_tcp_comes_and_goes() -> None:
    platform = FakePlatform()
    async with serving(platform, prepared(Counting())) as server:
        assert not platform.listeners
        await server.replace([prepared(Tcp())])
        (listener,) = platform.listeners
        await server.replace([prepared(Counting())])
        assert listener.closed
        assert not platform.sockets[0].closed


class TestAbandoned:
    async def test_what_was_opened_is_closed_and_nothing_has_changed(self) -> None:
        platform = FakePlatform()
        old = prepared(Counting("old"))
        async with serving(platform, old) as server:
            server.abandon(server.prepare([prepared(Tcp("new")), prepared(Counting("more"), "b", port=7008)]))
            kept, new = platform.sockets
            assert (kept.closed, new.closed, platform.listeners[0].closed) == (False, True, True)
            assert await ask(kept) == ["old 1"]
            # It can be had after all.
            await server.replace([prepared(Tcp("new"))])
            assert not platform.listeners[1].closed
            assert await ask(kept) == ["new 1"]

    async def test_a_port_that_gave_way_comes_back(self) -> None:
        platform = FakePlatform(exclusive=True)
        async with serving(platform, prepared(Counting("wide"))) as server:
            server.abandon(server.prepare([prepared(Counting("narrow"), listen=["10.71.0.2"])]))
            assert [socket.closed for socket in platform.sockets] == [True, True, False]
            assert await ask(platform.sockets[2]) == ["wide 1"]

    @pytest.mark.parametrize("wanted", [True, False])
    async def test_a_port_is_not_closed_while_it_may_be_wanted_again(
        self, wanted: bool, autojump_clock: MockClock
    ) -> None:
        platform = FakePlatform()
        stays = prepared(Counting("stays"), "b", port=7008)
        async with serving(platform, prepared(Counting("one")), stays) as server:
            await server.replace([stays])
            coming = server.prepare([stays, prepared(Counting("two"))])
            await trio.sleep(10)
            assert not platform.sockets[0].closed
            if wanted:
                server.commit(coming)
                assert await ask(platform.sockets[0]) == ["two 1"]
            else:
                server.abandon(coming)
                await trio.sleep(10)
                assert platform.sockets[0].closed


class TestFromTheWildcardToAddresses:
    async def test_the_old_socket_gives_way(self) -> None:
        platform = FakePlatform(exclusive=True)
        async with serving(platform, prepared(Counting("wide"))) as server:
            await server.replace([prepared(Counting("narrow"), listen=["10.71.0.2"])])
            wide, narrow = platform.sockets
            assert wide.closed
            assert await ask(narrow) == ["narrow 1"]

    async def test_and_comes_back_where_that_fails(self) -> None:
        platform = FakePlatform(exclusive=True, taken={9})
        wide = prepared(Counting("wide"))
        async with serving(platform, wide) as server:
            with pytest.RaisesGroup(BindError):
                await server.replace(
                    [prepared(Counting("narrow"), listen=["10.71.0.2"]), prepared(Counting(), "b", port=9)]
                )
            assert [socket.closed for socket in platform.sockets] == [True, True, False]
            assert await ask(platform.sockets[2]) == ["wide 1"]


@attrs.frozen
class Successor(Counting):
    """Goes on counting where the one that it replaces is; fails to where that one is of another plugin."""

    def succeed(self, predecessor: Handler) -> None:
        assert isinstance(predecessor, Counting)
        self.asked[0] = predecessor.asked[0]
        self.log.append(f"{self.word} succeeds {predecessor.word}")


@attrs.frozen
class Echoing(Plugin):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


async def test_a_handler_takes_over_before_it_is_asked_and_before_its_run_begins() -> None:
    log: list[str] = []
    platform = FakePlatform()
    async with serving(platform, prepared(Successor("old", log))) as server:
        assert await ask(platform.sockets[0], 2) == ["old 1", "old 2"]
        await server.replace([prepared(Successor("new", log))])
        assert await ask(platform.sockets[0]) == ["new 3"]
    assert log[:4] == ["old begins", "new succeeds old", "old ends: replaced", "new begins"]


async def test_one_that_fails_to_take_over_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared(Echoing())) as server:
        assert await ask(platform.sockets[0]) == ["x"]
        await server.replace([prepared(Successor("new"))])
        assert await ask(platform.sockets[0]) == ["new 1"]
    assert "succeed failed" in caplog.text
