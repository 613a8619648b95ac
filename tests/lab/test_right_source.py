"""Every answer comes from the address that was asked, out of the right link; and the lab can tell when it doesn't."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from . import naive_echo
from .daemon import Child
from .multihomed import GROUP_V4, GROUP_V6, PORT, Multihomed, Way, all_ways

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("way", all_ways(), ids=str)
def test_the_daemon_answers_right(network: Multihomed, echo_daemon: Child, way: Way) -> None:
    with network.hears_nothing(3 - way.client):
        assert network.ask(way) == ""


def test_a_plain_echo_does_not() -> None:
    """So the test above measures the source, not luck."""
    argv = [sys.executable, str(Path(naive_echo.__file__)), str(PORT), GROUP_V4, GROUP_V6]
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Multihomed())  # its own: the daemon has the port on the other
        stack.enter_context(Child(network.host, argv))
        # All are asked before the first answer is waited for, so that silence costs its time once.
        asked = []
        for way in all_ways():
            sock, token = stack.enter_context(network.client_socket(way)), network.token()
            sock.settimeout(0.5)
            sock.sendto(token, network.address_of(way))
            asked.append((way, sock, token))
        verdicts = {str(way): network.verdict(way, sock, token) for way, sock, token in asked}
    wrong = {way for way, verdict in verdicts.items() if verdict}
    assert wrong >= UNKNOWABLE, verdicts
    assert wrong >= SECOND_LINK, verdicts
    answered = {"client1-own-primary-v4", "client2-own-primary-v4", "client1-link-local-v6", "client2-link-local-v6"}
    assert not answered & wrong, f"it answers at all, so the failures are the source's: {verdicts}"


UNKNOWABLE = {
    f"client{client}-{kind}"
    for client in (1, 2)
    for kind in (
        "own-secondary-v4",
        "other-primary-v4",
        "other-secondary-v4",
        "other-primary-v6",
        "other-secondary-v6",
        "service-v4",
        "service-v6",
    )
}
"""No routing table can tell these: only the request knows which address it was sent to."""

SECOND_LINK = {
    "client2-link-local-v4",
    "client2-multicast-from-link-local-v4",
    "client2-directed-broadcast-link-local",
    "client2-limited-broadcast-link-local",
}
"""The client's address is on both links, and routing takes the first: the answer goes out of the wrong one."""
