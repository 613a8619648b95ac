"""Multicast memberships, on a fake socket."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from responder.datagram import Interface, InterfaceAddress, SourceGroup
from responder.log import Repeated
from responder.net.memberships import Memberships, claimed, wanted
from responder.net.types import Membership, Message, Received

V4, V6, V6_WIDE = ip_address("239.255.70.7"), ip_address("ff02::7007"), ip_address("ff05::7007")


def interface(index: int, *addresses: str, flags: str = "up multicast") -> Interface:
    own = [InterfaceAddress(ip_address(address), 24) for address in addresses]
    return Interface(index, f"link{index}", frozenset(flags.split()), 1500, own)


class FakeSocket:
    """Joins and leaves what it is told, as the kernel does; `refusals` are met first."""

    port = 5353
    address = None
    kernel_drops = 0

    def __init__(self) -> None:
        self.calls: list[tuple[str, Membership]] = []
        self.members: set[Membership] = set()
        self.refusals: dict[Membership, int] = {}

    def _step(self, what: str, membership: Membership) -> None:
        self.calls.append((what, membership))
        if code := self.refusals.get(membership):
            raise OSError(code, os.strerror(code))

    def join(self, membership: Membership, interface: Interface) -> None:
        self._step("join", membership)
        assert interface.index == membership.interface
        self.members.add(membership)

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        self._step("leave", membership)
        self.members.remove(membership)

    async def wait_readable(self) -> None:
        raise NotImplementedError

    def receive(self, limit: int) -> Sequence[Received]:
        raise NotImplementedError

    def send(self, batch: Sequence[Message]) -> int:
        raise NotImplementedError

    async def send_when_ready(self, message: Message) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("flags", "addresses", "expected"),
    [
        ("up multicast", ("10.0.0.1", "fe80::1", "fd00::1"), {V4, V6, V6_WIDE}),
        ("up multicast", ("10.0.0.1",), {V4}),
        ("up multicast", ("fe80::1",), {V6, V6_WIDE}),
        # ff02:: is spoken to from a link-local address only.
        ("up multicast", ("fd00::1",), {V6_WIDE}),
        ("up multicast", (), set()),
        ("multicast", ("10.0.0.1", "fe80::1"), set()),
        ("up loopback", ("127.0.0.1", "::1"), set()),
        ("up multicast point-to-point", ("10.0.0.1",), {V4}),
    ],
)
def test_which_interfaces_can_have_a_group(flags: str, addresses: tuple[str, ...], expected: set[object]) -> None:
    memberships = wanted([V4, V6, V6_WIDE], [interface(3, *addresses, flags=flags)])
    assert memberships == {Membership(group, 3) for group in (V4, V6, V6_WIDE) if group in expected}


def test_reconciling_takes_the_steps_that_are_missing() -> None:
    sock = FakeSocket()
    table = {index: interface(index, "10.0.0.1") for index in (2, 3, 4)}
    memberships = Memberships(sock)
    assert memberships.reconcile(wanted([V4], [table[2], table[3]]), table.get)
    assert sock.calls == [("join", Membership(V4, 2)), ("join", Membership(V4, 3))]
    sock.calls.clear()
    assert memberships.reconcile(wanted([V4], [table[2], table[3]]), table.get)
    assert sock.calls == []
    # Room is made first: the system limits memberships.
    assert memberships.reconcile(wanted([V4], [table[3], table[4]]), table.get)
    assert sock.calls == [("leave", Membership(V4, 2)), ("join", Membership(V4, 4))]
    assert memberships.joined == sock.members == {Membership(V4, 3), Membership(V4, 4)}
    memberships.reconcile((), table.get)
    assert memberships.joined == sock.members == set()
    assert memberships.failures == 0


def test_a_source_is_a_membership_of_its_own() -> None:
    sock = FakeSocket()
    memberships = Memberships(sock)
    desired = {Membership(V4, 2), Membership(V4, 2, ip_address("10.0.0.9"))}
    assert memberships.reconcile(desired, {2: interface(2)}.get)
    assert sock.members == desired


def test_a_refused_join_is_counted_logged_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    sock = FakeSocket()
    now = [0.0]
    memberships = Memberships(sock, Repeated(interval=60, clock=lambda: now[0]))
    table = {index: interface(index, "10.0.0.1") for index in (2, 3)}
    desired = wanted([V4], list(table.values()))
    sock.refusals[Membership(V4, 2)] = errno.ENOBUFS
    for _ in range(3):
        assert not memberships.reconcile(desired, table.get)
    assert memberships.joined == {Membership(V4, 3)}
    assert memberships.failures == 3
    (message,) = caplog.messages
    assert "group=239.255.70.7 interface=link2 port=5353" in message
    now[0] = 61
    memberships.reconcile(desired, table.get)
    assert "held_back=2" in caplog.messages[1]
    sock.refusals.clear()
    assert memberships.reconcile(desired, table.get)
    assert sock.members == desired


@pytest.mark.parametrize(
    ("code", "there", "kept"),
    [
        (errno.EADDRNOTAVAIL, True, False),  # not joined any more
        (errno.EADDRNOTAVAIL, False, False),
        (errno.ENODEV, False, False),  # the interface is gone, and the membership with it
        (errno.ENOBUFS, True, True),
    ],
)
def test_a_refused_leave(code: int, there: bool, kept: bool) -> None:
    sock = FakeSocket()
    memberships = Memberships(sock)
    membership = Membership(V4, 2)
    table = {2: interface(2, "10.0.0.1")}
    memberships.reconcile([membership], table.get)
    sock.refusals[membership] = code
    if not there:
        table.clear()
    memberships.reconcile([], table.get)
    assert (membership in memberships.joined) == kept
    assert memberships.failures == int(kept)


def test_an_interface_that_is_gone_is_not_joined() -> None:
    sock = FakeSocket()
    memberships = Memberships(sock)
    assert not memberships.reconcile([Membership(V4, 2)], lambda _index: None)
    assert sock.calls == []
    assert memberships.failures == 0


def test_one_interface_is_reconciled_alone() -> None:
    sock = FakeSocket()
    memberships = Memberships(sock)
    table = {index: interface(index, "10.0.0.1") for index in (2, 3)}
    memberships.reconcile(wanted([V4], list(table.values())), table.get)
    sock.calls.clear()
    assert memberships.reconcile_on(3, [], table[3])
    assert memberships.reconcile_on(2, [Membership(V4, 2)], table[2])
    assert sock.calls == [("leave", Membership(V4, 3))]
    # Gone: it is left, since another interface may get the index.
    assert memberships.reconcile_on(2, [], None)
    assert memberships.joined == sock.members == set()


def test_what_several_users_of_a_socket_claim() -> None:
    link = interface(2, "10.0.0.1", "fe80::1")
    one, two = ip_address("10.0.0.8"), ip_address("10.0.0.9")
    any_source, from_one, from_two = V4, SourceGroup(V4, one), SourceGroup(V4, two)
    assert claimed([([from_one], lambda _: True), ([from_two, V6], lambda _: True)], link) == {
        Membership(V4, 2, one),
        Membership(V4, 2, two),
        Membership(V6, 2),
    }
    # The kernel refuses a source beside any source (EINVAL), and it would add nothing.
    assert claimed([([from_one], lambda _: True), ([any_source], lambda _: True)], link) == {Membership(V4, 2)}
    assert claimed([([from_one], lambda _: True), ([any_source], lambda _: False)], link) == {Membership(V4, 2, one)}
