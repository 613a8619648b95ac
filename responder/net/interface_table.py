"""The interface table, and what differs between two states of an interface.

Pure: `responder.server.interfaces` enumerates and hears of changes, and calls `replace` and `update`.  Each question is
a look-up in a dict, and a change costs what its own interface has, however many others there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from os.path import normcase

from ..datagram import ChangeKind, Interface, InterfaceChange, IPAddress, is_link_local, number_of


class InterfaceTable:
    """The current state.  Iterates by index; `generation` goes up with each real change."""

    def __init__(self, interfaces: Iterable[Interface] = ()) -> None:
        self.generation = 0
        self._by_index: dict[int, Interface] = {}
        # Counted, since two links may have the same one; and as numbers, since an address's own hash is slow.
        self._own: Counter[int] = Counter()
        self._broadcasts: Counter[int] = Counter()
        self.replace(interfaces)

    def __iter__(self) -> Iterator[Interface]:
        return iter([self._by_index[index] for index in sorted(self._by_index)])

    def __len__(self) -> int:
        return len(self._by_index)

    def get(self, index: int) -> Interface | None:
        """The interface of that index, or None."""
        return self._by_index.get(index)

    def named(self, name: str) -> Interface | None:
        """The interface of that name, or None; on Windows in any case, as patterns are.  Looks through all of them."""
        wanted = normcase(name)
        return next((each for each in self._by_index.values() if normcase(each.name) == wanted), None)

    def is_own(self, address: IPAddress, index: int) -> bool:
        """Is it this host's, for a datagram that came in by the interface of that index?

        A link-local address is only where it is: another link's may be somebody else's (RFC 4007).
        """
        if not self.may_be_own(number_of(address)):
            return False
        if is_link_local(address):
            interface = self._by_index.get(index)
            # What this host sends to its own link-local address comes in by the loopback interface.
            return interface is not None and ("loopback" in interface.flags or interface.has(address))
        return True

    def may_be_own(self, number: int) -> bool:
        """Is it this host's on any link?  `number` is `number_of` the address."""
        return number in self._own

    def is_broadcast(self, address: IPAddress) -> bool:
        """Is it a directed broadcast address of any of the interfaces?"""
        return self.is_broadcast_number(number_of(address))

    def is_broadcast_number(self, number: int) -> bool:
        """The same of `number_of` an address."""
        return number in self._broadcasts

    def update(self, index: int, new: Interface | None) -> bool:
        """Take one interface's new state (None: it is gone), and say whether that differs from the old one."""
        old = self._by_index.get(index)
        if new == old:
            return False
        if old is not None:
            self._own -= Counter(number_of(own.address) for own in old.addresses)
            self._broadcasts -= Counter(number_of(own.broadcast) for own in old.addresses if own.broadcast)
        if new is None:
            del self._by_index[index]
        else:
            self._by_index[index] = new
            self._own.update(number_of(own.address) for own in new.addresses)
            self._broadcasts.update(number_of(own.broadcast) for own in new.addresses if own.broadcast)
        self.generation += 1
        return True

    def replace(self, new: Iterable[Interface]) -> frozenset[int]:
        """Take the state of all of them: the indexes where it differs.  What is unchanged stays the same object."""
        by_index = {interface.index: interface for interface in new}
        return frozenset(
            index
            for index in [*by_index, *(self._by_index.keys() - by_index)]
            if self.update(index, by_index.get(index))
        )


def directed_broadcast(address: IPAddress, prefix_length: int) -> IPv4Address | None:
    """The broadcast address of an address' network; None for IPv6, and on a link of two (RFC 3021)."""
    if isinstance(address, IPv4Address) and prefix_length <= 30:
        return IPv4Network((int(address), prefix_length), strict=False).broadcast_address
    return None


def is_another(old: Interface, new: Interface) -> bool:
    """Has the index of `old` gone to another interface, as far as the two states tell?

    A link address tells them apart, where both have one.  Without, the same name or a common address makes them one.
    """
    if old.link_address and new.link_address:
        return old.link_address != new.link_address
    addresses = {own.address for own in old.addresses}
    return old.name != new.name and not any(own.address in addresses for own in new.addresses)


def diff(old: Interface | None, new: Interface | None) -> tuple[InterfaceChange, ...]:
    """The changes that lead from one state of an interface to another (None: there is none)."""
    if old is None or new is None:
        if new is not None:
            return (InterfaceChange(ChangeKind.APPEARED, new),)
        return () if old is None else (InterfaceChange(ChangeKind.DISAPPEARED, old),)
    changes: list[InterfaceChange] = []
    if old.name != new.name:
        changes.append(InterfaceChange(ChangeKind.RENAMED, new, old_name=old.name))
    if old.is_working and not new.is_working:
        changes.append(InterfaceChange(ChangeKind.DOWN, new))
    removed = [own for own in old.addresses if own not in new.addresses]
    changes += [InterfaceChange(ChangeKind.ADDRESS_REMOVED, new, own) for own in removed]
    if new.is_working and not old.is_working:
        changes.append(InterfaceChange(ChangeKind.UP, new))
    added = [own for own in new.addresses if own not in old.addresses]
    changes += [InterfaceChange(ChangeKind.ADDRESS_ADDED, new, own) for own in added]
    return tuple(changes)
