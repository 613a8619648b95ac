"""Which ports are opened, all or none, and TCP connections; on a fake platform."""

from __future__ import annotations

import logging
import socket as stdlib_socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import PASS, BindError, ConfigError, Connection, Context, Pass, Plugin, Service
from responder.config.instance import Instance, Prepared, prepare
from responder.dispatch import outcomes
from responder.net.types import Accepted, Flow, Membership
from responder.server.interfaces import RESCAN_INTERVAL
from responder.server.ports import plan
from responder.server.server import ServerCore, open_server
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, FakeReceived, flow


@attrs.frozen
class Plain(Plugin):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)


@attrs.frozen
class Grouped(Plugin):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, groups=["239.255.70.7", "ff02::7007"], shared=True),)


@attrs.frozen
class Stream(Plugin):
    """Says which instance has the connection, and echoes."""

    word: str = "stream"
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, tcp=True),)

    async def converse(self, connection: Connection) -> Pass | None:
        if self.word == "pass":
            return PASS
        if self.word == "crash":
            raise RuntimeError("broken")
        if self.word == "reset":  # as a plugin with tasks of its own meets it
            raise BaseExceptionGroup("", [trio.BrokenResourceError(), ConnectionResetError()])
        stream = connection.stream
        await stream.send_all(
            f"{self.word} {connection.destination} {connection.interface} {connection.peer} ".encode()
        )
        while data := await stream.receive_some(100):  # type: ignore[attr-defined] # trio's SocketStream
            await stream.send_all(data)
        return None


@attrs.frozen
class Near(Stream):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, tcp=True, tcp_hop_limit=7),)


@attrs.frozen
class Nearest(Stream):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, tcp=True, tcp_hop_limit=1),)


@attrs.frozen
class Warned(Plain):
    """Is served without something, and but something, each time it is prepared."""

    word: str = "first"

    def prepare(self, context: Context) -> Plugin:
        context.complain(ConfigError(f"{self.word} lacks"))
        context.warn(ConfigError(f"{self.word} warns"))
        return self


def numbers(*instances: Instance) -> list[tuple[object, str, int]]:
    return [(number, str(address), len(port.users)) for (number, address), port in plan(instances).items()]


class TestPlan:
    def test_one_number_is_one_port(self) -> None:
        assert numbers(Instance.of(Plain(), "a"), Instance.of(Plain(), "b"), Instance.of(Plain(), "c", port=9)) == [
            (7007, "None", 2),
            (9, "None", 1),
        ]

    def test_each_port_zero_is_its_own(self) -> None:
        assert numbers(Instance.of(Plain(), "a", port=0), Instance.of(Plain(), "b", port=0)) == [
            (("a", "default"), "None", 1),
            (("b", "default"), "None", 1),
        ]

    def test_listen_binds_addresses_unless_somebody_wants_all(self) -> None:
        narrow = Instance.of(Plain(), "a", listen=["10.71.0.1", "fd71::1"])
        other = Instance.of(Plain(), "b", listen=["10.71.0.1", "10.72.0.1"])
        assert numbers(narrow, other) == [(7007, "10.71.0.1", 2), (7007, "fd71::1", 1), (7007, "10.72.0.1", 1)]
        assert numbers(narrow, Instance.of(Plain(), "c")) == [(7007, "None", 2)]


@asynccontextmanager
async def opened(platform: FakePlatform, *instances: Instance) -> AsyncIterator[ServerCore]:
    async with (
        open_server([Prepared(instance, instance.plugin) for instance in instances], platform=platform) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield server
        server.stop()


class TestOpening:
    async def test_all_ports_or_none(self) -> None:
        platform = FakePlatform(taken={9, 11}, tcp_taken={12})
        instances = [Instance.of(Stream(), f"i{port}", port=port) for port in (8, 9, 10, 11, 12)]
        with pytest.RaisesGroup(BindError, BindError, BindError) as caught:
            async with opened(platform, *instances):
                pytest.fail("opened")
        assert sorted(error.port for error in caught.value.exceptions) == [9, 11, 12]
        assert all(socket.closed for socket in platform.sockets)
        assert all(listener.closed for listener in platform.listeners)

    async def test_the_chosen_port_is_told_and_is_the_same_for_tcp_and_each_address(self) -> None:
        platform = FakePlatform()
        instance = Instance.of(Stream(), port=0, listen=["10.71.0.1", "10.72.0.1"])
        async with opened(platform, instance) as server:
            port = server.port()
            assert port == server.port("stream") > 0
            assert [each.port for each in (*platform.sockets, *platform.listeners)] == [port] * 4
            with pytest.raises(ValueError, match="no instance 'x'"):
                server.port("x")

    async def test_a_chosen_port_that_tcp_cannot_have_is_chosen_again(self) -> None:
        platform = FakePlatform(tcp_taken={50001, 50002})
        async with opened(platform, Instance.of(Stream(), port=0)) as server:
            assert server.port() == 50003

    async def test_the_least_hop_limit_of_a_tcp_port_holds(self) -> None:
        instances = [Instance.of(plugin, f"i{number}") for number, plugin in enumerate((Stream(), Near(), Nearest()))]
        for count, hop_limit in ((1, None), (2, 7), (3, 1)):
            platform = FakePlatform()
            async with opened(platform, *instances[:count]):
                assert [listener.hop_limit for listener in platform.listeners] == [hop_limit]

    async def test_everything_is_closed_at_the_end(self) -> None:
        platform = FakePlatform()
        async with opened(platform, Instance.of(Stream())):
            pass
        assert platform.sockets[0].closed
        assert platform.listeners[0].closed

    async def test_a_listen_address_with_an_unknown_scope(self) -> None:
        with pytest.RaisesGroup(pytest.RaisesExc(BindError, match="no interface eth77")):
            async with opened(FakePlatform(), Instance.of(Plain(), listen=["fe80::1%eth77"])):
                pytest.fail("opened")


class TestGroups:
    async def test_are_joined_on_the_instances_interfaces(self) -> None:
        platform = FakePlatform()
        async with opened(platform, Instance.of(Grouped(), interfaces=["lan"])):
            assert platform.sockets[0].shared
            assert platform.sockets[0].joined == {
                Membership(ip_address("239.255.70.7"), LAN.index),
                Membership(ip_address("ff02::7007"), LAN.index),
            }

    async def test_follow_the_interface_table(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform(tables=[(LOOPBACK, LAN), (LOOPBACK, GUEST)])
        async with opened(platform, Instance.of(Grouped())):
            assert {each.interface for each in platform.sockets[0].joined} == {LAN.index}
            await trio.sleep(RESCAN_INTERVAL + 1)
            assert {each.interface for each in platform.sockets[0].joined} == {GUEST.index}


class TestConnections:
    async def connect(self, platform: FakePlatform, way: Flow | None = None) -> tuple[trio.SocketStream, Accepted]:
        near, far = stdlib_socket.socketpair()
        client = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        accepted = Accepted(trio.SocketStream(trio.socket.from_stdlib_socket(far)), way or flow(), 4711)
        platform.listeners[0].connect(accepted)
        return client, accepted

    async def said(self, client: trio.SocketStream) -> bytes:
        with trio.fail_after(5):
            return bytes(await client.receive_some(1000))

    async def test_are_handed_out_in_config_order(self) -> None:
        platform = FakePlatform()
        first = Instance.of(Stream("pass"), "first")
        guests = Instance.of(Stream("guests"), "guests", interfaces=["guest*"])
        others = Instance.of(Stream("others"), "others")
        async with opened(platform, first, guests, others) as server:
            client, _ = await self.connect(platform)
            assert await self.said(client) == b"others 10.71.0.2 lan 10.71.0.9:4711 "
            guest, _ = await self.connect(platform, flow("10.72.0.9", "10.72.0.1", 3))
            assert await self.said(guest) == b"guests 10.72.0.1 guest0 10.72.0.9:4711 "
            for stream in (client, guest):
                await stream.send_all(b"x")
                assert await self.said(stream) == b"x"
                await stream.aclose()
            await wait_all_tasks_blocked()
            assert server.counters.total(outcomes.CONNECTED) == 2

    async def test_refused_ones_are_closed(self) -> None:
        platform = FakePlatform()
        async with opened(platform, Instance.of(Stream(), deny=["10.71.0.0/24"])) as server:
            client, _ = await self.connect(platform)
            assert await self.said(client) == b""
            await client.aclose()
            assert server.counters.total(outcomes.DENIED) == 1

    async def test_are_bounded(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        async with opened(platform, Instance.of(Stream(), max_connections=2)) as server:
            clients = []
            for _ in range(3):
                clients.append((await self.connect(platform))[0])
                await trio.sleep(1)
            assert server.counters.total(outcomes.BUSY) == 1
            # The first has been silent for longest, and gave way.
            assert await self.said(clients[0]) != b""
            assert await self.said(clients[0]) == b""
            await clients[2].send_all(b"still here")
            assert (await self.said(clients[2])).startswith(b"stream ")
            for client in clients:
                await client.aclose()

    async def test_a_reset_by_the_peer_is_no_crash(self, caplog: pytest.LogCaptureFixture) -> None:
        platform = FakePlatform()
        async with opened(platform, Instance.of(Stream("reset"))) as server:
            client, _ = await self.connect(platform)
            assert await self.said(client) == b""
            await client.aclose()
            await wait_all_tasks_blocked()
            assert (server.counters.total(outcomes.CONNECTED), server.counters.total(outcomes.CRASHED)) == (1, 0)
        assert "converse failed" not in caplog.text

    async def test_a_crash_loses_one(self, caplog: pytest.LogCaptureFixture) -> None:
        platform = FakePlatform()
        async with opened(platform, Instance.of(Stream("crash"))) as server:
            for _ in range(3):
                client, _ = await self.connect(platform)
                assert await self.said(client) == b""
                await client.aclose()
            await wait_all_tasks_blocked()
            assert server.counters.total(outcomes.CRASHED) == 3
        assert caplog.text.count("converse failed") == 1


async def test_interfaces_that_are_gone_for_an_hour_are_counted_together(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    async with opened(platform, Instance.of(Plain())) as server:
        socket = platform.sockets[0]
        for way in (flow(), flow("10.72.0.9", "10.72.0.1", interface=3)):
            socket.deliver(FakeReceived(b"x", way))
        await wait_all_tasks_blocked()
        before = server.counters.snapshot()["plain"]
        assert set(before) == {"lan", "guest0"}
        platform.watch.remove(3)
        await trio.sleep(3500)
        assert server.counters.snapshot()["plain"] == before
        await trio.sleep(200)
        assert server.counters.snapshot()["plain"] == {"lan": before["lan"], "other": before["guest0"]}


async def test_what_an_instance_is_served_without_or_but_is_logged_when_it_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def messages() -> list[str]:
        found = [each.getMessage() for each in caplog.records if each.getMessage().startswith("served")]
        caplog.clear()
        return found

    first, second = (prepare(Instance.of(Warned(word))) for word in ("first", "second"))
    with caplog.at_level(logging.WARNING):
        async with open_server([first], platform=FakePlatform()) as server, trio.open_nursery() as nursery:
            assert messages() == []
            nursery.start_soon(server.run)
            await wait_all_tasks_blocked()
            assert messages() == [
                "served without plugin=warned reason=plugins.warned: first lacks",
                "served, but plugin=warned reason=plugins.warned: first warns",
            ]
            await server.replace([second])
            await wait_all_tasks_blocked()
            assert [message.partition("plugins.")[2] for message in messages()] == [
                "warned: second lacks",
                "warned: second warns",
            ]
            await server.replace([second])
            await wait_all_tasks_blocked()
            assert messages() == []
            server.stop()
