"""Places for searches that wait: bounded, and always one for who has none."""

from __future__ import annotations

import heapq
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.shared.admission import (
    MAX_PENDING,
    MAX_REMEMBERED,
    MIN_WINDOW,
    TURN,
    Admission,
    Place,
)

LINK, OTHER = 2, 3


def fill(
    admission: Admission, address: str, count: int = 1, *, link: int = LINK, window: float = 5, now: float = 0
) -> list[Place]:
    places = [admission.ask(link, ip_address(address), window, now) for _ in range(count)]
    return [place for place in places if place is not None]


def test_the_window_is_the_one_asked_for_where_there_is_room() -> None:
    assert [place.window for window in (1, 5) for place in fill(Admission(), "10.71.0.9", window=window)] == [1, 5]


def test_a_flooding_host_leaves_room() -> None:
    admission = Admission()
    assert len(fill(admission, "10.71.0.66", 1000)) < MAX_PENDING / 3
    assert fill(admission, "10.71.0.9")
    assert fill(admission, "10.72.0.9")
    assert fill(admission, "10.71.0.9", link=OTHER)


def test_a_flooding_network_leaves_room_for_others() -> None:
    admission = Admission()
    for host in range(1, 255):
        fill(admission, f"10.71.0.{host}", 100)
    assert admission.places.held <= MAX_PENDING / 3
    assert len(fill(admission, "10.72.0.9", 5)) == 5
    assert len(fill(admission, "fd72::9", 3)) == 3


def test_a_flooding_link_leaves_room_for_others() -> None:
    admission = Admission()
    for network in range(200):
        fill(admission, f"10.{network}.0.66", 100)
    assert admission.places.held <= MAX_PENDING / 2
    assert len(fill(admission, "10.1.0.66", 10, link=OTHER)) == 10


def test_who_was_just_admitted_waits_while_places_are_scarce() -> None:
    admission = Admission()
    for host in range(1, 71):
        fill(admission, f"10.71.0.{host}")
    assert not fill(admission, "10.71.0.1", now=TURN)
    assert fill(admission, "10.71.0.200", now=TURN)
    assert fill(admission, "10.71.0.1", now=TURN * 100)


def test_a_storm_from_every_address_of_a_network_leaves_a_place_in_it() -> None:
    """20,000 a second from 200 hosts, each place held for its window; another one asks every tenth of a second."""
    admission = Admission()
    held: list[tuple[float, int, Place]] = []
    refused = []
    for number in range(20_000 * 4):
        now = number / 20_000
        while held and held[0][0] <= now:
            heapq.heappop(held)[2].release()
        for place in fill(admission, f"10.71.0.{50 + number % 200}", window=1, now=now):
            heapq.heappush(held, (now + place.window, number, place))
        if number % 2000 == 0 and now >= 2:
            newcomer = fill(admission, f"10.71.0.{number // 2000 - 20}", now=now)
            refused += [] if newcomer else [now]
            for place in newcomer:
                place.release()
    assert refused == []


def forged(number: int, networks: int) -> str:
    network = number % networks
    return f"fd{network >> 16:02x}:{network & 0xFFFF:x}::1:{number >> 16:x}:{number & 0xFFFF:x}"


@pytest.mark.parametrize("networks", [1, 100_000])
def test_a_storm_of_strangers_leaves_places_to_who_was_served_before(networks: int) -> None:
    """10,000 a second, each from another address of a /56, or of many; a host that asked before asks at times."""
    admission = Admission()
    (place,) = fill(admission, "fd71::9")
    place.release()
    held: list[tuple[float, int, Place]] = []
    served = []
    for number in range(10_000 * 20):
        now = 10 + number / 10_000
        while held and held[0][0] <= now:
            heapq.heappop(held)[2].release()
        for place in fill(admission, forged(number, networks), window=1, now=now):
            heapq.heappush(held, (now + place.window, number, place))
        if number % 50_000 == 49_999:
            place_of_known = fill(admission, "fd71::9", window=1, now=now)
            served.append(len(place_of_known))
            for place in place_of_known:
                place.release()
    assert served == [1] * 4
    assert len(admission._known) <= MAX_REMEMBERED


def test_the_window_shrinks_as_room_gets_scarce() -> None:
    admission = Admission()
    windows = [place.window for host in range(1, 255) for place in fill(admission, f"10.71.0.{host}")]
    assert windows == sorted(windows, reverse=True)
    assert windows[0] == 5
    assert MIN_WINDOW <= windows[-1] <= 5 / 10
    assert fill(admission, "10.71.0.9", window=0.01, link=OTHER)[0].window <= 0.01


def test_a_place_is_given_back_once() -> None:
    admission = Admission()
    (place,) = fill(admission, "10.71.0.9")
    assert admission.places.held == 1
    place.release()
    place.release()
    assert admission.places.held == 0


def test_nothing_grows_by_what_peers_send() -> None:
    admission = Admission()
    rng = Random(1)  # noqa: S311 - no secret
    held: list[Place] = []
    for number in range(MAX_REMEMBERED + 2000):
        held += fill(admission, str(ip_address(rng.getrandbits(32))), now=number / 10000)
        if len(held) > 100:
            held.pop(0).release()
    assert len(admission.places._hosts) <= MAX_PENDING
    assert len(admission.places._networks) <= MAX_PENDING
    assert len(admission.places._links) == 1
    assert len(admission._turns) <= MAX_REMEMBERED
    assert len(admission._known) <= MAX_REMEMBERED


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=300))
def test_never_more_than_there_are_and_always_one_for_a_calm_link(steps: list[tuple[int, int, int, bool]]) -> None:
    admission = Admission()
    held: list[Place] = []
    for number, (link, network, host, release) in enumerate(steps):
        if release and held:
            held.pop(number % len(held)).release()
        else:
            held += fill(admission, f"10.{network}.0.{host}", 20, link=link)
        assert admission.places.held == len(held) <= MAX_PENDING
        (newcomer,) = fill(admission, "10.0.0.0", link=99, now=number)
        newcomer.release()
