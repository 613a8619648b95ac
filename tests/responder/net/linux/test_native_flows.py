"""What the compiled module remembers of flows: whose, how long, and who it lets go."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Iterable
from contextlib import closing
from ipaddress import ip_address
from typing import ClassVar

import pytest

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder import Datagram
from responder.dispatch.flow import Decision
from responder.net import cmsg
from responder.net.linux.constants import IP_PKTINFO
from responder.net.linux.platform import LinuxPlatform
from responder.net.types import Flow, Route

from .native_support import AskingPort, ask, drained, port_of, reply

FLOOD = 40_000
"""Sources that ask once: more than twice what is remembered."""

KNOWN = [f"127.1.0.{number}" for number in range(1, 101)]


@pytest.fixture
def v4() -> Iterable[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        yield sock


def ask_from(sock: socket.socket, server: socket.socket, sources: Iterable[str]) -> None:
    """One datagram from each of these loopback addresses, with the address as its payload."""
    for source in sources:
        pktinfo = cmsg.pack_in_pktinfo_posix(ip_address(source), 0)
        to = ("127.0.0.1", port_of(server))
        sock.sendmsg([source.encode()], [(socket.IPPROTO_IP, IP_PKTINFO, pktinfo)], 0, to)


class Deciding(AskingPort):
    """Notes about whom it decides."""

    decided: list[str]

    def decide(self, flow: Flow) -> Decision:
        self.decided.append(str(flow.peer))
        return super().decide(flow)


def deciding() -> Deciding:
    asking = Deciding(reply)
    asking.decided = []
    return asking


def asked_in_turn(asking: AskingPort, client: socket.socket, server: socket.socket, sources: list[str]) -> None:
    for start in range(0, len(sources), 32):
        ask_from(client, server, sources[start : start + 32])
        assert asking.answer(server) == len(sources[start : start + 32])
        asking.decisions.clear()


def test_a_flood_of_sources_leaves_known_ones_alone(server: socket.socket, v4: socket.socket) -> None:
    asking = deciding()
    asked_in_turn(asking, v4, server, KNOWN * 2)
    assert len(asking.decided) < 2 * len(KNOWN)
    forged = [str(ip_address(0x7F020000 + number)) for number in range(FLOOD)]
    for start in range(0, FLOOD, 4000):
        asked_in_turn(asking, v4, server, forged[start : start + 4000])
        asking.decided.clear()
        asked_in_turn(asking, v4, server, KNOWN)
        # Where two of them share a pair of places, a flood may drive one out.
        assert len(asking.decided) <= len(KNOWN) // 10


def test_each_peer_is_answered_at_its_own_address(server: socket.socket) -> None:
    """All of them share one decision, and the bytes by which replies to one of them go."""

    def respond(request: Datagram) -> bytes:
        return f"{request.peer.address} {request.payload.decode()}".encode()

    shared = AskingPort(respond, way=Route(ip_address("127.9.9.9"), source=ip_address("127.0.0.1")))
    (decision,) = [shared.decide(Flow(ip_address("127.9.9.9"), 0, ip_address("127.0.0.1"), 1))]

    class Sharing(AskingPort):
        def decide(self, flow: Flow) -> Decision:
            return decision

    asking = Sharing(respond)
    clients = []
    for number in range(1, 40):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.3.0.{number}", 0))
        sock.setblocking(False)
        clients.append(sock)
        for text in (b"a", b"b"):
            sock.sendto(text, ("127.0.0.1", port_of(server)))
    while asking.answer(server) > 0:
        pass
    for number, sock in enumerate(clients, 1):
        with closing(sock):
            assert list(drained(sock)) == [f"127.3.0.{number} a".encode(), f"127.3.0.{number} b".encode()]
    assert asking.calls == []


def test_what_is_forgotten_is_decided_anew(server: socket.socket, client: socket.socket) -> None:
    asking = deciding()
    for _ in range(3):
        ask(client, server, b"x", b"y")
        asking.answer(server)
    assert asking.decided == ["::1"]
    asking.memory.forget()
    ask(client, server, b"x", b"y")
    asking.answer(server)
    assert asking.decided == ["::1", "::1"]


def test_sockets_that_share_a_memory_share_no_decisions(server: socket.socket, client: socket.socket) -> None:
    one, other = deciding(), deciding()
    other.memory, other.number = one.memory, 2
    for asking in (one, other, one, other):
        ask(client, server, b"x")
        asking.answer(server)
    assert (one.decided, other.decided) == (["::1"], ["::1"])


def test_a_socket_that_closes_lets_what_answered_on_it_go(client: socket.socket) -> None:
    """A reload that takes a plugin away gives its memory back, at once: a zone may be a gigabyte."""

    class Held:
        def __call__(self, request: Datagram) -> bytes:
            return b"x"

    class Counting(AskingPort):
        traffic: ClassVar = {"received": 0, "sent": 0}

    opened = LinuxPlatform().open_udp(0)
    assert opened.answer is not None
    port = Counting(Held())
    handler = weakref.ref(port.respond)
    client.sendto(b"x", ("::1", opened.port))
    assert opened.answer(64, port, 1000.0, 1e9) == 1
    del port
    gc.collect()
    assert handler() is not None
    opened.close()
    gc.collect()
    assert handler() is None
