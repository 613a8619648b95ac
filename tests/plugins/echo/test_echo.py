"""Echo: what comes goes back, except to those who would answer it again."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.echo import Echo

from responder import Connection, Datagram, Interface, Peer

LINK = Interface(2, "link1", addresses=())


def request(payload: bytes = b"hello", *, peer_port: int = 40000, port: int = 7) -> Datagram:
    return Datagram(payload, Peer("192.0.2.77", peer_port), "192.0.2.1", LINK, port=port)


@given(st.binary(max_size=65507))
def test_gives_the_payload_back(payload: bytes) -> None:
    assert Echo().respond(request(payload)) == payload


def test_answers_an_empty_datagram() -> None:
    assert Echo().respond(request(b"")) == b""


@pytest.mark.parametrize("peer_port", [7, 13, 17, 19, 37])
def test_is_silent_to_services_that_answer_whatever_they_get(peer_port: int) -> None:
    assert Echo().respond(request(peer_port=peer_port, port=7007)) is None


def test_is_silent_to_its_own_port() -> None:
    assert Echo().respond(request(peer_port=7007, port=7007)) is None
    assert Echo().respond(request(peer_port=7008, port=7007)) == b"hello"


def connection(stream: trio.abc.HalfCloseableStream) -> Connection:
    peer = Peer("192.0.2.77", 40000)
    return Connection(
        stream=stream, peer=peer, destination=LINK, interface=LINK, service="default", port=7, arrival=0.0
    )


async def test_echoes_a_connection_until_the_client_has_sent_all() -> None:
    client, server = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Echo().converse, connection(server))
            await client.send_all(b"one")
            assert await client.receive_some() == b"one"
            await client.send_all(b"two")
            assert await client.receive_some() == b"two"
            await client.send_eof()


async def test_leaves_an_idle_connection(autojump_clock: trio.testing.MockClock) -> None:
    _client, server = trio.testing.memory_stream_pair()
    await Echo().converse(connection(server))
    assert trio.current_time() == pytest.approx(60)


async def test_leaves_a_client_that_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"never read back")
        await Echo().converse(connection(server))
    assert trio.current_time() == pytest.approx(60)
