"""`loopback`: one plugin on real sockets."""

from __future__ import annotations

import itertools
import socket
from typing import ClassVar

import attrs
import pytest

from responder import Answer, Connection, Datagram, Plugin, Service
from responder.testing import NoAnswer, loopback
from tests.responder.testing.plugins import Echo, Late, Silent


@attrs.frozen
class Two(Plugin):
    """Says which service was asked, or fails."""

    services: ClassVar = (Service(port=53, name="one", groups=["239.255.70.7"]), Service(port=123, name="two"))

    def respond(self, request: Datagram) -> Answer:
        if not request.payload:
            raise LookupError("nothing")
        return f"{request.service} at {request.destination}".encode()


async def test_it_answers_at_a_free_port_of_the_loopback_address(loopback_address: str) -> None:
    async with loopback(Echo(), address=loopback_address) as at:
        assert at.port() not in (0, 7007)
        assert await at.ask(b"hi") == b"hi"
    with socket.socket(socket.AF_INET6 if ":" in loopback_address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((loopback_address, at.port()))  # it is free again


@attrs.frozen
class Counting(Plugin):
    """Counts in a conversation what it hears there, until that is empty; by TCP it says "hello"."""

    services: ClassVar = (Service(port=69, tcp=True),)

    async def respond(self, request: Datagram) -> None:
        async with request.conversation() as conversation:
            await conversation.send(b"0")
            for number in itertools.count(1):
                heard = await conversation.receive()
                if heard == b"fail":
                    raise LookupError("told to")
                if not heard:
                    break
                await conversation.send(b"%d" % number)

    async def converse(self, connection: Connection) -> None:
        await connection.stream.send_all(b"hello")


async def test_a_conversation_goes_on_with_the_port_that_answers(loopback_address: str) -> None:
    async with loopback(Counting(), address=loopback_address) as at:
        one, other = await at.begin(b"go"), await at.begin(b"go")
        assert len({at.port(), one.peer.port, other.peer.port}) == 3
        assert (one.first, one.peer.address) == (b"0", at.address)
        assert [await one.ask(b"x") for _ in range(3)] == [b"1", b"2", b"3"]
        assert await other.ask(b"x") == b"1"
        await one.send(b"")
        with pytest.raises(NoAnswer, match=rf"port {one.peer.port} within"):
            await one.receive(within=0.01)
        await other.send(b"")


async def test_a_conversation_hears_no_stranger(loopback_address: str) -> None:
    family = socket.AF_INET6 if ":" in loopback_address else socket.AF_INET
    async with loopback(Counting(), address=loopback_address) as at:
        conversation = await at.begin(b"go")
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"strange", (loopback_address, conversation._socket.getsockname()[1]))
        assert await conversation.ask(b"x") == b"1"
        await conversation.send(b"")


async def test_what_fails_in_a_conversation_is_told(loopback_address: str) -> None:
    async with loopback(Counting(), address=loopback_address) as at:
        conversation = await at.begin(b"go")
        with pytest.raises(LookupError, match="told to"):
            await conversation.ask(b"fail", within=0.5)


async def test_a_connection(loopback_address: str) -> None:
    async with loopback(Counting(), address=loopback_address) as at, await at.connect() as stream:
        assert await stream.receive_some() == b"hello"


async def test_services_have_a_port_each_and_groups_are_left_out() -> None:
    async with loopback(Two()) as at:
        assert await at.ask(b"x", service="one") == b"one at 127.0.0.1"
        assert await at.ask(b"x", service="two") == b"two at 127.0.0.1"
    async with loopback(Late(least=0.0, most=0.0)) as at:
        assert await at.ask(b"x") == b"late"


async def test_silence_and_failures_are_told() -> None:
    async with loopback(Silent()) as at:
        with pytest.raises(NoAnswer, match=r"no answer from 127\.0\.0\.1"):
            await at.ask(b"x", within=0.01)
    async with loopback(Two()) as at:
        with pytest.raises(LookupError, match="nothing"):
            await at.ask(b"", service="one", within=0.5)
