"""What the compiled module does with a datagram."""

from __future__ import annotations

import errno
import socket
import time
import weakref
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder import Datagram, Peer
from responder.datagram import Via
from responder.dispatch.flow import Decision
from responder.dispatch.request import Request
from responder.net.linux import compiled
from responder.net.types import Received, Route

from ..support import PATIENCE
from .native_support import LOOPBACK, AskingPort, ask, decode, drained, memory, port_of, reply

pytestmark = pytest.mark.ipv6


def test_a_request_has_its_fields(server: socket.socket, client: socket.socket) -> None:
    seen: list[Datagram] = []
    asking = AskingPort(seen.append)
    before = time.time()
    ask(client, server, b"x")
    asking.answer(server)
    (request,) = seen
    assert type(request) is Request
    assert request.peer == Peer("::1", port_of(client))
    assert (request.destination, request.interface, request.via) == (ip_address("::1"), LOOPBACK, Via.UNICAST)
    assert (request.service, request.port, request.hop_limit) == ("default", 7007, 64)
    assert 1000 - (time.time() - before) <= request.arrival <= 1000
    assert [call[0] for call in asking.calls] == ["other"]  # None is no plain answer


@pytest.mark.parametrize("since", [50.0, -50.0])
def test_a_datagram_arrived_when_the_kernel_says(server: socket.socket, client: socket.socket, since: float) -> None:
    """Never later than now, should the real-time clock have been set back since."""
    seen: list[Datagram] = []
    asking = AskingPort(seen.append)
    ask(client, server, b"x")
    asking.answer(server, since=since)
    assert seen[0].arrival == (1000 if since < 0 else pytest.approx(950, abs=PATIENCE))


def test_a_request_that_somebody_keeps_stays_as_it_is(server: socket.socket, client: socket.socket) -> None:
    kept: list[Any] = []

    def respond(request: Datagram) -> bytes:
        kept.append(request if request.payload == b"kept" else weakref.ref(request))
        return b""

    ask(client, server, b"kept", b"weakly", b"later")
    AskingPort(respond).answer(server)
    strong, weak, _ = kept
    assert strong.payload == b"kept"
    assert weak() is None  # not another datagram's by now


def test_a_request_that_nobody_keeps_is_used_again(server: socket.socket, client: socket.socket) -> None:
    numbers: list[int] = []
    asking = AskingPort(lambda request: numbers.append(id(request)) or request.payload)
    ask(client, server, b"1", b"22", b"333")
    assert asking.answer(server) == 3
    assert len(set(numbers)) == 1
    assert [client.recv(10) for _ in range(3)] == [b"1", b"22", b"333"]


def test_suspects_and_truncated_ones_are_looked_at(server: socket.socket, client: socket.socket) -> None:
    for asking in (
        AskingPort(reply, suspects=frozenset({0, port_of(client)})),
        AskingPort(reply, is_usual=False),
        AskingPort(reply, memory=memory(decode, payload_size=2)),
    ):
        ask(client, server, b"xyz")
        asking.answer(server)
        ((kind, received),) = asking.calls
        assert kind == "unusual"
        assert (received.peer_port, received.truncated) == (port_of(client), len(received.payload) < 3)
        assert asking.counts == {"answered": 0}


def test_an_answer_over_the_limit_is_not_plain(server: socket.socket, client: socket.socket) -> None:
    asking = AskingPort(lambda request: request.payload, plain_limit=2)
    ask(client, server, b"xyz", b"xy")
    asking.answer(server)
    ((kind, received, answer),) = asking.calls
    assert (kind, received.payload, answer) == ("other", b"xyz", b"xyz")
    assert client.recv(10) == b"xy"


def test_an_answer_that_the_port_allows_goes_in_its_place(server: socket.socket, client: socket.socket) -> None:
    class Bounded(AskingPort):
        def other(self, decision: Decision, received: Received, answer: object) -> bool:
            return answer == b"2"

    asking = Bounded(lambda request: request.payload, plain_limit=-1)
    ask(client, server, b"1", b"2", b"3")
    assert asking.answer(server) == 3
    client.setblocking(False)
    assert list(drained(client)) == [b"2"]
    assert asking.counts == {"answered": 0}  # that is the port's


def test_what_a_handler_raises(server: socket.socket, client: socket.socket) -> None:
    error = KeyboardInterrupt()

    def respond(request: Datagram) -> bytes:
        if request.payload == b"bad":
            raise error
        return request.payload

    asking = AskingPort(respond)
    ask(client, server, b"bad", b"good")
    asking.answer(server)
    assert asking.calls[0][0] == "failed"
    assert asking.calls[0][2] is error
    assert client.recv(10) == b"good"


def test_a_port_that_raises_ends_the_burst(server: socket.socket, client: socket.socket) -> None:
    class Failing(AskingPort):
        def other(self, decision: Decision, received: Received, answer: object) -> bool:
            raise LookupError("a mistake")

    asking = Failing(lambda _: None)
    ask(client, server, b"1", b"2")
    with pytest.raises(LookupError):
        asking.answer(server)
    assert asking.answer(server) == -errno.EAGAIN


def test_what_does_not_go_is_the_ports(server: socket.socket, client: socket.socket) -> None:
    def failing(route: Route) -> bytes:
        raise error

    error: BaseException = ValueError("no such route")
    asking = AskingPort(reply)
    ask(client, server, b"1", b"2")
    asking.answer(server, encode=failing)
    peer = ip_address("::1"), port_of(client)
    assert asking.calls == [("unsent", b"re: 1", *peer), ("unsent", b"re: 2", *peer)]
    # An order to end is given once, so it must not be lost with what can be met again.
    error = KeyboardInterrupt()
    ask(client, server, b"3")
    with pytest.raises(KeyboardInterrupt):
        asking.answer(server, encode=failing)
    # Refused by the kernel: a source that this host does not have.
    asking = AskingPort(reply, way=Route(ip_address("::1"), source=ip_address("2001:db8::77")))
    ask(client, server, b"4")
    asking.answer(server)
    assert asking.calls == [("unsent", b"re: 4", *peer)]


@pytest.mark.parametrize("encoded", [b"", bytes(23), bytes(24 + 65), None, bytearray(24)], ids=repr)
def test_routes_that_are_none(server: socket.socket, client: socket.socket, encoded: Any) -> None:
    asking = AskingPort(reply)
    ask(client, server, b"x")
    asking.answer(server, encode=lambda _: encoded)
    assert [call[0] for call in asking.calls] == ["unsent"]


def test_a_module_that_is_older_than_its_source_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "_native.c"
    assert not compiled.is_stale()
    assert not compiled.is_stale(source)  # a wheel need not have it
    source.write_text("/* changed since */")
    assert compiled.is_stale(source)
    assert "older than its source" in caplog.text
