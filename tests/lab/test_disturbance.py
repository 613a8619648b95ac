"""Addresses, links and peers that go while their requests are in flight: the other peers notice nothing.

In flight is made certain by SIGSTOP: requests wait in the daemon's socket until the disturbance has happened.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .daemon import Child, daemon
from .multihomed import ECHO_CONFIG, Multihomed, Way, all_ways, unicast_ways

pytestmark = pytest.mark.lab


@pytest.fixture
def network() -> Iterator[Multihomed]:
    """One for each test, since each breaks it."""
    with Multihomed() as network:
        yield network


@contextlib.contextmanager
def running(network: Multihomed, folder: Path) -> Iterator[Child]:
    config = folder / "echo.toml"
    config.write_text(ECHO_CONFIG)
    with daemon(network.host, config, folder=folder) as child:
        yield child
        assert child.stop() == 0, "\n".join(child.said)


def way_of(name: str) -> Way:
    (way,) = [way for way in all_ways() if str(way) == name]
    return way


def while_stopped(child: Child, network: Multihomed, ways: list[Way], disturb: Callable[[], object]) -> list[str]:
    """Ask these ways, twice each, then disturb, and only then let the daemon read: the verdicts of all requests."""
    with contextlib.ExitStack() as stack:
        child.signal(signal.SIGSTOP)
        asked = []
        for way in ways * 2:
            sock, token = stack.enter_context(network.client_socket(way)), network.token()
            sock.sendto(token, network.address_of(way))
            asked.append((way, sock, token))
        disturb()
        child.signal(signal.SIGCONT)
        return [network.verdict(way, sock, token) for way, sock, token in asked]


@pytest.mark.parametrize("gone", ["client1-own-secondary-v4", "client1-own-secondary-v6"])
def test_an_address_is_removed(network: Multihomed, tmp_path: Path, gone: str) -> None:
    way = way_of(gone)
    others = [other for other in unicast_ways() if other.destination != way.destination]
    with running(network, tmp_path) as child:
        with network.client_socket(way) as lost:

            def ask_the_address_and_remove_it() -> None:
                lost.sendto(network.token(), network.address_of(way))
                network.host.ip(f"addr del {way.destination}/{24 if '.' in way.destination else 64} dev link1")

            assert while_stopped(child, network, others, ask_the_address_and_remove_it) == [""] * 2 * len(others)
            # What was asked of it is silence, and never another address's answer: all others came already.
            lost.setblocking(False)
            with pytest.raises(BlockingIOError):
                lost.recv(1)
        assert [network.ask(other) for other in others] == [""] * len(others)
    assert child.totals("echo")["source-gone"] == 1


def test_a_link_goes_down(network: Multihomed, tmp_path: Path) -> None:
    others = [way for way in unicast_ways() if way.client == 2 and not way.kind.startswith("other")]
    with running(network, tmp_path) as child, contextlib.ExitStack() as stack:

        def ask_all_by_link1_and_take_it_down() -> None:
            for way in all_ways():
                if way.client == 1:
                    sock = stack.enter_context(network.client_socket(way))
                    sock.sendto(network.token(), network.address_of(way))
            network.host.ip("link set link1 down")

        assert while_stopped(child, network, others, ask_all_by_link1_and_take_it_down) == [""] * 2 * len(others)
        assert [network.ask(way) for way in others] == [""] * len(others)


def test_a_peer_that_is_gone_answers_with_icmp_errors(network: Multihomed, tmp_path: Path) -> None:
    ways = unicast_ways()
    with running(network, tmp_path) as child:

        def ask_and_close() -> None:
            for way in ways:
                with network.client_socket(way) as sock:
                    for _ in range(3):
                        sock.sendto(network.token(), network.address_of(way))

        # The closed ports' replies come back as port unreachable, between the replies to the others.
        with network.host.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as errors:
            errors.settimeout(5)
            ask_and_close()
            assert while_stopped(child, network, ways, ask_and_close) == [""] * 2 * len(ways)
            assert errors.recv(1500)[20:22] == b"\3\3", "the test did cause port unreachable"
        assert [network.ask(way) for way in ways] == [""] * len(ways)
