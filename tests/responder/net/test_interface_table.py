"""The interface table, and what differs between two states."""

from __future__ import annotations

from ipaddress import ip_address

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.datagram import ChangeKind, Interface, InterfaceAddress
from responder.net import interface_table
from responder.net.interface_table import InterfaceTable, diff, is_another

FIRST, SECOND = InterfaceAddress("10.0.0.1", 24), InterfaceAddress("fe80::1", 64)


def interface(index: int, name: str = "link", *addresses: InterfaceAddress) -> Interface:
    return Interface(index, name, frozenset({"up", "running"}), 1500, addresses)


class TestTable:
    def test_looked_up_by_index_and_name(self) -> None:
        table = InterfaceTable([interface(7, "seven"), interface(2, "two")])
        assert [each.index for each in table] == [2, 7]
        assert len(table) == 2
        two = table.get(2)
        assert two is not None
        assert two.name == "two"
        assert table.get(3) is None
        assert table.named("seven") is table.get(7)
        assert table.named("three") is None

    def test_the_generation_tells_real_changes(self) -> None:
        table = InterfaceTable()
        assert table.replace([interface(2, "two"), interface(7, "seven")]) == {2, 7}
        generation, two = table.generation, table.get(2)
        # The same again, in another order, is no change; nor are the objects others.
        assert table.replace([interface(7, "seven"), interface(2, "two")]) == set()
        assert not table.update(2, interface(2, "two"))
        assert table.generation == generation
        assert table.get(2) is two
        assert table.replace([interface(2, "two"), interface(7, "renamed")]) == {7}
        assert table.generation > generation
        assert table.get(2) is two
        assert table.replace([]) == {2, 7}
        assert list(table) == []

    def test_one_interface_changes(self) -> None:
        table = InterfaceTable([interface(7, "seven")])
        assert table.update(2, interface(2, "two"))
        assert [each.index for each in table] == [2, 7]
        assert table.update(7, None)
        assert not table.update(7, None)
        assert [each.index for each in table] == [2]

    def test_knows_the_hosts_own_addresses(self) -> None:
        table = InterfaceTable([interface(2, "two", FIRST), interface(3, "three", FIRST)])
        assert table.is_own(FIRST.address, 2)
        assert not table.is_own(SECOND.address, 2)
        # The same address on two links: it is own until both have lost it.
        table.update(2, interface(2, "two", SECOND))
        assert table.is_own(FIRST.address, 2)
        table.update(3, None)
        assert not table.is_own(FIRST.address, 2)
        assert table.is_own(SECOND.address, 2)
        table.replace([])
        assert not table.is_own(SECOND.address, 2)


class TestDiff:
    def test_each_kind(self) -> None:
        old = interface(2, "old", FIRST)
        assert diff(None, None) == diff(old, old) == ()
        (change,) = diff(None, old)
        assert (change.kind, change.interface) == (ChangeKind.APPEARED, old)
        (change,) = diff(old, None)
        assert (change.kind, change.interface) == (ChangeKind.DISAPPEARED, old)
        new = attrs.evolve(old, name="new", flags={"up"}, addresses=(SECOND,))
        assert [(str(change.kind), change.address, change.old_name) for change in diff(old, new)] == [
            ("renamed", None, "old"),
            ("down", None, None),
            ("address-removed", FIRST, None),
            ("address-added", SECOND, None),
        ]
        assert all(change.interface is new for change in diff(old, new))
        assert [change.kind for change in diff(new, old)] == ["renamed", "address-removed", "up", "address-added"]

    def test_a_new_prefix_length_is_another_address(self) -> None:
        wider = interface(2, "link", attrs.evolve(FIRST, prefix_length=16))
        assert [change.kind for change in diff(interface(2, "link", FIRST), wider)] == [
            "address-removed",
            "address-added",
        ]

    def test_what_plugins_need_not_know(self) -> None:
        old = interface(2, "link", FIRST, SECOND)
        assert diff(old, attrs.evolve(old, mtu=9000, addresses=(SECOND, FIRST))) == ()

    @given(*[st.lists(st.sampled_from([FIRST, SECOND, InterfaceAddress("10.0.0.2", 24)]), unique=True)] * 2)
    def test_applied_to_the_old_it_gives_the_new(
        self, before: list[InterfaceAddress], after: list[InterfaceAddress]
    ) -> None:
        addresses = set(before)
        for change in diff(interface(2, "link", *before), interface(2, "link", *after)):
            assert change.address is not None
            if change.kind is ChangeKind.ADDRESS_ADDED:
                addresses.add(change.address)
            else:
                addresses.remove(change.address)
        assert addresses == set(after)


@pytest.mark.parametrize(
    ("old", "new", "another"),
    [
        (("eth0", b"\2\0\0\0\0\1"), ("eth0", b"\2\0\0\0\0\1"), False),
        (("eth0", b"\2\0\0\0\0\1"), ("lan", b"\2\0\0\0\0\1"), False),  # renamed
        (("eth0", b"\2\0\0\0\0\1"), ("eth0", b"\2\0\0\0\0\2"), True),
        (("tun0", b""), ("tun0", b""), False),
        (("tun0", b""), ("tun1", b""), True),
        (("Ethernet", b"", "10.0.0.1"), ("Office", b"", "10.0.0.1"), False),  # renamed: it kept an address
        (("Ethernet", b"", "10.0.0.1"), ("Office", b"", "10.0.0.2"), True),
    ],
)
def test_whose_index_it_is(old: tuple[str, bytes, str], new: tuple[str, bytes, str], another: bool) -> None:
    before, after = (
        Interface(5, name, link_address=link, addresses=[InterfaceAddress(ip_address(each), 24) for each in addresses])
        for name, link, *addresses in (old, new)
    )
    assert is_another(before, after) is another


def test_a_name_is_compared_as_the_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    table = InterfaceTable([interface(2, "lan"), interface(3, "guest0")])
    assert table.named("guest0") == table.get(3)
    monkeypatch.setattr(interface_table, "normcase", str.lower)  # Windows'
    assert table.named("GUEST0") == table.get(3)
    assert table.named("guest") is None
