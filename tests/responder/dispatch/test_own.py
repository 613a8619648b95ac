"""Our own datagrams are told from those of other programs on the same shared port."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from responder.dispatch.own import MAX_SENT, MEMORY, OwnDatagrams
from responder.net.interface_table import InterfaceTable
from responder.net.types import Received, Route
from tests.fakes import GUEST, LAN, LOOPBACK, FakeReceived, flow

GROUP = "224.0.0.251"
OURS = "10.71.0.1"
SHARED, ALONE = 5353, 7007


@pytest.fixture
def own() -> OwnDatagrams:
    own = OwnDatagrams(InterfaceTable([LOOPBACK, LAN, GUEST]))
    own.set_ports({SHARED, ALONE}, {SHARED})
    return own


def send(own: OwnDatagrams, payload: bytes, to: str = GROUP, now: float = 0.0, *, port: int = SHARED) -> None:
    own.sent(port, (payload, Route(ip_address(to), interface=LAN.index), SHARED), now)


def received(payload: bytes, destination: str | None = GROUP, port: int = SHARED, interface: int = 2) -> Received:
    return FakeReceived(payload, flow(OURS, destination, interface), port)


def test_what_was_sent_to_a_group_is_ours(own: OwnDatagrams) -> None:
    assert not own.includes(received(b"hello"), 0.0)
    send(own, b"hello")
    assert own.includes(received(b"hello"), 0.0)
    assert own.includes(received(b"hello", interface=GUEST.index), 0.01), "it came by another interface of that link"
    assert not own.includes(received(b"other"), 0.0)
    assert not own.includes(received(b"hello", "224.0.0.250"), 0.0), "to another group"


def test_only_for_a_moment(own: OwnDatagrams) -> None:
    send(own, b"hello")
    send(own, b"hello", now=10.0)
    assert own.includes(received(b"hello"), 10.0 + MEMORY)
    assert not own.includes(received(b"hello"), 10.1 + MEMORY)


@pytest.mark.parametrize("to", ["10.71.0.2", "fd72::1", "fe80::1", "10.71.0.255", "255.255.255.255", "127.0.0.1"])
def test_what_comes_back_is_remembered(own: OwnDatagrams, to: str) -> None:
    send(own, b"hello", to)
    assert own.includes(received(b"hello", to), 0.0)


@pytest.mark.parametrize("to", ["10.71.0.9", "fd72::9", "fe80::9"])
def test_what_goes_to_others_is_not(own: OwnDatagrams, to: str) -> None:
    send(own, b"hello", to)
    assert not own.includes(received(b"hello", to), 0.0)


def test_what_goes_to_a_port_of_others_is_not(own: OwnDatagrams) -> None:
    own.sent(SHARED, (b"hello", Route(ip_address(GROUP)), 1900), 0.0)
    assert not own.includes(received(b"hello"), 0.0)


def test_a_port_of_ours_alone_is_ours_whatever_it_says(own: OwnDatagrams) -> None:
    assert own.includes(received(b"never sent", port=ALONE), 0.0)
    send(own, b"hello", port=ALONE)
    assert not own.includes(received(b"hello"), 0.0), "it was sent from another port"


def test_a_datagram_whose_destination_is_not_told_is_taken_for_ours(own: OwnDatagrams) -> None:
    assert own.includes(received(b"hello", None), 0.0)


def test_ports_change(own: OwnDatagrams) -> None:
    own.set_ports({SHARED}, ())
    assert own.numbers == {SHARED}
    assert own.includes(received(b"hello"), 0.0)


def test_the_record_is_bounded_and_the_oldest_goes_first(own: OwnDatagrams) -> None:
    for number in range(MAX_SENT):
        send(own, b"%d" % number)
    send(own, b"0")  # the youngest by now
    send(own, b"one more")
    assert own.includes(received(b"0"), 0.0)
    assert own.includes(received(b"one more"), 0.0)
    assert not own.includes(received(b"1"), 0.0)
    assert own.includes(received(b"2"), 0.0)
