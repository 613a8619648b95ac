"""The public API as a user's type checker sees it.  Never run: mypy strict and pyright read it (tests/installed).

What must be an error has an ignore comment, and both checkers are told to refuse ignores that are not needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, assert_type

import attrs

import responder
from responder import (
    PASS,
    Answer,
    Connection,
    Context,
    Conversation,
    Datagram,
    Duration,
    Group,
    Handler,
    Instance,
    InstanceKeys,
    Interface,
    InterfaceChange,
    Network,
    Pass,
    Peer,
    Plugin,
    Reply,
    Server,
    Service,
    Size,
    SourceGroup,
    StopReason,
    Via,
    serve,
)
from responder.testing import (
    Bench,
    FakeNetwork,
    Heard,
    Loopback,
    LoopbackConversation,
    bench,
    exchange,
    loopback,
    options,
)


@attrs.frozen
class Whole(Plugin):
    """Uses each part of the contract."""

    idle: Duration = 5.0
    most: Size = 1500
    name: str | None = None

    services: ClassVar = (Service(port=7007, groups=["239.255.70.7"], tcp=True),)

    def groups(self) -> list[Group]:
        return [IPv4Address("239.255.70.7"), SourceGroup(IPv4Address("232.1.2.3"), IPv4Address("10.0.0.9"))]

    def prepare(self, context: Context) -> Handler:
        assert_type(context.read_text("file"), str)
        return State(self)

    def respond(self, request: Datagram) -> Answer:
        assert_type(request.payload, bytes)
        assert_type(request.peer, Peer)
        assert_type(request.destination, IPv4Address | IPv6Address)
        assert_type(request.interface, Interface)
        assert_type(request.via, Via)
        assert_type(request.hop_limit, int | None)
        _ = request.payloda  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        return [b"one", Reply(b"two", to="192.0.2.1", hop_limit=1)]


@attrs.define
class State(Handler):
    options: Whole

    async def respond(self, request: Datagram) -> bytes | Pass | None:
        assert_type(self.options.idle, float)
        assert_type(self.options.most, int)
        async with request.conversation() as conversation:
            assert_type(conversation, Conversation)
            assert_type(await conversation.receive(), bytes)
        return PASS

    async def converse(self, connection: Connection) -> None:
        await connection.stream.send_all(b"hello")

    def counts(self) -> Mapping[str, int]:
        return {"refused": 1}

    async def run(self, network: Network) -> None:
        async for change in network.changes():
            assert_type(change, InterfaceChange)
            assert_type(network.stopping.reason, StopReason | None)
            await network.send(b"", to="239.255.70.7", interface=change.interface)
            await network.send(b"", to=Datagram(b"", Peer("192.0.2.9", 7), "192.0.2.1", change.interface))
            await network.send("text", to="239.255.70.7")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Streams(Handler):
    async def respond(self, request: Datagram) -> AsyncIterator[bytes]:
        yield request.payload


class Wrong(Handler):
    def respond(self, request: Datagram) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        return "text"

    def counts(self) -> Mapping[str, str]:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        return {}


async def embeds() -> None:
    async with serve(Whole(name="x"), Instance.of(Whole(), port=1), grace=1.0) as server:
        assert_type(server, Server)
        assert_type(server.port(), int)
    assert_type(responder.__version__, str)
    assert_type(InstanceKeys(rate=5.0).rate, float | None)
    Whole(nmae="x")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    _ = responder.sevre  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


async def tests(fake_network: FakeNetwork) -> None:
    assert_type(await exchange(Whole(), b""), list[Heard])
    assert_type(options(Whole, idle="5m"), Whole)
    async with bench(Whole(), port=0, rate=5) as at:
        assert_type(at, Bench)
        assert_type((await at.ask(b"")).payload, bytes)
    host = fake_network.host("server")
    async with host.serve(Whole()) as server:
        assert_type(server, Server)


async def on_real_sockets(loopback_address: str) -> None:
    async with loopback(Whole(), address=loopback_address, failures=[], port=0) as at:
        assert_type(at, Loopback)
        assert_type(await at.ask(b""), bytes)
        conversation = await at.begin(b"", within=1)
        assert_type(conversation, LoopbackConversation)
        assert_type(await conversation.ask(b""), bytes)
