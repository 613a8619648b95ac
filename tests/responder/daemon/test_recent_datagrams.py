"""The last datagrams: kept for those who look, and for nobody else."""

from __future__ import annotations

from ipaddress import ip_address

from responder.daemon.recent_datagrams import KEPT, RecentDatagrams, newest_first
from responder.datagram import Peer, Via
from responder.dispatch.observers import Observation, Observers


def seen(time: float, payload: bytes = b"x") -> Observation:
    return Observation(
        time=time,
        transport="udp",
        port=53,
        peer=Peer("192.0.2.9", 40000),
        destination=ip_address("192.0.2.1"),
        interface="lan",
        via=Via.UNICAST,
        instance="dns",
        outcome="silent",
        request=payload,
    )


def recent(observers: Observers) -> RecentDatagrams:
    return RecentDatagrams(observers, lambda each: {"said": (each.request or b"").decode()})


def test_nothing_is_kept_while_nobody_looks() -> None:
    observers = Observers()
    of = recent(observers)
    assert not observers
    assert of.look() == []
    assert observers.present == (of,)


def test_after_a_look_so_many_are_kept_and_no_more() -> None:
    observers = Observers()
    of = recent(observers)
    of.look()
    for number in range(2 * KEPT):
        observers.tell(seen(number, b"%d" % number))
    assert not observers
    found = of.look()
    assert [each["time"] for each in found] == [*reversed(range(KEPT))]
    assert found[0]["words"] == {"said": str(KEPT - 1)}
    assert "payload" not in found[0]
    observers.tell(seen(1000.0))
    assert [each["time"] for each in of.look()] == [1000.0, *reversed(range(1, KEPT))]


def test_two_who_look_are_one() -> None:
    observers = Observers()
    of = recent(observers)
    for _ in range(3):
        of.look()
    observers.tell(seen(1.0))
    assert observers.present == (of,)
    assert len(of.look()) == 1


def test_one_that_failed_is_back_with_the_next_look() -> None:
    observers = Observers()
    broken = True

    def words(_seen: Observation) -> dict[str, str]:
        if broken:
            raise RuntimeError("broken")
        return {}

    of = RecentDatagrams(observers, words)
    of.look()
    observers.tell(seen(1.0))
    assert not observers
    broken = False
    of.look()
    observers.tell(seen(2.0))
    assert [each["time"] for each in of.look()] == [2.0]


def test_the_newest_of_several_processes_first() -> None:
    found = newest_first({"time": float(number)} for number in range(100))
    assert [each["time"] for each in found] == [float(number) for number in range(99, 99 - KEPT, -1)]
