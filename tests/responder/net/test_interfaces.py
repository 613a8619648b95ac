"""The interface table."""

from __future__ import annotations

from ipaddress import ip_address

from responder.datagram import Interface, InterfaceAddress
from responder.net.interfaces import InterfaceTable


def interface(index: int, name: str = "link", *addresses: InterfaceAddress) -> Interface:
    return Interface(index, name, frozenset({"up"}), 1500, addresses)


def test_looked_up_by_index_and_name() -> None:
    table = InterfaceTable([interface(7, "seven"), interface(2, "two")])
    assert [each.index for each in table] == [2, 7]
    assert len(table) == 2
    two = table.get(2)
    assert two is not None
    assert two.name == "two"
    assert table.get(3) is None
    assert table.named("seven") is table.get(7)
    assert table.named("three") is None


def test_the_generation_tells_real_changes() -> None:
    table = InterfaceTable()
    assert table.generation == 0
    assert table.replace([interface(2, "two"), interface(7, "seven")])
    assert table.generation == 1
    two = table.get(2)
    # The same again, in another order, is no change; nor are the objects others.
    assert not table.replace([interface(7, "seven"), interface(2, "two")])
    assert table.generation == 1
    assert table.get(2) is two
    assert table.replace([interface(2, "two"), interface(7, "renamed")])
    assert table.generation == 2
    assert table.get(2) is two
    assert table.replace([])
    assert (table.generation, list(table)) == (3, [])


def test_knows_the_hosts_own_addresses() -> None:
    table = InterfaceTable([interface(2, "two", InterfaceAddress("10.0.0.1", 24))])
    assert table.is_own(ip_address("10.0.0.1"))
    assert not table.is_own(ip_address("10.0.0.2"))
    table.replace([interface(2, "two")])
    assert not table.is_own(ip_address("10.0.0.1"))
