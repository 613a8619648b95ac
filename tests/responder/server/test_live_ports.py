"""Ports that serve: one whose socket fails for good is opened again; each socket joins the groups of its own family."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import Answer, Connection, Datagram, NetworkError, Pass, Plugin, SendError, Service
from responder.config.instance import Instance, Prepared
from responder.daemon.recent_errors import RecentErrors
from responder.daemon.status import About, take
from responder.net.types import Accepted, Platform, Route
from responder.net.windows.udp import ABI
from responder.net.windows.winsock_types import IPPROTO_IP, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, MCAST_JOIN_GROUP
from responder.server.server import ServerCore, open_server
from responder.server.supervisor import FIRST_DELAY, LAST_DELAY
from tests.fakes import LAN, FakeListener, FakePlatform, FakeReceived, FakeSocket, flow
from tests.responder.net.windows.fake_winsock import WSAEWOULDBLOCK, Arrived, sender, winsock_error
from tests.responder.net.windows.windows_host import LINK, PEER4, Host, pktinfo4

JOINS = {(IPPROTO_IP, MCAST_JOIN_GROUP), (IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP)}
GROUPS = ["239.255.70.7", "ff02::7007"]


@attrs.frozen
class Talker(Plugin):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, tcp=True),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class UdpAlone(Talker):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007),)


@asynccontextmanager
async def serving(platform: Platform, *instances: Prepared) -> AsyncIterator[ServerCore]:
    async with open_server(instances, platform=platform) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield server
        server.stop()


def prepared(name: str = "a", **keys: object) -> Prepared:
    plugin = Talker()
    return Prepared(Instance.of(plugin, name, **keys), plugin)


async def ask(socket: FakeSocket) -> list[bytes]:
    before = len(socket.sent)
    socket.deliver(FakeReceived(b"hello", flow()))
    await wait_all_tasks_blocked()
    return [message.payload for message in socket.sent[before:]]


def gone() -> NetworkError:
    return NetworkError(errno.ENOTSOCK, "the socket is none any more")


async def test_a_port_that_ended_is_opened_again(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared(groups=GROUPS), prepared("b", port=7008)) as server:
        dead, other = platform.sockets
        dead.fail(gone())
        await wait_all_tasks_blocked()
        assert server.failed
        assert dead.closed
        assert not dead.joined
        assert await ask(other) == [b"hello"]  # the others go on
        await trio.sleep(FIRST_DELAY + 0.5)
        assert not server.failed
        assert "a port can no longer receive" in caplog.text
        *_, new = platform.sockets
        assert (new.port, new.closed) == (7007, False)
        assert await ask(new) == [b"hello"]
        assert {str(membership.group) for membership in new.joined} == set(GROUPS)
        # Its TCP side goes on, and what the instance sends goes by the new socket.
        assert [listener.closed for listener in platform.listeners] == [False, False]
        assert server.instances[0].ports["default"][0].socket is new
    assert all(socket.closed for socket in platform.sockets)


async def test_windows_says_that_it_is_no_socket_any_more(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, from the code at the foreign-function border: all that is asked of the dead socket is refused."""
    host = Host()
    host.table = [attrs.evolve(LINK, flags=LAN.flags)]
    lot = trio.lowlevel.ParkingLot()

    async def readable(_sock: object) -> None:
        await trio.lowlevel.checkpoint()
        while not host.winsock.arrivals:
            await lot.park()

    monkeypatch.setattr(trio.lowlevel, "wait_readable", readable)
    monkeypatch.setattr(trio.lowlevel, "notify_closing", lambda _sock: None)
    plugin = UdpAlone()
    async with serving(host, Prepared(Instance.of(plugin, "a", groups=GROUPS), plugin)) as server:
        (dead,) = host.sockets
        joined = [entry for entry in dead.log if entry[1:3] in JOINS]
        assert len(joined) == len(GROUPS)
        host.winsock.arrivals.append(10038)
        dead.dead = True
        lot.unpark_all()
        await wait_all_tasks_blocked()
        assert (server.failed, dead.closed) == (True, 1)
        await trio.sleep(FIRST_DELAY + 0.5)
        assert not server.failed
        host.winsock.arrivals.append(Arrived(b"hello", sender(PEER4), ABI.encode([pktinfo4("10.71.0.1", 3)])))
        lot.unpark_all()
        await wait_all_tasks_blocked()
        assert [sent.payload for sent in host.winsock.sent] == [b"hello"]
        assert [entry for entry in host.sockets[-1].log if entry[1:3] in JOINS] == joined


async def test_a_port_of_the_systems_choice_keeps_its_number(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared(port=0)) as server:
        number = server.port()
        platform.sockets[0].fail(gone())
        await trio.sleep(FIRST_DELAY + 0.5)
        assert server.port() == platform.sockets[1].port == number
        assert await ask(platform.sockets[1]) == [b"hello"]


async def test_it_is_tried_again_with_growing_delays(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared()) as server:
        platform.taken.add(7007)
        platform.sockets[0].fail(gone())
        await trio.sleep(FIRST_DELAY + 2 * FIRST_DELAY + 0.5)
        platform.taken.clear()
        await trio.sleep(4 * FIRST_DELAY - 1)
        assert server.failed
        await trio.sleep(1)
        assert not server.failed
        # One that fails at once again is not opened in a tight loop either.
        platform.sockets[-1].fail(gone())
        await trio.sleep(LAST_DELAY / 2)
        assert not server.failed


async def test_a_reload_opens_it_at_once(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    stays = prepared()
    async with serving(platform, stays) as server:
        platform.taken.add(7007)
        platform.sockets[0].fail(gone())
        await trio.sleep(10 * LAST_DELAY + 1)
        assert server.failed
        platform.taken.clear()
        await server.replace([stays])
        await wait_all_tasks_blocked()
        assert not server.failed
        assert await ask(platform.sockets[-1]) == [b"hello"]


async def test_a_reload_may_take_it_away(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    other = prepared("b", port=7008)
    async with serving(platform, prepared(), other) as server:
        platform.sockets[0].fail(gone())
        await wait_all_tasks_blocked()
        await server.replace([other])
        await trio.sleep(10 * LAST_DELAY)
        assert not server.failed
        assert [socket.port for socket in platform.sockets] == [7007, 7008]


async def test_it_is_wanted_again_before_it_was_closed(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    one, other = prepared(), prepared("b", port=7008)
    async with serving(platform, one, other) as server:
        platform.sockets[0].fail(gone())
        await wait_all_tasks_blocked()
        await server.replace([other])
        await server.replace([prepared(), other])
        await trio.sleep(10)
        assert await ask(platform.sockets[-1]) == [b"hello"]
        assert not server.failed


async def test_a_stop_does_not_wait_for_it(autojump_clock: MockClock) -> None:
    platform = FakePlatform(taken=set())
    async with serving(platform, prepared()) as server:
        platform.taken.add(7007)
        platform.sockets[0].fail(gone())
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert server.failed
    assert trio.current_time() - began < 1


class TestTcp:
    """A listener that ended is opened again too; a UDP port beside it goes on."""

    async def connected(self, listener: FakeListener) -> bytes:
        near, far = trio.socket.socketpair()
        listener.connect(Accepted(trio.SocketStream(far), flow(), 40000))
        async with trio.SocketStream(near) as stream:
            return bytes(await stream.receive_some())

    async def test_it_is_opened_again(self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
        platform, alone = FakePlatform(), TcpAlone()
        async with serving(platform, Prepared(Instance.of(alone, "a"), alone), prepared("b", port=7008)) as server:
            platform.listeners[0].fail(gone())
            await wait_all_tasks_blocked()
            assert (server.failed, platform.listeners[0].closed) == (True, True)
            assert await ask(platform.sockets[0]) == [b"hello"]
            await trio.sleep(FIRST_DELAY + 0.5)
            assert not server.failed
            new = platform.listeners[-1]
            assert (new.port, new.hop_limit, new.closed) == (7007, 1, False)
            assert await self.connected(new) == b"tcp"
        assert platform.listeners[-1].closed
        assert "a port can no longer accept connections" in caplog.text

    async def test_with_growing_delays_or_at_once_by_a_reload(self, autojump_clock: MockClock) -> None:
        platform, alone = FakePlatform(), TcpAlone()
        stays = Prepared(Instance.of(alone, "a"), alone)
        async with serving(platform, stays) as server:
            platform.tcp_taken.add(7007)
            platform.listeners[0].fail(gone())
            await trio.sleep(FIRST_DELAY + 2 * FIRST_DELAY + 0.5)
            platform.tcp_taken.clear()
            await trio.sleep(4 * FIRST_DELAY - 1)
            assert server.failed
            await server.replace([stays])
            await wait_all_tasks_blocked()
            assert not server.failed
            assert await self.connected(platform.listeners[-1]) == b"tcp"

    async def test_a_stop_does_not_wait_for_it(self, autojump_clock: MockClock) -> None:
        platform, alone = FakePlatform(), TcpAlone()
        async with serving(platform, Prepared(Instance.of(alone, "a"), alone)):
            platform.tcp_taken.add(7007)
            platform.listeners[0].fail(gone())
            await wait_all_tasks_blocked()
            began = trio.current_time()
        assert trio.current_time() - began < FIRST_DELAY

    async def test_a_reload_may_take_it_away(self, autojump_clock: MockClock) -> None:
        platform, alone, other = FakePlatform(), TcpAlone(), prepared("b", port=7008)
        async with serving(platform, Prepared(Instance.of(alone, "a"), alone), other) as server:
            platform.listeners[0].fail(gone())
            await wait_all_tasks_blocked()
            await server.replace([other])
            await trio.sleep(10 * LAST_DELAY)
            assert [listener.port for listener in platform.listeners] == [7007, 7008]
            assert not server.failed


async def test_where_memory_to_wait_is_short_it_waits_and_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared()) as server:
        platform.sockets[0].fail_waits(*[OSError(errno.ENOMEM, "no memory")] * 3)
        await trio.sleep(1)
        assert await ask(platform.sockets[0]) == [b"hello"]
        assert take(server, About("", RecentErrors())).ports[0].events == {"failed-waits": 3}
        assert not server.failed
    assert len(platform.sockets) == 1
    assert caplog.text.count("a wait failed, and is tried again name=UDP port 7007 reason=no memory") == 1


async def test_whatever_else_waiting_raises_ends_the_socket_alone(autojump_clock: MockClock) -> None:
    platform = FakePlatform()
    async with serving(platform, prepared()) as server:
        platform.sockets[0].fail_waits(OSError(errno.EBADF, "bad descriptor"))
        await trio.sleep(FIRST_DELAY + 0.5)
        assert platform.sockets[0].closed
        assert await ask(platform.sockets[-1]) == [b"hello"]
        assert not server.failed


async def test_where_room_can_not_be_waited_for_the_answer_is_tried_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows' own socket: it has no room, and waiting for room is refused (WSAENOBUFS)."""
    host, plugin = Host(), UdpAlone()

    async def readable(_sock: object) -> None:
        await trio.sleep(0 if host.winsock.arrivals else 0.001)

    async def writable(_sock: object) -> None:
        raise winsock_error(10055)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", readable)
    monkeypatch.setattr(trio.lowlevel, "wait_writable", writable)
    monkeypatch.setattr(trio.lowlevel, "notify_closing", lambda _sock: None)
    async with serving(host, Prepared(Instance.of(plugin, "a"), plugin)) as server:
        host.winsock.answers.extend([WSAEWOULDBLOCK] * 3)
        host.winsock.arrivals.append(Arrived(b"hello", sender(PEER4), ABI.encode([pktinfo4("10.71.0.1", 3)])))
        await trio.sleep(0.5)
        # By the batch, before the wait and by the first retry it had no room.
        assert len(host.winsock.sent) == 4
        assert server.counters.counts("a", "Ethernet")["answered"] == 1
        assert not server.failed


@pytest.mark.parametrize(
    ("listen", "groups"),
    [
        ([], [GROUPS]),
        (["10.71.0.1"], [GROUPS[:1]]),
        (["fd71::1"], [GROUPS[1:]]),
        (["10.71.0.1", "fd71::1"], [GROUPS[:1], GROUPS[1:]]),
    ],
)
async def test_a_socket_joins_the_groups_of_its_own_family(listen: list[str], groups: list[list[str]]) -> None:
    """A config has no groups beside `listen`, but an embedding program's instance may."""
    platform, instance = FakePlatform(), prepared(groups=GROUPS)
    addresses = tuple(map(ip_address, listen))
    async with serving(platform, attrs.evolve(instance, instance=attrs.evolve(instance.instance, listen=addresses))):
        joined = [{str(membership.group) for membership in socket.joined} for socket in platform.sockets]
        assert joined == list(map(set, groups))


@attrs.frozen
class TcpAlone(Plugin):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, udp=False, tcp=True, tcp_hop_limit=1),)

    async def converse(self, connection: Connection) -> Pass | None:
        await connection.stream.send_all(b"tcp")
        return None


class TestWithoutUdp:
    async def test_only_tcp_is_bound(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        alone = TcpAlone()
        async with serving(platform, Prepared(Instance.of(alone, "a"), alone)) as server:
            assert [listener.port for listener in platform.listeners] == [7007]
            assert platform.sockets == []
            assert server.port("a") == 7007
            (port,) = take(server, About("", RecentErrors())).ports
            assert (port.number, port.transports, port.plugins) == (7007, ("tcp",), ("a",))
            assert not server.failed
        assert platform.listeners[0].closed

    async def test_the_system_may_choose_its_number(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        alone = TcpAlone()
        async with serving(platform, Prepared(Instance.of(alone, "a", port=0), alone)) as server:
            assert server.port("a") == platform.listeners[0].port > 0

    async def test_datagrams_to_the_same_number_are_others(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        alone = TcpAlone()
        async with serving(platform, Prepared(Instance.of(alone, "a"), alone), prepared("b")) as server:
            (socket,) = platform.sockets
            assert await ask(socket) == [b"hello"]
            assert not any(server.counters.counts("a", "lan").values())

    async def test_udp_comes_and_goes(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        alone = TcpAlone()
        first = Prepared(Instance.of(alone, "a"), alone)
        async with serving(platform, first) as server:
            await server.replace([first, prepared("b")])
            (socket,) = platform.sockets
            assert [listener.closed for listener in platform.listeners] == [True, False]
            assert await ask(socket) == [b"hello"]
            await server.replace([first])
            assert socket.closed
            assert [listener.closed for listener in platform.listeners] == [True, True, False]
            server.abandon(server.prepare([first, prepared("b")]))
            assert [listener.closed for listener in platform.listeners] == [True, True, True, True, False]
            assert platform.sockets[-1].closed

    async def test_it_sends_no_datagram(self, autojump_clock: MockClock) -> None:
        platform = FakePlatform()
        alone = TcpAlone()
        async with serving(platform, Prepared(Instance.of(alone, "a"), alone)) as server:
            (port,) = server.instances[0].ports["default"]
            with pytest.raises(SendError, match="port 7007 has no UDP"):
                port.socket.send([(b"x", Route(ip_address("192.0.2.1")), 7)])
