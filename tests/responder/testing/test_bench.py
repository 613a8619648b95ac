"""`exchange` and `bench`: one plugin, one client."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import trio
import trio.testing
from responder_plugins.echo import Echo as TcpEcho

from responder import Answer, ConfigErrors, Context, Datagram, Handler, Network, Plugin, Service
from responder.testing import NoAnswer, bench, exchange, payloads
from tests.responder.testing.plugins import Converses, Drip, Echo, Late, Silent, Strict


@pytest.mark.parametrize("address", ["192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1"])
async def test_the_answer_comes_from_the_address_that_was_asked(address: str) -> None:
    (heard,) = await exchange(Echo(), b"hi", to=address)
    assert (heard.payload, str(heard.source.address), heard.source.port) == (b"hi", address, 7007)
    assert heard.interface.name == "eth0"


@pytest.mark.parametrize(
    ("group", "source"),
    [
        ("239.255.70.7", "192.0.2.1"),
        ("192.0.2.255", "192.0.2.1"),
        ("255.255.255.255", "192.0.2.1"),
        ("ff02::7007", "fe80::1"),
    ],
)
async def test_a_group_or_broadcast_is_answered_from_the_interface(
    group: str, source: str, autojump_clock: trio.testing.MockClock
) -> None:
    (heard,) = await exchange(Late(), b"hi", to=group, within=5)
    assert str(heard.source.address) == source


async def test_silence_is_an_empty_list() -> None:
    assert await exchange(Silent(), b"hi") == []


async def test_without_time_only_what_comes_at_once_is_heard(autojump_clock: trio.testing.MockClock) -> None:
    assert await exchange(Drip(), b"hi") == []
    assert payloads(await exchange(Drip(), b"hi", within=2.5)) == [b"\0", b"\1"]
    assert payloads(await exchange(Drip(), b"hi", within=3600)) == [b"\0", b"\1", b"\2"]


async def test_keys_of_the_instance_hold() -> None:
    assert await exchange(Echo(), b"hi", deny=["192.0.2.0/24"]) == []
    assert len(await exchange(Echo(), b"hi", port=0)) == 1
    with pytest.raises(ConfigErrors, match="did you mean"):
        await exchange(Echo(), b"hi", prot=7)


async def test_a_bench_counts_what_became_of_each() -> None:
    async with bench(Strict()) as at:
        await at.exchange(b"bad")
        await at.exchange(b"ok")
        at.spoof(b"ok", "239.0.0.1")
        at.spoof(b"ok", "10.0.0.1", source_port=0)
        await at.collect()
        # The answer goes to whom the request claims to be from, not to the client.
        at.spoof(b"ok", "192.0.2.200")
        assert await at.collect() == []
        assert at.outcomes() == {"malformed": 1, "answered": 2, "bad-source": 2}


async def test_state_is_kept_in_the_folder_that_was_given(tmp_path: Path) -> None:
    @attrs.frozen
    class Boots(Plugin):
        services: ClassVar = (Service(port=7007),)

        async def run(self, network: Network) -> None:
            file = network.state_dir / "boots"
            file.write_text(str(int(file.read_text()) + 1 if file.exists() else 1))

    for boots in ("1", "2"):
        async with bench(Boots(), state=tmp_path):
            assert (tmp_path / "boots" / "boots").read_text() == boots


async def test_what_an_earlier_run_left_is_there_when_a_plugin_prepares(tmp_path: Path) -> None:
    @attrs.frozen
    class Remembers(Plugin):
        services: ClassVar = (Service(port=7007),)

        def prepare(self, context: Context) -> Handler:
            assert context.state_dir is not None
            seen.append([file.name for file in context.state_dir.glob("*")])
            return self

        async def run(self, network: Network) -> None:
            (network.state_dir / "file").touch()

    seen: list[list[str]] = []
    for _ in range(2):
        async with bench(Remembers(), state=tmp_path):
            pass
    assert seen == [[], ["file"]]


async def test_threads_are_waited_for() -> None:
    @attrs.frozen
    class Blocking(Plugin):
        services: ClassVar = (Service(port=7007, blocking=True),)

        def respond(self, request: Datagram) -> Answer:
            return request.payload * 2

    assert payloads(await exchange(Blocking(), b"ab")) == [b"abab"]


async def test_ask_goes_to_the_service_that_is_named() -> None:
    @attrs.frozen
    class Two(Plugin):
        services: ClassVar = (Service(port=1, name="one"), Service(port=2, name="two"))

        def respond(self, request: Datagram) -> Answer:
            return request.service.encode()

    async with bench(Two()) as at:
        assert (await at.ask(b"", service="two")).payload == b"two"
        assert (await at.ask(b"", service="one")).payload == b"one"


async def test_a_connection_goes_to_the_service() -> None:
    async with bench(TcpEcho()) as at:
        stream = await at.connect("2001:db8::1")
        await stream.send_all(b"hello")
        await stream.send_eof()
        with trio.fail_after(5):
            assert await stream.receive_some() == b"hello"
        await stream.aclose()
    async with bench(Silent()) as at:
        with pytest.raises(ConnectionRefusedError):
            await at.connect()


async def test_a_client_follows_the_answer_to_its_new_port(autojump_clock: trio.testing.MockClock) -> None:
    async with bench(Converses()) as at:
        conversation = await at.begin(b"read", "192.0.2.2")
        assert conversation.first.payload == b"ready"
        assert (str(conversation.peer.address), conversation.peer.port != 7007) == ("192.0.2.2", True)
        stranger = at.client.host.client()
        await stranger.send(b"stranger", "192.0.2.9", at.client.port)
        assert (await conversation.ask(b"mine")).payload == b"got mine"
        assert [heard.payload for heard in at.client.strangers] == [b"stranger"]
        with pytest.raises(NoAnswer, match=f"no answer from 192.0.2.2:{conversation.peer.port} within 3"):
            await conversation.receive(within=3)


async def test_a_conversation_speaks_from_the_asked_address_and_a_port_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bench(Converses()) as at:
        (first,) = await at.exchange(b"read", "192.0.2.2")
        assert (first.payload, str(first.source.address)) == (b"ready", "192.0.2.2")
        assert first.source.port != 7007
        # A stranger who guesses the port is not heard.
        stranger = at.client.host.client()
        await stranger.send(b"stranger", "192.0.2.2", first.source.port)
        await at.client.send(b"mine", "192.0.2.2", first.source.port)
        (second,) = await at.collect(1)
        assert (second.payload, second.source) == (b"got mine", first.source)
        assert stranger.heard() == []
