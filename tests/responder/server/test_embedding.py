"""`serve`: the framework in a program of one's own."""

from __future__ import annotations

import socket
from typing import ClassVar

import attrs
import pytest
import trio
import trio.testing
from responder_plugins.echo import Echo
from responder_plugins.whoami import Whoami

from responder import ConfigErrors, Network, Plugin, Service, serve
from responder.config.instance import Instance
from responder.testing import FakeHost, FakeNetwork


@pytest.fixture
def host(fake_network: FakeNetwork) -> FakeHost:
    host = fake_network.host("host")
    host.attach(fake_network.link("eth0"), "192.0.2.1/24")
    return host


async def test_it_serves_on_this_machine_while_the_context_is_open() -> None:
    with trio.fail_after(20):
        async with serve(Echo(), port=0, listen=["127.0.0.1"]) as server:
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                await client.connect(("127.0.0.1", server.port()))
                await client.send(b"hello")
                assert await client.recv(100) == b"hello"


async def test_several_plugins_are_given_as_instances(host: FakeHost) -> None:
    async with serve(Instance.of(Echo(), port=7), Instance.of(Whoami(), port=53), platform=host) as server:
        assert (server.port("echo"), server.port("whoami")) == (7, 53)
    with pytest.raises(TypeError, match=r"port: for one plugin only"):
        async with serve(Echo(), Whoami(), port=7):
            pass


async def test_the_server_shows_ports_and_counts(host: FakeHost) -> None:
    async with serve(Echo(), port=7, platform=host) as server:
        assert server.ready.is_set()
        assert server.numbers() == {"echo": 7}
        assert server.counts() == {}
        await host.client().ask(b"x", "192.0.2.1", 7)
        assert server.counts() == {"echo": {"lo": {"answered": 1}}}


async def test_plugins_are_replaced(host: FakeHost) -> None:
    async with serve(Echo(), port=7, platform=host) as server:
        with pytest.raises(ConfigErrors):
            await server.replace(Echo(), prot=8)
        await server.replace(Instance.of(Echo(), port=7), Instance.of(Echo(), "other", port=8))
        assert server.numbers() == {"echo": 7, "other": 8}
        assert (await host.client().ask(b"x", "192.0.2.1", 8)).payload == b"x"


async def test_stopping_ends_the_service_and_the_context_waits_for_it(host: FakeHost) -> None:
    async with serve(Echo(), port=7, platform=host) as server:
        server.stop()
    host.open_udp(7)


async def test_mistakes_are_told_by_their_path(host: FakeHost) -> None:
    with pytest.raises(ConfigErrors, match=r"plugins\.echo\.prot: unknown key"):
        async with serve(Echo(), prot=7, platform=host):
            pass


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(host: FakeHost) -> None:
    taken = host.open_udp(7)
    with pytest.raises(ExceptionGroup, match="ports can't be had"):
        async with serve(Instance.of(Echo(), port=8, name="first"), Instance.of(Echo(), port=7), platform=host):
            pass
    taken.close()
    host.open_udp(8)


@attrs.frozen
class Goodbye(Plugin):
    """Says what happens to it."""

    said: list[str] = attrs.field(factory=list)

    services: ClassVar = (Service(port=7007),)

    async def run(self, network: Network) -> None:
        self.said.append("hello")
        await network.stopping.wait()
        await trio.sleep(1)
        self.said.append("bye")


async def test_leaving_waits_for_goodbyes(host: FakeHost, autojump_clock: trio.testing.MockClock) -> None:
    plugin = Goodbye()
    async with host.serve(plugin):
        await trio.testing.wait_all_tasks_blocked()
        assert plugin.said == ["hello"]
    assert plugin.said == ["hello", "bye"]
    assert trio.current_time() == 1


async def test_an_exception_of_the_body_comes_out_as_it_is_after_the_goodbyes(
    host: FakeHost, autojump_clock: trio.testing.MockClock
) -> None:
    plugin = Goodbye()

    async def program() -> None:
        async with host.serve(plugin):
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await program()
    assert plugin.said == ["hello", "bye"]


async def test_cancelling_the_body_ends_it_at_once(host: FakeHost, autojump_clock: trio.testing.MockClock) -> None:
    plugin = Goodbye()
    with trio.move_on_after(5) as scope:
        async with host.serve(plugin):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert (plugin.said, trio.current_time()) == (["hello"], 5)
    host.open_udp(7007)


async def test_goodbyes_end_with_the_grace_period(host: FakeHost, autojump_clock: trio.testing.MockClock) -> None:
    plugin = Goodbye()
    async with host.serve(plugin, grace=0.5):
        await trio.testing.wait_all_tasks_blocked()
    assert (plugin.said, trio.current_time()) == (["hello"], 0.5)
