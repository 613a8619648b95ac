"""What the compiled module remembers of flows: whose, how long, and who it lets go."""

from __future__ import annotations

import gc
import socket
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from ipaddress import ip_address
from time import perf_counter
from typing import Any, ClassVar

import pytest
import trio

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder import Datagram
from responder.dispatch.flow import Decision
from responder.net import cmsg
from responder.net.linux.constants import IP_PKTINFO
from responder.net.linux.platform import LinuxPlatform
from responder.net.types import Flow, Route

from ..conftest import Links
from ..support import PATIENCE, to
from .native_support import AskingPort, ask, bound, decode, drained, memory, port_of, reply

FLOOD = 20_000
"""Sources that ask once: more than are remembered."""


@pytest.fixture
def v4() -> Iterable[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        yield sock


def sources(number: int, count: int) -> list[bytes]:
    """What has the kernel send from so many addresses of 127.`number`.0.0/16."""
    first = int(ip_address(f"127.{number}.0.1"))
    return [cmsg.pack_in_pktinfo_posix(ip_address(first + each), 0) for each in range(count)]


def ask_from(sock: socket.socket, server: socket.socket, *pktinfos: bytes) -> None:
    """One datagram from each of these addresses."""
    for pktinfo in pktinfos:
        sock.sendmsg([b"x"], [(socket.IPPROTO_IP, IP_PKTINFO, pktinfo)], 0, ("127.0.0.1", port_of(server)))


class Deciding(AskingPort):
    """Notes about whom it decides, which is the same of all."""

    decided: list[str]

    def decide(self, flow: Flow) -> Decision:
        self.decided.append(str(flow.peer))
        return self.decisions[0] if self.decisions else super().decide(flow)


def deciding(*, is_usual: bool = True) -> Deciding:
    asking = Deciding(reply, is_usual=is_usual)
    asking.decided = []
    return asking


def decided_anew(
    asking: Deciding, client: socket.socket, server: socket.socket, asked: Sequence[bytes], times: int = 1
) -> int:
    """Ask from these addresses in turn, `times` from some before the next: of how many that had to be decided."""
    asking.decided.clear()
    for start in range(0, len(asked), 64):
        some = asked[start : start + 64]
        for _ in range(times):
            ask_from(client, server, *some)
            assert asking.answer(server) == len(some)
            asking.calls.clear()
    return len(asking.decided)


# Whose is remembered, and how long


def test_sources_that_ask_in_turn_are_known_and_a_flood_leaves_them_alone(
    server: socket.socket, v4: socket.socket
) -> None:
    asking = deciding(is_usual=False)
    known = sources(5, 1000)
    for _ in range(4):
        decided_anew(asking, v4, server, known)
    # Few share their places with two others.
    assert decided_anew(asking, v4, server, known) < 20
    decided_anew(asking, v4, server, sources(9, FLOOD))
    # Where two of them share a pair of places, a flood drives one out.
    assert decided_anew(asking, v4, server, known) <= 100
    assert decided_anew(asking, v4, server, known) < 20


def test_those_in_use_once_make_room_for_those_in_use_now(server: socket.socket, v4: socket.socket) -> None:
    asking = deciding(is_usual=False)
    for number in (5, 6, 7):
        assert decided_anew(asking, v4, server, sources(number, 4000), times=2) >= 4000
    assert decided_anew(asking, v4, server, sources(7, 4000), times=2) <= 400


def test_all_is_forgotten_and_decided_anew(server: socket.socket, v4: socket.socket) -> None:
    asking = deciding(is_usual=False)
    known = sources(5, 2000)
    for _ in range(2):
        decided_anew(asking, v4, server, known, times=2)
    asking.memory.forget()
    assert decided_anew(asking, v4, server, known) == len(known)


@pytest.mark.ipv6
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


class Counting(AskingPort):
    """Has what a socket counts in."""

    traffic: ClassVar = {"received": 0, "sent": 0}


@pytest.mark.ipv6
def test_sockets_that_share_a_memory_share_no_decisions(server: socket.socket, client: socket.socket) -> None:
    one, other = deciding(), deciding()
    other.memory, other.number = one.memory, 2
    for asking in (one, other, one, other):
        ask(client, server, b"x")
        asking.answer(server)
    assert (one.decided, other.decided) == (["::1"], ["::1"])


@pytest.mark.ipv6
def test_each_socket_of_a_platform_has_its_own(client: socket.socket) -> None:
    platform = LinuxPlatform()
    with closing(platform.open_udp(0)) as one, closing(platform.open_udp(0)) as other:
        asked = [(one, Counting(lambda _: b"one"), b"one"), (other, Counting(lambda _: b"other"), b"other")]
        for opened, port, expected in asked * 2:
            client.sendto(b"x", ("::1", opened.port))
            assert opened.answer is not None
            assert opened.answer(64, port, 1000.0, 1e9) == 1
            assert client.recv(10) == expected


@pytest.mark.lab
async def test_a_link_local_peer_has_the_scope_of_its_link(links: Links) -> None:
    seen: list[Datagram] = []
    asking = AskingPort(seen.append)
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        for link in ("link1", "link2"):
            client.send([to("fe80::1", server.port, source="fe80::9", scope_id=links.client.ifindex(link))])
            with trio.fail_after(PATIENCE):
                await server.wait_readable()
            assert asking.answer(server._socket) == 1
    assert [str(request.peer.address) for request in seen] == ["fe80::9"] * 2
    assert [request.peer.scope_id for request in seen] == [links.host.ifindex(link) for link in ("link1", "link2")]


# Peers that share a decision


class Sharing(AskingPort):
    """Has one decision about everybody."""

    def decide(self, flow: Flow) -> Decision:
        return self.decisions[0] if self.decisions else super().decide(flow)


def neighbours(stack: ExitStack, count: int) -> list[tuple[str, socket.socket]]:
    """So many loopback addresses, each with a socket; all have the same port number."""
    found = [("127.3.0.1", stack.enter_context(bound("127.3.0.1")))]
    for number in range(2, count + 1):
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind((f"127.3.0.{number}", port_of(found[0][1])))
        sock.setblocking(False)
        found.append((f"127.3.0.{number}", sock))
    return found


def test_each_peer_is_answered_at_its_own_address(server: socket.socket) -> None:
    """All of them share one decision, the bytes by which replies to one of them go, and a port number."""

    def respond(request: Datagram) -> bytes:
        return f"{request.peer.address} {request.payload.decode()}".encode()

    asking = Sharing(respond, way=Route(ip_address("127.9.9.9"), source=ip_address("127.0.0.1")))
    with ExitStack() as stack:
        clients = neighbours(stack, 40)
        for text in (b"a", b"b"):
            for _, sock in clients:
                sock.sendto(text, ("127.0.0.1", port_of(server)))
        while asking.answer(server) > 0:
            pass
        for address, sock in clients:
            assert list(drained(sock)) == [f"{address} a".encode(), f"{address} b".encode()]
    assert len(asking.decisions) == 1
    assert asking.calls == []


def test_what_does_not_go_is_told_with_its_own_peer(server: socket.socket) -> None:
    # This host has no such source.
    way = Route(ip_address("127.9.9.9"), source=ip_address("192.0.2.77"))
    asking = Sharing(lambda request: str(request.peer.address).encode(), way=way)
    with ExitStack() as stack:
        clients = neighbours(stack, 3)
        for _, sock in clients:
            sock.sendto(b"?", ("127.0.0.1", port_of(server)))
        assert asking.answer(server) == 3
        expected = [("unsent", address.encode(), ip_address(address), port_of(sock)) for address, sock in clients]
    assert asking.calls == expected


def test_answers_by_two_decisions_go_each_by_its_own_way(server: socket.socket) -> None:
    """Though both are to one peer, and of one burst."""

    def respond(request: Datagram) -> bytes:
        asking.memory.forget()
        asking.way = Route(ip_address("127.0.0.1"), source=ip_address("127.0.0.2"))
        return request.payload

    asking = AskingPort(respond, way=Route(ip_address("127.0.0.1"), source=ip_address("127.0.0.1")))
    with bound("127.0.0.1") as sock:
        for payload in (b"a", b"b"):
            sock.sendto(payload, ("127.0.0.1", port_of(server)))
        assert asking.answer(server) == 2
        heard = [sock.recvfrom(10) for _ in range(2)]
    assert [(payload, name[0]) for payload, name in heard] == [(b"a", "127.0.0.1"), (b"b", "127.0.0.2")]


# What `decode` and `decide` give, and how long that takes


@pytest.mark.ipv6
@pytest.mark.parametrize("what", ["decode", "decide"])
def test_what_is_no_flow_or_no_decision_loses_the_burst_and_nothing_else(
    server: socket.socket, client: socket.socket, what: str
) -> None:
    wrong: list[Any] = [7]

    def decode_or_not(raw: bytes) -> Flow:
        return wrong.pop() if wrong and what == "decode" else decode(raw)  # type: ignore[no-any-return] # what is tested

    class Wrong(AskingPort):
        def decide(self, flow: Flow) -> Decision:
            return wrong.pop() if wrong and what == "decide" else self.decisions[0]  # type: ignore[no-any-return]

    asking = Wrong(reply, memory=memory(decode_or_not))
    AskingPort.decide(asking, Flow(ip_address("::1"), 0, ip_address("::1"), 1))
    ask(client, server, b"lost", b"lost")
    with pytest.raises(TypeError, match=r"expected .*(Flow|Decision), got int"):
        asking.answer(server)
    assert wrong == []
    ask(client, server, b"x")
    assert asking.answer(server) == 1
    assert client.recv(10) == b"re: x"


@pytest.mark.ipv6
def test_the_time_of_a_decision_is_not_the_handlers(server: socket.socket, client: socket.socket) -> None:
    class Slow(AskingPort):
        decided_at: float

        def decide(self, flow: Flow) -> Decision:
            ends = perf_counter() + 0.002
            while perf_counter() < ends:
                pass
            self.decided_at = perf_counter()
            return super().decide(flow)

    asking = Slow(reply)
    asking.binding.notable = 0.0
    ask(client, server, b"x")
    assert asking.answer(server) == 1
    assert 0 < asking.binding.slowest < perf_counter() - asking.decided_at


# What goes


class Going:
    """The first of those that share `do` to go does it."""

    def __init__(self, do: list[Callable[[], None]]) -> None:
        self._do = do

    def __del__(self) -> None:
        while self._do:
            self._do.pop()()


@pytest.mark.parametrize("how", ["forgotten", "replaced"])
def test_what_goes_may_forget_and_answer(server: socket.socket, v4: socket.socket, how: str) -> None:
    """What a decision refers to may do anything as it goes; each flow is let go once all the same."""

    def do() -> None:
        asking.memory.forget()
        ask_from(v4, server, *sources(6, 1))
        assert asking.answer(server) == 1
        done.append(True)

    class Holding(Deciding):
        def decide(self, flow: Flow) -> Decision:
            self.decisions.clear()
            flows.extend([flow] * 3)  # that it stays, should it be let go too often
            decision = super().decide(flow)
            self.decisions.clear()
            decision.owner = Going(to_do)  # type: ignore[assignment] # whatever
            return decision

    flows: list[Flow] = []
    done: list[bool] = []
    to_do = [do]
    asking = Holding(reply, is_usual=False)
    asking.decided = []
    # Of so many some share a pair of places with two others.
    decided_anew(asking, v4, server, sources(5, 100 if how == "forgotten" else 2000))
    assert done == ([] if how == "forgotten" else [True])
    asking.memory.forget()
    assert done == [True]
    asking.memory.forget()
    asking.calls.clear()
    alone = [Flow(ip_address("::1"), 0, None, 0)] * 3
    assert {sys.getrefcount(flow) for flow in flows} == {sys.getrefcount(flow) for flow in alone}


@pytest.mark.ipv6
def test_a_socket_that_closes_lets_what_answered_on_it_go(client: socket.socket) -> None:
    """A reload that takes a plugin away gives its memory back, at once: a zone may be a gigabyte."""

    class Held:
        def __call__(self, request: Datagram) -> bytes:
            return b"x"

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
