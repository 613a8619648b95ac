"""The interface table: the host's interfaces as they were last told, looked up by index.

Pure: somebody else enumerates (`Platform.interfaces`) and calls `replace`.  What a datagram needs is one dict lookup,
and nothing grows with the table.  This file refuses to ask the system anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..datagram import Interface, IPAddress


class InterfaceTable:
    """The current snapshot.  Iterates by index; `generation` goes up with each real change."""

    def __init__(self, interfaces: Iterable[Interface] = ()) -> None:
        self.generation = 0
        self._by_index: dict[int, Interface] = {}
        self._own: frozenset[IPAddress] = frozenset()
        self.replace(interfaces)

    def __iter__(self) -> Iterator[Interface]:
        return iter(self._by_index.values())

    def __len__(self) -> int:
        return len(self._by_index)

    def get(self, index: int) -> Interface | None:
        """The interface of that index, or None."""
        return self._by_index.get(index)

    def named(self, name: str) -> Interface | None:
        """The interface of that name, or None.  Looks through all of them."""
        return next((interface for interface in self if interface.name == name), None)

    def is_own(self, address: IPAddress) -> bool:
        """Is it an address of one of the interfaces?"""
        return address in self._own

    def replace(self, new: Iterable[Interface]) -> bool:
        """Take a new snapshot, and say whether anything differs.  What is unchanged stays the same object."""
        old = self._by_index
        by_index = {}
        for interface in sorted(new, key=lambda interface: interface.index):
            known = old.get(interface.index)
            by_index[interface.index] = known if known == interface else interface
        if by_index == old:
            return False
        self._by_index = by_index
        self._own = frozenset(own.address for interface in by_index.values() for own in interface.addresses)
        self.generation += 1
        return True
